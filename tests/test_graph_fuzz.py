"""Random expressions over layouts and broadcasting: NumPy's values, and gradients against differences."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import graph


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


def batch_step(rng, x):
    """A step that keeps axis 0 as the batch, for values shaped like x."""
    tail, kind = x.shape[1:], rng.integers(0, 11)
    last = int(rng.integers(1, x.ndim)) if tail else 0
    if rng.random() < 0.15:
        joined = [lambda x: F.concatenate([x, -x]), lambda x: x[::-1] * x[-1], lambda x: F.concatenate([x[-2:], x])]
        return joined[int(rng.integers(0, 3))]
    if kind == 0:
        axes = (0, *(1 + int(a) for a in rng.permutation(len(tail))))
        return lambda x: F.transpose(x, axes)
    if kind == 1:
        shape = random_shape(rng, int(np.prod(tail)))
        return lambda x: F.reshape(x, (x.shape[0], *shape))
    if kind == 2:
        index = (slice(None), *(random_index(rng, n) for n in tail))
        return lambda x: x[index]
    if kind == 3 and tail:
        return lambda x: F.concatenate([x, x * 2.0], axis=last)
    if kind == 4 and x.ndim < 4:
        return lambda x: F.stack([x, F.tanh(x)], axis=1)
    if kind == 5 and tail:
        return lambda x: F.sum(x, axis=last, keepdims=bool(last % 2))
    if kind == 6 and tail:
        matrix = rng.normal(size=(tail[-1], 3))
        return lambda x: x @ matrix
    if kind == 7:
        other = rng.normal(size=tail)
        return lambda x: (x + other) / (1.0 + F.square(other))
    if kind == 8 and tail:
        return lambda x: F.softmax(x, axis=last)
    if kind == 9:
        return lambda x: x - F.mean(x, axis=0)
    return lambda x: x[1:] * F.tanh(x[:-1])


@pytest.mark.parametrize("seed", range(120))
def test_random_models(seed):
    """Chains on a batch: rows as a symbol, rows as a number, and eager must agree, at several numbers of rows."""
    rng = np.random.default_rng(seed)
    feature_shape = tuple(int(n) for n in rng.integers(1, 5, size=int(rng.integers(0, 3))))
    value, chain = rng.normal(size=(9, *feature_shape)), []
    for _ in range(int(rng.integers(2, 7))):
        step = batch_step(rng, value)
        fresh = step(value)
        if 0 < np.size(fresh) < 2000 and len(fresh) > 3:
            chain.append(step)
            value = fresh

    def forward(x):
        for step in chain:
            x = step(x)
        return x

    model = graph.build_inference(forward, [(feature_shape, np.dtype(float))], "float64")
    for rows in (9, 300):
        x = rng.normal(size=(rows, *feature_shape))
        expected = forward(x)
        np.testing.assert_allclose(model.run((x,)), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(fastnn.compile(forward)(x), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_random_training_programs(seed):
    """Gradients with symbolic rows, written into the arena, against the transforms with fixed shapes."""
    rng = np.random.default_rng(seed)
    value, chain = rng.normal(size=(9, 4)), []
    for _ in range(int(rng.integers(1, 6))):
        step = batch_step(rng, value)
        fresh = step(value)
        if 0 < np.size(fresh) < 2000 and len(fresh) > 3:
            chain.append(step)
            value = fresh
    weights = [rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(4, 4))]
    parameters = [graph.Parameter(w) for w in weights]

    def loss(x, w1, b, w2):
        h = F.linear(x, w1, b) @ w2 * b
        for step in chain:
            h = step(h)
        return F.mean(F.square(h)) + F.sum(w2 * w2) * 0.1

    program = graph.build_training(
        lambda x: x, lambda x, _: loss(x, *parameters), [((3,), np.dtype(float))], ((), np.dtype(np.int64)), "float64",
        capacity=30,
    )  # fmt: skip
    x, index = rng.normal(size=(50, 3)), rng.permutation(50)[:23]
    losses = np.zeros(1)
    data = {program.inputs["x0"]: x}
    program.run_steps(None, data, index, np.array([0, 23]), np.zeros((1, 1)), None, None, losses, None, 0.0, False)
    expected, gradients = fastnn.value_and_grad(lambda w1, b, w2: loss(x[index], w1, b, w2), (0, 1, 2))(*weights)
    np.testing.assert_allclose(losses[0], expected, rtol=1e-12)
    for parameter, view in program.gradients:
        k = next(i for i, p in enumerate(parameters) if p is parameter)
        found = graph.parameter.logical_view(view, parameter.shape)
        np.testing.assert_allclose(found, gradients[k], rtol=1e-9, atol=1e-12)
