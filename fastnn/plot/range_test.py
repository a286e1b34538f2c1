"""The range test: loss over learning rate, with the suggested rate and the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figure import TRAINING, VALIDATION, new_axes, tidy


class RangeTestDisplay:
    """Loss over rate of a range test.

    Parameters
    ----------
    lr, loss, smoothed : array (n,)
    validation : (rates, losses), optional
    suggestion : float, optional
    bounds : (float, float), optional

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : matplotlib Axes
        Set by `plot`, as `figure_`.

    Examples
    --------
    >>> diagnostics.lr_find(trainer, x, y).plot()
    """

    def __init__(
        self,
        lr: NDArray[np.float64],
        loss: NDArray[np.float64],
        smoothed: NDArray[np.float64],
        validation: Any = None,
        suggestion: float | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        self.lr, self.loss, self.smoothed = lr, loss, smoothed
        self.validation, self.suggestion, self.bounds = validation, suggestion, bounds

    @classmethod
    def from_test(cls, test: Any) -> RangeTestDisplay:
        """Make a display from what `diagnostics.lr_find` returns."""
        validation = None if test.validation_loss is None else (test.validation_lr, test.validation_loss)
        try:
            suggestion, bounds = test.suggestion, test.bounds
        except ValueError:  # no rate lowered the loss: the curve shows it
            suggestion = bounds = None
        return cls(test.lr, test.loss, test.smoothed, validation, suggestion, bounds)

    def plot(self, axes: Any = None) -> RangeTestDisplay:
        """Draw.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        RangeTestDisplay
            Itself.
        """
        axis = new_axes(width=5.2, height=3.4)[0] if axes is None else axes
        axis.plot(self.lr, self.loss, color=TRAINING, alpha=0.3, linewidth=1.0, label="batch")
        axis.plot(self.lr, self.smoothed, color=TRAINING, linewidth=1.8, label="smoothed")
        if self.validation is not None:
            axis.plot(*self.validation, color=VALIDATION, linewidth=1.6, label="validation")
        if self.bounds is not None:
            axis.axvspan(*self.bounds, color="0.5", alpha=0.12, label="bounds", linewidth=0)
        if self.suggestion is not None:
            axis.axvline(self.suggestion, color="0.25", linewidth=1.2, linestyle="--")
            place = axis.get_xaxis_transform()
            axis.text(self.suggestion, 1.01, f"{self.suggestion:.2g}", transform=place, ha="center", va="bottom")
        axis.set_xscale("log")
        low, first = float(min(self.smoothed)), float(self.smoothed[0])
        axis.set_ylim(low - 0.1 * abs(first - low), first + 0.6 * abs(first - low))  # what ran away is cut off
        axis.set_xlabel("learning rate")
        axis.set_ylabel("loss")
        tidy(axis)
        axis.legend(frameon=False, loc="lower left")
        self.figure_, self.axes_ = axis.figure, axis
        return self
