"""Batch normalisation over rows (Ioffe & Szegedy 2015): xhat = (x - mean) / sqrt(var + eps), y = weight xhat + bias.

var is the biased batch variance. Backward with g = dJ/dy: dweight = sum g xhat, dbias = sum g,
dx = weight / sqrt(var + eps) (g - dbias / rows - xhat dweight / rows).
"""

import numpy as np

from .precision import wide


def batch_norm(x, weight=None, bias=None, eps=1e-5):
    x = wide(x)
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    return batch_norm_inference(x, mean, var, weight, bias, eps), mean, var


def batch_norm_inference(x, mean, var, weight=None, bias=None, eps=1e-5):
    y = (wide(x) - wide(mean)) / np.sqrt(wide(var) + eps)
    if weight is not None:
        y = y * wide(weight)
    return y if bias is None else y + wide(bias)


def batch_norm_backward(grad, x, mean, var, weight=None, eps=1e-5):
    grad, x = wide(grad), wide(x)
    inverse = 1 / np.sqrt(wide(var) + eps)
    normal = (x - wide(mean)) * inverse
    dweight, dbias = (grad * normal).sum(axis=0), grad.sum(axis=0)
    scale = inverse if weight is None else inverse * wide(weight)
    rows = len(x)
    return scale * (grad - dbias / rows - normal * dweight / rows), dweight, dbias
