"""Element-wise kernels against their twins: accuracy, special values, any size, any position."""

import numpy as np
import pytest
from compare import assert_ulp, assert_within, same_bits
from reference import activations, elementwise
from reference.precision import wider_than

from fastnn import _native, kernels

ACTIVATIONS = [row["name"] for row in _native.list_rows("activations")]
ELEMENTWISE = [row["name"] for row in _native.list_rows("elementwise")]
BINARY = [row["name"] for row in _native.list_rows("binary")]
COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal"}
# correctly rounded unless listed
ULP = {"exp": 2, "log": 2, "leaky_relu": 1.5} | dict.fromkeys(
    "expm1 log1p erf sigmoid tanh elu selu celu softplus softsign gelu gelu_tanh silu mish".split()
    + ["hardsigmoid", "hardswish"],
    3,
)
SATURATE = "relu shifted_relu hardtanh hardsigmoid hardswish sigmoid tanh elu gelu mish".split()
# the derivative's error in units of eps: within one, but for the long formulas
SLOPE_EPS = dict.fromkeys("softsign gelu gelu_tanh silu mish".split(), 1.5)
GATES = ("gelu", "gelu_tanh", "silu", "mish", "hardswish")
SIZES = [*range(0, 36), 47, 63, 64, 65, 100, 127, 128, 129, 130]


def twin(name):
    return getattr(activations, name, None) or getattr(elementwise, name)


def spread(rng, dtype, n, low=-30, high=30):
    """Both signs, magnitudes over many powers of two: every branch of a range reduction is visited."""
    x = rng.choice([-1.0, 1.0], n) * np.exp2(rng.uniform(low, high, n))
    return x.astype(dtype)


def inputs(name, rng, dtype, n=4000):
    info = np.finfo(dtype)
    if name in ("log", "log1p", "sqrt"):
        wide = np.abs(spread(rng, dtype, n, info.minexp - 10, info.maxexp - 1))
        near_one = (1 + rng.uniform(-0.3, 0.4, n)).astype(dtype)
        return np.concatenate([wide, near_one])
    if ULP.get(name, 0) and name not in ("leaky_relu", "softsign", "hardsigmoid", "hardswish"):
        limit = 90 if dtype == np.float32 else 710
        return np.concatenate([spread(rng, dtype, n, -30, 9), rng.uniform(-limit, limit, n).astype(dtype)])
    if name in ("square", "reciprocal"):
        return spread(rng, dtype, n, -60, 60)
    return spread(rng, dtype, n)


def limit(name, dtype):
    """ULP; the twin's own error counts where exp magnifies the rounding of its long double argument."""
    return ULP.get(name, 0.5001) + (name in ("gelu", "gelu_tanh") and dtype == np.float64)


def exact_of(name, x):
    with np.errstate(all="ignore"):
        return twin(name)(x.astype(wider_than(x.dtype)))


@pytest.mark.parametrize("name", ACTIVATIONS + ELEMENTWISE)
def test_accuracy(name, dtype, isa, rng):
    x = inputs(name, rng, dtype)
    assert_ulp(getattr(kernels, name)(x), exact_of(name, x), limit(name, dtype))


UNDERFLOW = {"gelu": ((-14.1, -13.2), (-38.4, -37.8)), "gelu_tanh": ((-10.6, -10.15), (-21.5, -21.2))}


@pytest.mark.parametrize("name", ["exp", "sigmoid", "softplus", "silu", "mish", "gelu", "gelu_tanh"])
def test_gradual_underflow(name, isa, dtype, rng):
    ordinary = ((-103.9, -92.1), (-745.1, -715.5))
    low, high = UNDERFLOW.get(name, ordinary)[dtype == np.float64]
    x = rng.uniform(low, high, 500).astype(dtype)
    got = getattr(kernels, name)(x)
    assert np.count_nonzero(got) > 400
    assert np.all(np.abs(got) < np.finfo(dtype).smallest_normal)
    assert_ulp(got, exact_of(name, x), limit(name, dtype))


@pytest.mark.parametrize("name", ACTIVATIONS + ELEMENTWISE)
def test_special_values(name, dtype, isa):
    info = np.finfo(dtype)
    x = np.array(
        [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, -info.max]
        + [info.smallest_normal, -info.smallest_normal, info.smallest_subnormal, -info.smallest_subnormal, 88.8, 710.0],
        dtype,
    )
    got, exact = getattr(kernels, name)(x), exact_of(name, x)
    assert np.array_equal(np.isnan(got), np.isnan(exact)), (x, got, exact)
    assert_ulp(got, exact, ULP.get(name, 0.5001), sparse=True)


@pytest.mark.parametrize("name", ["tanh", "identity", "negative", "sign", "erf", "softsign"])
def test_odd_functions_are_odd_bit_for_bit(name, dtype, isa, rng):
    x = inputs(name, rng, dtype, 500)
    f = getattr(kernels, name)
    assert same_bits(f(-x), -f(x))


def test_ranges(dtype, isa):
    x = np.concatenate([np.linspace(-1000, 1000, 4001), np.linspace(-20, 20, 4001)]).astype(dtype)
    assert np.all(np.abs(kernels.tanh(x)) <= 1)
    sigmoid = kernels.sigmoid(x)
    assert np.all((sigmoid >= 0) & (sigmoid <= 1))
    assert np.all(np.abs(kernels.erf(x)) <= 1)
    assert np.all(np.abs(kernels.softsign(x)) <= 1)
    assert np.all((kernels.elu(x) >= -1) & (kernels.hardsigmoid(x) >= 0) & (kernels.hardsigmoid(x) <= 1))
    assert np.all(kernels.exp(np.zeros(5, dtype)) == 1)
    assert np.all(kernels.log(np.ones(5, dtype)) == 0)


@pytest.mark.parametrize("name", ACTIVATIONS + ELEMENTWISE)
def test_a_value_does_not_depend_on_its_position(name, isa, dtype, rng):
    f = getattr(kernels, name)
    x = inputs(name, rng, dtype, 65)
    whole = f(x)
    assert same_bits(np.concatenate([f(x[i : i + 1]) for i in range(len(x))]), whole)
    for n in SIZES:
        assert same_bits(f(x[:n]), whole[:n]), n
    assert same_bits(f(x[::-1].copy())[::-1], whole)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward(name, dtype, isa, rng):
    x = inputs(name, rng, dtype, 1000)
    grad = rng.standard_normal(x.size).astype(dtype)
    exact = grad.astype(wider_than(dtype)) * exact_of(name + "_derivative", x)
    # the derivative within 1 eps (or as listed), the product rounded
    bound = (SLOPE_EPS.get(name, 1) + 0.5) * np.finfo(dtype).eps * np.abs(grad) + np.finfo(dtype).smallest_subnormal
    if name == "selu":
        bound = 2 * bound
    got = getattr(kernels, name + "_backward")(grad, x)
    assert_within(got, exact, bound, sparse=True)
    whole = got.copy()
    for n in SIZES:
        assert same_bits(getattr(kernels, name + "_backward")(grad[:n], x[:n]), whole[:n])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_twins_against_finite_differences(name, rng):
    x = rng.uniform(-3, 3, 200)
    x = x[(np.abs(x) > 1e-3) & (np.abs(np.abs(x) - 1) > 1e-3)]  # the kinks
    h = 1e-5
    differences = (twin(name)(x + h) - twin(name)(x - h)) / (2 * h)
    np.testing.assert_allclose(twin(name + "_derivative")(x), differences, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_passes_where_the_derivative_is_zero(name, dtype, isa):
    x = np.concatenate([np.linspace(-800, 800, 1601), [np.inf, -np.inf]]).astype(dtype)
    backward = getattr(kernels, name + "_backward")
    dead = backward(np.ones_like(x), x) == 0
    for grad in (np.inf, -np.inf, np.nan):
        got = backward(np.full_like(x, grad), x)
        assert np.all(got[dead] == 0)
        assert not np.any(np.isfinite(got[~dead]))
    if name in SATURATE:
        assert np.any(dead)


@pytest.mark.parametrize("name", GATES)
def test_gates_have_their_limits(name, dtype, isa):
    info = np.finfo(dtype)
    x = np.array([-np.inf, -info.max, -1e4, np.inf, info.max, 1e4], dtype)
    got = getattr(kernels, name)(x)
    assert np.array_equal(got[:3], np.zeros(3))
    assert np.array_equal(got[3:], x[3:])
    slope = getattr(kernels, name + "_backward")(np.ones_like(x), x)
    assert np.array_equal(slope, [0, 0, 0, 1, 1, 1])


PARAMETERS = {
    "leaky_relu": [(0.3,), (0.0,), (-0.5,)],
    "shifted_relu": [(0.0,), (2.5,)],
    "elu": [(0.5,), (2.0,)],
    "celu": [(0.5,), (3.0,)],
    "softplus": [(2.0, 20.0), (0.5, 4.0)],
    "hardtanh": [(-2.0, 0.5), (0.0, 6.0)],
}


def test_every_parameter_is_tested():
    assert {row["name"] for row in _native.list_rows("activations") if row["params"]} == set(PARAMETERS)


@pytest.mark.parametrize(("name", "values"), [(name, v) for name, several in PARAMETERS.items() for v in several])
def test_parameters(name, values, dtype, isa, rng):
    x = rng.uniform(-8, 8, 1000).astype(dtype)
    wide = x.astype(wider_than(dtype))
    info = np.finfo(dtype)
    exact = twin(name)(wide, *values)
    assert_within(getattr(kernels, name)(x, *values), exact, 4 * info.eps * np.abs(exact), sparse=True)
    exact = twin(name + "_derivative")(wide, *values)
    got = getattr(kernels, name + "_backward")(np.ones_like(x), x, *values)
    assert_within(got, exact, 4 * info.eps * np.maximum(np.abs(exact), 1), sparse=True)
    names = next(row["params"] for row in _native.list_rows("activations") if row["name"] == name)
    again = getattr(kernels, name)(x, **dict(zip(names, values, strict=True)))
    assert same_bits(again, getattr(kernels, name)(x, *values))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 1), (5, 7)])
def test_prelu_backward(shape, dtype, isa, rng):
    x, grad = rng.standard_normal((4, 5, 7)).astype(dtype), rng.standard_normal((4, 5, 7)).astype(dtype)
    weight = rng.standard_normal(shape).astype(dtype)
    dx, dweight = kernels.prelu_backward(grad, x, weight)
    np.testing.assert_allclose(dx, np.where(x > 0, grad, grad * weight), rtol=1e-6)
    full = np.where(x > 0, 0, grad * x).astype(np.float64)
    extra = x.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1))
    expected = full.sum(axis=axes, keepdims=True).reshape(shape)
    assert dweight.shape == shape and dweight.dtype == dtype
    np.testing.assert_allclose(dweight, expected, rtol=1e-4, atol=1e-5)
    out = np.empty_like(x)
    assert kernels.prelu_backward(grad, x, weight, out=out)[0] is out
    with pytest.raises(ValueError, match="does not broadcast"):
        kernels.prelu_backward(grad, x, np.ones(3, dtype))


@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype, isa, rng):
    a, b = spread(rng, dtype, 3000), spread(rng, dtype, 3000)
    a[::7] = b[::7]
    exact = getattr(elementwise, name)(a.astype(wider_than(dtype)), b.astype(wider_than(dtype)))
    got = getattr(kernels, name)(a, b)
    assert_ulp(got, exact, 0.5001, sparse=name == "equal")
    for n in SIZES:
        assert same_bits(getattr(kernels, name)(a[:n], b[:n]), got[:n])


@pytest.mark.parametrize("name", BINARY)
def test_binary_special_values(name, dtype, isa):
    special = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan, 1e-310, 5.0], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        exact = getattr(elementwise, name)(a, b)
    got = getattr(kernels, name)(a, b)
    assert np.array_equal(np.isnan(got), np.isnan(exact))
    assert np.array_equal(got[~np.isnan(exact)], exact[~np.isnan(exact)].astype(dtype))


SHAPES = [
    ((5, 7), (5, 7)),
    ((5, 7), (7,)),
    ((5, 7), (5, 1)),
    ((5, 1), (1, 7)),
    ((5, 7), ()),
    ((), (5, 7)),
    ((3, 5, 7), (5, 7)),
    ((3, 5, 7), (3, 1, 7)),
    ((3, 5, 7), (3, 5, 1)),
    ((1, 1), (4,)),
    ((0, 7), (7,)),
    ((4, 0), (4, 1)),
    ((), ()),
    ((130,), (1,)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_broadcasting(left, right, dtype, isa, rng):
    a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
    for first, second in ((a, b), (b, a)):
        got = kernels.subtract(first, second)
        assert got.dtype == dtype
        assert np.array_equal(got, first - second)
        assert got.shape == (first - second).shape
        mask = first > second
        assert np.array_equal(kernels.where(mask, first, second), np.where(mask, first, second))


def test_where_counts_nan_as_true(dtype, isa):
    mask = np.array([np.nan, 0.0, -0.0, 1e-320, 2.0, -1.0] * 5, dtype)
    got = kernels.where(mask, np.ones(30, dtype), np.zeros(30, dtype))
    assert np.array_equal(got, (mask != 0).astype(dtype))


def test_python_numbers_follow_the_array():
    x = np.linspace(0, 1, 5)
    for value in (2, 2.0, True, [2.0]):
        assert kernels.add(x, value).dtype == np.float64
        assert kernels.add(x.astype(np.float32), value).dtype == np.float32
    assert kernels.add(1, 2.5).dtype == np.float32
    assert kernels.add(1, 2.5) == 3.5
