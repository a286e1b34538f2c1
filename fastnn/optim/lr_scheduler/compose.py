"""Schedules made of schedules: one after the other, or all at once."""

import numpy as np

from .base import Schedule, rising


def _schedules(owner, schedulers):
    schedulers = list(schedulers)
    if not schedulers:
        raise ValueError(f"{owner}: needs at least one schedule")
    for schedule in schedulers:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{owner}: {schedule!r} is no schedule; LambdaLR makes one of a function")
    return schedulers


class _Composed(Schedule):
    options = ("schedulers",)

    def to_config(self):
        config = super().to_config()
        return {**config, "schedulers": [schedule.to_config() for schedule in self.schedulers]}


class SequentialLR(_Composed):
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

    def __init__(self, schedulers, milestones):
        self.schedulers = _schedules("SequentialLR", schedulers)
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


class ChainedScheduler(_Composed):
    """All schedules at once: ``base * prod(rate / base)``, their factors multiply. ``a * b`` makes one.

    Schedules by the step and by the epoch mix. `CyclicLR` and `OneCycleLR` give rates, which the others then scale:
    there can be one of them.

    Parameters
    ----------
    schedulers : sequence of Schedule
        Their order does not matter, except for the rounding.
    """

    def __init__(self, schedulers):
        flat = []
        for schedule in _schedules("ChainedScheduler", schedulers):
            flat += schedule.schedulers if isinstance(schedule, ChainedScheduler) else [schedule]
        absolute = [schedule for schedule in flat if schedule.absolute]
        if len(absolute) > 1:
            names = " and ".join(type(schedule).__name__ for schedule in absolute)
            raise ValueError(f"ChainedScheduler: {names} each set the rate itself; only one of them can")
        self.schedulers = flat
        self.absolute = bool(absolute)
        self.cycles_momentum = any(schedule.cycles_momentum for schedule in flat)
        units = {schedule.per for schedule in flat}
        self.per = units.pop() if len(units) == 1 else "step and epoch"

    def rate(self, base, step, epoch):
        """See `Schedule.rate`."""
        unit = base if base > 0 else 1.0
        first, *others = sorted(self.schedulers, key=lambda schedule: not schedule.absolute)
        rates = first.rate(base, step, epoch)
        for schedule in others:
            rates = rates * (schedule.rate(unit, step, epoch) / unit)
        return rates

    __call__ = rate

    def _at(self, base, count):
        return self.rate(base, count, count)

    def momentum(self, base, step, epoch):
        """See `Schedule.momentum`."""
        for schedule in self.schedulers:
            if schedule.cycles_momentum:
                return schedule.momentum(base, step, epoch)
        return None

    def _momentum_at(self, base, count):
        return self.momentum(base, count, count)
