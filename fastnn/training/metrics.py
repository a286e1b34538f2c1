"""Metrics by name: measured over a whole part of the data, in double; the loss says what outputs and targets mean.

Outputs are what the model's `forward` ends with. The loss (`nn.losses.meaning_of`) says which class an output decides
for, which probabilities or values it stands for, and which rows count: not those with an ignored label. Outputs that
are not finite have no score: every metric of them is NaN.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn.losses import meaning_of
from ..nn.meaning import Meaning

NAN = float("nan")


class Metric:
    """A metric of this module: ``metric(target, output, loss) -> float``.

    Parameters
    ----------
    name : str
    function : callable
        Of what `asks` says.
    asks : {"decision", "score", "values"}
        What the function gets of targets and outputs, before the number of classes: the decisions of both; the true
        decisions and how much the outputs speak for each; values.
    """

    def __init__(self, name: str, function: Any, asks: str) -> None:
        self.__name__, self.function, self.asks = name, function, asks
        self.__doc__ = function.__doc__

    def __call__(self, target: Any, output: Any, loss: Any) -> float:
        """The metric of outputs against targets, as `loss` (any loss of `nn`, or a callable) understands them."""
        meaning = meaning_of(loss)
        self.check(meaning)
        if not is_sound(output, meaning):
            return NAN
        truth, said, counted = self._asked(meaning, target, output)
        if counted is not None:
            truth, said = truth[counted], said[counted]
        classes = 2 if meaning.target == "binary" or np.ndim(output) != 2 else max(np.shape(output)[1], 2)
        return float(self.function(truth, said, classes)) if len(truth) else NAN

    def check(self, meaning: Meaning) -> None:
        """Raise ValueError if the loss cannot answer."""
        if self.asks != "values" and not meaning.decides_classes:
            raise ValueError(
                f"metric {self.__name__!r} needs decisions, but {meaning.name} compares values: if its targets are "
                'classes or answers, say so by loss.target = "class", "binary" or "rows" (of probabilities)'
            )

    def _asked(self, meaning, target, output):
        if self.asks != "values":
            truth, counted = meaning.truth(target)
            return truth, meaning.decision(output) if self.asks == "decision" else scores(output, meaning), counted
        values = np.asarray(meaning.values(output), np.float64)
        target = np.asarray(target)
        if target.size != values.size:
            raise ValueError(f"metric {self.__name__!r} compares values, but the targets of {meaning.name} are labels")
        shape = (len(values), -1)
        return target.astype(np.float64).reshape(shape), values.reshape(shape), None


def is_sound(output: Any, meaning: Meaning) -> bool:
    """Whether outputs say something: what they stand for is finite (a logit of -infinity is a probability of 0)."""
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else (output,)
    parts = [np.asarray(part) for part in parts]
    if all(np.isfinite(part).all() for part in parts):
        return True
    if len(parts) > 1 or any(np.isnan(part).any() for part in parts):
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(meaning.values(parts[0])).all())


def scores(output: Any, meaning: Meaning) -> NDArray[np.float64]:
    """How much outputs speak for each class: float64 (rows,) for one answer or two classes, else (rows, classes)."""
    output = np.asarray(output, np.float64)
    if meaning.target == "binary" or output.ndim == 1:
        return output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output
    if output.shape[1] == 2:
        return output[:, 1] - output[:, 0]
    return np.asarray(meaning.probabilities(output), np.float64)


def measure(metrics: Any, loss: Any, target: Any, output: Any) -> dict[str, float]:
    """{name: value} of `resolve`'s metrics; NaN where outputs are not finite."""
    if not metrics:
        return {}
    meaning = meaning_of(loss)
    sound = is_sound(output, meaning)
    found = {}
    for name, metric in metrics:
        arguments = (target, output, loss) if isinstance(metric, Metric) else (target, output)
        found[name] = float(metric(*arguments)) if sound else NAN
    return found


# ---- decisions ---------------------------------------------------------------------------------------------------


def _accuracy(truth, decided, classes):
    """Share of rows that are decided rightly; of answers, where a row has several."""
    return np.mean(truth == decided)


def _counts(truth, decided, classes):
    """(true positives, false positives, false negatives) per class, or per column of answers."""
    if truth.ndim == 2:
        wanted, given = truth > 0, decided > 0
        return (wanted & given).sum(axis=0), (~wanted & given).sum(axis=0), (wanted & ~given).sum(axis=0)
    truth, decided = np.maximum(truth, 0), np.maximum(decided, 0)  # -1 and 1 are no and yes
    right = np.bincount(truth[truth == decided], minlength=classes)
    return right, np.bincount(decided, minlength=classes) - right, np.bincount(truth, minlength=classes) - right


def _f1_macro(truth, decided, classes):
    """Mean over the classes that occur of ``2 tp / (2 tp + fp + fn)``."""
    right, false, missed = _counts(truth, decided, classes)
    whole = 2 * right + false + missed
    return np.mean(2 * right[whole > 0] / whole[whole > 0]) if whole.any() else 0.0


def _f1_micro(truth, decided, classes):
    """``2 tp / (2 tp + fp + fn)`` of all classes counted together; the accuracy where each row has one class."""
    right, false, missed = (int(part.sum()) for part in _counts(truth, decided, classes))
    return 2 * right / max(2 * right + false + missed, 1)


def _f1(truth, decided, classes):
    """F1 of class 1 where there are two classes, else the same as f1_macro."""
    right, false, missed = _counts(truth, decided, classes)
    if len(right) != 2 or truth.ndim == 2:
        return _f1_macro(truth, decided, classes)
    return 2 * right[1] / max(2 * right[1] + false[1] + missed[1], 1)


def _recall(truth, decided, classes):
    """Share of class 1 that is found, where there are two classes; else `balanced_accuracy`."""
    right, _, missed = _counts(truth, decided, classes)
    if len(right) != 2 or truth.ndim == 2:
        return _balanced_accuracy(truth, decided, classes)
    return right[1] / max(right[1] + missed[1], 1)


def _precision(truth, decided, classes):
    """Share of the rows decided for class 1 that are of it, where there are two classes; else the mean over classes."""
    right, false, missed = _counts(truth, decided, classes)
    if len(right) != 2 or truth.ndim == 2:
        occurs = right + missed > 0
        return np.mean(right[occurs] / np.maximum(right + false, 1)[occurs]) if occurs.any() else 0.0
    return right[1] / max(right[1] + false[1], 1)


def _balanced_accuracy(truth, decided, classes):
    """Mean over the classes that occur of the share of their rows that is found."""
    right, _, missed = _counts(truth, decided, classes)
    occurs = right + missed > 0
    return np.mean(right[occurs] / (right + missed)[occurs]) if occurs.any() else 0.0


# ---- scores ------------------------------------------------------------------------------------------------------


def _area(positive, score):
    """Probability that a positive row scores above a negative one, ties counted half; NaN if one kind is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return NAN
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0  # the mean rank of equal scores
    return (rank[place][positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives)


def _auc(truth, score, classes):
    """Area under the ROC curve: the probability that a row of the class scores above another row, ties half.

    Several classes: the mean over the classes that occur of one class against the rest, by probabilities. Several
    answers per row: the mean over the answers that occur both ways.
    """
    if score.ndim == 1:
        return _area(truth > 0, score)
    if truth.ndim == 2:
        areas = [_area(wanted > 0, column) for wanted, column in zip(truth.T, score.T, strict=True)]
        return np.nanmean(areas) if np.isfinite(areas).any() else NAN
    return np.mean([_area(truth == c, score[:, c]) for c in np.unique(truth)])


class TopK(Metric):
    """Share of rows whose class is among the k largest outputs (ties count against it)."""

    def __init__(self, k: int) -> None:
        super().__init__(f"top_{k}", self._share, "score")
        self.k = k
        self.__doc__ = f"Share of rows whose target class is among the {k} largest outputs."

    def _asked(self, meaning, target, output):
        output = np.asarray(output)
        if meaning.target == "binary" or output.ndim != 2 or output.shape[1] <= self.k:
            raise ValueError(f"top_{self.k} needs class labels and more than {self.k} logits per row: {output.shape}")
        truth, counted = meaning.truth(target)
        return truth, output, counted

    def _share(self, truth, output, classes):
        own = np.take_along_axis(output, truth[:, None], axis=1)
        return np.mean(np.count_nonzero(output >= own, axis=1) <= self.k)


# ---- values ------------------------------------------------------------------------------------------------------


def _mse(target, values, classes):
    """Mean squared error."""
    return np.mean((values - target) ** 2)


def _rmse(target, values, classes):
    """Root of the mean squared error."""
    return np.sqrt(_mse(target, values, classes))


def _mae(target, values, classes):
    """Mean absolute error."""
    return np.mean(np.abs(values - target))


def _r2(target, values, classes):
    """1 - residual sum of squares / total sum of squares, averaged over outputs; 0 for a constant column missed."""
    residual = ((values - target) ** 2).sum(axis=0)
    total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
    found = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), np.where(residual > 0, 0.0, 1.0))
    return found.mean()


def _listed(asks, *functions):
    return {f.__name__[1:]: Metric(f.__name__[1:], f, asks) for f in functions}


METRICS = {
    **_listed("decision", _accuracy, _f1, _f1_macro, _f1_micro, _recall, _precision, _balanced_accuracy),
    **_listed("score", _auc),
    **_listed("values", _mse, _rmse, _mae, _r2),
}


def _by_name(name):
    top = re.fullmatch(r"top_?([1-9]\d*)(_accuracy)?", name)
    if top:
        return TopK(int(top[1]))
    if name in METRICS:
        return METRICS[name]
    raise ValueError(
        f"unknown metric {name!r}; known: {', '.join(METRICS)}, top_<k> such as top_5, or a callable (target, output)"
    )


def resolve(metrics: Any, loss: Any) -> list[tuple[str, Any]]:
    """[(name, metric)] of names and callables ``metric(target, output) -> float``.

    Raises
    ------
    ValueError
        An unknown name, a name that stands twice, or a metric that the loss gives no answers for.
    TypeError
        Something else than a name or a callable.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    resolved = {}
    for metric in metrics:
        if isinstance(metric, str):
            name, metric = metric, _by_name(metric)
        elif callable(metric):
            name = getattr(metric, "__name__", type(metric).__name__)
        else:
            raise TypeError(f"a metric must be a name or a callable (target, output), got {metric!r}")
        if name in resolved or name == "loss":
            raise ValueError(f"metrics: {name!r} stands for two columns of the history; set __name__ of one of them")
        if isinstance(metric, Metric):
            metric.check(meaning_of(loss))
        resolved[name] = metric
    return list(resolved.items())
