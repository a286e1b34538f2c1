"""Arithmetic, one entry per row of elementwise.def and binary.def, and where.

Comparisons give 1 or 0; a comparison with NaN is false. maximum and minimum give NaN if either operand is NaN
(IEEE 754-2019 maximum/minimum); sign keeps NaN and the sign of zero; heaviside is 1 where x > 0, else 0, NaN stays NaN.
"""

import numpy as np

from .activations import erf as erf
from .precision import wide


def negative(x):
    return -wide(x)


def absolute(x):
    return np.abs(wide(x))


def square(x):
    return wide(x) ** 2


def sqrt(x):
    return np.sqrt(wide(x))


def reciprocal(x):
    return 1 / wide(x)


def exp(x):
    return np.exp(wide(x))


def log(x):
    return np.log(wide(x))


def expm1(x):
    return np.expm1(wide(x))


def log1p(x):
    return np.log1p(wide(x))


def sign(x):
    return np.sign(wide(x))


def heaviside(x):
    x = wide(x)
    return np.where(np.isnan(x), x, x > 0)


def add(a, b):
    return wide(a) + wide(b)


def subtract(a, b):
    return wide(a) - wide(b)


def multiply(a, b):
    return wide(a) * wide(b)


def divide(a, b):
    return wide(a) / wide(b)


def maximum(a, b):
    return np.maximum(wide(a), wide(b))


def minimum(a, b):
    return np.minimum(wide(a), wide(b))


def greater(a, b):
    return np.where(wide(a) > wide(b), 1.0, 0.0)


def greater_equal(a, b):
    return np.where(wide(a) >= wide(b), 1.0, 0.0)


def less(a, b):
    return np.where(wide(a) < wide(b), 1.0, 0.0)


def less_equal(a, b):
    return np.where(wide(a) <= wide(b), 1.0, 0.0)


def equal(a, b):
    return np.where(wide(a) == wide(b), 1.0, 0.0)


def prelu(a, b):
    a = wide(a)
    return np.where(a > 0, a, wide(b) * a)


def where(mask, a, b):
    return np.where(np.asarray(mask) != 0, wide(a), wide(b))
