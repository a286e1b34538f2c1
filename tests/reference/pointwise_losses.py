"""Losses that compare x with target t element by element: one function and its derivative per row of losses.def.

mse                    (x - t)^2
mae                    |x - t|
huber                  (x - t)^2 / 2 where |x - t| <= delta, else delta (|x - t| - delta / 2)           Huber 1964
smooth_l1              (x - t)^2 / (2 beta) where |x - t| < beta, else |x - t| - beta / 2    Girshick 2015, equation 3
quantile               q (t - x) where x < t, else (1 - q) (x - t)                              Koenker & Bassett 1978
poisson                exp(x) - t x, or x - t log(x + eps); full: + t log t - t + log(2 pi t) / 2 where t > 1
hinge                  max(0, 1 - t x)                                                            Cortes & Vapnik 1995
squared_hinge          max(0, 1 - t x)^2                                                         Tang 2013, equation 6
sigmoid_cross_entropy  -(w t log sigmoid(x) + (1 - t) log(1 - sigmoid(x)))
binary_cross_entropy   -(t max(log x, -100) + (1 - t) max(log(1 - x), -100)), derivative (x - t) / max(x (1 - x), 1e-12)
                       (PyTorch's clamps)

At a corner the derivative is 0. ``reduce`` adds the reductions: none (per element), sum, or mean (divided by rows *
columns, or by sum(s) * columns with sample weights s; a zero divisor gives 0). A sample weight multiplies every element
of its row.
"""

import numpy as np

from .precision import wide


def mse(x, target):
    return (wide(x) - wide(target)) ** 2


def mse_derivative(x, target):
    return 2 * (wide(x) - wide(target))


def mae(x, target):
    return np.abs(wide(x) - wide(target))


def mae_derivative(x, target):
    return np.sign(wide(x) - wide(target))


def huber(x, target, delta=1.0):
    d, delta = np.abs(wide(x) - wide(target)), wide(delta)
    return np.where(d > delta, delta * d - delta**2 / 2, d**2 / 2)


def huber_derivative(x, target, delta=1.0):
    d = wide(x) - wide(target)
    return np.clip(d, -wide(delta), wide(delta))


def smooth_l1(x, target, beta=1.0):
    d, beta = np.abs(wide(x) - wide(target)), wide(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(d < beta, d**2 / (2 * beta), d - beta / 2)


def smooth_l1_derivative(x, target, beta=1.0):
    d, beta = wide(x) - wide(target), wide(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(d) < beta, d / beta, np.sign(d))


def quantile(x, target, q=0.5):
    d, q = wide(x) - wide(target), wide(q)
    return np.where(d < 0, -q * d, (1 - q) * d)


def quantile_derivative(x, target, q=0.5):
    d, q = wide(x) - wide(target), wide(q)
    return np.where(d < 0, -q, (1 - q) * np.sign(d))


def poisson(x, target, log_input=True, full=False, eps=1e-8):
    x, t = wide(x), wide(target)
    value = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        large = np.where(t > 1, t, 2)
        value = value + np.where(t > 1, large * np.log(large) - large + np.log(2 * np.pi * large) / 2, 0)
    return value


def poisson_derivative(x, target, log_input=True, full=False, eps=1e-8):
    x, t = wide(x), wide(target)
    return np.exp(x) - t if log_input else 1 - t / (x + eps)


def hinge(x, target):
    return np.maximum(1 - wide(target) * wide(x), 0)


def hinge_derivative(x, target):
    return np.heaviside(1 - wide(target) * wide(x), 0) * -wide(target)


def squared_hinge(x, target):
    return np.maximum(1 - wide(target) * wide(x), 0) ** 2


def squared_hinge_derivative(x, target):
    return -2 * wide(target) * np.maximum(1 - wide(target) * wide(x), 0)


def sigmoid_cross_entropy(x, target, pos_weight=1.0):
    x, t, w = wide(x), wide(target), wide(pos_weight)
    return w * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)


def sigmoid_cross_entropy_derivative(x, target, pos_weight=1.0):
    x, t, w = wide(x), wide(target), wide(pos_weight)
    with np.errstate(over="ignore"):
        return (1 - t) / (1 + np.exp(-x)) - w * t / (1 + np.exp(x))


def binary_cross_entropy(x, target):
    x, t = wide(x), wide(target)
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100))


def binary_cross_entropy_derivative(x, target):
    x, t = wide(x), wide(target)
    return (x - t) / np.maximum(x * (1 - x), 1e-12)


def reduce(name, x, target, sample_weight=None, reduction="mean", **parameters):
    """(loss, gradient with respect to x) of a 2-D x."""
    losses = globals()[name](x, target, **parameters)
    gradient = globals()[name + "_derivative"](x, target, **parameters)
    rows, columns = losses.shape
    samples = np.ones(rows) if sample_weight is None else wide(sample_weight)
    losses, gradient = samples[:, None] * losses, samples[:, None] * gradient
    if reduction == "none":
        return losses, gradient
    if reduction == "sum":
        return losses.sum(), gradient
    divisor = samples.sum() * columns
    if divisor == 0:
        return 0.0, np.zeros_like(gradient)
    return losses.sum() / divisor, gradient / divisor
