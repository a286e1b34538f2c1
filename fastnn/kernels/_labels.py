"""Class labels and row weights of the losses: one validator for every loss, reduction and direction."""

import numpy as np

from ._arrays import as_index, plain_array

NO_IGNORE = -(1 << 63)
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
    codes = np.ascontiguousarray(array.reshape(rows), dtype=np.int64)
    unsigned = codes.view(np.uint64)  # a negative label is a huge one
    if rows and np.maximum.reduce(unsigned) >= classes:
        bad = unsigned >= classes
        if ignore_index is not None:
            bad &= codes != ignore_index
        if bad.any():
            i = int(bad.argmax())
            extra = "" if ignore_index is None else f" or ignore_index {ignore_index}"
            raise IndexError(f"labels[{i}] is {array.reshape(rows)[i]}: expected 0 <= label < {classes}{extra}")
    return codes


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
