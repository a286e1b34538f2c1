"""Layer normalisation along the last axis: forward and backward."""

import numpy as np

from fastnn import _native

from ._arrays import FLOAT64, finish, outputs, plain_array, reals, row_stride, rows_of, vector

_run_op = _native.run_op


def layer_norm(x, weight=None, bias=None, *, eps=1e-5, out=None):
    """Normalise each row by its own statistics: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    x : array_like, shape (rows, features)
    weight, bias : array_like, shape (features,), optional
        Scale and shift; None means 1 and 0.
    eps : float, default 1e-5
    out : tuple (y, mean, var) of ndarray or None, optional
        Where to write; the array for ``y`` may be ``x`` itself.

    Returns
    -------
    y : ndarray, shape (rows, features)
    mean, var : ndarray, shape (rows,)
        Mean and biased variance of each row, computed in double and rounded to the dtype of ``x``: in float32 a
        variance is infinite for deviations above 1.8e19 and 0 below 1e-23.

    Raises
    ------
    ValueError
        For wrong shapes or a negative `eps`.

    Notes
    -----
    Ba, Kiros & Hinton 2016. The mean is taken twice, the second time of what is left, so that a mean of 1e4 deviations
    costs nothing. ``y`` is right for deviations of any size as long as ``1 / sqrt(var + eps)`` fits the dtype.
    """
    results = _native.layer_norm(x, weight, bias, eps, out)
    if results is not None:
        return results
    (x, weight, bias), dtype, code = reals(("x", "weight?", "bias?"), x, weight, bias)
    rows, features = _check(x)
    weight, bias = vector("weight", weight, features, "feature"), vector("bias", bias, features, "feature")
    eps = _check_eps(eps)
    (y, mean, var), given = outputs(out, (x.shape, (rows,), (rows,)), dtype, (x, weight, bias), ("y", "mean", "var"))
    exact = np.zeros((2, rows))
    if x.size:
        x, x_row = rows_of(x)
        arrays = (x, weight, bias, y, exact[0], exact[1])
        _run_op("layer_norm", arrays, (rows, features, x_row, row_stride(y)), (eps,), code)
    mean[...] = exact[0]
    var[...] = exact[1]
    return finish(given[0], y), finish(given[1], mean), finish(given[2], var)


def layer_norm_backward(grad, x, mean, var, weight=None, *, eps=1e-5, out=None):
    """Gradients of :func:`layer_norm`.

    Parameters
    ----------
    grad, x : array_like, shape (rows, features)
        Gradient with respect to ``y``; the forward input.
    mean, var : array_like, shape (rows,)
        What :func:`layer_norm` returned. Statistics kept in float64 are used as they are, which is needed where the
        variance does not fit float32.
    weight : array_like, shape (features,), optional
    eps : float, default 1e-5
    out : tuple (dx, dweight, dbias) of ndarray or None, optional

    Returns
    -------
    dx : ndarray, shape (rows, features)
    dweight, dbias : ndarray, shape (features,)

    Notes
    -----
    With xhat = (x - mean) / sqrt(var + eps) and g = grad * weight: ``dx = (g - mean(g) - xhat * mean(g * xhat)) /
    sqrt(var + eps)`` along rows, ``dweight = sum(grad * xhat)`` and ``dbias = sum(grad)`` over rows.
    """
    results = _native.layer_norm_backward(grad, x, mean, var, weight, eps, out)
    if results is not None:
        return results
    (grad, x, weight), dtype, code = reals(("grad", "x", "weight?"), grad, x, weight)
    rows, features = _check(x)
    if grad.shape != x.shape:
        raise ValueError(f"grad has shape {grad.shape} but x has {x.shape}")
    weight = vector("weight", weight, features, "feature")
    mean, var = (
        vector(name, plain_array(name, v).astype(FLOAT64), rows, "row") for name, v in (("mean", mean), ("var", var))
    )
    eps = _check_eps(eps)
    shapes = (x.shape, (features,), (features,))
    (dx, dweight, dbias), given = outputs(out, shapes, dtype, (grad, x, weight), ("dx", "dweight", "dbias"), True)
    if x.size:
        (grad, grad_row), (x, x_row) = rows_of(grad), rows_of(x)
        arrays = (grad, x, mean, var, weight, dx, dweight, dbias)
        _run_op("layer_norm_backward", arrays, (rows, features, grad_row, x_row, features), (eps,), code)
    else:
        dweight.fill(0)
        dbias.fill(0)
    return finish(given[0], dx), finish(given[1], dweight), finish(given[2], dbias)


def _check(x):
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}: expected (rows, features)")
    return x.shape


def _check_eps(eps):
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"eps is {eps}: expected a number >= 0")
    return eps
