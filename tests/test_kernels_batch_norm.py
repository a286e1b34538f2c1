"""Batch norm forward, inference and backward against the twin; hard data; errors."""

import numpy as np
import pytest
from compare import assert_norm_within, assert_within, same_bits
from reference import batch_norm as twin
from reference.precision import wider_than

from fastnn import kernels
from fastnn.threads import num_threads

SHAPES = [(2, 1), (3, 5), (64, 16), (65, 33), (67, 130), (300, 7)]


def data(rng, shape, dtype, ratio=1.0):
    return (rng.standard_normal(shape) + ratio).astype(dtype)


def vectors(rng, features, dtype):
    return rng.uniform(0.5, 2, features).astype(dtype), rng.standard_normal(features).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ratio", [0, 100, 1e4])
def test_forward(shape, ratio, dtype, isa, rng):
    x = data(rng, shape, dtype, ratio)
    weight, bias = vectors(rng, shape[1], dtype)
    for w, b in ((weight, bias), (None, None), (weight, None), (None, bias)):
        y, mean, var = kernels.batch_norm(x, w, b)
        wide = [None if v is None else v.astype(wider_than(dtype)) for v in (x, w, b)]
        exact = twin.batch_norm(*wide)
        eps = np.finfo(dtype).eps
        assert y.dtype == mean.dtype == var.dtype == dtype
        # deviations from the mean of eight rows are rounded, then sums are taken in double: visible in float64 only
        assert_within(mean, exact[1], eps * (np.abs(exact[1]) + (0.25 if dtype == np.float32 else 8)))
        # float64 statistics are sums in float64, so that the ratio of mean and deviation shows there
        slack = 2.5 if dtype == np.float32 else 20 + 2 * ratio
        assert_within(var, exact[2], slack * eps * exact[2])
        limit = 16 if dtype == np.float32 else 40 + 2 * ratio
        assert_within(y, exact[0], limit * eps * np.maximum(1, np.abs(exact[0])))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inference(shape, dtype, isa, rng):
    x = data(rng, shape, dtype)
    weight, bias = vectors(rng, shape[1], dtype)
    mean, var = vectors(rng, shape[1], dtype)[::-1]
    for w, b in ((weight, bias), (None, None), (weight, None), (None, bias)):
        y = kernels.batch_norm_inference(x, mean, var, w, b)
        exact = twin.batch_norm_inference(x, mean, var, w, b)
        size = np.abs(x) * 2 + np.abs(mean) * 2 + 3
        assert_within(y, exact, 8 * np.finfo(dtype).eps * size * 2)
        assert same_bits(kernels.batch_norm_inference(x[:1], mean, var, w, b), y[:1])
    assert kernels.batch_norm_inference(x[:0], mean, var).shape == (0, shape[1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ratio", [0, 100])
def test_backward(shape, ratio, dtype, isa, rng):
    x, grad = data(rng, shape, dtype, ratio), rng.standard_normal(shape).astype(dtype)
    weight, _ = vectors(rng, shape[1], dtype)
    _, mean, var = twin.batch_norm(x)
    limit = 5e-6 if dtype == np.float32 else 1e-12
    for w in (weight, None):
        exact = twin.batch_norm_backward(grad, x, mean, var, w)
        got = kernels.batch_norm_backward(grad, x, mean, var, w)  # float64 statistics with any x
        for name, a, b in zip(("dx", "dweight", "dbias"), got, exact):
            assert a.dtype == dtype
            if shape[0] > 2 or name != "dx":  # two rows: dx is zero but for eps
                assert_norm_within(a, b, limit)
        rounded = kernels.batch_norm_backward(grad, x, mean.astype(dtype), var.astype(dtype), w)
        assert_norm_within(rounded[2], exact[2], limit)


def test_gradient_twin_against_finite_differences(rng):
    x, probe = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    weight, bias = vectors(rng, 3, np.float64)
    _, mean, var = twin.batch_norm(x, weight, bias)
    gradients = twin.batch_norm_backward(probe, x, mean, var, weight)
    for array, gradient in zip((x, weight, bias), gradients):
        for i in np.ndindex(array.shape):
            kept = array[i]
            array[i] = kept + 1e-6
            high = (twin.batch_norm(x, weight, bias)[0] * probe).sum()
            array[i] = kept - 1e-6
            low = (twin.batch_norm(x, weight, bias)[0] * probe).sum()
            array[i] = kept
            assert abs((high - low) / 2e-6 - gradient[i]) < 1e-8


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    x, grad = rng.standard_normal((50, 6)), rng.standard_normal((50, 6))
    weight, bias = vectors(rng, 6, np.float64)
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, weight, bias)]
    y = torch.nn.functional.batch_norm(tensors[0], None, None, tensors[1], tensors[2], training=True)
    y.backward(torch.tensor(grad))
    got, mean, var = kernels.batch_norm(x, weight, bias)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-11, atol=1e-13)
    for ours, theirs in zip(kernels.batch_norm_backward(grad, x, mean, var, weight), tensors):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_a_constant_column_has_no_variance(dtype, isa, rng):
    x = rng.standard_normal((200, 5)).astype(dtype)
    x[:, 2] = 0.1
    x[:, 4] = 1e6
    y, mean, var = kernels.batch_norm(x)
    assert np.all(var[[2, 4]] == 0)
    assert np.all(mean[[2, 4]] == x[0, [2, 4]])
    assert np.all(y[:, [2, 4]] == 0)
    assert np.all(var[[0, 1, 3]] > 0)


def test_identity_parameters(dtype, rng):
    """weight = sqrt(var + eps), bias = mean gives the input back."""
    x = rng.standard_normal((40, 3)).astype(dtype)
    _, mean, var = kernels.batch_norm(x)
    y, _, _ = kernels.batch_norm(x, np.sqrt(var + np.array(1e-5, dtype)), mean)
    np.testing.assert_allclose(y, x, atol=8 * np.finfo(dtype).eps)


def test_layouts_give_the_same_bits(dtype, isa, rng):
    x, grad = rng.standard_normal((90, 17)).astype(dtype), rng.standard_normal((90, 17)).astype(dtype)
    weight, bias = vectors(rng, 17, dtype)
    plain = kernels.batch_norm(x, weight, bias)
    gradients = kernels.batch_norm_backward(grad, x, plain[1], plain[2], weight)
    padded = np.full((90, 40), np.nan, dtype)
    padded[:, 3:20] = x
    reversed_weight = weight[::-1].copy()[::-1]
    for view in (np.asfortranarray(x), padded[:, 3:20]):
        for a, b in zip(kernels.batch_norm(view, reversed_weight, bias), plain):
            assert same_bits(a, b)
        for a, b in zip(
            kernels.batch_norm_backward(np.asfortranarray(grad), view, plain[1], plain[2], weight), gradients
        ):
            assert same_bits(a, b)
    out = (padded[:, 3:20], np.empty(34, dtype)[::2], np.empty(17, dtype))
    for a, b, c in zip(kernels.batch_norm(padded[:, 3:20], weight, bias, out=out), out, plain):
        assert a is b
        assert same_bits(a, c)
    assert np.isnan(padded[:, :3]).all()
    assert np.isnan(padded[:, 20:]).all()


def test_rows_far_apart_give_the_same_bits(dtype, isa, rng):
    """Rows that lie a multiple of 2 KB apart are visited one by one, others by four."""
    x, grad = rng.standard_normal((2, 71, 1040)).astype(dtype)
    weight, bias = vectors(rng, 1024, dtype)
    near, far = x[:, :1024], np.ascontiguousarray(x[:, :1024])
    results = []
    for a, g in ((near, grad[:, :1024]), (far, np.ascontiguousarray(grad[:, :1024]))):
        for n in (1, 2, 3):
            with num_threads(n, force=True):
                y, dx = (np.empty((71, a.strides[0] // a.itemsize), dtype)[:, :1024] for _ in range(2))
                y, mean, var = kernels.batch_norm(a, weight, bias, out=(y, None, None))
                gradients = kernels.batch_norm_backward(g, a, mean, var, weight, out=(dx, None, None))
                results.append((y, mean, var, *gradients, kernels.batch_norm_inference(a, mean, var, weight, bias)))
    for result in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(result, results[0], strict=True))


def kinds(x):
    """Where a float32 or float64 array is not finite, and how."""
    return np.where(np.isnan(x), 2, np.where(np.isinf(x), np.sign(x), 0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [5, 70, 200])
def test_not_finite_where_numpys_is(rows, dtype, isa, rng):
    bad = [np.nan, np.inf, -np.inf]
    for place in ("x", "grad", "weight", "bias"):
        given = {"x": rng.standard_normal((rows, 21)), "grad": rng.standard_normal((rows, 21))}
        given["weight"], given["bias"] = vectors(rng, 21, np.float64)
        for i, value in enumerate(bad):
            given[place][..., 7 * i] = value if given[place].ndim == 1 else given[place][..., 7 * i]
            if given[place].ndim == 2:
                given[place][rows // 2, 7 * i] = value
        x, grad, weight, bias = (given[name].astype(dtype) for name in ("x", "grad", "weight", "bias"))
        exact = twin.batch_norm(x, weight, bias)
        got = kernels.batch_norm(x, weight, bias)
        for a, b in zip(got, exact, strict=True):
            np.testing.assert_array_equal(kinds(a), kinds(b))
        mean, var = rng.standard_normal(21), rng.uniform(0.5, 2, 21)
        inference = kernels.batch_norm_inference(x, mean.astype(dtype), var.astype(dtype), weight, bias)
        np.testing.assert_array_equal(kinds(inference), kinds(twin.batch_norm_inference(x, mean, var, weight, bias)))
        exact = twin.batch_norm_backward(grad, x, mean, var, weight)
        for a, b in zip(kernels.batch_norm_backward(grad, x, mean, var, weight), exact, strict=True):
            np.testing.assert_array_equal(kinds(a), kinds(b))


def test_errors():
    x = np.ones((1, 3), np.float32)
    with pytest.raises(ValueError, match="at least 2 rows.*batch_norm_inference"):
        kernels.batch_norm(x)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\): expected \(3,\), one value per feature"):
        kernels.batch_norm(np.ones((2, 3), np.float32), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="expected .rows, features."):
        kernels.batch_norm(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="eps is -1.0"):
        kernels.batch_norm(np.ones((2, 3), np.float32), eps=-1)
    with pytest.raises(TypeError, match="running_mean is None: expected an array"):
        kernels.batch_norm_inference(x, None, None)
    with pytest.raises(ValueError, match="mean has shape"):
        kernels.batch_norm_backward(x, x, np.ones(2), np.ones(3))
    for value in kernels.batch_norm(np.empty((0, 3), np.float32)):
        assert not value.any()
