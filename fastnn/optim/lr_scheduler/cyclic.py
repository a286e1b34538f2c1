"""Cyclical rates (Smith 2017) and the one-cycle policy (Smith & Topin 2019). Both give rates, not factors."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Schedule, each, integer, number, powers
from .cosine import half_wave

_MODES = ("triangular", "triangular2", "exp_range")


class CyclicLR(Schedule):
    """The rate goes up and down between two bounds, linearly, by the step. Smith 2017.

    In cycle c (from 1), at share s of the way up or down: ``base_lr + (max_lr - base_lr) * s * scale``, where scale is
    1 ("triangular"), ``1 / 2**(c - 1)`` ("triangular2") or ``gamma**step`` ("exp_range"). The bounds are those of
    `diagnostics.lr_find`; the optimizer's own ``lr`` does not matter.

    Parameters
    ----------
    base_lr, max_lr : float
    step_size_up : int, default 2000
        Steps from `base_lr` to `max_lr`; 2 to 10 epochs of steps are usual.
    step_size_down : int, optional
        Default: `step_size_up`.
    mode : {"triangular", "triangular2", "exp_range"}
    gamma : float, default 1.0
        For "exp_range".
    scale_fn : callable (int) -> float, optional
        Replaces the scale of `mode`.
    scale_mode : {"cycle", "iterations"}
        What `scale_fn` is a function of: the number of the cycle, from 1, or the step.
    cycle_momentum : bool, default True
        Move the momentum (Adam: the first beta) against the rate, from `max_momentum` down to `base_momentum`.
    base_momentum : float, default 0.8
    max_momentum : float, default 0.9
    total_steps : int, optional
        With it the rate decays towards the end: over the last `tail` of these steps it goes linearly from where it is
        to `final_lr` and stays there; so the weights settle.
    tail : float, default 0.1
        Share of `total_steps`.
    final_lr : float, optional
        Default: ``base_lr / 100``.
    """

    options = (
        "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", "scale_fn", "scale_mode",
        "cycle_momentum", "base_momentum", "max_momentum", "total_steps", "tail", "final_lr",
    )  # fmt: skip
    per = "step"
    absolute = True

    def __init__(
        self,
        base_lr: float,
        max_lr: float,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        *,
        total_steps: int | None = None,
        tail: float = 0.1,
        final_lr: float | None = None,
    ) -> None:
        name = "CyclicLR"
        self.base_lr, self.max_lr = number(name, "base_lr", base_lr), number(name, "max_lr", max_lr)
        if self.base_lr > self.max_lr:
            raise ValueError(f"{name}: base_lr must not be above max_lr, got {base_lr} and {max_lr}")
        self.step_size_up = integer(name, "step_size_up", step_size_up, 1)
        down = step_size_up if step_size_down is None else step_size_down
        self.step_size_down = integer(name, "step_size_down", down, 1)
        if scale_fn is None and mode not in _MODES:
            raise ValueError(f"{name}: mode must be one of {', '.join(_MODES)}, got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"{name}: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, number(name, "gamma", gamma), scale_fn, scale_mode
        self.cycle_momentum = self.cycles_momentum = bool(cycle_momentum)
        self.base_momentum, self.max_momentum = _momentum_bounds(name, base_momentum, max_momentum)
        self.total_steps = None if total_steps is None else integer(name, "total_steps", total_steps, 1)
        if isinstance(tail, str) or not 0 < tail <= 1:
            raise ValueError(f"{name}: tail must be a share of total_steps in (0, 1], got {tail!r}")
        self.tail = float(tail)
        self.final_lr = number(name, "final_lr", self.base_lr / 100 if final_lr is None else final_lr)

    def _height(self, count):
        """(share of the way from the lower bound to the upper one) * scale."""
        size = self.step_size_up + self.step_size_down
        cycle = 1 + count // size
        place = count % size
        up = place / self.step_size_up
        share = np.where(up <= 1.0, up, (size - place) / self.step_size_down)
        if self.scale_fn is not None:
            return share * each(self.scale_fn, cycle if self.scale_mode == "cycle" else count)
        if self.mode == "triangular2":
            return share * powers(0.5, cycle - 1)
        return share * powers(self.gamma, count) if self.mode == "exp_range" else share

    def _cycle(self, count):
        return self.base_lr + (self.max_lr - self.base_lr) * self._height(count)

    def _at(self, base, count):
        count = np.asarray(count)
        if self.total_steps is None:
            return self._cycle(count)
        begin = self.total_steps - max(1, round(self.tail * self.total_steps))
        last = self.total_steps - 1  # the first step with the final rate
        share = np.minimum((count - begin) / max(1, last - begin), 1.0)
        before = self._cycle(np.asarray(begin))
        return np.where(count < begin, self._cycle(count), before + (self.final_lr - before) * share)

    def _momentum_at(self, base, count):
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self._height(count)


class OneCycleLR(Schedule):
    """Up to `max_lr`, down again and far below the start, within `total_steps` steps. Smith & Topin 2019.

    It starts at ``max_lr / div_factor``, reaches `max_lr` after the share `pct_start` of the steps, and ends at
    ``max_lr / div_factor / final_div_factor``; from then on it stays there. The optimizer's own ``lr`` does not matter.

    Parameters
    ----------
    max_lr : float
    total_steps : int, optional
    epochs, steps_per_epoch : int, optional
        Instead of `total_steps`, which is their product.
    pct_start : float, default 0.3
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool, default True
        Move the momentum (Adam: the first beta) against the rate, from `max_momentum` down to `base_momentum` and back.
    base_momentum : float, default 0.85
    max_momentum : float, default 0.95
    div_factor : float, default 25
    final_div_factor : float, default 1e4
    three_phase : bool, default False
        Down to the start within as many steps as up, then to the end.
    """

    options = (
        "max_lr", "total_steps", "pct_start", "anneal_strategy", "cycle_momentum", "base_momentum", "max_momentum",
        "div_factor", "final_div_factor", "three_phase",
    )  # fmt: skip
    per = "step"
    absolute = True

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        epochs: Any = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        name = "OneCycleLR"
        self.max_lr = number(name, "max_lr", max_lr)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: give total_steps, or both epochs and steps_per_epoch")
            total_steps = integer(name, "epochs", epochs, 1) * integer(name, "steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = integer(name, "total_steps", total_steps, 1)
        if isinstance(pct_start, str) or not 0 <= pct_start <= 1:
            raise ValueError(f"{name}: pct_start must be a share in [0, 1], got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{name}: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.pct_start, self.anneal_strategy = float(pct_start), anneal_strategy
        self.cycle_momentum = self.cycles_momentum = bool(cycle_momentum)
        self.base_momentum, self.max_momentum = _momentum_bounds(name, base_momentum, max_momentum)
        self.div_factor = number(name, "div_factor", div_factor, positive=True)
        self.final_div_factor = number(name, "final_div_factor", final_div_factor, positive=True)
        self.three_phase = bool(three_phase)

    def _phases(self):
        """[(the step at which a phase ends, rate there, momentum there)]; phase 0 ends where it begins."""
        start = self.max_lr / self.div_factor
        up = self.pct_start * self.total_steps - 1
        begin, top = (0.0, start, self.max_momentum), (up, self.max_lr, self.base_momentum)
        end = (self.total_steps - 1.0, start / self.final_div_factor, self.max_momentum)
        if self.three_phase:
            return [begin, top, (2 * self.pct_start * self.total_steps - 2, start, self.max_momentum), end]
        return [begin, top, end]

    def _along(self, count, which):
        phases = self._phases()
        count = np.minimum(count, self.total_steps - 1)
        values = np.full(np.shape(count), phases[-1][which])
        for (begin, *low), (end, *high) in reversed(list(zip(phases, phases[1:], strict=False))):
            share = np.clip((count - begin) / (end - begin), 0.0, 1.0) if end > begin else np.ones_like(values)
            first, last = low[which - 1], high[which - 1]
            moved = half_wave(last, first, share) if self.anneal_strategy == "cos" else first + (last - first) * share
            values = np.where(count <= end, moved, values)
        return values

    def _at(self, base, count):
        return self._along(count, 1)

    def _momentum_at(self, base, count):
        return self._along(count, 2)


def _momentum_bounds(owner, base, largest):
    for name, value in (("base_momentum", base), ("max_momentum", largest)):
        if isinstance(value, str) or not 0 <= value < 1:
            raise ValueError(f"{owner}: {name} must be in [0, 1), got {value!r}")
    if base > largest:
        raise ValueError(f"{owner}: base_momentum must not be above max_momentum, got {base} and {largest}")
    return float(base), float(largest)
