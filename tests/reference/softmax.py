"""Softmax p_j = exp(x_j - max x) / sum_k exp(x_k - max x) and log-softmax x_j - log sum_k exp x_k, along the last axis.

Backward, from the output: dx = p (g - sum g p) and dx = g - exp(y) sum g (Bridle 1990).
"""

import numpy as np

from .precision import wide


def log_softmax(x):
    x = wide(x)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(x):
    x = wide(x)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_backward(grad, x):
    grad, p = wide(grad), softmax(x)
    return p * (grad - (grad * p).sum(axis=-1, keepdims=True))


def log_softmax_backward(grad, x):
    grad = wide(grad)
    return grad - softmax(x) * grad.sum(axis=-1, keepdims=True)
