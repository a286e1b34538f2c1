"""Losses with their gradient in one visit: softmax cross-entropy, and the pointwise losses of losses.def."""

import numpy as np
from numpy import ndarray

from fastnn import _native

from ._arrays import (
    FLOAT32,
    FLOAT64,
    READY,
    contiguous,
    finish,
    outputs,
    plain_array,
    probability,
    reals,
    row_stride,
    rows_of,
    vector,
)
from ._elementwise import named, source_line
from ._labels import DOMAINS, NO_IGNORE, check_labels, check_target, class_labels, ignored_label, reduction_code

_run_op = _native.run_op
_plain_out = _native.plain_out
_empty = np.empty
_NONE = 2
_INT64 = np.dtype(np.int64)


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
    if (
        type(logits) is ndarray
        and type(labels) is ndarray
        and class_weight is sample_weight is ignore_index is None
        and reduction == "mean"
        and labels.ndim == 1
        and logits.ndim == 2
        and logits.flags.num & labels.flags.num & READY == READY
    ):
        dtype, (rows, classes) = logits.dtype, logits.shape
        if labels.dtype is _INT64 and labels.shape[0] == rows and rows and classes:
            if dtype is FLOAT32 or dtype is FLOAT64:
                dlogits = _empty(logits.shape, dtype) if out is None and gradient else None
                if dlogits is None:
                    dlogits = _simple_gradient(out, logits, labels, gradient)
                if dlogits is not None:
                    smoothing = probability("label_smoothing", label_smoothing) if label_smoothing else 0.0
                    return _plain_cross_entropy(logits, labels, rows, classes, smoothing, dlogits, dtype)
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


def _plain_cross_entropy(logits, labels, rows, classes, smoothing, dlogits, dtype):
    """The usual case: contiguous logits and int64 labels, mean, nothing else asked for."""
    code = 0 if dtype is FLOAT32 else 1
    check_labels(labels, classes)
    loss = _empty(1, dtype)
    arrays = (logits, labels, None, None, None, loss, dlogits, None)
    _run_op("cross_entropy", arrays, (rows, classes, classes, 0, classes, 0, NO_IGNORE), (smoothing,), code)
    return loss.item(), dlogits


def _result(losses, loss, gradient, given):
    """(loss, gradient): a Python float, or the array of losses for reduction "none"."""
    value = float(loss[0]) if losses is None else finish(given[0], losses)
    return value, None if gradient is None else finish(given[1], gradient)


_POINTWISE_DOC = """{doc}: loss and its gradient with respect to ``x``.{source}

Parameters
----------
x, target : array_like, shape (rows, ...)
    Predictions and targets of one shape; (n,) against (n, 1) is reshaped, nothing is broadcast.{targets}
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

Raises
------
ValueError
    If the shapes disagree{or_limits}{or_targets}; nothing has been written then.
"""


def _pointwise(row, x, target, sample_weight, reduction, gradient, out, *parameters):
    if (
        type(x) is ndarray
        and type(target) is ndarray
        and x.flags.num & target.flags.num & READY == READY
        and x.shape == target.shape
        and sample_weight is None
        and reduction == "mean"
        and (not parameters or type(parameters[0]) is float and parameters in row.checked)
    ):
        dtype, n = x.dtype, x.size
        if target.dtype is dtype and (dtype is FLOAT32 or dtype is FLOAT64) and n:
            dx = _empty(x.shape, dtype) if out is None and gradient else _simple_gradient(out, x, target, gradient)
            if dx is not None:
                code = 0 if dtype is FLOAT32 else 1
                if row.domain is not None:
                    check_target(target, row.domain)
                loss = _empty(1, dtype)
                arrays, dims = (x, target, None, None, loss, dx, None), (1, n, n, n, n, 0, row.code)
                _run_op("pointwise_loss", arrays, dims, parameters, code)
                return loss.item(), dx
    return _pointwise_any(row, x, target, sample_weight, reduction, gradient, out, parameters)


def _simple_gradient(out, x, other, gradient):
    """The array for the gradient in ``out`` if it needs no special care, else None; it may be ``x`` itself."""
    if type(out) is not tuple or len(out) != 2 or out[0] is not None or not gradient:
        return None
    dx = out[1]
    return dx if _plain_out(dx, x.shape, x.dtype, (other,) if dx is x else (x, other)) else None


def _pointwise_any(row, x, target, sample_weight, reduction, gradient, out, parameters):
    code_of_reduction = reduction_code(reduction)
    found, dtype, code = reals(("x", "target", "sample_weight?"), x, target, sample_weight)
    x, target, sample_weight = found
    if target.shape != x.shape:
        if target.size != x.size or {target.ndim, x.ndim} != {1, 2} or 1 not in (*target.shape[1:], *x.shape[1:]):
            raise ValueError(f"target has shape {target.shape} but x has {x.shape}")
        target = target.reshape(x.shape)
    rows = x.shape[0] if x.ndim else 1
    cols = x.size // rows if rows else 0
    sample_weight = vector("sample_weight", sample_weight, rows, "row")
    per_column, parameters = row.parameters(parameters, x.shape, dtype)
    if row.domain is not None:
        check_target(target, row.domain)
    shapes = (x.shape if code_of_reduction == _NONE else None, x.shape if gradient else None)
    inputs = (x, target, sample_weight, per_column)
    (losses, dx), given = outputs(out, shapes, dtype, inputs, ("losses", "dx"), contiguous=True)
    loss = np.zeros(1, dtype) if losses is None else losses
    if x.size:
        x, x_row = _as_rows(x, rows)
        target, target_row = _as_rows(target, rows)
        arrays = (x, target, sample_weight, per_column, loss, dx, None)
        dims = (rows, cols, x_row, target_row, cols, code_of_reduction, row.code)
        _run_op("pointwise_loss", arrays, dims, parameters, code)
    return _result(losses, loss, dx, given)


class PointwiseRow:
    """A row of losses.def for the wrapper: code, domain of the target, and the check of the parameters."""

    def __init__(self, row):
        self.name, self.code, self.limits = row["name"], row["code"], row["limits"]
        self.names, self.defaults = tuple(row["params"]), tuple(row["defaults"])
        self.domain = DOMAINS.get(row["target"])
        self.checked = {self.defaults}  # tuples of parameters that were found good

    def parameters(self, values, shape, dtype):
        """``(array of one first parameter per column or None, floats)``; refuses what the row's limits exclude."""
        per_column = None
        if len(values) == 1 and not isinstance(values[0], (int, float)):
            array = np.asarray(values[0], dtype=dtype)
            if array.ndim:
                if array.shape != shape[-1:] or len(shape) != 2:
                    raise ValueError(f"{self.names[0]} has shape {array.shape}: expected a number or one per column")
                per_column, values = contiguous(array), (1.0, *values[1:])
        values = tuple(map(float, values))
        for first in values[:1] if per_column is None else per_column.tolist():
            self.check(first, *values[1:])
        if per_column is None and len(self.checked) < 64:
            self.checked.add(values)
        return per_column, values

    def check(self, *values):
        """Raise ValueError unless the limits hold of these numbers."""
        named_values = dict(zip(self.names, values, strict=True))
        if self.limits and not eval(self.limits, {"__builtins__": {}}, named_values):  # noqa: S307 (our own list's text)
            given = ", ".join(f"{name} = {value:g}" for name, value in named_values.items())
            raise ValueError(f"{self.name}: expected {self.limits}, got {given}")


def _as_rows(array, rows):
    """``(array, row stride)`` read as (rows, everything else)."""
    if array.ndim == 2:
        return rows_of(array)
    return contiguous(array), array.size // rows


def _templates(row):
    """The wrapper by its number of parameters; `named` gives these their names."""

    def plain(x, target, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(row, x, target, sample_weight, reduction, gradient, out)

    def one(x, target, p0, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(row, x, target, sample_weight, reduction, gradient, out, p0)

    def two(x, target, p0, p1, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(row, x, target, sample_weight, reduction, gradient, out, p0, p1)

    def three(x, target, p0, p1, p2, *, sample_weight=None, reduction="mean", gradient=True, out=None):
        return _pointwise(row, x, target, sample_weight, reduction, gradient, out, p0, p1, p2)

    return plain, one, two, three


def _parameter_lines(row):
    """numpydoc lines of a row's parameters."""
    lines = ""
    for place, (name, default) in enumerate(zip(row["params"], row["defaults"], strict=True)):
        kind = "float, or array_like of shape (columns,)" if len(row["params"]) == 1 else "float"
        lines += f"{name} : {kind}, default {default:g}\n"
        if place == len(row["params"]) - 1:
            lines += f"    {row['limits']}.\n"
    return lines


def make_all(module):
    """The pointwise losses by name."""
    made = {}
    for row in _native.list_rows("losses"):
        domain = DOMAINS[row["target"]].text if row["target"] in DOMAINS else ""
        doc = _POINTWISE_DOC.format(
            doc=row["doc"],
            source=source_line(row),
            parameters=_parameter_lines(row),
            targets=f" Targets are {domain}." if domain else "",
            or_limits=", a parameter is out of range" if row["limits"] else "",
            or_targets=", or a target is not " + domain if domain else "",
        )
        names, defaults = tuple(row["params"]), tuple(row["defaults"])
        template = _templates(PointwiseRow(row))[len(names)]
        made[row["name"]] = named(template, row["name"], names, defaults, doc, module)
    return made
