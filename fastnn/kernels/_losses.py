"""Losses with their gradient in one visit: softmax cross-entropy, and the pointwise losses of losses.def."""

import numpy as np

from fastnn import _native

from ._arrays import finish, outputs, plain_array, probability, reals, row_stride, rows_of, vector
from ._elementwise import named, parameter_lines, source_line
from ._labels import class_labels, ignored_label, reduction_code

_run_op = _native.run_op
_NONE = 2


def softmax_cross_entropy(
    logits,
    labels,
    *,
    class_weight=None,
    sample_weight=None,
    label_smoothing=0.0,
    ignore_index=None,
    reduction="mean",
    gradient=True,
    out=None,
):
    """Cross-entropy of softmax(logits) against labels, and its gradient with respect to the logits.

    Parameters
    ----------
    logits : array_like, shape (rows, classes)
    labels : array_like
        Integers of shape (rows,), or rows of probabilities of shape (rows, classes) in the dtype of the logits.
    class_weight : array_like, shape (classes,), optional
    sample_weight : array_like, shape (rows,), optional
    label_smoothing : float in [0, 1], default 0
        The target becomes ``(1 - s) * target + s / classes`` (Szegedy et al. 2016, section 7).
    ignore_index : int, optional
        Rows with this label count for nothing.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum of ``sample_weight * class_weight[label]`` over the rows that count (of the
        sample weights for probabilities); the mean of nothing is 0 with gradient 0.
    gradient : bool, default True
        False leaves the gradient out.
    out : tuple (losses, dlogits) of ndarray or None, optional
        Where to write; ``losses`` only with reduction "none".

    Returns
    -------
    loss : float, or ndarray of shape (rows,) for "none"
    dlogits : ndarray, shape (rows, classes), or None
        Gradient of the loss; for "none" of the sum of the losses.

    Raises
    ------
    IndexError
        If a label is out of range; nothing has been written then.
    TypeError
        If 1-D labels are not integers.

    Notes
    -----
    ``loss_i = -sample_weight_i * sum_j class_weight_j q_ij log p_ij``; for plain labels the gradient is ``p - q``.
    """
    names = ("logits", "class_weight?", "sample_weight?")
    code_of_reduction = reduction_code(reduction)
    smoothing = probability("label_smoothing", label_smoothing)
    ignored = ignored_label(ignore_index)
    target = plain_array("labels", labels)
    by_class = target.ndim < 2 or (target.dtype.kind != "f" and target.shape[1:] == (1,))
    if by_class:
        (logits, class_weight, sample_weight), dtype, code = reals(names, logits, class_weight, sample_weight)
    else:
        if ignore_index is not None:
            raise ValueError("ignore_index needs integer labels, not rows of probabilities")
        names += ("labels",)
        found, dtype, code = reals(names, logits, class_weight, sample_weight, labels)
        logits, class_weight, sample_weight, target = found
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits have shape {logits.shape}: expected (rows, classes)")
    rows, classes = logits.shape
    if by_class:
        target = class_labels(target, rows, classes, ignore_index)
    elif target.shape != logits.shape:
        raise ValueError(f"labels have shape {target.shape}: expected ({rows},) or {logits.shape}")
    class_weight = vector("class_weight", class_weight, classes, "class")
    sample_weight = vector("sample_weight", sample_weight, rows, "row")

    shapes = ((rows,) if code_of_reduction == _NONE else None, logits.shape if gradient else None)
    inputs = (logits, target, class_weight, sample_weight)
    (losses, dlogits), given = outputs(out, shapes, dtype, inputs, ("losses", "dlogits"))
    loss = np.zeros(1, dtype) if losses is None else losses
    if rows:
        logits, logits_row = rows_of(logits)
        if not by_class:
            target, target_row = rows_of(target)
        arrays = (
            logits,
            target if by_class else None,
            None if by_class else target,
            class_weight,
            sample_weight,
            loss,
            dlogits,
            None,
        )
        dims = (
            rows,
            classes,
            logits_row,
            0 if by_class else target_row,
            0 if dlogits is None else row_stride(dlogits),
            code_of_reduction,
            ignored,
        )
        _run_op("cross_entropy", arrays, dims, (smoothing,), code)
    return _result(losses, loss, dlogits, given)


def _result(losses, loss, gradient, given):
    """(loss, gradient): a Python float, or the array of losses for reduction "none"."""
    value = float(loss[0]) if losses is None else finish(given[0], losses)
    return value, None if gradient is None else finish(given[1], gradient)


_POINTWISE_DOC = """{doc}: loss and its gradient with respect to ``x``.{source}

Parameters
----------
x, target : array_like, shape (rows, ...)
    Predictions and targets of one shape; (n,) against (n, 1) is reshaped, nothing is broadcast.
{parameters}sample_weight : array_like, shape (rows,), optional
    One weight per entry of the first axis.
reduction : {{"mean", "sum", "none"}}
    The mean divides by the number of elements (weighted: by the sum of the weights times the elements per row); the
    mean of nothing is 0 with gradient 0.
gradient : bool, default True
    False leaves the gradient out.
out : tuple (losses, dx) of ndarray or None, optional
    Where to write; ``losses`` only with reduction "none".

Returns
-------
loss : float, or ndarray of the shape of ``x`` for "none"
dx : ndarray of the shape of ``x``, or None
    Gradient of the loss; for "none" of the sum of the losses.
"""


def _pointwise(kind, x, target, sample_weight, reduction, gradient, out, p0, p1):
    code_of_reduction = reduction_code(reduction)
    found, dtype, code = reals(("x", "target", "sample_weight?"), x, target, sample_weight)
    x, target, sample_weight = found
    if target.shape != x.shape:
        if target.size != x.size or {target.ndim, x.ndim} != {1, 2} or 1 not in (*target.shape[1:], *x.shape[1:]):
            raise ValueError(f"target has shape {target.shape} but x has {x.shape}")
        target = target.reshape(x.shape)
    rows = x.shape[0] if x.ndim else 1
    sample_weight = vector("sample_weight", sample_weight, rows, "row")
    shapes = (x.shape if code_of_reduction == _NONE else None, x.shape if gradient else None)
    inputs = (x, target, sample_weight)
    (losses, dx), given = outputs(out, shapes, dtype, inputs, ("losses", "dx"), contiguous=True)
    loss = np.zeros(1, dtype) if losses is None else losses
    if x.size:
        cols = x.size // rows
        x, x_row = _as_rows(x, rows)
        target, target_row = _as_rows(target, rows)
        arrays = (x, target, sample_weight, loss, dx, None)
        dims = (rows, cols, x_row, target_row, cols, code_of_reduction, kind)
        _run_op("pointwise_loss", arrays, dims, (p0, p1), code)
    return _result(losses, loss, dx, given)


def _as_rows(array, rows):
    """``(array, row stride)`` read as (rows, everything else)."""
    if array.ndim == 2:
        return rows_of(array)
    return np.ascontiguousarray(array), array.size // rows


def _templates(kind):
    def plain(x, target, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(kind, x, target, sample_weight, reduction, gradient, out, 0.0, 0.0)

    def one(x, target, p0, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(kind, x, target, sample_weight, reduction, gradient, out, p0, 0.0)

    def two(x, target, p0, p1, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(kind, x, target, sample_weight, reduction, gradient, out, p0, p1)

    return plain, one, two


def make_all(module):
    """The pointwise losses by name."""
    made = {}
    for row in _native.list_rows("losses"):
        names = tuple(row["params"])
        defaults = tuple(row.get("defaults", ()))[: len(names)]
        doc = _POINTWISE_DOC.format(
            doc=row["doc"], source=source_line(row), parameters=parameter_lines(names, defaults)
        )
        made[row["name"]] = named(_templates(row["code"])[len(names)], row["name"], names, defaults, doc, module)
    return made
