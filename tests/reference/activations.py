"""Activations: y = f(x) and the derivative f'(x), one entry per row of activations.def.

identity  x
relu      max(x, 0), derivative 0 at 0 (Nair & Hinton 2010); NaN stays NaN
sigmoid   1 / (1 + exp(-x)), derivative s (1 - s) = s(x) s(-x), which does not cancel for large |x|
tanh      derivative 1 - tanh(x)^2 = 4 s(2x) s(-2x)
gelu      x Phi(x) with Phi(x) = erfc(-x / sqrt(2)) / 2 from a continued fraction or series, see ``erfc``
others    as their rows and the papers named there say; products x * gate(x) have their limit at -infinity
"""

import numpy as np

from .precision import wide

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
DEEP = 1e4  # x * gate(x) is 0 from -DEEP down, whatever infinity times 0 would be


def identity(x):
    return wide(x)


def identity_derivative(x):
    return np.ones_like(wide(x))


def relu(x):
    x = wide(x)
    return np.where(x < 0, 0, x)


def relu_derivative(x):
    x = wide(x)
    return (x > 0).astype(x.dtype)


def sigmoid(x):
    x = wide(x)
    small = np.exp(-np.abs(x))  # in (0, 1]: neither branch overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def sigmoid_derivative(x):
    return sigmoid(x) * sigmoid(-wide(x))


def tanh(x):
    return np.tanh(wide(x))


def tanh_derivative(x):
    x = wide(x)
    return 4 * sigmoid(2 * x) * sigmoid(-2 * x)


def leaky_relu(x, negative_slope=0.01):
    x = wide(x)
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_derivative(x, negative_slope=0.01):
    x = wide(x)
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))


def shifted_relu(x, shift=1.0):
    return np.maximum(wide(x), -shift)


def shifted_relu_derivative(x, shift=1.0):
    x = wide(x)
    return (x > -shift).astype(x.dtype)


def elu(x, alpha=1.0):
    x = wide(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_derivative(x, alpha=1.0):
    x = wide(x)
    return np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def selu(x):
    x = wide(x)
    return x.dtype.type(SELU_SCALE) * elu(x, x.dtype.type(SELU_ALPHA))


def selu_derivative(x):
    x = wide(x)
    return x.dtype.type(SELU_SCALE) * elu_derivative(x, x.dtype.type(SELU_ALPHA))


def celu(x, alpha=1.0):
    x = wide(x)
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(np.minimum(x, 0) / alpha), 0)


def celu_derivative(x, alpha=1.0):
    x = wide(x)
    return np.where(x > 0, 1, np.exp(np.minimum(x, 0) / alpha))


def softplus(x, beta=1.0, threshold=20.0):
    x = wide(x)
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def softplus_derivative(x, beta=1.0, threshold=20.0):
    x = wide(x)
    return np.where(beta * x > threshold, 1, sigmoid(beta * x))


def softsign(x):
    x = wide(x)
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def softsign_derivative(x):
    return (1 / (1 + np.abs(wide(x)))) ** 2


def _erf_series(x):
    """erf below 2 (Abramowitz & Stegun 7.1.6: all terms positive)."""
    term = total = 2 / np.sqrt(np.arccos(x.dtype.type(-1))) * x * np.exp(-x * x)
    for k in range(1, 90):
        term = term * 2 * x * x / (2 * k + 1)
        total = total + term
    return total


def _erfc_fraction(x):
    """1 - erf above 2 (Abramowitz & Stegun 7.1.14)."""
    tail = x * 0
    for k in range(200, 0, -1):
        tail = (x.dtype.type(k) / 2) / (x + tail)
    return np.exp(-x * x) / (x + tail) / np.sqrt(np.arccos(x.dtype.type(-1)))


def erfc(x):
    """1 - erf(x), x >= 0, without cancellation where it is small."""
    x = wide(x)
    return np.where(x < 2, 1 - _erf_series(np.minimum(x, 2)), _erfc_fraction(np.clip(x, 2, DEEP)))


def erf(x):
    x = wide(x)
    a = np.abs(x)
    return np.copysign(np.where(a < 2, _erf_series(np.minimum(a, 2)), 1 - _erfc_fraction(np.clip(a, 2, DEEP))), x)


def normal(x):
    """The distribution function of the standard normal law."""
    x = wide(x)
    upper = erfc(np.minimum(np.abs(x), DEEP) / np.sqrt(x.dtype.type(2))) / 2
    return np.where(x < 0, upper, 1 - upper)


def gated(x, gate):
    """x * gate, 0 where x is far below 0."""
    return np.maximum(wide(x), -DEEP) * gate


def gelu(x):
    return gated(x, normal(x))


def gelu_derivative(x):
    x = np.clip(wide(x), -DEEP, DEEP)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.arccos(x.dtype.type(-1)))
    return normal(x) + x * density


def gelu_tanh(x):
    x = wide(x)
    c = np.sqrt(2 / np.arccos(x.dtype.type(-1)))
    inner = np.clip(x, -DEEP, DEEP)
    return gated(x, sigmoid(2 * c * (inner + x.dtype.type("0.044715") * inner**3)))


def gelu_tanh_derivative(x):
    x = np.clip(wide(x), -DEEP, DEEP)
    k = 2 * np.sqrt(2 / np.arccos(x.dtype.type(-1)))
    v = k * (x + x.dtype.type("0.044715") * x**3)
    return sigmoid(v) + x * k * (1 + 3 * x.dtype.type("0.044715") * x * x) * sigmoid(v) * sigmoid(-v)


def silu(x):
    return gated(x, sigmoid(x))


def silu_derivative(x):
    x = np.clip(wide(x), -DEEP, DEEP)
    return sigmoid(x) * (1 + x * sigmoid(-x))


def mish(x):
    return gated(x, np.tanh(np.logaddexp(0, wide(x))))


def mish_derivative(x):
    x = np.clip(wide(x), -DEEP, DEEP)
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t * t) * sigmoid(x)


def hardtanh(x, min_val=-1.0, max_val=1.0):
    return np.minimum(np.maximum(wide(x), min_val), max_val)


def hardtanh_derivative(x, min_val=-1.0, max_val=1.0):
    x = wide(x)
    return ((x > min_val) & (x < max_val)).astype(x.dtype)


def hardsigmoid(x):
    return np.clip(wide(x) + 3, 0, 6) / 6


def hardsigmoid_derivative(x):
    x = wide(x)
    return ((x > -3) & (x < 3)).astype(x.dtype) / 6


def hardswish(x):
    return gated(x, hardsigmoid(x))


def hardswish_derivative(x):
    x = wide(x)
    return np.where(x <= -3, 0, np.where(x > 3, 1, x / 3 + 0.5))
