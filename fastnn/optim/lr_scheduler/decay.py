"""Schedules that scale the base rate: constant, steps, exponential, inverse time, polynomial, warm-up, any function."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .base import Schedule, each, integer, number, powers, rising


class ConstantLR(Schedule):
    """``base * factor`` until `total_iters`, then ``base``.

    Parameters
    ----------
    factor : float, default 1/3
    total_iters : int, default 5
        Epochs (or steps, as `per` says).
    per : {"epoch", "step"}
    """

    options = ("factor", "total_iters", "per")

    def __init__(self, factor: float = 1.0 / 3.0, total_iters: int = 5, *, per: str = "epoch") -> None:
        self.factor = number("ConstantLR", "factor", factor)
        self.total_iters = integer("ConstantLR", "total_iters", total_iters)
        self._count_per(per)

    def _at(self, base, count):
        return base * np.where(count < self.total_iters, self.factor, 1.0)


class LinearLR(Schedule):
    """``base * f``, where f goes linearly from `start_factor` to `end_factor` within `total_iters`, and stays there.

    Parameters
    ----------
    start_factor : float, default 1/3
    end_factor : float, default 1.0
    total_iters : int, default 5
        Epochs (or steps, as `per` says).
    per : {"epoch", "step"}
    """

    options = ("start_factor", "end_factor", "total_iters", "per")

    def __init__(
        self, start_factor: float = 1.0 / 3.0, end_factor: float = 1.0, total_iters: int = 5, *, per: str = "epoch",
    ) -> None:  # fmt: skip
        self.start_factor = number("LinearLR", "start_factor", start_factor)
        self.end_factor = number("LinearLR", "end_factor", end_factor)
        self.total_iters = integer("LinearLR", "total_iters", total_iters, 1)
        self._count_per(per)

    def _at(self, base, count):
        share = np.minimum(count, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class LinearWarmup(Schedule):
    """``base * min(1, (t + 1) / steps)``: the rate rises linearly over the first steps. Goyal et al. 2017, section 2.2.

    Multiply it with what follows: ``LinearWarmup(500) * CosineAnnealingLR(30)``.

    Parameters
    ----------
    steps : int
        The step number `steps`, counted from 1, is the first with the full rate.
    per : {"step", "epoch"}
    """

    options = ("steps", "per")

    def __init__(self, steps: int, *, per: str = "step") -> None:
        self.steps = integer("LinearWarmup", "steps", steps, 1)
        self._count_per(per)

    def _at(self, base, count):
        return base * np.minimum(1.0, (count + 1) / self.steps)


class StepLR(Schedule):
    """``base * gamma ** (t // step_size)``: down by a factor every `step_size` epochs.

    Parameters
    ----------
    step_size : int
        Epochs (or steps, as `per` says).
    gamma : float, default 0.1
    per : {"epoch", "step"}
    """

    options = ("step_size", "gamma", "per")

    def __init__(self, step_size: int, gamma: float = 0.1, *, per: str = "epoch") -> None:
        self.step_size = integer("StepLR", "step_size", step_size, 1)
        self.gamma = number("StepLR", "gamma", gamma)
        self._count_per(per)

    def _at(self, base, count):
        return base * powers(self.gamma, count // self.step_size)


class MultiStepLR(Schedule):
    """``base * gamma ** n``, n the number of `milestones` that have been reached.

    Parameters
    ----------
    milestones : sequence of int
        Rising numbers of epochs (or steps, as `per` says).
    gamma : float, default 0.1
    per : {"epoch", "step"}
    """

    options = ("milestones", "gamma", "per")

    def __init__(self, milestones: Sequence[int], gamma: float = 0.1, *, per: str = "epoch") -> None:
        self.milestones = rising("MultiStepLR", "milestones", milestones)
        self.gamma = number("MultiStepLR", "gamma", gamma)
        self._count_per(per)

    def _at(self, base, count):
        return base * powers(self.gamma, np.searchsorted(self.milestones, count, side="right"))


class ExponentialLR(Schedule):
    """``base * gamma ** t``, t the epochs completed (0 in the first epoch).

    Parameters
    ----------
    gamma : float
    per : {"epoch", "step"}
    """

    options = ("gamma", "per")

    def __init__(self, gamma: float, *, per: str = "epoch") -> None:
        self.gamma = number("ExponentialLR", "gamma", gamma)
        self._count_per(per)

    def _at(self, base, count):
        return base * powers(self.gamma, count)


class InverseTimeLR(Schedule):
    """``base / (1 + decay * epoch)`` with epochs counted from 1, as textbooks write it.

    With base 0.2 and decay 1 the first four epochs have 0.1, 0.0667, 0.05 and 0.04.

    Parameters
    ----------
    decay : float, default 1.0
    per : {"epoch", "step"}
    """

    options = ("decay", "per")

    def __init__(self, decay: float = 1.0, *, per: str = "epoch") -> None:
        self.decay = number("InverseTimeLR", "decay", decay)
        self._count_per(per)

    def _at(self, base, count):
        return base / (1.0 + self.decay * (count + 1))


class PolynomialLR(Schedule):
    """``base * (1 - t / total_iters) ** power`` until it is 0 at `total_iters`.

    Parameters
    ----------
    total_iters : int, default 5
        Epochs (or steps, as `per` says).
    power : float, default 1.0
    per : {"epoch", "step"}
    """

    options = ("total_iters", "power", "per")

    def __init__(self, total_iters: int = 5, power: float = 1.0, *, per: str = "epoch") -> None:
        self.total_iters = integer("PolynomialLR", "total_iters", total_iters, 1)
        self.power = number("PolynomialLR", "power", power)
        self._count_per(per)

    def _at(self, base, count):
        left = 1.0 - np.minimum(count, self.total_iters) / self.total_iters
        return base * each(lambda share: share**self.power, left)


class LambdaLR(Schedule):
    """``base * lr_lambda(t)``.

    Parameters
    ----------
    lr_lambda : callable (int) -> float
        Of the epochs (or steps, as `per` says) completed, from 0. Must be a pure function: it is called for steps
        ahead, and again when a run resumes.
    per : {"epoch", "step"}
    """

    options = ("lr_lambda", "per")

    def __init__(self, lr_lambda: Callable[[float, Any, Any], Any], *, per: str = "epoch") -> None:
        if not callable(lr_lambda):
            raise TypeError(f"LambdaLR: lr_lambda must be a function of the count, got {lr_lambda!r}")
        self.lr_lambda = lr_lambda
        self._count_per(per)

    def _at(self, base, count):
        return base * each(self.lr_lambda, count)
