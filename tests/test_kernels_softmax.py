"""softmax, log-softmax, their backwards, and reductions along axes."""

import numpy as np
import pytest
from compare import assert_norm_within, assert_within, same_bits
from reference import reduce as sums
from reference import softmax as twin
from reference.precision import wider_than

import fastnn
from fastnn import functional as F
from fastnn import kernels
from fastnn.threads import num_threads

SHAPES = [(1, 1), (1, 2), (17, 10), (8, 16), (5, 33), (20, 100), (130, 3), (2, 5001)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1, 30, 1e4])
def test_softmax(shape, scale, dtype, isa, rng):
    x = (scale * rng.standard_normal(shape)).astype(dtype)
    wide = x.astype(wider_than(dtype))
    p, exact = kernels.softmax(x), twin.softmax(wide)
    eps = np.finfo(dtype).eps
    big = exact >= 1e-30
    limit = 10 if dtype == np.float32 else 40  # sums are in double: a long one errs in float64 only
    assert np.all(np.abs(p[big] - exact[big]) <= limit * eps * exact[big])
    assert np.all(np.abs(p.astype(np.longdouble).sum(axis=1) - 1) <= limit * eps)
    assert np.all(p >= 0)
    logs, exact = kernels.log_softmax(x), twin.log_softmax(wide)
    assert_within(logs, exact, (8 if dtype == np.float32 else 40) * eps * np.maximum(1, np.abs(exact)), sparse=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(shape, dtype, isa, rng):
    x, grad = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    limit = 2e-6 if dtype == np.float32 else 4e-15
    if shape[1] > 1:
        assert_norm_within(kernels.softmax_backward(grad, x), twin.softmax_backward(grad, x), limit)
        assert_norm_within(kernels.log_softmax_backward(grad, x), twin.log_softmax_backward(grad, x), limit)
    y = kernels.softmax(x)
    assert same_bits(kernels.softmax_backward(grad, None, output=y), kernels.softmax_backward(grad, x))


def test_special_rows(dtype, isa):
    inf = np.inf
    x = np.array([[0, -inf, 0], [1e30, 0, -1e30], [-inf, -inf, 5], [1, np.nan, 0]], dtype)
    p = kernels.softmax(x)
    np.testing.assert_array_equal(p[0], np.array([0.5, 0, 0.5], dtype))
    np.testing.assert_array_equal(p[1:3], np.array([[1, 0, 0], [0, 0, 1]], dtype))
    assert np.isnan(p[3]).all()
    logs = kernels.log_softmax(x)
    assert logs[0, 1] == -inf
    assert np.all(np.isfinite(logs[1]))
    assert np.isnan(kernels.softmax(np.full((1, 3), -inf, dtype))).all()
    assert kernels.softmax(np.empty((0, 3), dtype)).shape == (0, 3)
    assert kernels.softmax(np.empty((3, 0), dtype)).shape == (3, 0)


def test_lecture_example():
    x = np.array([[5.0, 2.0, -1.0, 3.0]])
    np.testing.assert_allclose(kernels.softmax(x), [[0.842, 0.042, 0.002, 0.114]], atol=5e-4)


def test_axes(dtype, rng):
    x, grad = rng.standard_normal((4, 5, 6)).astype(dtype), rng.standard_normal((4, 5, 6)).astype(dtype)
    for axis in (0, 1, 2, -1, -3):
        moved = np.moveaxis(x, axis, -1)
        expected = np.moveaxis(kernels.softmax(np.ascontiguousarray(moved)), -1, axis)
        assert same_bits(kernels.softmax(x, axis=axis), expected)
        out = np.empty_like(x)
        assert kernels.softmax(x, axis=axis, out=out) is out
        assert same_bits(out, expected)
        d = kernels.softmax_backward(np.moveaxis(grad, axis, -1), moved)
        assert same_bits(kernels.softmax_backward(grad, x, axis=axis), np.moveaxis(d, -1, axis))
    with pytest.raises(ValueError, match="axis 3 is out of range"):
        kernels.softmax(x, axis=3)


def test_twins_against_finite_differences(rng):
    x, probe = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    for forward, backward in ((twin.softmax, twin.softmax_backward), (twin.log_softmax, twin.log_softmax_backward)):
        gradient = backward(probe, x)
        for i in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[i] = 1e-6
            slope = ((forward(x + step) - forward(x - step)) * probe).sum() / 2e-6
            assert abs(slope - gradient[i]) < 1e-8


REDUCED = [
    ((7,), None), ((7,), 0), ((5, 9), 0), ((5, 9), 1), ((5, 9), -1), ((5, 9), None), ((300, 33), 0), ((3, 1000), 1),
    ((4, 5, 6), (0, 2)), ((4, 5, 6), 1), ((4, 5, 6), (0, 1)), ((4, 5, 6), (1, 2)), ((4, 5, 6), None),
    ((1, 1), 0), ((2, 3), ()),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), REDUCED)
def test_reductions(shape, axis, dtype, isa, rng):
    x = rng.standard_normal(shape).astype(dtype)
    eps = np.finfo(dtype).eps
    for keepdims in (False, True):
        bound = eps * (sums.sum(np.abs(x), axis, keepdims) * np.sqrt(x.size) + 1e-300)
        total = kernels.sum(x, axis, keepdims=keepdims)
        assert_within(total, sums.sum(x, axis, keepdims), bound)
        assert_within(kernels.mean(x, axis, keepdims=keepdims), sums.mean(x, axis, keepdims), bound)
        assert np.array_equal(kernels.max(x, axis, keepdims=keepdims), x.max(axis=axis, keepdims=keepdims))
        assert total.dtype == dtype


def test_reductions_of_strided_arrays(dtype, rng):
    x = rng.standard_normal((20, 40)).astype(dtype)
    for view in (x[::2], x[:, 3:17], x.T, x[::-1, ::-1], x[:, ::3]):
        for axis in (0, 1, None):
            assert same_bits(kernels.sum(view, axis), kernels.sum(view.copy(), axis))
            assert same_bits(kernels.max(view, axis), view.max(axis=axis))


def test_reductions_of_nothing():
    empty = np.empty((0, 3), np.float32)
    assert np.array_equal(kernels.sum(empty, 0), np.zeros(3, np.float32))
    assert kernels.sum(empty, 1).shape == (0,)
    assert kernels.sum(empty) == 0
    assert kernels.max(empty, 1).shape == (0,)
    for f in (kernels.max, kernels.mean):
        with pytest.raises(ValueError, match="of no elements"):
            f(empty, 0)
    with pytest.raises(ValueError, match="repeated"):
        kernels.sum(empty, (0, 0))


def test_nan_reaches_the_maximum(dtype, isa):
    for n in (1, 3, 17, 64, 131):
        for where in {0, n // 2, n - 1}:
            x = np.ones((2, n), dtype)
            x[1, where] = np.nan
            got = kernels.max(x, 1)
            assert got[0] == 1
            assert np.isnan(got[1])
    assert np.array_equal(kernels.max(np.full((2, 5), -np.inf, dtype), 1), [-np.inf, -np.inf])


@pytest.mark.parametrize("cols", [1, 3, 17, 130])
def test_maxima_over_rows(cols, dtype, isa, rng):
    """Of one block of rows and several, by columns and by blocks; a NaN in any block; bits as NumPy's."""
    for rows in (1, 2, 255, 256, 257, 1100):
        x = rng.standard_normal((rows, cols)).astype(dtype) - 3  # all but surely below 0: what it begins with shows
        x[:, cols // 2] = -np.inf
        expected = x.max(axis=0)
        bad = x.copy()
        places = [(0, 0), (rows // 2, cols - 1), (rows - 1, cols // 3)]
        for place in places:
            bad[place] = np.nan
        for threads in (1, 2, 3):
            with num_threads(threads, force=True):
                assert same_bits(kernels.max(x, 0), expected)
                got = kernels.max(bad, 0)
                assert np.array_equal(np.isnan(got), np.isnan(bad).any(axis=0))
                assert np.array_equal(got[~np.isnan(got)], expected[~np.isnan(got)])
                assert same_bits(fastnn.compile(lambda v: F.max(v, axis=0))(x), expected)


def test_sums_are_accurate_for_long_columns(dtype, isa):
    x = np.full((100_003, 3), 0.1, dtype)
    exact = np.float64(x[0, 0]) * len(x) if dtype == np.float32 else np.longdouble(x[0, 0]) * len(x)
    assert np.all(np.abs(kernels.sum(x, 0) - exact) <= 200 * np.finfo(dtype).eps * exact)
    assert abs(kernels.sum(x.ravel()[: len(x)]) - exact) <= 200 * np.finfo(dtype).eps * exact
