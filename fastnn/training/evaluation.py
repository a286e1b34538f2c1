"""Measuring a model: the loss and the metrics on arrays or on an iterable of batches, in inference mode."""

from typing import Any

import numpy as np

from .feed.batch import Batch, batches_of, is_batches
from .feed.dataset import Data


class ArrayEvaluation:
    """Measures on checked arrays."""

    def __init__(self, x, target, spec, weight):
        self._parts = x, target, spec, weight

    @classmethod
    def of(cls, data: Data, rows=slice(None)) -> "ArrayEvaluation":
        """Some rows of checked data."""
        x, target, weight = data.part(rows)
        return cls(x, target, data.spec, weight)

    def measure(self, trainer) -> dict[str, float]:
        """{"loss": float, metric: float, ...}"""
        return trainer._measure(*self._parts)


class StreamEvaluation:
    """Measures on an iterable of batches: predicted one by one; loss and metrics are those of all rows together."""

    def __init__(self, batches):
        self._batches = batches

    def measure(self, trainer) -> dict[str, float]:
        """{"loss": float, metric: float, ...}"""
        outputs, told = [], []
        for batch in batches_of(self._batches, 0):
            outputs.append(trainer.predict(batch.x))
            told.append(Batch(outputs[-1] if isinstance(outputs[-1], np.ndarray) else batch.x, batch.y, batch.weight))
        if not outputs:
            raise ValueError("the iterable of batches to evaluate on yields none")
        if not isinstance(outputs[0], np.ndarray):
            raise TypeError("a model of several outputs is evaluated on arrays, not on an iterable of batches")
        whole = told[0]
        if len(told) > 1:
            y = np.concatenate([np.asarray(batch.y) for batch in told])
            weights = [batch.weight for batch in told]
            if any(weight is not None for weight in weights):
                weights = [np.ones(len(b.y)) if b.weight is None else np.asarray(b.weight) for b in told]
                whole = Batch(np.concatenate(outputs), y, np.concatenate(weights))
            else:
                whole = Batch(np.concatenate(outputs), y)
        return trainer._measure_outputs(whole.x, whole.y, whole.weight)


def evaluation_of(trainer, data: Any, finite: bool = False, per_class=None):
    """What ``validation_data`` stands for: (x, y[, weight]), or an iterable of batches; None stays None."""
    if data is None:
        return None
    if is_batches(data):
        return StreamEvaluation(data)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError("validation_data must be (x, y), (x, y, sample_weight) or an iterable of such batches")
    weight = data[2] if len(data) == 3 else None
    return ArrayEvaluation.of(
        Data(trainer, data[0], data[1], weight, per_class, finite=finite, what="validation ")
    )


