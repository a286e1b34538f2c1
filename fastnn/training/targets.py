"""Targets and weights: what the loss declares against what the user gave, checked before the first write."""

import operator

import numpy as np

from ..graph.loss_call import weight_argument
from ..kernels._labels import check_target
from ..nn.arrays import as_rows, plain_array, spec_of
from ..nn.losses import meaning_of

LABELS = ((), np.dtype(np.int64))  # the spec of class labels: one int64 per row


def target_kind(loss):
    """The loss's kind of target (see `nn.losses.meaning_of`)."""
    return meaning_of(loss).target


def prepare_target(y, loss, output_shape, rows, dtype):
    """Return (array, spec for the graph): labels as int64, everything else as rows of the output's shape.

    Parameters
    ----------
    y : array_like of shape (rows,) or (rows, ...)
    output_shape : tuple
        Of the model, without rows; None if it has several outputs. The loss then takes y as it is, as one whose target
        is "any" does; integers (rows,) may be labels.
    dtype : numpy.dtype
        Of the model.

    Raises
    ------
    ValueError, TypeError, IndexError
        Wrong length, shape, dtype, or a label out of range (with the index and value of the first bad one).
    """
    y = plain_array(y, "y")
    if y.ndim == 0 or len(y) != rows:
        raise ValueError(f"y has shape {y.shape}, but x has {rows} rows")
    kind = target_kind(loss)
    if kind == "class":
        return _class_target(y, loss, output_shape)
    output_shape = None if kind == "any" else output_shape
    y = as_rows(y, "y")
    check_domain(y, loss)
    if output_shape is not None:
        y = _match_shape(y, output_shape)
    if y.dtype.kind in "iub" and y.ndim == 1 and output_shape is None:
        return np.require(y, np.int64, ("C", "A")), LABELS  # labels or numbers: the loss's own functions say which
    if y.dtype.kind in "iub" and y.ndim <= 2 and y.size == len(y):
        y = y.astype(dtype)  # one integer per row means a class label to the graph
    return y, spec_of(y)


def check_domain(y, loss):
    """Raise ValueError naming the first target that the loss cannot take; reads 4096 rows at a time."""
    domain = meaning_of(loss).domain
    for start in range(0, 0 if domain is None else len(y), 4096):
        part = y[start : start + 4096]
        check_target(part if part.dtype in (np.float32, np.float64) else part.astype(np.float64), domain, "y", start)


def _match_shape(y, output_shape):
    if y.shape[1:] == output_shape:
        return y
    if (y.ndim == 1 and output_shape == (1,)) or (y.ndim == 2 and y.shape[1] == 1 and output_shape == ()):
        return y.reshape((len(y), *output_shape))
    wanted = ", ".join(["rows", *map(str, output_shape)])
    hint = "; class labels need CrossEntropyLoss" if y.ndim == 1 and output_shape and y.dtype.kind in "iu" else ""
    raise ValueError(
        f"y has shape {y.shape}, the model's output is ({wanted}): targets are never broadcast{hint}; "
        'a loss that takes other rows says loss.target = "any"'
    )


def _class_target(y, loss, output_shape):
    if output_shape is None or len(output_shape) != 1:
        raise ValueError(f"class targets need a model output of shape (rows, classes), not (rows, {output_shape})")
    classes = output_shape[0]
    if y.dtype.kind == "f":
        if y.ndim == 2 and y.shape[1] == classes and classes > 1:
            y = as_rows(y, "y")
            return y, spec_of(y)
        raise TypeError(
            f"class labels must be integers, got {y.dtype} of shape {y.shape}; use y.astype(int) for labels, "
            f"or rows of {classes} probabilities"
        )
    if y.dtype.kind not in "iub":
        raise TypeError(f"class labels must be integers 0 .. {classes - 1}, got dtype {y.dtype}; encode them first")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"class labels must have shape (rows,), got {y.shape}; one-hot rows must be floats")
    labels = np.require(y, np.int64, ("C", "A"))
    check_labels(labels, classes, meaning_of(loss).ignore_index)
    return labels, LABELS


def check_labels(labels, classes, ignore_index=None):
    """Raise IndexError naming the first label outside 0 .. classes - 1 (labels: contiguous int64)."""
    if labels.size == 0 or labels.view(np.uint64).max() < classes:  # negative labels are huge as unsigned
        return
    bad = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        bad &= labels != ignore_index
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise IndexError(f"label {labels[first]} of row {first} is out of range for {classes} classes")


def prepare_weight(weight, rows, dtype, loss, *, zeros=False):
    """Sample weights as a contiguous array of the model's dtype; finite, >= 0 and not all zero (unless `zeros`: one
    batch among others)."""
    if weight_argument(loss) is None:
        raise TypeError("the loss takes no sample weights: define it as loss(output, target, sample_weight)")
    weight = plain_array(weight, "sample_weight") if hasattr(weight, "__array__") else weight
    try:
        weight = np.require(weight, dtype, ("C", "A"))
    except (TypeError, ValueError):
        raise TypeError(f"sample_weight must be an array of numbers (rows,), got {type(weight).__name__}") from None
    if weight.shape != (rows,):
        raise ValueError(f"sample_weight has shape {weight.shape}, expected ({rows},)")
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"sample_weight {weight[first]} of row {first} is not a finite number >= 0")
    if rows and not zeros and not weight.any():
        raise ValueError("all sample weights are zero")
    return weight


def class_weights(class_weight, labels, classes):
    """One weight per class from {class: weight}, a sequence of one weight per class, or "balanced".

    "balanced" is rows / (classes present * rows of the class), scikit-learn's rule.
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced', a dict or one number per class, got {class_weight!r}")
        labels = labels[(labels >= 0) & (labels < classes)]  # without those that the loss ignores
        counts = np.bincount(labels, minlength=classes)
        per_class = np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    else:
        per_class = _listed_weights(class_weight, classes)
        if not (np.isfinite(per_class) & (per_class >= 0)).all():
            raise ValueError(f"class_weight must hold finite numbers >= 0, got {class_weight!r}")
    return per_class


def _listed_weights(class_weight, classes):
    """One float per class from a dict or a sequence."""
    wanted = f"class_weight must be 'balanced', a dict or one number per class, got {class_weight!r}"
    try:
        if not isinstance(class_weight, dict):
            per_class = np.asarray(class_weight, dtype=np.float64)
        else:
            per_class = np.ones(classes)
            keys = np.array([operator.index(label) for label in class_weight], dtype=np.int64)
            values = np.array(list(class_weight.values()), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if isinstance(class_weight, dict):
        unseen = keys[(keys < 0) | (keys >= classes)]
        if len(unseen):
            raise ValueError(f"class_weight: {unseen[0]} is not a class 0 .. {classes - 1}")
        per_class[keys] = values
    if per_class.ndim == 0:
        raise ValueError(wanted)
    if per_class.shape != (classes,):
        raise ValueError(f"class_weight has shape {per_class.shape}, expected ({classes},)")
    return per_class


def check_finite(array, what):
    """Raise ValueError naming the first NaN or infinite element; reads 4096 rows at a time (memmaps stay on disk)."""
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), 4096):
        part = array[start : start + 4096]
        good = np.isfinite(part)
        if not good.all():
            place = np.argwhere(~good)[0]
            column = f", column {', '.join(map(str, place[1:]))}" if len(place) > 1 else ""
            raise ValueError(f"{what} holds {part[tuple(place)]} in row {start + place[0]}{column}")
