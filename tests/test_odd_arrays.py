"""Masked arrays, sparse matrices and bfloat16: never misread, refused by name or converted."""

import numpy as np
import pytest

from fastnn import Trainer, nn, optim
from fastnn.data import StandardScale

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = np.arange(40) % 2
MASKED = np.ma.array(X, mask=X > 1)


def trainer():
    return Trainer(nn.Sequential(nn.Linear(4, 2), seed=0), nn.CrossEntropyLoss(), optim.Adam())


def uses(x=X, y=Y, weight=None):
    """Every way in for x, y and weights."""
    return {
        "fit": lambda: trainer().fit(x, y, sample_weight=weight, epochs=1, progress=False),
        "validation": lambda: trainer().fit(X, Y, epochs=1, progress=False, validation_data=(x, y)),
        "batches": lambda: trainer().fit([(x, y)] if weight is None else [(x, y, weight)], epochs=1, progress=False),
        "step": lambda: trainer().train_step(x, y, sample_weight=weight),
        "evaluate": lambda: trainer().evaluate(x, y, sample_weight=weight),
    }


@pytest.mark.parametrize("way", uses())
@pytest.mark.parametrize(
    ("what", "values"),
    [("x", {"x": MASKED}), ("y", {"y": np.ma.array(Y, mask=Y > 0)}),
     ("sample_weight", {"weight": np.ma.array(np.ones(40), mask=Y > 0)})],
)  # fmt: skip
def test_masked_values_are_refused_wherever_they_come_in(way, what, values):
    if what == "sample_weight" and way == "validation":
        return  # takes no weights
    with pytest.raises(ValueError, match=f"({what}|a batch) has masked values"):
        uses(**values)[way]()


def test_masked_arrays_without_masked_values_are_arrays():
    x = np.ma.array(X, mask=False)
    np.testing.assert_array_equal(trainer().predict(x), trainer().predict(X))
    for call in (lambda: trainer().predict(MASKED), lambda: trainer().model(MASKED)):
        with pytest.raises(ValueError, match="x has masked values"):
            call()


def test_sparse_matrices_are_named():
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_matrix, sparse.coo_array):
        x = kind(X)
        for call in (*(uses(x)[way] for way in ("fit", "validation", "step", "evaluate")),
                     lambda x=x: trainer().predict(x), lambda x=x: trainer().model(x)):  # fmt: skip
            with pytest.raises(TypeError, match="is a sparse matrix, which is not supported"):
                call()


def test_bfloat16_tensors_are_converted():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X).bfloat16()
    np.testing.assert_array_equal(trainer().predict(x), trainer().predict(x.float().numpy()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
def test_scaling_in_blocks_is_the_formula(dtype):
    x = (np.random.default_rng(1).normal(size=(5000, 7)) * 20 + 100).astype(dtype)
    scale = StandardScale().fit(x)
    expected = ((x.astype(np.float64) - scale.mean) / scale.std).astype(np.float32)
    np.testing.assert_array_equal(scale.transform(x), expected)
    assert scale.transform(x[:0]).shape == (0, 7)
