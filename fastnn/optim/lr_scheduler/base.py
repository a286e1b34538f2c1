"""Schedule: what every schedule shares, and how the steps of a trainer read one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...validation import Strict, check_not_negative, check_positive, check_whole


class Schedule(Strict):
    """Base of the schedules: a pure function of (base rate, step, epoch), without any state of its own.

    A trainer asks ``schedule.rate(base, step, epoch)`` for the next steps at once, once per group of the optimizer,
    whose own ``lr`` is `base`. So a schedule may serve several trainers, resumes at any step, and a callback that
    changes ``optimizer.lr`` scales what is left of it. A plain function of the same three arguments works as well.

    Subclasses list the names of their options in `options` and define ``_at(base, count)``, where `count` is the
    array of epochs or of steps that have been completed, as `per` says.

    Parameters
    ----------
    per : {"epoch", "step"}
        What is counted.
    """

    options: tuple[str, ...] = ()
    per = "epoch"
    _kind = "schedule"
    changes = 0  # of all schedules together, so that steps whose rates are known need not look at every option
    absolute = False  # True: the rates are given by the options, and the base rate does not matter
    cycles_momentum = False

    def __setattr__(self, name, value):
        if "_sealed" in self.__dict__ and name in self.options:  # as if it had been made with this option
            self.__dict__.update(type(self)(**{**self._options(), name: value}).__dict__)
        else:
            super().__setattr__(name, value)
        Schedule.changes += 1

    def _options(self):
        return {name: getattr(self, name) for name in self.options}

    def _count_per(self, per):
        if per not in ("epoch", "step"):
            raise ValueError(f"{self._name()}: per must be 'epoch' or 'step', got {per!r}")
        self.per = per

    def rate(self, base: float, step: Any, epoch: Any) -> Any:
        """Return the rates at given places.

        Parameters
        ----------
        base : float
            The optimizer's or the group's own ``lr``.
        step, epoch : int or int array
            Updates and epochs completed before, from 0; shapes are broadcast.

        Returns
        -------
        ndarray, float64
            Of the common shape. The same bits for one step at a time and for many.
        """
        return self._values(self._at, base, step, epoch)

    __call__ = rate

    def momentum(self, base: float, step: Any, epoch: Any) -> Any:
        """Return the momentum (Adam: the first beta) at given places as `rate` does, or None if it stays `base`."""
        return self._values(self._momentum_at, base, step, epoch) if self.cycles_momentum else None

    def _values(self, function, base, step, epoch):
        step, epoch = np.asarray(step), np.asarray(epoch)
        values = function(base, epoch if self.per == "epoch" else step)
        return np.broadcast_to(np.asarray(values, dtype=np.float64), np.broadcast_shapes(step.shape, epoch.shape))

    def _at(self, base, count):
        raise NotImplementedError(f"{self._name()} defines no _at(self, base, count)")

    def _momentum_at(self, base, count):
        return base

    def __mul__(self, other: Any) -> Any:
        """``a * b``: both at once, see `ChainedScheduler`."""
        return ChainedScheduler([self, other]) if isinstance(other, Schedule) else NotImplemented

    def plot(self, steps: int, *, base: float = 1.0, steps_per_epoch: int = 1, axes: Any = None) -> Any:
        """Draw the rate over the first `steps` steps.

        Parameters
        ----------
        steps : int
        base : float, default 1.0
            The optimizer's ``lr``.
        steps_per_epoch : int, default 1
            So that schedules by the epoch change at the right steps; 1 draws epochs.
        axes : matplotlib Axes, optional

        Returns
        -------
        fastnn.plot.ScheduleDisplay
        """
        from ...plot import ScheduleDisplay

        return ScheduleDisplay.from_schedule(self, steps, base=base, steps_per_epoch=steps_per_epoch).plot(axes)

    def to_config(self) -> dict[str, Any]:
        """Return {"class": name, options} for JSON."""
        return {"class": self._name(), **self._options()}

    def _name(self):
        return type(self).__name__

    def __eq__(self, other):
        return type(self) is type(other) and self.to_config() == other.to_config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self._name()}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.options)})"


def checked_schedules(owner: str, schedulers: Any) -> Any:
    """The schedules as a list; an error names what is none."""
    schedulers = list(schedulers)
    if not schedulers:
        raise ValueError(f"{owner}: needs at least one schedule")
    for schedule in schedulers:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{owner}: {schedule!r} is no schedule; LambdaLR makes one of a function")
    return schedulers


class Composed(Schedule):
    """Made of schedules."""

    options: tuple[str, ...] = ("schedulers",)

    def to_config(self) -> dict[str, Any]:
        config = super().to_config()
        return {**config, "schedulers": [schedule.to_config() for schedule in self.schedulers]}


class ChainedScheduler(Composed):
    """All schedules at once: ``base * prod(rate / base)``, their factors multiply. ``a * b`` makes one.

    Schedules by the step and by the epoch mix. `CyclicLR` and `OneCycleLR` give rates, which the others then scale:
    there can be one of them.

    Parameters
    ----------
    schedulers : sequence of Schedule
        Their order does not matter, except for the rounding.
    """

    def __init__(self, schedulers: Any) -> None:
        flat = []
        for schedule in checked_schedules("ChainedScheduler", schedulers):
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

    def rate(self, base: float, step: Any, epoch: Any) -> Any:
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

    def momentum(self, base: float, step: Any, epoch: Any) -> Any:
        """See `Schedule.momentum`."""
        for schedule in self.schedulers:
            if schedule.cycles_momentum:
                return schedule.momentum(base, step, epoch)
        return None

    def _momentum_at(self, base, count):
        return self.momentum(base, count, count)


class StepRates:
    """What a schedule gives for the steps of one trainer from now on.

    Parameters
    ----------
    schedule : Schedule, or callable (base, step, epoch) -> rates
    step, epoch : int
        Updates and epochs completed so far. The steps asked for belong to one epoch.
    """

    def __init__(self, schedule: Any, step: Any, epoch: Any) -> None:
        self.schedule, self.step, self.epoch = schedule, step, epoch

    def _steps(self, count):
        return np.arange(self.step, self.step + count, dtype=np.int64)

    def lr(self, base: float, count: int) -> Any:
        """Rates of the next `count` steps, float64 (count,)."""
        rates = np.asarray(self.schedule(base, self._steps(count), self.epoch), dtype=np.float64)
        return np.broadcast_to(rates, (count,))

    def momentum(self, base: float, count: int) -> Any:
        """Momentum of the next `count` steps, or None if the schedule leaves it alone."""
        function = getattr(self.schedule, "momentum", None)
        return None if function is None else function(base, self._steps(count), self.epoch)


integer = check_whole


def number(owner: str, name: str, value: Any, *, positive: bool = False) -> float:
    """value as a finite float >= 0 (> 0 if `positive`), or an error that names it."""
    if positive and value is None:
        raise ValueError(f"{owner}: {name} must be a number > 0, got None")
    return float((check_positive if positive else check_not_negative)(owner, name, value))


def rising(owner: str, name: str, values: Any) -> Any:
    """values as a list of ints >= 1, each larger than the one before, or an error that names them."""
    values = [integer(owner, name, value, 1) for value in values]
    if any(a >= b for a, b in zip(values, values[1:], strict=False)):
        raise ValueError(f"{owner}: {name} must rise, got {values}")
    return values


def powers(factor: float, exponents: Any) -> Any:
    """``factor ** exponents`` with Python's pow: NumPy's differs between machines in the last bit."""
    return each(lambda exponent: factor**exponent, exponents)


def each(function: Callable[..., Any] | None, values: Any) -> Any:
    """function of each element as a Python number, float64."""
    values = np.asarray(values)
    return np.array([function(value) for value in values.ravel().tolist()], dtype=np.float64).reshape(values.shape)
