"""Schedules one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import Composed, checked_schedules, rising


class SequentialLR(Composed):
    """One schedule after the other; each counts from 0 where it begins.

    Parameters
    ----------
    schedulers : sequence of Schedule
        All by the epoch or all by the step.
    milestones : sequence of int
        Where the second begins, the third, ...: one less than there are schedules.

    Examples
    --------
    >>> SequentialLR([LinearLR(0.1, total_iters=5), CosineAnnealingLR(45)], milestones=[5])
    """

    options = ("schedulers", "milestones")

    def __init__(self, schedulers: Any, milestones: Sequence[int]) -> None:
        self.schedulers = checked_schedules("SequentialLR", schedulers)
        self.milestones = rising("SequentialLR", "milestones", milestones)
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(self.schedulers)} schedules need {len(self.schedulers) - 1} milestones, "
                f"got {len(self.milestones)}"
            )
        units = {schedule.per for schedule in self.schedulers}
        if len(units) > 1:
            raise ValueError(
                "SequentialLR: some schedules count steps and some epochs; set per= alike, or multiply them "
                "(LinearWarmup(500) * CosineAnnealingLR(30))"
            )
        self.per = units.pop()
        self.absolute = any(schedule.absolute for schedule in self.schedulers)
        self.cycles_momentum = any(schedule.cycles_momentum for schedule in self.schedulers)

    def _piecewise(self, which, base, count):
        count = np.asarray(count)
        values = np.full(count.shape, float(base))
        part = np.searchsorted(self.milestones, count, side="right")
        for i, start in enumerate([0, *self.milestones]):
            here = part == i
            if here.any():
                values[here] = getattr(self.schedulers[i], which)(base, count[here] - start)
        return values

    def _at(self, base, count):
        return self._piecewise("_at", base, count)

    def _momentum_at(self, base, count):
        return self._piecewise("_momentum_at", base, count)
