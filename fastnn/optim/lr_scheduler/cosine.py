"""Cosine annealing, without and with restarts (Loshchilov & Hutter 2017, equation 5)."""

from math import cos, pi
from typing import Any

import numpy as np

from .base import Schedule, each, integer, number


def half_wave(low: Any, high: Any, share: Any) -> Any:
    """From `high` at share 0 to `low` at share 1 along a cosine."""
    return low + (high - low) * 0.5 * (1.0 + each(lambda s: cos(pi * s), share))


class CosineAnnealingLR(Schedule):
    """``eta_min + (base - eta_min) * (1 + cos(pi * t / T_max)) / 2``. Loshchilov & Hutter 2017, equation 5.

    Beyond `T_max` the rate rises again, as in PyTorch: it has the period ``2 * T_max``.

    Parameters
    ----------
    T_max : int
        Epochs (or steps, as `per` says) from the base rate to `eta_min`.
    eta_min : float, default 0
    per : {"epoch", "step"}
    """

    options = ("T_max", "eta_min", "per")

    def __init__(self, T_max: int, eta_min: float = 0.0, *, per: str = "epoch") -> None:
        self.T_max = integer("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min)
        self._count_per(per)

    def _at(self, base, count):
        return half_wave(self.eta_min, base, count % (2 * self.T_max) / self.T_max)


class CosineAnnealingWarmRestarts(Schedule):
    """Cosine annealing that starts again at the base rate after `T_0` epochs, then after ``T_0 * T_mult``, and so on.

    ``eta_min + (base - eta_min) * (1 + cos(pi * t / T)) / 2`` with t counted from the last restart and T the length of
    the period. Loshchilov & Hutter 2017, section 3.

    Parameters
    ----------
    T_0 : int
        Epochs (or steps, as `per` says) of the first period.
    T_mult : int, default 1
        By how much each period is longer than the one before.
    eta_min : float, default 0
    per : {"epoch", "step"}
    """

    options = ("T_0", "T_mult", "eta_min", "per")

    def __init__(self, T_0: int, T_mult: int = 1, eta_min: float = 0.0, *, per: str = "epoch") -> None:
        self.T_0 = integer("CosineAnnealingWarmRestarts", "T_0", T_0, 1)
        self.T_mult = integer("CosineAnnealingWarmRestarts", "T_mult", T_mult, 1)
        self.eta_min = number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self._count_per(per)

    def _at(self, base, count):
        count = np.asarray(count)
        if self.T_mult == 1:
            return half_wave(self.eta_min, base, count % self.T_0 / self.T_0)
        starts, lengths = [0], [self.T_0]
        while count.size and starts[-1] + lengths[-1] <= count.max():
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        period = np.searchsorted(starts, count, side="right") - 1
        share = (count - np.array(starts)[period]) / np.array(lengths)[period]
        return half_wave(self.eta_min, base, share)
