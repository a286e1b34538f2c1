"""What the tracer refuses, and that the message leads to the user's line, module and shapes."""

import inspect

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import graph, nn
from fastnn.graph.parameter import Parameter
from fastnn.graph.symbols import ROWS, Dim, dim


def trace(function, *feature_shapes, training=False):
    specs = [(shape, np.dtype(np.float32)) for shape in feature_shapes]
    return graph.build_inference(function, specs, "float32", training=training)


def here(offset=0):
    return f"{__file__}:{inspect.currentframe().f_back.f_lineno + offset}"


@pytest.mark.parametrize("what", ["if", "while", "and", "not", "float", "int", "numpy", "bool(sum)"])
def test_branching_on_a_value_names_the_line(what):
    line = []

    def forward(x):
        line.append(here(1))
        return {
            "if": lambda: x if x.sum() > 0 else -x,
            "while": lambda: any(x.sum() > 0 for _ in "ab"),
            "and": lambda: (x > 0) and x,
            "not": lambda: not x,
            "float": lambda: float(x.sum()),
            "int": lambda: [1, 2][x.sum()],
            "numpy": lambda: np.cos(x),
            "bool(sum)": lambda: x.sum() == 0 or x,
        }[what]()

    with pytest.raises(TypeError) as error:
        trace(forward, (3,))
    file, number = line[0].rsplit(":", 1)
    lines = [f"{file}:{int(number) + k}" for k in range(12)]
    assert any(text in str(error.value) for text in lines), error.value


def test_branching_on_the_number_of_rows():
    for function in (
        lambda x: x if x.shape[0] > 5 else -x,
        lambda x: [x for _ in range(x.shape[0])][0],
        lambda x: x * float(x.shape[0]),
        lambda x: x * (x.shape[0] % 2),
    ):
        with pytest.raises(TypeError, match=f"rows is a symbol.*{__file__}"):
            trace(function, (3,))
    with pytest.raises(TypeError, match="len"):
        trace(lambda x: x * len(x), (3,))


def test_sizes_are_affine_in_rows():
    assert ROWS + 0 == ROWS and (ROWS * 2 + 1) - ROWS - ROWS == 1 and isinstance(ROWS - ROWS, int)
    assert (4 * ROWS + 2) // 2 == Dim(2, 1) and (6 * ROWS) // (3 * ROWS) == 2
    assert str(2 * ROWS - 3) == "2*rows-3" and dim(0, 5) == 5
    assert (2 * ROWS + 1).at(10) == 21 and 7 - ROWS == Dim(-1, 7) and hash(ROWS) == hash(Dim(1, 0))
    with pytest.raises(ValueError, match="not a size"):
        ROWS * ROWS
    with pytest.raises(ValueError, match="not exact"):
        (2 * ROWS + 1) // 2
    with pytest.raises(RuntimeError, match="no model is being traced"):
        ROWS / 2


SHAPES = {
    "matmul of shapes (rows, 3), (4, 2): the inner sizes 3 and 4 differ": lambda x: x @ np.ones((4, 2)),
    "add of shapes (rows, 3), (2,): shapes (rows, 3) and (2,) do not broadcast together": lambda x: x + np.ones(2),
    "shapes (rows, 3) and (5, 3) do not broadcast together": lambda x: x * np.ones((5, 3)),
    "reshape of shapes (rows, 3): 3*rows elements do not make (rows, 4)": lambda x: x.reshape(x.shape[0], 4),
    "linear of shapes (rows, 3), (2, 4): the input has 3 features, the weight expects 4": lambda x: F.linear(
        x, np.ones((2, 4))
    ),
    "bias must have shape (2,), not (3,)": lambda x: F.linear(x, np.ones((2, 3)), np.ones(3)),
    "index 3 is out of range for axis 1 of size 3": lambda x: x[:, 3],
    "3 indices for 2 dimensions": lambda x: x[0, 0, 0],
    "indexed with integers, slices, None and ... only": lambda x: x[[0, 1]],
    "can be sliced with step 1": lambda x: x[::2],
    "axis 2 is out of bounds": lambda x: x.sum(axis=2),
    "axis (0, 0) is named twice": lambda x: x.sum(axis=(0, 0)),
    "shapes differ off axis 1": lambda x: F.concatenate([x, np.ones((2, 3))], axis=1),
    "axes (0, 0) are not a permutation": lambda x: x.transpose(0, 0),
    "dropout probability must lie in [0, 1], not 1.5": lambda x: F.dropout(x, 1.5),
    "reduction must be 'mean', 'sum' or 'none', not 'average'": lambda x: F.mse_loss(x, x, reduction="average"),
    "ignore_index needs integer labels": lambda x: F.cross_entropy(x, x, ignore_index=0),
    "integer labels (rows,) or probabilities (rows, 3), not float32 of shape (rows,)": lambda x: F.cross_entropy(
        x, x[:, 0]
    ),
    "the target has shape": lambda x: F.mse_loss(x, x[:, :1]),
    "batch norm needs x of shape (rows, features)": lambda x: F.batch_norm(x.sum(axis=1), training=True),
    "there is no op called": lambda x: x._apply("magic", (x,)),
    "takes no keyword 'slope'": lambda x: F.relu(x, slope=2),
    "is not a tensor, an array or a number": lambda x: x + "one",
}


@pytest.mark.parametrize("message", SHAPES)
def test_shape_errors_name_op_and_shapes(message):
    with pytest.raises((ValueError, TypeError, IndexError)) as error:
        trace(SHAPES[message], (3,))
    assert message in str(error.value), error.value
    assert "\n" not in str(error.value)


def test_errors_name_the_module():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(ValueError) as error:
        model(np.ones((2, 3), np.float32))
    assert "2.0" in str(error.value) and "(rows, 4)" in str(error.value) and "expects 5" in str(error.value)


def test_tensors_do_not_outlive_their_trace():
    kept = []

    def forward(x):
        kept.append(x)
        return x + kept[0]

    trace(forward, (3,))
    with pytest.raises(ValueError, match="another trace"):
        trace(forward, (3,))


def test_numpy_arrays_on_the_left(rng):
    weight = Parameter(rng.normal(size=3).astype(np.float32))
    array = np.float32([1, 2, 3])
    model = trace(
        lambda x: array * x + array @ x.T.sum(axis=1) + (array - weight) / (2.0 ** (weight * 0.0 + 1.0)), (3,)
    )
    x = np.float32(rng.normal(size=(4, 3)))
    expected = array * x + array @ x.sum(axis=0) + (array - weight.numpy()) / 2
    np.testing.assert_allclose(model.run((x,)), expected, rtol=1e-5)


def test_parameters_in_numpy_expressions_are_refused_while_tracing(rng):
    weight = Parameter(rng.normal(size=3).astype(np.float32))
    with pytest.raises(TypeError, match="in a forward use fastnn.functional"):
        trace(lambda x: x * np.linalg.norm(weight), (3,))
    x = rng.normal(size=(2, 3)).astype(np.float32)
    model = trace(lambda x: np.exp(weight) * np.tanh(x) + np.maximum(x, np.float32(0.5)), (3,))
    expected = np.exp(weight.numpy()) * np.tanh(x) + np.maximum(x, np.float32(0.5))
    np.testing.assert_allclose(model.run((x,)), expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(weight), np.exp(weight.numpy()))
    np.testing.assert_allclose((weight * 2 + 1).sum(), (weight.numpy() * 2 + 1).sum(), rtol=1e-6)


def test_parameter_rules(rng):
    import copy
    import pickle

    values = rng.normal(size=(5, 3)).astype(np.float32)
    weight = Parameter(values, name="weight")
    assert weight.storage.shape == (3, 16) and weight.ld == 16 and weight.storage.ctypes.data % 64 == 0
    assert np.array_equal(weight.numpy(), values) and not weight.numpy().flags.writeable
    assert not weight.storage[:, 5:].any()
    version = weight.version
    weight.assign(values * 2)
    assert weight.version > version and np.array_equal(weight.numpy(), values * 2)
    for bad in (np.ones((3, 5)), np.ones(5), 1.0):
        with pytest.raises(ValueError, match="has shape"):
            weight.assign(bad)
    for twin in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        assert np.array_equal(twin.numpy(), weight.numpy()) and twin.storage.ctypes.data % 64 == 0
        assert twin.name == "weight" and twin.storage is not weight.storage
    before = weight._revision
    weight.requires_grad = True
    assert weight._revision == before
    weight.requires_grad = False
    assert weight._revision > before
    with pytest.raises(ValueError, match="not trainable"):
        Parameter(np.zeros(3), buffer=True).requires_grad = True
    with pytest.raises(TypeError, match="real numbers"):
        Parameter(np.array(["a"]))
    assert Parameter(np.arange(3)).dtype == np.float32
    assert Parameter(np.zeros((1024, 2))).ld == 1040  # never a multiple of 4096 bytes


def test_gradients_of_gradients_of_unknown_functions_say_so(monkeypatch):
    from fastnn.graph.rules import elementwise

    monkeypatch.setattr(elementwise, "derivative_from_list", lambda *_: None)
    first = fastnn.grad(lambda x: F.sum(F.tanh(x)))
    first(np.ones(3))
    with pytest.raises(ValueError, match="second derivative of tanh is not known"):
        fastnn.grad(lambda x: F.sum(first(x)))(np.ones(3))
