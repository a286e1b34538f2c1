"""Sums, means, maxima, softmax and log-softmax with their backwards."""

import numpy as np

from fastnn import _native

from ._arrays import check_out, finish, output, reals, row_stride, rows_of

_run_op = _native.run_op
_SUM, _MAX = 0, 1
_SOFTMAX, _LOG_SOFTMAX = 0, 1


def sum(x, axis=None, *, keepdims=False, out=None):
    """Sum along axes.

    Parameters
    ----------
    x : array_like
        Integers become float32.
    axis : int, tuple of int or None
        None sums everything.
    keepdims : bool, default False
        Keep reduced axes with size 1.
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray of the dtype of ``x``; the sum of nothing is 0
    """
    return _reduce(x, axis, keepdims, out, _SUM, False)


def mean(x, axis=None, *, keepdims=False, out=None):
    """Arithmetic mean along axes; arguments as for :func:`sum`.

    Raises
    ------
    ValueError
        For the mean of nothing.
    """
    return _reduce(x, axis, keepdims, out, _SUM, True)


def max(x, axis=None, *, keepdims=False, out=None):
    """Maximum along axes; arguments as for :func:`sum`. NaN if any element is NaN.

    Raises
    ------
    ValueError
        For the maximum of nothing.
    """
    return _reduce(x, axis, keepdims, out, _MAX, False)


def _axes(axis, ndim):
    """Sorted, non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    for i in given:
        _check_axis(i, ndim)
    found = sorted({i % ndim for i in given})
    if len(found) < len(given):
        raise ValueError(f"an axis is repeated in {axis}")
    return tuple(found)


def _reduce(x, axis, keepdims, out, kind, mean):
    if not keepdims:
        y = _native.reduce(x, axis, kind, mean, out)
        if y is not None:
            return y
    (x,), dtype, code = reals(("x",), x)
    axes = _axes(axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    length = _product(x.shape[i] for i in axes)
    count = _product(x.shape[i] for i in kept)
    if length == 0 and (mean or kind == _MAX) and count:
        raise ValueError(f"{'mean' if mean else 'max'} of no elements: x has shape {x.shape}")
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdims else tuple(x.shape[i] for i in kept)
    target = output(out, shape, dtype, (x,), contiguous=True)
    divisor = length if mean else 0
    if count == 0:
        return finish(out, target)
    if length == 0:
        target.fill(0)
    elif axes == tuple(range(len(axes))) and kept:
        x, stride = _as_matrix(x, length, count)
        _run_op("sum_rows" if kind == _SUM else "max_rows", (x, target), (length, count, stride, divisor), (), code)
    else:
        if axes != tuple(range(len(kept), x.ndim)):
            x = x.transpose(kept + axes)
        x, stride = _as_matrix(x, count, length)
        _run_op("reduce_cols", (x, target), (count, length, stride, 1, kind, divisor), (), code)
    return finish(out, target)


def _product(sizes):
    product = 1
    for size in sizes:
        product *= size
    return product


def _as_matrix(x, rows, cols):
    """``(array, row stride)`` of x read as (rows, cols), copied unless its strides allow it."""
    if x.shape == (rows, cols):
        return rows_of(x)
    return rows_of(np.ascontiguousarray(x).reshape(rows, cols))


def softmax(x, *, axis=-1, out=None):
    """Softmax ``exp(x - max) / sum(exp(x - max))`` along an axis (Bridle 1990).

    Parameters
    ----------
    x : array_like, at least 1-D
        ``-inf`` masks an entry; a row of nothing but ``-inf`` gives NaN, as 0 / 0 does.
    axis : int, default -1
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray of the shape of ``x``
    """
    return _softmax(x, axis, out, _SOFTMAX)


def log_softmax(x, *, axis=-1, out=None):
    """Logarithm of :func:`softmax`, ``x - max - log(sum(exp(x - max)))``, finite where softmax underflows."""
    return _softmax(x, axis, out, _LOG_SOFTMAX)


def softmax_backward(grad, x, *, axis=-1, output=None, out=None):
    """Gradient of :func:`softmax`: ``p * (grad - sum(grad * p))``.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the output, of the shape of ``x``.
    x : array_like
        The forward input.
    axis : int, default -1
    output : array_like, optional
        The forward output, if it was kept: ``x`` is then not read and may be None.
    out : ndarray, optional
        Where to write.
    """
    return _softmax_backward(grad, x, axis, output, out, _SOFTMAX)


def log_softmax_backward(grad, x, *, axis=-1, output=None, out=None):
    """Gradient of :func:`log_softmax`: ``grad - softmax(x) * sum(grad)``; arguments as for softmax_backward."""
    return _softmax_backward(grad, x, axis, output, out, _LOG_SOFTMAX)


def _softmax(x, axis, out, kind):
    (x,), dtype, code = reals(("x",), x)
    if axis != -1 and axis != x.ndim - 1:
        _check_axis(axis, x.ndim)
        moved = _moved_out(out, axis, x.shape, dtype)
        y = np.moveaxis(_softmax(np.moveaxis(x, axis, -1), -1, moved, kind), -1, axis)
        return y if out is None else out
    if x.ndim == 0:
        raise ValueError("softmax needs at least one axis")
    y = output(out, x.shape, dtype, (x,))
    if x.size:
        x, x_row = rows_of(x)
        cols = x.shape[-1]
        _run_op("softmax", (x, y), (x.size // cols, cols, x_row, row_stride(y), kind), (), code)
    return finish(out, y)


def _softmax_backward(grad, x, axis, forward, out, kind):
    if forward is None:
        forward = _softmax(x, axis, None, kind)
    (grad, y), dtype, code = reals(("grad", "output"), grad, forward)
    if grad.shape != y.shape:
        raise ValueError(f"grad has shape {grad.shape} but x has {y.shape}")
    if axis != -1 and axis != y.ndim - 1:
        _check_axis(axis, y.ndim)
        moved = _moved_out(out, axis, y.shape, dtype)
        grad, y = np.moveaxis(grad, axis, -1), np.moveaxis(y, axis, -1)
        dx = np.moveaxis(_softmax_backward(grad, None, -1, y, moved, kind), -1, axis)
        return dx if out is None else out
    dx = output(out, y.shape, dtype, (grad, y))
    if y.size:
        grad, grad_row = rows_of(grad)
        y, y_row = rows_of(y)
        cols = y.shape[-1]
        dims = (y.size // cols, cols, grad_row, y_row, row_stride(dx), kind)
        _run_op("softmax_backward", (grad, y, dx), dims, (), code)
    return finish(out, dx)


def _moved_out(out, axis, shape, dtype):
    """``out`` with the axis last, checked under its own shape first."""
    if out is None:
        return None
    check_out(out, shape, dtype)
    return np.moveaxis(out, axis, -1)


def _check_axis(axis, ndim):
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of range for an array of {ndim} axes")
