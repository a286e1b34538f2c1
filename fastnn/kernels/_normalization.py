"""Batch normalisation over rows: training forward, inference forward, backward."""

import numpy as np

from fastnn import _native

from ._arrays import FLOAT64, finish, output, outputs, plain_array, reals, row_stride, rows_of, vector

_run_op = _native.run_op


def batch_norm(x, weight=None, bias=None, *, eps=1e-5, out=None):
    """Normalise each column by the statistics of the batch: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    x : array_like, shape (rows, features)
        At least two rows.
    weight, bias : array_like, shape (features,), optional
        Scale and shift; None means 1 and 0.
    eps : float, default 1e-5
    out : tuple (y, mean, var) of ndarray or None, optional
        Where to write; the array for ``y`` may be ``x`` itself.

    Returns
    -------
    y : ndarray, shape (rows, features)
    mean, var : ndarray, shape (features,)
        The batch mean and biased batch variance, computed in double and rounded to the dtype of ``x``.

    Raises
    ------
    ValueError
        For a single row, whose variance says nothing, or wrong shapes.

    Notes
    -----
    Ioffe & Szegedy 2015, algorithm 1. ``y`` rests on the statistics in double and is right for deviations of any size;
    rounded to float32, a variance is infinite for deviations above 1.8e19 and 0 below 1e-23. Only
    ``weight / sqrt(var + eps)`` has to fit the dtype: in float32 that fails for deviations below 3e-39 with an
    ``eps`` below 1e-76, and ``y`` is not finite there.
    """
    results = _native.batch_norm(x, weight, bias, eps, out)
    if results is not None:
        return results
    (x, weight, bias), dtype, code = reals(("x", "weight?", "bias?"), x, weight, bias)
    rows, features = _check_rows(x)
    if rows == 1:
        raise ValueError(
            "batch_norm needs at least 2 rows to have a variance, got 1: drop or merge the last short batch, "
            "or use batch_norm_inference with running statistics"
        )
    weight = vector("weight", weight, features, "feature")
    bias = vector("bias", bias, features, "feature")
    shapes = (x.shape, (features,), (features,))
    (y, mean, var), given = outputs(out, shapes, dtype, (x, weight, bias), ("y", "mean", "var"))
    exact = np.zeros((2, features))
    if x.size:
        x, x_row = rows_of(x)
        dims = (rows, features, x_row, row_stride(y), 0, 0)
        arrays = (x, weight, bias, y, exact[0], exact[1], None, None)
        _run_op("batch_norm", arrays, dims, (_check_eps(eps), 0.0, 0.0, 0.0), code)
    mean[...] = exact[0]
    var[...] = exact[1]
    return finish(given[0], y), finish(given[1], mean), finish(given[2], var)


def _check_rows(x):
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}: expected (rows, features)")
    return x.shape


def _check_eps(eps):
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"eps is {eps}: expected a number >= 0")
    return eps


def batch_norm_inference(x, running_mean, running_var, weight=None, bias=None, *, eps=1e-5, out=None):
    """Normalise by given statistics: ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``.

    Parameters
    ----------
    x : array_like, shape (rows, features)
        Any number of rows.
    running_mean, running_var : array_like, shape (features,)
    weight, bias : array_like, shape (features,), optional
    eps : float, default 1e-5
    out : ndarray, optional
        Where to write; may be ``x`` itself.

    Returns
    -------
    ndarray, shape (rows, features)
    """
    y = _native.batch_norm_inference(x, running_mean, running_var, weight, bias, eps, out)
    if y is not None:
        return y
    names = ("x", "running_mean", "running_var", "weight?", "bias?")
    (x, *vectors), dtype, code = reals(names, x, running_mean, running_var, weight, bias)
    rows, features = _check_rows(x)
    vectors = [vector(name.rstrip("?"), v, features, "feature") for name, v in zip(names[1:], vectors, strict=True)]
    y = output(out, x.shape, dtype, (x, *vectors), same=x)
    if x.size:
        x, x_row = rows_of(x)
        dims = (rows, features, x_row, row_stride(y), 0)
        _run_op("batch_norm_inference", (x, *vectors, y), dims, (_check_eps(eps), 0.0, 0.0), code)
    return finish(out, y)


def batch_norm_backward(grad, x, mean, var, weight=None, *, eps=1e-5, out=None):
    """Gradients of :func:`batch_norm`.

    Parameters
    ----------
    grad : array_like, shape (rows, features)
        Gradient with respect to ``y``.
    x : array_like, shape (rows, features)
        The forward input.
    mean, var : array_like, shape (features,)
        What :func:`batch_norm` returned. Statistics kept in float64 are used as they are, which is more accurate
        where the mean is much larger than the deviation, and needed where the variance does not fit float32.
    weight : array_like, shape (features,), optional
    eps : float, default 1e-5
    out : tuple (dx, dweight, dbias) of ndarray or None, optional
        Where to write.

    Returns
    -------
    dx : ndarray, shape (rows, features)
        ``weight / sqrt(var + eps) * (grad - mean(grad) - xhat * mean(grad * xhat))``
    dweight, dbias : ndarray, shape (features,)
        ``sum(grad * xhat)`` and ``sum(grad)``, with ``xhat = (x - mean) / sqrt(var + eps)``
    """
    results = _native.batch_norm_backward(grad, x, mean, var, weight, eps, out)
    if results is not None:
        return results
    (grad, x, weight), dtype, code = reals(("grad", "x", "weight?"), grad, x, weight)
    rows, features = _check_rows(x)
    if grad.shape != x.shape:
        raise ValueError(f"grad has shape {grad.shape} but x has {x.shape}")
    mean = _statistic("mean", mean, features)
    var = _statistic("var", var, features)
    weight = vector("weight", weight, features, "feature")
    shapes = (x.shape, (features,), (features,))
    inputs = (grad, x, weight, mean, var)
    (dx, dweight, dbias), given = outputs(out, shapes, dtype, inputs, ("dx", "dweight", "dbias"))
    if x.size:
        grad, grad_row = rows_of(grad)
        x, x_row = rows_of(x)
        dims = (rows, features, grad_row, x_row, row_stride(dx))
        arrays = (grad, x, mean, var, weight, dx, dweight, dbias)
        _run_op("batch_norm_backward", arrays, dims, (_check_eps(eps),), code)
    else:
        dweight.fill(0)
        dbias.fill(0)
    return finish(given[0], dx), finish(given[1], dweight), finish(given[2], dbias)


def _statistic(name, value, features):
    return vector(name, np.asarray(plain_array(name, value), dtype=FLOAT64), features, "feature")
