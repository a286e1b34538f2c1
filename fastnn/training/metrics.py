"""Metrics by name: functions of (target, output) over a whole part of the data, in double.

Outputs are what the model's `forward` ends with: logits for classifiers (two or more columns: the largest wins; one
column: above 0 is class 1), values for regressions. Targets are class labels, rows of probabilities, or values.
"""

import re

import numpy as np


def labels_of(target, output):
    """Class labels (rows,) int64, or None if target and output hold several yes-or-no answers per row."""
    target, output = np.asarray(target), np.asarray(output)
    if target.ndim == 2 and target.shape == output.shape and output.shape[1] > 1:
        if target.dtype.kind == "f" and not np.allclose(target.sum(axis=1), 1.0, atol=1e-3):
            return None
        return target.argmax(axis=1)
    if output.ndim == 2 and output.shape[1] > 1:
        return target.reshape(-1).astype(np.int64)
    return (target.reshape(-1) > 0.5).astype(np.int64)


def decisions_of(output):
    """The class (rows,) that each row of logits decides for."""
    output = np.asarray(output)
    if output.ndim == 2 and output.shape[1] > 1:
        return output.argmax(axis=1)
    return (output.reshape(-1) > 0).astype(np.int64)


def accuracy(target, output):
    """Share of rows whose largest logit is the target class; for one logit, whose sign fits."""
    labels = labels_of(target, output)
    if labels is None:
        return float(np.mean((np.asarray(output) > 0) == (np.asarray(target) > 0.5)))
    return float(np.mean(decisions_of(output) == labels))


def top_k(k):
    """Metric: share of rows whose target class is among the k largest logits (ties count against it)."""

    def metric(target, output):
        output, labels = np.asarray(output), labels_of(target, output)
        if output.ndim != 2 or output.shape[1] <= k or labels is None:
            raise ValueError(f"top_{k} needs class labels and more than {k} logits per row, got {output.shape}")
        own = np.take_along_axis(output, labels[:, None], axis=1)
        ahead = np.count_nonzero(~(output < own), axis=1) - 1  # NaN is ahead of everything
        return float(np.mean(ahead < k))

    metric.__name__ = f"top_{k}"
    metric.__doc__ = f"Share of rows whose target class is among the {k} largest logits."
    return metric


def _counts(target, output):
    """(true positives, false positives, false negatives) per class, or per column of yes-or-no answers."""
    labels = labels_of(target, output)
    if labels is None:
        wanted, given = np.asarray(target) > 0.5, np.asarray(output) > 0
        return (wanted & given).sum(axis=0), (~wanted & given).sum(axis=0), (wanted & ~given).sum(axis=0)
    decided = decisions_of(output)
    classes = max(np.asarray(output).shape[1] if np.ndim(output) == 2 else 1, 2)
    right = np.bincount(labels[labels == decided], minlength=classes)
    return right, np.bincount(decided, minlength=classes) - right, np.bincount(labels, minlength=classes) - right


def f1_macro(target, output):
    """Mean over the classes that occur of ``2 tp / (2 tp + fp + fn)``."""
    right, false, missed = _counts(target, output)
    whole = 2 * right + false + missed
    return float(np.mean(2 * right[whole > 0] / whole[whole > 0])) if whole.any() else 0.0


def f1_micro(target, output):
    """``2 tp / (2 tp + fp + fn)`` of all classes counted together; the accuracy where each row has one class."""
    right, false, missed = (int(part.sum()) for part in _counts(target, output))
    return 2 * right / max(2 * right + false + missed, 1)


def f1(target, output):
    """F1 of class 1 where there are two classes, else the same as f1_macro."""
    right, false, missed = _counts(target, output)
    if len(right) != 2 or labels_of(target, output) is None:
        return f1_macro(target, output)
    return float(2 * right[1] / max(2 * right[1] + false[1] + missed[1], 1))


def _area(positive, score):
    """Probability that a positive row scores above a negative one, ties counted half; NaN if one kind is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives or np.isnan(score).any():
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0  # the mean rank of equal scores
    return float((rank[place][positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def auc(target, output):
    """Area under the ROC curve: the probability that a row of the class scores above another row, ties half.

    Several classes: the mean over the classes that occur of one class against the rest, by softmax probabilities.
    """
    output, labels = np.asarray(output, dtype=np.float64), labels_of(target, output)
    if output.ndim == 1 or output.shape[1] == 1:
        return _area(labels == 1, output.reshape(-1))
    if labels is None:
        areas = [_area(wanted > 0.5, score) for wanted, score in zip(np.asarray(target).T, output.T, strict=True)]
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
    if output.shape[1] == 2:
        return _area(labels == 1, output[:, 1] - output[:, 0])
    with np.errstate(invalid="ignore"):
        score = np.exp(output - output.max(axis=1, keepdims=True))
    score /= score.sum(axis=1, keepdims=True)
    return float(np.mean([_area(labels == c, score[:, c]) for c in np.unique(labels)]))


def _difference(target, output):
    output = np.asarray(output, dtype=np.float64)
    return output - np.asarray(target, dtype=np.float64).reshape(output.shape)


def mse(target, output):
    """Mean squared error."""
    return float(np.mean(_difference(target, output) ** 2))


def rmse(target, output):
    """Root of the mean squared error."""
    return float(np.sqrt(mse(target, output)))


def mae(target, output):
    """Mean absolute error."""
    return float(np.mean(np.abs(_difference(target, output))))


def r2(target, output):
    """1 - residual sum of squares / total sum of squares, averaged over outputs; 0 for a constant column missed."""
    difference = _difference(target, output).reshape(len(output), -1)
    target = np.asarray(target, dtype=np.float64).reshape(difference.shape)
    residual = (difference**2).sum(axis=0)
    total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
    scores = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), np.where(residual > 0, 0.0, 1.0))
    return float(scores.mean())


METRICS = {
    metric.__name__: metric for metric in (accuracy, f1, f1_macro, f1_micro, auc, mse, rmse, mae, r2)
}  # fmt: skip


def _by_name(name):
    top = re.fullmatch(r"top_?([1-9]\d*)(_accuracy)?", name)
    if top:
        return top_k(int(top[1]))
    if name in METRICS:
        return METRICS[name]
    raise ValueError(
        f"unknown metric {name!r}; known: {', '.join(METRICS)}, top_<k> such as top_5, or a callable (target, output)"
    )


def resolve(metrics):
    """[(name, function)] of names and callables ``metric(target, output) -> float``."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    resolved = []
    for metric in metrics:
        if callable(metric):
            resolved.append((getattr(metric, "__name__", type(metric).__name__), metric))
        elif isinstance(metric, str):
            resolved.append((metric, _by_name(metric)))
        else:
            raise TypeError(f"a metric must be a name or a callable (target, output), got {metric!r}")
    return resolved
