"""Curriculum: easy rows first, harder ones as training goes on."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...validation import check_count


class Curriculum:
    """Train on the easiest share of the rows, a share that grows over the first epochs to all of them.

    Parameters
    ----------
    difficulty : array (rows,)
        One number per row of x, larger is harder: the loss of a small model, the length of a text, a noise level.
    epochs : int
        Epochs until all rows take part.
    start : float, default 0.2
        Share of the rows in the first epoch, in (0, 1].
    pace : {"linear", "root"}
        How the share c grows with t = epoch / epochs: ``start + (1 - start) t``, or ``sqrt(start² + (1 - start²) t)``
        (Platanios et al. 2019, eq. 8), which gives each new row the same time.
    order : bool, default False
        True: the rows of an epoch come in order of difficulty, not shuffled.

    Notes
    -----
    Bengio, Louradour, Collobert & Weston 2009. What an epoch trains on is a function of its number only.
    """

    def __init__(
        self, difficulty: ArrayLike, epochs: int, start: float = 0.2, pace: str = "linear", order: bool = False
    ) -> None:
        difficulty = np.asarray(difficulty, dtype=np.float64)
        if difficulty.ndim != 1 or np.isnan(difficulty).any():
            raise ValueError(f"Curriculum: difficulty must be one number per row, no NaN; got shape {difficulty.shape}")
        epochs = check_count("Curriculum", "epochs", epochs, 1)
        if isinstance(start, str) or not 0 < start <= 1:
            raise ValueError(f"Curriculum: start must be a share in (0, 1], got {start!r}")
        if pace not in ("linear", "root"):
            raise ValueError(f"Curriculum: pace must be 'linear' or 'root', got {pace!r}")
        self.difficulty = difficulty
        self.epochs, self.start, self.pace, self.order = epochs, float(start), pace, bool(order)

    def share(self, epoch: int) -> float:
        """Share of the rows that epoch `epoch` (from 0) trains on."""
        t = min(1.0, epoch / self.epochs)
        if self.pace == "linear":
            return self.start + (1.0 - self.start) * t
        return math.sqrt(self.start**2 + (1.0 - self.start**2) * t)

    def rows(self, rows: NDArray[np.int64], epoch: int, least: int) -> NDArray[np.int64]:
        """The easiest of these rows (an int64 array), in order of difficulty; at least `least` of them."""
        if len(rows) and rows.max() >= len(self.difficulty):
            raise ValueError(f"curriculum: difficulty has {len(self.difficulty)} entries, x has more rows")
        count = max(math.ceil(self.share(epoch) * len(rows) - 1e-9), min(least, len(rows)))
        return rows[np.argsort(self.difficulty[rows], kind="stable")[:count]]


class Chosen:
    """A curriculum by a function: epoch -> row numbers of x, in the order in which they are trained on."""

    order = True

    def __init__(self, function: Callable[[int], ArrayLike]) -> None:
        self.function = function

    def rows(self, rows: NDArray[np.int64], epoch: int, least: int) -> NDArray[np.int64]:
        """What the function says, checked."""
        chosen = np.asarray(self.function(epoch))
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not len(chosen):
            raise TypeError(f"curriculum({epoch}) must give an array of row numbers, got {chosen.dtype} {chosen.shape}")
        chosen = chosen.astype(np.int64)
        unknown = ~np.isin(chosen, rows)
        if unknown.any():
            raise ValueError(f"curriculum({epoch}) gives row {chosen[unknown][0]}, which is not a row to train on")
        return chosen


def as_curriculum(curriculum: Any) -> Curriculum | Chosen | None:
    """A Curriculum, an array of difficulties (all rows in every epoch, easy ones first), or a function of the epoch."""
    if curriculum is None or isinstance(curriculum, Curriculum):
        return curriculum
    if callable(curriculum):
        return Chosen(curriculum)
    if isinstance(curriculum, str):
        raise TypeError(f"curriculum must be a Curriculum, an array of difficulties or a function, got {curriculum!r}")
    return Curriculum(curriculum, epochs=1, start=1.0, order=True)
