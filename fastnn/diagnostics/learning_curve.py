"""Learning curve: error of the training and of the development part over the number of training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..training.feed.options import as_feed
from ..training.progress import make_counter
from .bias_variance import bias_variance


class LearningCurve:
    """What `learning_curve` measured.

    Attributes
    ----------
    rows : list of int
    train, validation : list of dict
        What `Trainer.evaluate` says of the rows trained on and of the validation data, per size.
    """

    def __init__(self, rows: Sequence[int], train: Any, validation: Any) -> None:
        self.rows, self.train, self.validation = rows, train, validation

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """(training values, validation values) of "loss" or a metric."""
        return [entry[name] for entry in self.train], [entry[name] for entry in self.validation]

    def advise(self, metric: str = "accuracy", optimal_error: float = 0.0, tolerance: float = 0.02) -> list[str]:
        """Judge the last point (error = 1 - metric), and whether more rows would still help. Returns sentences."""
        train, validation = self.column(metric)
        advice = bias_variance(1 - train[-1], 1 - validation[-1], optimal_error, tolerance=tolerance).advice
        if len(self.rows) > 1:
            gain = validation[-1] - validation[-2]
            numbers = f"from {self.rows[-2]:,} to {self.rows[-1]:,} rows the validation {metric} changed by {gain:+.4f}"
            more = "more data still helps" if gain > tolerance / 4 else "more data alone will not help much"
            advice.append(f"{numbers}: {more}")
        return advice

    def plot(self, metric: str = "loss", axes: Any = None) -> Any:
        """Draw both curves over the number of rows; returns a fastnn.plot.LearningCurveDisplay."""
        from ..plot import LearningCurveDisplay

        return LearningCurveDisplay(self.rows, *self.column(metric), metric).plot(axes)


def learning_curve(
    factory: Any,
    x: Any,
    y: ArrayLike,
    *,
    validation_data: Any,
    sizes: Sequence[float] = (0.1, 0.2, 0.4, 0.7, 1.0),
    epochs: int,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> LearningCurve:
    """Train a fresh network on growing parts of the rows, each part holding the one before it.

    Parameters
    ----------
    factory : callable () -> Trainer
    x, y : arrays
    validation_data : (x, y[, sample_weight])
        The same for all sizes.
    sizes : sequence of float or int
        Shares of the rows in (0, 1], or numbers of rows (integers).
    epochs : int
    seed : int
        Of the order in which rows are taken.
    progress : bool, default True
        One bar over the sizes, with the time that remains; without a terminal now and then a line.
    **options
        For `Trainer.fit`: ``batch_size``, ``callbacks``, ...

    Returns
    -------
    LearningCurve
    """
    from ..training.trainer import Trainer

    feed = as_feed(options.pop("feed", None))
    total = len(y)
    counts = [_rows(size, total) for size in sizes]
    if not counts:
        raise ValueError("learning_curve: sizes is empty")
    order = np.random.Generator(np.random.Philox(seed)).permutation(total)
    train, validation = [], []
    counter = make_counter(progress, len(counts), "size")
    try:
        for count in counts:
            trainer = factory()
            if not isinstance(trainer, Trainer):
                raise TypeError(f"learning_curve: factory must return a new Trainer, got {type(trainer).__name__}")
            rows = np.sort(order[:count])
            trainer.fit(x, y, epochs=epochs, feed=feed.with_rows(rows), progress=False, **options)
            train.append(trainer.evaluate(_take(x, rows), np.asarray(y)[rows]))
            weight = validation_data[2] if len(validation_data) == 3 else None
            validation.append(trainer.evaluate(validation_data[0], validation_data[1], sample_weight=weight))
            counter.count()
    finally:
        counter.close()
    return LearningCurve(counts, train, validation)


def _rows(size, total):
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    count = int(size) if whole else round(size * total) if 0 < size <= 1 else 0
    if not 1 <= count <= total:
        raise ValueError(f"learning_curve: a size is a share in (0, 1] or a number of rows up to {total}, got {size!r}")
    return count


def _take(x, rows):
    if isinstance(x, dict):
        return {name: np.asarray(array)[rows] for name, array in x.items()}
    return tuple(np.asarray(array)[rows] for array in x) if isinstance(x, tuple) else np.asarray(x)[rows]
