"""Random expressions over layouts and broadcasting: NumPy's values, and gradients against differences."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F


def random_shape(rng, size):
    """Three sizes whose product is `size`."""
    sizes = []
    for _ in range(int(rng.integers(1, 4))):
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        sizes.append(int(rng.choice(divisors)))
        size //= sizes[-1]
    return (*sizes, size)


def shape_step(rng, x):
    """A function that moves, picks or joins elements, for values shaped like x."""
    kind = rng.integers(0, 6)
    if kind == 0:
        axes = tuple(int(a) for a in rng.permutation(x.ndim))
        return lambda x: F.transpose(x, axes)
    if kind == 1:
        shape = random_shape(rng, x.size)
        return lambda x: F.reshape(x, shape)
    if kind == 2:
        index = tuple(random_index(rng, n) for n in x.shape)
        return lambda x: x[index]
    if kind == 3 and x.ndim < 4:
        shape = (int(rng.integers(1, 3)), *x.shape)
        return lambda x: F.broadcast_to(x, shape)
    axis = int(rng.integers(0, max(x.ndim, 1)))
    if kind == 4 and x.ndim:
        return lambda x: F.concatenate([x, x * 2.0, x], axis=axis)
    return lambda x: F.stack([x, -x], axis=axis) if x.ndim < 4 else x


def random_index(rng, n):
    step = int(rng.choice([1, 1, 2, -1]))
    kind = rng.integers(0, 4)
    if kind == 0 and n:
        return int(rng.integers(-n, n))
    start = int(rng.integers(0, max(n - 1, 1)))
    return slice(start, None) if kind == 1 else slice(None, None, step)


def value_step(rng, x):
    """A function that computes, for values shaped like x."""
    kind = rng.integers(0, 6)
    if kind == 0:
        return lambda x: F.tanh(x)
    if kind == 1:
        shape = tuple(n if rng.random() < 0.6 else 1 for n in x.shape)
        other = rng.normal(size=shape[int(rng.integers(0, len(shape) + 1)) :])
        return lambda x: x * other + 0.5
    if kind == 2 and x.ndim:
        axes = tuple(int(a) for a in rng.permutation(x.ndim)[: int(rng.integers(1, x.ndim + 1))])
        keep = bool(rng.integers(0, 2))
        reduce = [F.sum, F.mean][int(rng.integers(0, 2))]
        return lambda x: reduce(x, axes, keepdims=keep)
    if kind == 3 and x.ndim:
        matrix = rng.normal(size=(x.shape[-1], 3))
        return lambda x: x @ matrix
    if kind == 4 and x.ndim:
        axis = int(rng.integers(0, x.ndim))
        return lambda x: F.softmax(x, axis=axis)
    return lambda x: x - F.mean(x, axis=0, keepdims=True) if x.ndim and x.shape[0] else x


def random_expression(rng):
    x = rng.normal(size=tuple(int(n) for n in rng.integers(1, 5, size=int(rng.integers(1, 4)))))
    value, chain = x, []
    for _ in range(int(rng.integers(2, 8))):
        step = (shape_step if rng.random() < 0.6 else value_step)(rng, np.asarray(value))
        fresh = step(value)
        if np.size(fresh) > 400 or np.size(fresh) == 0:
            continue
        chain.append(step)
        value = fresh

    def function(x):
        for step in chain:
            x = step(x)
        return x

    return function, x, value


@pytest.mark.parametrize("seed", range(120))
def test_random_expressions(seed):
    rng = np.random.default_rng(seed)
    function, x, expected = random_expression(rng)
    y = fastnn.compile(function, x)(x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    direction = rng.normal(size=np.shape(y))
    v = rng.normal(size=x.shape)
    _, pullback = fastnn.vjp(function, x)
    (gradient,) = pullback(direction)
    _, tangent = fastnn.jvp(function, x, v)
    np.testing.assert_allclose(np.vdot(gradient, v), np.vdot(direction, tangent), rtol=1e-9, atol=1e-11)
    h = 1e-5
    difference = (function(x + h * v) - function(x - h * v)) / (2 * h)
    np.testing.assert_allclose(tangent, difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", range(60))
def test_random_expressions_per_row(seed):
    """The same chains on rows of a batch: symbolic rows (chunked or not) against the whole array."""
    rng = np.random.default_rng(1000 + seed)
    function, x, _ = random_expression(rng)
    batch = rng.normal(size=(300, *x.shape))

    def forward(batch):
        size = int(np.prod(x.shape))
        flat = batch.reshape(batch.shape[0], size)
        scaled = F.tanh(flat * 2.0) + F.sum(flat, axis=1, keepdims=True)
        return scaled * F.reshape(function(x), (-1,))[0] + F.mean(flat, axis=0)

    from fastnn import graph

    model = graph.build_inference(forward, [(x.shape, np.dtype(float))], "float64")
    np.testing.assert_allclose(model.run((batch,)), forward(batch), rtol=1e-11, atol=1e-12)
