"""Losses that compare x with target element by element, one entry per row of losses.def.

mse  (x - t)^2, derivative 2 (x - t)

``reduce`` adds the reductions: none (per element), sum, or mean (divided by rows * columns, or by sum(s) * columns with
sample weights s; a zero divisor gives 0). A sample weight multiplies every element of its row.
"""

import numpy as np

from .precision import wide


def mse(x, target):
    return (wide(x) - wide(target)) ** 2


def mse_derivative(x, target):
    return 2 * (wide(x) - wide(target))


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
