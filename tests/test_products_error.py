"""The error of every product is within its bound at every depth, on data made to break it.

With u = half a unit in the last place of 1 and t the smallest normal number (products run with denormals flushed):
|error| <= K u sum |a b| + K t, elementwise, for the forward product, weight and input gradients, whatever the order of
the sum (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). References are summed in double
for float32 and in extended precision for float64.
"""

import numpy as np
import pytest
from compare import assert_meaningful
from conftest import ISAS

from fastnn import kernels
from fastnn.threads import isa as use_isa

DEPTHS = (1, 2, 17, 1000, 1024, 1025, 5000, pytest.param(100_000, marks=pytest.mark.slow))
SIZES = [(rows, cols) for rows in (1, 2, 7, 8, 33) for cols in (1, 10, 40)]
DEEP_SIZES = [(1, 1), (2, 40), (7, 10), (8, 40), (33, 1)]  # from 5000 terms on: the references take their time


def uniform(rng, *shape):
    return rng.uniform(-1, 1, shape)


def random(rng, rows, cols, depth, dtype):
    return uniform(rng, rows, depth), uniform(rng, depth, cols)


def cancelling(rng, rows, cols, depth, dtype):
    """Terms come in pairs, far apart in the sum, that add to a few units in the last place."""
    a, b = random(rng, rows, cols, depth, dtype)
    order, half = rng.permutation(depth), depth // 2
    first, second = order[:half], order[half : 2 * half]
    b[second] = b[first]
    a[:, second] = -a[:, first] * (1 + 8 * np.finfo(dtype).eps * uniform(rng, rows, half))
    return a, b


def badly_scaled(rng, rows, cols, depth, dtype):
    """Exponents spread over -30 to 30 in both operands."""
    a, b = random(rng, rows, cols, depth, dtype)
    return np.ldexp(a, rng.integers(-30, 31, a.shape)), np.ldexp(b, rng.integers(-30, 31, b.shape))


def denormal(rng, rows, cols, depth, dtype):
    """Half of a is around the smallest normal number, on either side of it; the rest is ordinary but small."""
    a, b = random(rng, rows, cols, depth, dtype)
    lowest = np.finfo(dtype).minexp
    exponents = np.where(rng.integers(0, 2, a.shape), rng.integers(-12, 13, a.shape) + lowest, lowest // 2)
    return np.ldexp(a, exponents), b


DATA = (random, cancelling, badly_scaled, denormal)


def cases(data, dtype, depth):
    """(a, b, a @ b in a wider type, bound, sum of |a b|) for each size."""
    rng, unit = np.random.default_rng(depth), np.finfo(dtype).eps / 2
    wide = np.float64 if dtype == np.float32 else np.longdouble
    for rows, cols in SIZES if depth < 5000 else DEEP_SIZES:
        a, b = (operand.astype(dtype) for operand in data(rng, rows, cols, depth, dtype))
        size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
        yield a, b, a.astype(wide) @ b.astype(wide), depth * (unit * size + np.finfo(dtype).tiny), size


def products(a, b):
    """(name, result in the shape of a @ b) of every way to have this product computed."""
    rows, cols = a.shape[0], b.shape[1]
    yield "matmul", kernels.matmul(a, b)
    yield "linear, weights (out, in)", kernels.linear(a, np.ascontiguousarray(b.T))
    yield "linear, weights (in, out)", kernels.linear(a, b.T)
    grad, x, weight = b, np.ascontiguousarray(a.T), np.zeros((cols, rows), a.dtype)
    yield "weight gradient", kernels.linear_backward(grad, x, weight, input_grad=False, bias=False)[1].T
    x = np.zeros((rows, cols), a.dtype)
    yield "input gradient, weights (out, in)", kernels.linear_backward(a, x, b, bias=False)[0]
    yield "input gradient, weights (in, out)", kernels.linear_backward(a, x, np.asfortranarray(b), bias=False)[0]


def check(a, b, exact, bound, size, root_bound):
    relative = []
    for name, got in products(a, b):
        error = np.abs(got.astype(exact.dtype) - exact)
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error - bound)), error.shape)
        assert error[worst] <= bound[worst], (
            f"{name} of {a.shape} and {b.shape} at {worst}: {got[worst]!r}, exactly {exact[worst]!r}, "
            f"error {float(error[worst]):.3g}, allowed {float(bound[worst]):.3g}"
        )
        relative.append((error / np.maximum(size, np.finfo(a.dtype).tiny)).astype(np.float64))
    if root_bound and exact.size >= 40:  # errors that do not conspire grow as the root of the depth
        assert np.sqrt(np.mean(np.square(relative))) <= root_bound


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
def test_error_of_products(data, dtype, depth):
    for a, b, exact, bound, size in cases(data, dtype, depth):
        if data is not denormal:
            assert_meaningful(exact)
        for isa in ISAS:
            with use_isa(isa):
                root_bound = 2 * np.sqrt(depth) * np.finfo(dtype).eps / 2 if data is random else 0
                check(a, b, exact, bound, size, root_bound)
