"""Activations: y = f(x) and the derivative f'(x), one entry per row of activations.def.

identity  x
relu      max(x, 0), derivative 0 at 0 (Nair & Hinton 2010); NaN stays NaN
sigmoid   1 / (1 + exp(-x)), derivative s (1 - s) = s(x) s(-x), which does not cancel for large |x|
tanh      derivative 1 - tanh(x)^2 = 4 s(2x) s(-2x)
"""

import numpy as np

from .precision import wide


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
