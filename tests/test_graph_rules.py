"""Every op's vjp and jvp: against central differences in float64, against each other, and twice."""

import numpy as np
import pytest
from helpers.graph_cases import CASES

import fastnn
from fastnn import _native
from fastnn.graph.structure import flatten

NOT_SMOOTH_TWICE = ("stop_gradient",)


@pytest.mark.parametrize("name", CASES)
def test_vjp_against_differences(name):
    function, inputs, _ = CASES[name]
    if name == "stop_gradient":
        pytest.skip("its derivative is 0 by definition, not by calculus")
    report = fastnn.gradcheck(function, *inputs)
    assert report, report
    assert report.checked >= 0.9 * sum(np.size(x) for x in inputs) or "cross" not in name


@pytest.mark.parametrize("name", CASES)
def test_jvp_and_vjp_are_transposed(name):
    """<u, J v> from forward mode is <J' u, v> from reverse mode; J v is also the central difference along v."""
    function, inputs, _ = CASES[name]
    rng = np.random.default_rng(0)
    v = tuple(rng.normal(size=np.shape(x)) for x in inputs)
    y, dy = fastnn.jvp(function, inputs, v)
    u = rng.normal(size=np.shape(y))
    _, pullback = fastnn.vjp(function, *inputs)
    left = np.vdot(u, dy)
    right = sum(np.vdot(g, t) for g, t in zip(pullback(u), v, strict=True))
    assert abs(left - right) <= 1e-11 * (np.linalg.norm(u) * np.linalg.norm(dy) + 1e-3)
    if name in NOT_SMOOTH_TWICE or "greater" in name or name in ("sign", "heaviside"):
        return
    if "hinge" in name:  # targets other than -1 and 1 are refused
        v = (v[0], *(0 * t for t in v[1:]))
        _, dy = fastnn.jvp(function, inputs, v)
    h = 1e-6
    moved = [function_value(function, [x + s * h * t for x, t in zip(inputs, v, strict=True)]) for s in (1, -1)]
    np.testing.assert_allclose(dy, (moved[0] - moved[1]) / (2 * h), rtol=2e-6, atol=2e-8)


def function_value(function, inputs):
    return fastnn.compile(function, *inputs)(*inputs)


@pytest.mark.parametrize("name", [name for name, (_, _, twice) in CASES.items() if twice])
def test_second_derivatives(name):
    """The gradient of (a smooth function of) the gradient."""
    function, inputs, _ = CASES[name]

    def energy(*args):
        def scalar(*args):
            y = function(*args)
            return (y * weights(y.shape)).sum() + (y * y).sum()

        grads = flatten(fastnn.grad(scalar, tuple(range(len(args))))(*args))[0]
        total = 0.0
        for g in grads:
            total = total + (g * weights(g.shape)).sum()
        return total

    report = fastnn.gradcheck(energy, *inputs)
    assert report, report


def weights(shape):
    return np.random.default_rng(sum(shape) + 1).normal(size=shape)


@pytest.mark.parametrize("name", ["softmax", "cross_entropy mean", "batch_norm", "linear tanh", "matmul"])
def test_forward_over_reverse_is_reverse_over_reverse(name):
    """A Hessian-vector product has the same value in both orders of the modes."""
    function, inputs, _ = CASES[name]
    x = inputs[0]
    v = weights((*np.shape(x), 2))[..., 0]

    def scalar(x):
        y = function(x, *inputs[1:])
        return (y * y).sum()

    gradient = fastnn.grad(scalar)
    _, forward = fastnn.jvp(gradient, (x,), (v,))
    reverse = fastnn.grad(lambda x: (gradient(x) * v).sum())(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10, atol=1e-12)


def test_float32_agrees_with_float64():
    for name, (function, inputs, _) in CASES.items():
        if "python" in name:
            continue
        single = fastnn.compile(function)(*[np.float32(x) for x in inputs])
        double = fastnn.compile(function)(*inputs)
        assert single.dtype == np.float32 and double.dtype == np.float64, name
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5, err_msg=name)


def test_rules_are_closed():
    """Every op states its vjp, its jvp and how it becomes native ops; leaves have no inputs."""
    from fastnn.graph import rules
    from fastnn.graph.rules.base import Rule

    rules.recorder("add")
    assert len(rules.RULES) > 25
    for name, rule in rules.RULES.items():
        kind = type(rule)
        assert kind.lower is not Rule.lower or name == "python_op", name
        if name in ("input", "parameter", "constant", "memory", "size", "cast", "step_scalar", "stop_gradient"):
            continue
        if name == "weight_update":  # an effect behind all differentiation
            continue
        assert kind.vjp is not Rule.vjp and kind.jvp is not Rule.jvp, name


@pytest.mark.parametrize("row", _native.list_rows("activations"), ids=lambda row: row["name"])
def test_formulas_of_activations_are_readable(row, rng):
    """The C text of f and f', evaluated on tensors, is f and its derivative: so second derivatives can use it."""
    from fastnn.graph.rules import formula

    names = {f"p{i}": value for i, value in enumerate(row["defaults"])}
    x = rng.normal(size=20)

    def read(x, text):
        return formula.evaluate(text, {"x": x, **names}) + 0.0 * x

    expected, tangent = fastnn.jvp(getattr(fastnn.functional, row["name"]), x, np.ones_like(x))
    value = fastnn.compile(lambda x: read(x, row["forward"]))(x)
    slope = fastnn.compile(lambda x: read(x, row["derivative"]))(x)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, tangent, rtol=1e-12, atol=1e-14)


def test_unreadable_formulas_are_none():
    from fastnn.graph.rules import formula

    assert formula.evaluate("v_no_such_word(x)", {"x": 1.0}) is None
    assert formula.evaluate("", {}) is None
