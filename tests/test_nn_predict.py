"""Running models on arrays: any number of rows, any real dtype and stride, several inputs, changes that are seen."""

import threading

import numpy as np
import pytest
from reference import activations, batch_norm
from reference.linear import linear

import fastnn.functional as F
from fastnn import nn


def small(seed=1):
    return nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3), seed=seed)


def twin(model, x):
    """small() in NumPy float64."""
    hidden = linear(x, model[0].weight.numpy(), model[0].bias.numpy(), "relu")
    return linear(hidden, model[2].weight.numpy(), model[2].bias.numpy())


@pytest.mark.parametrize("rows", [0, 1, 32, 33, 257, 3000])
def test_any_number_of_rows(rows, rng, dtype):
    model = small().to(dtype)
    x = rng.normal(size=(rows, 7)).astype(dtype)
    y = model(x)
    assert y.shape == (rows, 3)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, twin(model, x), rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-5)


def test_a_row_does_not_depend_on_its_batch(rng):
    model = small()
    x = rng.normal(size=(700, 7)).astype(np.float32)
    whole = model(x)
    for start, stop in ((0, 1), (5, 6), (256, 300), (699, 700)):
        np.testing.assert_array_equal(model(x[start:stop]), whole[start:stop])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int32", "int64", "bool", "float16", "float32", "float64"]
)
def test_inputs_of_every_real_dtype(dtype, rng):
    model = small()
    x = rng.integers(0, 2 if dtype == "bool" else 100, (40, 7)).astype(dtype)
    np.testing.assert_array_equal(model(x), model(x.astype(np.float32)))


def test_strided_swapped_and_read_only_inputs(rng):
    model = small()
    x = rng.normal(size=(40, 7)).astype(np.float32)
    expected = model(x)
    wide = np.zeros((40, 20), np.float32)
    wide[:, 3:10] = x
    every_second = np.zeros((40, 14), np.float32)
    every_second[:, ::2] = x
    two_rows = np.zeros((80, 7), np.float32)
    two_rows[::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    misaligned = np.zeros(40 * 7 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(40, 7)
    misaligned[...] = x
    others = {
        "row stride": wide[:, 3:10],
        "column stride": every_second[:, ::2],
        "every second row": two_rows[::2],
        "reversed": x[::-1].copy()[::-1],
        "Fortran": np.asfortranarray(x),
        "byte-swapped": x.astype(">f4"),
        "read-only": frozen,
        "misaligned": misaligned,
        "list": x.tolist(),
    }
    for name, other in others.items():
        np.testing.assert_array_equal(model(other), expected, err_msg=name)


def test_large_data_of_another_dtype_are_converted_in_parts(rng):
    model = small()
    x = rng.integers(0, 100, (20_001, 7), dtype=np.uint8)
    expected = model(x.astype(np.float32))
    np.testing.assert_array_equal(model(x), expected)
    out = np.empty_like(expected)
    assert model.predict(np.asfortranarray(x.astype(np.float32)), out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out"):
        model.predict(x, out=out[:-1])


def test_out_is_filled_and_returned(rng):
    model = small()
    x = rng.normal(size=(50, 7)).astype(np.float32)
    out = np.empty((50, 3), np.float32)
    assert model.predict(x, out=out) is out
    np.testing.assert_array_equal(out, model(x))
    for bad in (np.empty((50, 3)), np.empty((3, 50), np.float32).T, np.empty((49, 3), np.float32)):
        with pytest.raises(ValueError, match="out"):
            model.predict(x, out=bad)
    with pytest.raises(TypeError, match="out must be a NumPy array"):
        model.predict(x, out=[1])


def test_out_may_overlap_the_input(rng):
    model = nn.Sequential(nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 7))
    x = rng.normal(size=(600, 7)).astype(np.float32)
    expected = model(x)
    np.testing.assert_array_equal(model.predict(x, out=x), expected)


def test_changed_weights_are_seen(rng):
    model = small()
    x = rng.normal(size=(9, 7)).astype(np.float32)
    before = model(x)
    model[0].weight.assign(model[0].weight.numpy() * 2)
    np.testing.assert_allclose(model(x), twin(model, x), rtol=1e-4, atol=1e-5)
    assert not np.array_equal(model(x), before)
    model.load_state_dict(small().state_dict())
    np.testing.assert_array_equal(model(x), before)


def test_changed_structure_is_seen(rng):
    model = small()
    x = rng.normal(size=(9, 7)).astype(np.float32)
    model(x)
    model[1] = nn.Tanh()
    hidden = linear(x, model[0].weight.numpy(), model[0].bias.numpy(), "tanh")
    expected = linear(hidden, model[2].weight.numpy(), model[2].bias.numpy())
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    model.append(nn.Linear(3, 2))
    assert model(x).shape == (9, 2)
    model.to("float64")
    assert model(x).dtype == np.float64


class Branches(nn.Module):
    def __init__(self):
        self.left = nn.Linear(3, 4)
        self.right = nn.Linear(2, 4)
        self.slope = 1.0

    def forward(self, a, b):
        return F.relu(self.left(a)) + self.slope * self.right(b)


def test_several_inputs(rng):
    model = Branches()
    a, b = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 9, (20, 2)).astype(np.uint8)
    left = linear(a, model.left.weight.numpy(), model.left.bias.numpy(), "relu")
    expected = left + linear(b, model.right.weight.numpy(), model.right.bias.numpy())
    for y in (model(a, b), model((a, b)), model.predict({"b": b, "a": a})):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="input 1 has 19 rows, the first input has 20"):
        model(a, b[:-1])
    with pytest.raises(TypeError, match="forward and the inputs"):
        model({"a": a, "c": b})


def test_changed_attribute_is_seen(rng):
    model = Branches()
    a, b = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    before = model(a, b)
    model.slope = -1.0
    assert not np.array_equal(model(a, b), before)


def test_changed_list_of_modules_is_seen(rng):
    """Also when a new module happens to get the address of an old one."""

    class Net(nn.Module):
        def __init__(self):
            self.blocks = [nn.ReLU()]

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    model = Net()
    x = rng.normal(size=(4, 3)).astype(np.float32)
    for _ in range(20):
        np.testing.assert_array_equal(model(x), np.maximum(x, 0))
        model.blocks[0] = nn.Tanh()
        model.blocks[0] = nn.Tanh()
        np.testing.assert_allclose(model(x), np.tanh(x), rtol=1e-5)
        model.blocks.append(nn.Identity())
        assert model(x).shape == x.shape
        model.blocks.pop()
        model.blocks[0] = nn.ReLU()
        model.blocks[0] = nn.ReLU()


def test_shape_errors_name_the_layer():
    model = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(15, 3))
    with pytest.raises(ValueError, match=r"'2'.*Linear\(15, 3\).*16"):
        model(np.zeros((2, 7), np.float32))
    with pytest.raises(ValueError, match="8"):
        small()(np.zeros((2, 8), np.float32))
    with pytest.raises(ValueError, match="one dimension"):
        small()(np.zeros(7, np.float32))
    with pytest.raises(TypeError, match="dtype <U1"):
        small()(np.array([["a"] * 7]))
    with pytest.raises(TypeError, match="not numbers"):
        small()(np.array([["a"] * 7], dtype=object))


def test_batch_norm_infers_with_running_statistics(rng):
    model = nn.Sequential(nn.BatchNorm1d(4, eps=1e-3)).to("float64")
    layer = model[0]
    layer.running_mean.assign(rng.normal(size=4))
    layer.running_var.assign(rng.uniform(0.5, 2, 4))
    layer.weight.assign(rng.normal(size=4))
    x = rng.normal(size=(11, 4))
    mean, var, weight, bias = (t.numpy() for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias))
    expected = batch_norm.batch_norm_inference(x, mean, var, weight, bias, eps=1e-3)
    np.testing.assert_allclose(model(x), expected, rtol=1e-12)
    model[0].eps = 0.5
    expected = batch_norm.batch_norm_inference(x, mean, var, weight, bias, eps=0.5)
    np.testing.assert_allclose(model(x), expected, rtol=1e-12)


def test_monte_carlo_path_draws_new_masks_and_learns_nothing(rng):
    model = nn.Sequential(nn.Linear(7, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3), seed=2)
    x = rng.normal(size=(200, 7)).astype(np.float32)
    state = model.state_dict()
    first, second = model(x, training=True), model(x, training=True)
    assert first.shape == (200, 3)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, model(x))
    np.testing.assert_array_equal(model(x), model(x))
    after = model.state_dict()
    assert all(np.array_equal(state[name], after[name]) for name in state)


def test_dropout_rate_changes_at_the_next_call():
    model = nn.Sequential(nn.Dropout(0.5))
    x = np.ones((400, 50), np.float32)
    assert abs(np.mean(model(x, training=True) == 0) - 0.5) < 0.02
    model[0].p = 0.1
    assert abs(np.mean(model(x, training=True) == 0) - 0.1) < 0.02
    model[0].p = 1.0
    assert not model(x, training=True).any()
    model[0].p = 0.0
    np.testing.assert_array_equal(model(x, training=True), x)


def test_activation_classes_compute_their_functions(rng):
    x = rng.normal(size=(6, 5))
    for name, cls in (("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("relu", nn.ReLU), ("identity", nn.Identity)):
        model = nn.Sequential(nn.Linear(5, 5, seed=1), cls()).to("float64")
        hidden = linear(x, model[0].weight.numpy(), model[0].bias.numpy())
        np.testing.assert_allclose(model(x), getattr(activations, name)(hidden), rtol=1e-12, atol=1e-15)


def test_threads_predict_on_one_model(rng):
    model = small()
    inputs = [rng.normal(size=(300, 7)).astype(np.float32) for _ in range(4)]
    expected = [model(x) for x in inputs]
    failures = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(model(inputs[i]), expected[i]):
                failures.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
