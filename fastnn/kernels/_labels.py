"""Class labels and targets of the losses: one validator for every loss, reduction and direction."""

import math
from typing import NamedTuple

import numpy as np

from fastnn import _native

from ._arrays import FLOAT32, as_index, contiguous, plain_array, rows_of

_run_op = _native.run_op
NO_IGNORE = -(1 << 63)
_empty = np.empty
REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}


def class_labels(labels, rows, classes, ignore_index=None):
    """Labels as contiguous int64, every one in ``[0, classes)`` or equal to ``ignore_index``.

    Parameters
    ----------
    labels : array_like of int, shape (rows,) or (rows, 1)
    rows, classes : int
    ignore_index : int, optional

    Raises
    ------
    TypeError
        If they are not integers.
    IndexError
        If one is out of range; the message gives the first one and where it is.
    """
    array = plain_array("labels", labels)
    if array.dtype.kind == "f" and array.size:
        raise TypeError(
            f"labels are {array.dtype}: class labels are integers (labels.astype(int)), "
            f"probabilities have shape ({rows}, {classes})"
        )
    if array.shape != (rows,) and array.shape != (rows, 1):
        raise ValueError(f"labels have shape {array.shape}: expected ({rows},), one class per row")
    codes = contiguous(_no_wrap(array.reshape(rows)), np.int64)
    check_labels(codes, classes, ignore_index, array)
    return codes


def _no_wrap(labels):
    """Numbers beyond int64, which would turn negative, as its largest: no class either."""
    return np.minimum(labels, np.iinfo(np.int64).max) if labels.dtype == np.uint64 else labels


def check_labels(codes, classes, ignore_index=None, labels=None):
    """Raise IndexError naming the first of the codes (contiguous int64) that is no class; `labels` as given."""
    first, n = _empty(1, np.int64), codes.shape[0]
    ignored = 0 if ignore_index is None else ignored_label(ignore_index)  # 0 is a class: ignoring it changes nothing
    _run_op("first_bad", (codes, None, first), (n, 1, 1, classes, ignored, 0), (), 0)
    i = first.item()
    if i >= 0:
        given = (codes if labels is None else labels.reshape(n))[i]
        extra = "" if ignore_index is None else f" or ignore_index {ignore_index}"
        raise IndexError(f"labels[{i}] is {given}: expected 0 <= label < {classes}{extra}")


class Domain(NamedTuple):
    """What a target may be: a number in [low, high], or one of the two if `ends`."""

    low: float
    high: float
    ends: int
    text: str


DOMAINS = {
    "probability": Domain(0.0, 1.0, 0, "in [0, 1]"),
    "sign": Domain(-1.0, 1.0, 1, "-1 or 1"),
    "count": Domain(0.0, math.inf, 0, ">= 0"),
}


def check_target(target, domain, name="target", first_row=0):
    """Raise ValueError naming the first target outside its domain; NaN is outside of all.

    Parameters
    ----------
    target : ndarray of float32 or float64
    domain : Domain
    name : str
        For the message.
    first_row : int
        What the message counts rows from.
    """
    array = target.reshape(len(target), -1) if target.ndim > 2 else target
    array, row = rows_of(array) if array.ndim == 2 else (contiguous(array), 1)
    if not array.size:
        return
    rows = len(array) if array.ndim else 1
    first = _empty(1, np.int64)
    dims = (rows, array.size // rows, row, 0, 0, domain.ends)
    code = 0 if target.dtype == FLOAT32 else 1
    _run_op("first_bad", (None, array, first), dims, (domain.low, domain.high), code)
    i = first.item()
    if i >= 0:
        place = tuple(map(int, np.unravel_index(i, target.shape)))
        hint = "; labels 0 and 1 become -1 and 1 by 2 * labels - 1" if domain.ends and target[place] == 0 else ""
        index = ", ".join(map(str, (place[0] + first_row, *place[1:]) if place else ()))
        raise ValueError(f"{name}[{index}] is {target[place]}: expected {domain.text}{hint}")


def reduction_code(reduction):
    """0 mean, 1 sum, 2 none."""
    try:
        return REDUCTIONS[reduction]
    except (KeyError, TypeError):
        raise ValueError(f"unknown reduction {reduction!r}; known: mean, sum, none") from None


def ignored_label(ignore_index):
    """The native code of ``ignore_index``, a 64-bit integer or None."""
    if ignore_index is None:
        return NO_IGNORE
    try:
        return as_index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index is {type(ignore_index).__name__}: expected an integer or None") from None
