"""Layer normalisation along the last axis (Ba, Kiros & Hinton 2016), biased variance.

Backward with g = grad weight and xhat the normalised rows: dx = (g - mean g - xhat mean(g xhat)) / sqrt(var + eps),
dweight = sum over rows of grad xhat, dbias = sum of grad.
"""

import numpy as np

from .precision import wide


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    x = wide(x)
    mean = x.mean(axis=-1)
    var = ((x - mean[:, None]) ** 2).mean(axis=-1)
    y = (x - mean[:, None]) / np.sqrt(var + eps)[:, None]
    if weight is not None:
        y = y * wide(weight)
    return (y if bias is None else y + wide(bias)), mean, var


def layer_norm_backward(grad, x, weight=None, eps=1e-5):
    grad = wide(grad)
    normal, _, var = layer_norm(x, eps=eps)
    g = grad if weight is None else grad * wide(weight)
    centred = g - g.mean(axis=-1, keepdims=True) - normal * (g * normal).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(var + eps)[:, None], (grad * normal).sum(axis=0), grad.sum(axis=0)
