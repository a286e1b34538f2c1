"""Matrix products: matmul, linear and its backward. One native op, gemm, reads operands of any strides in place."""

import numpy as np

from fastnn import _native

from ._arrays import finish, grid_of, output, outputs, reals, row_stride, rows_of, vector

_run_op = _native.run_op
_DOT_ROWS = _native.EAGER_DOT_ROWS
_WEIGHT_BLOCK = 256  # rows per partial sum of a weight gradient, the same eager and in a program

_EPILOGUES = {
    row["name"]: (1 + row["code"], *(*row["defaults"], 0.0, 0.0)[:2]) for row in _native.list_rows("activations")
}
_NO_EPILOGUE = (0, 0.0, 0.0)


def _gemm(a, b, bias, c, code, shape, block=0, epilogue=_NO_EPILOGUE, dot_rows=0):
    """c = epilogue(a @ b + bias) for operands given as (array, row stride, column stride)."""
    rows, cols, depth = shape
    a, a_row, a_depth = a
    b, b_depth, b_col = b
    activation, p0, p1 = epilogue
    dims = (rows, cols, depth, a_row, a_depth, b_depth, b_col, row_stride(c), block, 0, activation, dot_rows)
    _run_op("gemm", (a, b, bias, c), dims, (p0, p1), code)


def matmul(a, b, *, out=None):
    """Matrix product ``a @ b``.

    Parameters
    ----------
    a : array_like, shape (..., rows, depth) or (depth,)
    b : array_like, shape (..., depth, cols) or (depth,)
        Any strides: ``a.T`` costs no copy. Leading axes broadcast as in :func:`numpy.matmul`.
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray, shape (..., rows, cols); a 1-D operand's axis is absent

    Raises
    ------
    ValueError
        If the inner sizes differ or an operand is 0-d.

    Notes
    -----
    The sum over depth runs in blocks of 1024 terms, one chain each, added in order: the result does not depend on the
    number of threads, on strides or on the other rows. One exception: fewer than 8 rows times a ``b`` whose columns are
    contiguous (such as ``w.T``) are summed as dot products, which need no copy of ``b``.
    """
    y = _native.matmul(a, b, out)
    if y is not None:
        return y
    (a, b), dtype, code = reals(("a", "b"), a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul needs arrays of at least one axis: use multiply for scalars")
    left, right = a if a.ndim > 1 else a[None, :], b if b.ndim > 1 else b[:, None]
    rows, depth = left.shape[-2:]
    cols = right.shape[-1]
    if right.shape[-2] != depth:
        raise ValueError(
            f"matmul: a has shape {a.shape} and b has {b.shape}: inner sizes {depth} and {right.shape[-2]}"
        )
    lead = ()
    if left.ndim > 2 or right.ndim > 2:
        lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = lead + (rows,) * (a.ndim > 1) + (cols,) * (b.ndim > 1)
    target = output(out, shape, dtype, (a, b))
    c = target if a.ndim > 1 and b.ndim > 1 else target.reshape(*lead, rows, cols)  # a view: adds axes of size 1
    if not lead:
        _gemm(grid_of(left), grid_of(right), None, c, code, (rows, cols, depth), dot_rows=_DOT_ROWS)
    else:
        left = np.broadcast_to(left, (*lead, rows, depth))
        right = np.broadcast_to(right, (*lead, depth, cols))
        for i in np.ndindex(lead):
            _gemm(grid_of(left[i]), grid_of(right[i]), None, c[i], code, (rows, cols, depth), dot_rows=_DOT_ROWS)
    return finish(out, target)


def linear(x, weight, bias=None, *, activation=None, out=None):
    """Dense layer ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : array_like, shape (..., in_features)
        Any strides.
    weight : array_like, shape (out_features, in_features)
        As in PyTorch; any strides, so a transposed view costs no copy.
    bias : array_like, shape (out_features,), optional
    activation : str, optional
        Name of an activation ("relu", "sigmoid", "tanh", ...), with its default parameters.
    out : ndarray, shape (..., out_features), optional
        Where to write.

    Returns
    -------
    ndarray, shape (..., out_features)

    Raises
    ------
    TypeError
        If float dtypes are mixed.
    ValueError
        If shapes disagree or the activation is unknown.
    """
    y = _native.linear(x, weight, bias, activation, out)
    if y is not None:
        return y
    (x, weight, bias), dtype, code = reals(("x", "weight", "bias?"), x, weight, bias)
    epilogue = _NO_EPILOGUE if activation is None else _epilogue(activation)
    _check_linear(x, weight)
    out_features, in_features = weight.shape
    if bias is not None:
        bias = vector("bias", bias, out_features, "output feature")
    y = output(out, (*x.shape[:-1], out_features), dtype, (x, weight, bias))
    rows = x.shape[0] if x.ndim == 2 else _count(x.shape[:-1])
    weight, weight_row, weight_col = grid_of(weight)
    shape = (rows, out_features, in_features)
    _gemm(grid_of(x), (weight, weight_col, weight_row), bias, y, code, shape, 0, epilogue, _DOT_ROWS)
    return finish(out, y)


def _epilogue(name):
    try:
        return _EPILOGUES[name]
    except (KeyError, TypeError):
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(_EPILOGUES))}") from None


def _check_linear(x, weight):
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {weight.shape}: expected (out_features, in_features)")
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x has shape {x.shape} but weight has {weight.shape}: expected x of shape (..., {weight.shape[1]})"
        )


def _count(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def linear_backward(grad, x, weight, *, bias=True, input_grad=True, out=None):
    """Gradients of :func:`linear` without activation.

    Parameters
    ----------
    grad : array_like, shape (..., out_features)
        Gradient with respect to ``x @ weight.T + bias``.
    x : array_like, shape (..., in_features)
        The forward input.
    weight : array_like, shape (out_features, in_features)
    bias : bool, default True
        Whether to compute ``dbias``.
    input_grad : bool, default True
        Whether to compute ``dx``; a first layer does not need it.
    out : tuple (dx, dweight, dbias) of ndarray or None, optional
        Where to write.

    Returns
    -------
    dx : ndarray, shape of x, or None
        ``grad @ weight``
    dweight : ndarray, shape (out_features, in_features)
        ``grad.T @ x``, summed over rows in blocks of 256
    dbias : ndarray, shape (out_features,), or None
        Column sums of ``grad``
    """
    if out is None:
        results = _native.linear_backward(grad, x, weight, bias, input_grad, _WEIGHT_BLOCK)
        if results is not None:
            return results
    (grad, x, weight), dtype, code = reals(("grad", "x", "weight"), grad, x, weight)
    _check_linear(x, weight)
    out_features, in_features = weight.shape
    if grad.shape != (*x.shape[:-1], out_features):
        raise ValueError(f"grad has shape {grad.shape}: expected {(*x.shape[:-1], out_features)}")
    shapes = (x.shape if input_grad else None, weight.shape, (out_features,) if bias else None)
    (dx, dweight, dbias), given = outputs(out, shapes, dtype, (grad, x, weight), ("dx", "dweight", "dbias"))
    rows = _count(x.shape[:-1])
    g, g_row, g_col = grid_of(grad)
    if input_grad:
        _gemm((g, g_row, g_col), grid_of(weight), None, dx, code, (rows, in_features, out_features))
    shape = (out_features, in_features, rows)
    _gemm((g, g_col, g_row), grid_of(x), None, dweight, code, shape, _WEIGHT_BLOCK)
    if bias:
        g, g_row = rows_of(grad)
        _run_op("sum_rows", (g, dbias), (rows, out_features, g_row, 0, 0), (), code)
    return tuple(None if t is None else finish(o, t) for o, t in zip(given, (dx, dweight, dbias), strict=True))
