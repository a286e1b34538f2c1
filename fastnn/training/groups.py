"""Which batches share an update (accumulation): a function of counters, whatever the cut into native calls."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._native import StepCounts


class Batches(NamedTuple):
    """A list of batches for the runner.

    Attributes
    ----------
    index : int64 array
        Rows of the data.
    offsets : int64 array (batches + 1,)
        Where each batch's rows begin in `index`.
    losses : float64 array (batches,)
        Filled.
    divisors : float64 array (batches,)
        Of each batch's mean loss: its rows, or the sum of their weights.
    ends : int64 array
        Numbers of the batches after which an epoch ends.
    """

    index: NDArray[np.int64]
    offsets: NDArray[np.int64]
    losses: NDArray[np.float64]
    divisors: NDArray[np.float64]
    ends: NDArray[np.int64]


class UpdateGroups:
    """The updates of a list of batches: one after every `accumulate` of them and at the end of an epoch.

    Attributes
    ----------
    updates : bool array (batches,)
        Whether the update comes after the batch.
    """

    def __init__(self, counts: StepCounts, accumulate: int, batches: Batches):
        count = len(batches.offsets) - 1
        numbers = np.arange(count)
        starts = np.concatenate(([-counts.open_batches], batches.ends + 1))
        places = numbers - starts[np.searchsorted(batches.ends, numbers)]
        self._place = places % accumulate
        self.updates = self._place == accumulate - 1
        self.updates[batches.ends] = True
        self._group = np.cumsum(self.updates) - self.updates
        self._first = np.zeros(count, np.int64)  # of each batch's group in this list
        begins = 1 + np.flatnonzero(self.updates[:-1])
        self._first[begins] = begins
        self._first = np.maximum.accumulate(self._first)
        self._counts, self._accumulate, self._batches = counts, accumulate, batches

    def gradient_rows(self, program) -> NDArray[np.float64]:
        """Scalar rows of the gradient program. Parts of one update draw the random bits that its whole batch would."""
        counts, batches = self._counts, self._batches
        table = np.empty((len(self.updates), len(program.training.scalar_names)))
        table[:, 0] = counts.micro_step + self._group
        table[:, 1] = batches.offsets[:-1] - batches.offsets[self._first] + counts.open_rows * (self._group == 0)
        if program.accumulates:
            table[:, 2] = 1.0 if program.sums else batches.divisors
        return table

    def totals(self) -> NDArray[np.float64]:
        """The divisor of each update: those of its batches, added in their order."""
        counts, last = self._counts, int(self._group[-1]) + 1
        parts = np.zeros((last, self._accumulate))
        parts[self._group, self._place] = self._batches.divisors
        if counts.open_batches:
            parts[0, 0] = counts.open_divisor
        total = parts[:, 0].copy()
        for place in range(1, self._accumulate):
            total += parts[:, place]
        return total[: int(np.count_nonzero(self.updates))]

    def bounds(self) -> list[tuple[int, int]]:
        """(first batch, one behind the last) of each update in this list, and of what stays open at its end."""
        ends = [*(1 + np.flatnonzero(self.updates)).tolist(), len(self.updates)]
        begins = [0, *ends[:-1]]
        return [(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]
