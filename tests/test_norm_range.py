"""Batch norm and layer norm where squares, sums or the variance itself leave the range of float32, against the twins.

Statistics are held in double, so such columns are as accurate as any. What a caller gets in float32 is rounded: the
variance of deviations above 1.8e19 is infinite there, that of deviations below 1e-23 is 0.
"""

import numpy as np
import pytest
from compare import assert_within
from reference import batch_norm as batch_twin
from reference import layer_norm as layer_twin

from fastnn import Trainer, kernels, nn, optim

SCALES = np.array([1e-40, 1e-38, 1e-30, 1e-22, 1e-18, 1, 1e18, 1e25, 1e30, 3e37])
LARGEST, SMALLEST = float(np.finfo(np.float32).max), 2.0**-149
EPS = [1e-5, 1e-12, 0.0]


def column_data(rng, rows):
    x, grad = rng.standard_normal((2, rows, len(SCALES)))
    return (x * SCALES).clip(-3e38, 3e38).astype(np.float32), grad.astype(np.float32)


def assert_columns(got, exact, factor, limit=1e-6, axis=0):
    """Within limit of the largest of the column, and what rounding to denormals does, times a factor."""
    keep = exact.ndim == 2
    size = np.abs(exact).max(axis=axis, keepdims=True) if keep else np.abs(exact)
    assert_within(got, exact, limit * size + SMALLEST * np.maximum(1, factor))


def check_statistics(x, mean, var, exact, eps, axis):
    """Mean and variance against the twin's; returns 1 / sqrt(variance + eps)."""
    assert_within(mean, exact[1], SMALLEST + 1e-7 * np.abs(x).max(axis=axis))
    np.testing.assert_allclose(var, exact[2].astype(np.float32), rtol=3e-7, atol=SMALLEST)
    assert np.all(np.isinf(var) == (SCALES > 1e19))
    return (1 / np.sqrt(exact[2] + eps)).astype(np.float64)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [7, 64, 150])
@pytest.mark.parametrize("eps", EPS)
def test_batch_norm(rows, eps, isa, rng):
    x, grad = column_data(rng, rows)
    y, mean, var = kernels.batch_norm(x, eps=eps)
    exact = batch_twin.batch_norm(x, eps=eps)
    inverse = check_statistics(x, mean, var, exact, eps, axis=0)
    fits = inverse < LARGEST  # else what x - mean is multiplied by is infinite
    assert fits.sum() >= 9
    assert_columns(y[:, fits], exact[0][:, fits], inverse[fits])
    assert not np.isfinite(y[:, ~fits]).any()
    for g in (grad, (grad * SCALES).clip(-3e37, 3e37).astype(np.float32)):
        exact_gradients = batch_twin.batch_norm_backward(g, x, exact[1], exact[2], eps=eps)
        got = kernels.batch_norm_backward(g, x, exact[1].astype(float), exact[2].astype(float), eps=eps)
        for a, b in zip(got, exact_gradients, strict=True):
            inside = fits & (np.abs(b.reshape(-1, b.shape[-1])).max(axis=0) < LARGEST)
            assert inside.sum() >= 8
            assert_columns(a[..., inside], b[..., inside], rows * inverse[inside], 5e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cols", [7, 64, 2100])
@pytest.mark.parametrize("eps", EPS)
def test_layer_norm(cols, eps, isa, rng):
    x, grad = rng.standard_normal((2, len(SCALES), cols))
    x, grad = (x * SCALES[:, None] + SCALES[:, None]).clip(-3e38, 3e38).astype(np.float32), grad.astype(np.float32)
    y, mean, var = kernels.layer_norm(x, eps=eps)
    exact = layer_twin.layer_norm(x, eps=eps)
    inverse = check_statistics(x, mean, var, exact, eps, axis=1)
    fits = inverse < LARGEST
    assert fits.sum() >= 9
    assert_columns(y[fits], exact[0][fits], inverse[fits, None], axis=1)
    assert not np.isfinite(y[~fits]).any()
    x, grad, mean, var = x[fits], grad[fits], exact[1][fits].astype(float), exact[2][fits].astype(float)
    got = kernels.layer_norm_backward(grad, x, mean, var, eps=eps)
    dx, dweight, dbias = layer_twin.layer_norm_backward(grad, x, eps=eps)
    inside = np.abs(dx).max(axis=1) < LARGEST
    assert inside.sum() >= 8
    assert_columns(got[0][inside], dx[inside], inverse[fits][inside, None], 5e-6, axis=1)
    assert_within(got[1], dweight, 1e-6 * (1 + np.abs(dweight)))
    assert_within(got[2], dbias, 1e-6 * (1 + np.abs(dbias)))


@pytest.mark.filterwarnings("ignore")
def test_running_statistics(isa, rng):
    """In training only what is rounded to float32 is infinite; inference then gives the bias."""
    x, _ = column_data(rng, 64)
    layer = nn.BatchNorm1d(len(SCALES), momentum=0.25)
    trainer = Trainer(layer, nn.MSELoss(), optim.SGD(lr=0.0))
    trainer.fit(x, np.zeros_like(x), epochs=1, batch_size=64)
    _, exact_mean, exact_var = batch_twin.batch_norm(x)
    mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
    np.testing.assert_allclose(mean, (0.25 * exact_mean).astype(np.float32), rtol=1e-6, atol=SMALLEST)
    np.testing.assert_allclose(var, (0.75 + 0.25 * exact_var * 64 / 63).astype(np.float32), rtol=1e-6)
    infinite = np.isinf(var)
    assert np.all(infinite == (SCALES > 1e19))
    layer.bias.assign(np.arange(len(SCALES)))
    y = layer(x)
    np.testing.assert_array_equal(y[:, infinite], np.broadcast_to(layer.bias.numpy(), y.shape)[:, infinite])
