"""Predictions keep the factors of batch norm from call to call: the bits of no memory, whatever is written between."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn import kernels, nn


class Unscaled(nn.Module):
    """Batch norm without weight and bias."""

    eps = 1e-5

    def __init__(self, features):
        super().__init__()
        self.running_mean = nn.Parameter(np.zeros(features, np.float32), buffer=True)
        self.running_var = nn.Parameter(np.ones(features, np.float32), buffer=True)

    def forward(self, x):
        return fastnn.functional.batch_norm(x, self.running_mean, self.running_var)


def layer_of(features, dtype, affine=True):
    rng = np.random.default_rng(features)
    layer = nn.BatchNorm1d(features) if affine else Unscaled(features)
    model = nn.Sequential(layer).to(dtype)
    write(layer, rng)
    return model, layer, rng


def write(layer, rng, names=("running_mean", "running_var", "weight", "bias")):
    for name in names:
        tensor = getattr(layer, name, None)
        if tensor is not None:
            value = rng.standard_normal(tensor.shape)
            tensor.assign(np.abs(value) + 0.1 if name == "running_var" else value)


def expected(layer, x):
    """The eager op, which keeps nothing."""
    given = [getattr(layer, name, None) for name in ("running_mean", "running_var", "weight", "bias")]
    arrays = [None if tensor is None else tensor.numpy() for tensor in given]
    return kernels.batch_norm_inference(x, *arrays, eps=layer.eps)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 16, 63, 64, 65, 1024, 1025, 2100])
def test_every_write_acts_at_the_next_call(features, dtype, affine):
    model, layer, rng = layer_of(features, dtype, affine)
    for name in ("running_mean", "running_var", "weight", "bias"):
        for rows in (1, 3, 300):
            x = rng.standard_normal((rows, features)).astype(dtype)
            np.testing.assert_array_equal(model.predict(x), expected(layer, x))
            np.testing.assert_array_equal(model.predict(x), expected(layer, x))
        write(layer, rng, (name,))


def test_first_factors_are_those_of_zeros():
    """A memo that was never written is not taken for one of variances 0 and weights 0."""
    model, layer, rng = layer_of(20, "float32", affine=False)
    layer.running_var.assign(np.zeros(20))
    x = rng.standard_normal((2, 20)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x), expected(layer, x))
    assert np.abs(model.predict(x)).max() > 1


def test_nan_and_infinite_variances():
    model, layer, rng = layer_of(20, "float32")
    layer.running_var.assign(np.where(np.arange(20) % 3 == 0, np.nan, np.inf))
    x = rng.standard_normal((2, 20)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(model.predict(x), expected(layer, x))


def test_training_between_predictions():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(6, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 3))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), fastnn.optim.Adam(lr=0.1))
    x, y = rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    seen = []
    for _ in range(4):
        seen.append(model.predict(x[:1]).copy())
        fresh = nn.Sequential(nn.Linear(6, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 3))
        fresh.load_state_dict(model.state_dict())
        np.testing.assert_array_equal(seen[-1], fresh.predict(x[:1]))
        trainer.train_step(x, y)
    assert len({a.tobytes() for a in seen}) == 4


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_rows_and_any_team(threads):
    model, layer, rng = layer_of(48, "float32")
    x = rng.standard_normal((3000, 48)).astype(np.float32)
    with fastnn.num_threads(threads, force=threads > 1):
        for _ in range(2):
            np.testing.assert_array_equal(model.predict(x), expected(layer, x))
            np.testing.assert_array_equal(model.predict(x[:2]), expected(layer, x[:2]))
            write(layer, rng)
    with fastnn.num_threads(threads):  # whole pieces of rows
        np.testing.assert_array_equal(model.predict(x), expected(layer, x))


def test_threads_that_predict_at_once():
    model, layer, rng = layer_of(64, "float32")
    x = rng.standard_normal((1, 64)).astype(np.float32)
    wanted, wrong = expected(layer, x), []

    def predict():
        for _ in range(300):
            if not np.array_equal(model.predict(x), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
