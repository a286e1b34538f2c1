"""Schedules: the learning rate, and the momentum if it moves, over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .figure import TRAINING, VALIDATION, new_axes, tidy


class ScheduleDisplay:
    """The rate of a schedule over the steps (or epochs) of a run; the momentum below it, if the schedule moves that.

    Parameters
    ----------
    steps : array (n,)
        Numbers of the steps, from 0.
    rates : array (n,), or dict of str to array
        Several curves by name share the axes.
    momenta : array (n,), optional
    unit : {"step", "epoch"}

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        Set by `plot`, as `figure_`.

    Examples
    --------
    >>> optim.OneCycleLR(0.1, total_steps=1000).plot(1000)
    """

    def __init__(self, steps: Any, rates: Any, momenta: Any = None, unit: str = "step") -> None:
        self.steps = steps
        self.rates = rates if isinstance(rates, dict) else {"": rates}
        self.momenta = momenta
        self.unit = unit

    @classmethod
    def from_schedule(
        cls, schedule: Any, steps: Any, *, base: float = 1.0, steps_per_epoch: int = 1
    ) -> ScheduleDisplay:
        """Make a display from a schedule, or from a dict of schedules by name.

        Parameters
        ----------
        schedule : Schedule, callable (base, step, epoch) -> rates, or dict of these
        steps : int
        base : float, default 1.0
            The optimizer's ``lr``.
        steps_per_epoch : int, default 1
        """
        if steps < 1 or steps_per_epoch < 1:
            raise ValueError(f"steps and steps_per_epoch must be at least 1, got {steps} and {steps_per_epoch}")
        number = np.arange(int(steps))
        epoch = number // int(steps_per_epoch)
        many = schedule if isinstance(schedule, dict) else {"": schedule}
        rates = {name: np.broadcast_to(one(base, number, epoch), number.shape) for name, one in many.items()}
        momentum = getattr(schedule, "momentum", None)
        momenta = None if momentum is None else momentum(0.0, number, epoch)
        by_epoch = steps_per_epoch == 1 and all(getattr(one, "per", "step") == "epoch" for one in many.values())
        return cls(number, rates, momenta, "epoch" if by_epoch else "step")

    def plot(self, axes: Any = None, *, log: bool = False) -> ScheduleDisplay:
        """Draw.

        Parameters
        ----------
        axes : matplotlib Axes, or a list of two, optional
            The second takes the momentum, which is left out without it; default: a new figure.
        log : bool, default False
            Logarithmic axis of the rate.

        Returns
        -------
        ScheduleDisplay
            Itself.
        """
        if axes is None:
            panels, width = 1 if self.momenta is None else 2, 5.2 if len(self.rates) == 1 else 6.8
            options = {"height": 2.4, "sharex": True, "height_ratios": (2, 1)[:panels]}
            axes = new_axes(rows=panels, width=width, **options)
        axes = list(axes) if hasattr(axes, "__iter__") else [axes]
        # a rate that holds for a whole epoch is a stair; few points are not a curve
        style = "steps-post" if self.unit == "epoch" or len(self.steps) < 50 else "default"
        for name, rates in self.rates.items():
            colour = TRAINING if len(self.rates) == 1 else None
            axes[0].plot(self.steps, rates, color=colour, label=name, linewidth=1.6, drawstyle=style)
        axes[0].set_ylabel("learning rate")
        if log:
            axes[0].set_yscale("log")
        else:
            axes[0].set_ylim(bottom=0)
        if len(self.rates) > 1:
            axes[0].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        if self.momenta is not None and len(axes) > 1:
            axes[1].plot(self.steps, self.momenta, color=VALIDATION, linewidth=1.6, drawstyle=style)
            axes[1].set_ylabel("momentum")
        for axis in axes:
            tidy(axis)
        axes[-1].set_xlabel(self.unit)
        self.figure_, self.axes_ = axes[0].figure, axes
        return self
