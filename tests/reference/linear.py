"""Dense layer: z = x W^T + b, y = activation(z), with W (out, in) and x (rows, in).

With g = dJ/dz: dJ/dx = g W, dJ/dW = g^T x, dJ/db = the column sums of g.
Error model of a float product summed in any order: |error| <= K u sum_k |a_k b_k|, u = half a unit in the last place
of 1 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, equation 3.5); typical errors grow as sqrt(K).
"""

import numpy as np

from . import activations
from .precision import wide


def matmul(a, b):
    return wide(a) @ wide(b)


def linear(x, weight, bias=None, activation=None):
    z = wide(x) @ wide(weight).T
    if bias is not None:
        z = z + wide(bias)
    return z if activation is None else getattr(activations, activation)(z)


def linear_backward(grad, x, weight):
    grad, x, weight = wide(grad), wide(x), wide(weight)
    return grad @ weight, grad.T @ x, grad.sum(axis=0)


def product_bound(a, b, dtype, extra=2):
    """The bound on |fl(a @ b) - a @ b|, elementwise, with ``extra`` roundings for a bias and the store."""
    unit = np.finfo(dtype).eps / 2
    depth = np.shape(a)[-1]
    return (depth + extra) * unit * (np.abs(wide(a)) @ np.abs(wide(b)))
