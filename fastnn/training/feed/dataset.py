"""Data: arrays that were checked against the model and the loss, once, before the first step."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...nn.arrays import split_inputs
from ...nn.losses import meaning_of
from ..targets import LABELS, check_finite, class_weights, prepare_target, prepare_weight
from .rows import check_rows


class Data:
    """One checked part of the data.

    Attributes
    ----------
    arrays, names : tuple, tuple or None
        The inputs; names if they came as a dict.
    target, spec : ndarray, tuple
        See `targets.prepare_target`.
    weight : ndarray (rows,) or None
        Sample weights, those of classes included.
    per_class : ndarray (classes,) or None
    row_weights : float64 array (rows,) or None
        What each row adds to the divisor of a mean loss; None: 1.
    rows : int
    """

    __slots__ = ("arrays", "names", "per_class", "row_weights", "rows", "spec", "target", "weight")

    def __init__(self, trainer, x, y, sample_weight=None, class_weight=None, *, finite=False, what="", balance=None):
        """balance: the rows that ``class_weight="balanced"`` counts; default all."""
        self.names, self.arrays = split_inputs(x)
        rows = self.rows = len(self.arrays[0])
        if rows == 0:
            raise ValueError(f"{what}x has no rows")
        if y is None:
            raise TypeError(f"{what}y is missing")
        if finite:
            for i, array in enumerate(self.arrays):
                label = "x" if len(self.arrays) == 1 else f"input {self.names[i] if self.names else i}"
                check_finite(array, what + label)
        shape = trainer._output_shape(self.names, self.arrays)
        dtype = trainer.model.dtype
        self.target, self.spec = prepare_target(y, trainer.loss, shape, rows, dtype)
        if finite and self.spec != LABELS:
            check_finite(self.target, what + "y")
        self.per_class = None
        if class_weight is not None:
            if self.spec != LABELS:
                raise ValueError("class_weight needs class labels")
            counted = self.target if balance is None else self.target[check_rows(balance, rows)]
            self.per_class = class_weights(class_weight, counted, shape[0])
            per_row = self.per_class[np.clip(self.target, 0, shape[0] - 1)]  # an ignored label has any weight
            if sample_weight is not None:
                per_row = per_row * prepare_weight(sample_weight, rows, np.float64, trainer.loss)
            sample_weight = per_row
        self.weight = None if sample_weight is None else prepare_weight(sample_weight, rows, dtype, trainer.loss)
        self.row_weights = meaning_of(trainer.loss).row_weights(self.target, self.weight)

    def part(self, rows) -> tuple[Any, NDArray, NDArray | None]:
        """(x, target, weight) of some rows, copied (of a slice: views)."""
        taken = tuple(array[rows] for array in self.arrays)
        x: Any = taken[0] if len(taken) == 1 else taken
        if self.names is not None:
            x = dict(zip(self.names, taken, strict=True))
        return x, self.target[rows], None if self.weight is None else self.weight[rows]

    def divisors(self, order, offsets) -> NDArray[np.float64]:
        """Divisor of each batch's mean loss: rows, or the sum of their weights."""
        if self.row_weights is None:
            return np.diff(offsets).astype(np.float64)
        return np.add.reduceat(self.row_weights[order], offsets[:-1])
