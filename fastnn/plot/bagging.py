"""Bagging: error over the number of models averaged, and the spread of right and wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .figure import NEUTRAL, TRAINING, VALIDATION, as_list, new_axes, tidy


class BaggingDisplay:
    """What averaging gains.

    Parameters
    ----------
    errors : array (models,)
        Mean squared error of the average of k models, k from 1, averaged over which k models are taken.
    floor : float
        Its limit for infinitely many models.
    spread : array (rows,)
        Standard deviation over the models of each example.
    wrong : bool array (rows,), optional
        Examples that the average gets wrong.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of two matplotlib Axes
        Set by `plot`, as `figure_`.

    Notes
    -----
    By the decomposition of the error, the mean over all choices of k of the K models is
    ``model_error - (1 - 1/k) * K/(K-1) * spread``: a constant and a part that falls as 1/k.

    Examples
    --------
    >>> BaggingDisplay.from_bagging(bag, x_test, y_test).plot()
    """

    def __init__(self, errors: ArrayLike, floor: float, spread: ArrayLike, wrong: ArrayLike | None = None) -> None:
        self.errors, self.floor, self.spread = np.asarray(errors), float(floor), np.asarray(spread)
        self.wrong = None if wrong is None else np.asarray(wrong)

    @classmethod
    def from_bagging(cls, bag: Any, x: Any, y: ArrayLike) -> BaggingDisplay:
        """Make a display from a fitted `Bagging` and data that its models have not seen."""
        parts = bag.decompose(x, y)
        models = len(bag)
        error, spread = parts["model_error"].mean(), parts["spread"].mean()
        unbiased = spread * models / (models - 1) if models > 1 else 0.0
        k = np.arange(1, models + 1)
        wrong = None
        decided = bag.predict(x)
        if decided.ndim == 1 and np.ndim(y) == 1 and decided.dtype.kind == "i":
            wrong = decided != np.asarray(y)
        return cls(error - (1 - 1 / k) * unbiased, error - unbiased, np.sqrt(parts["spread"]), wrong)

    def plot(self, axes: Any = None) -> BaggingDisplay:
        """Draw.

        Parameters
        ----------
        axes : list of two matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        BaggingDisplay
            Itself.
        """
        left, right = new_axes(2, width=4.4, height=3.3) if axes is None else as_list(axes, 2, "BaggingDisplay")
        k = np.arange(1, len(self.errors) + 1)
        left.plot(k, self.errors, marker="o", markersize=4, color=TRAINING, label="average of k models")
        left.axhline(self.floor, color=NEUTRAL, linestyle="--", linewidth=1.2, label="infinitely many")
        left.set_xlabel("models averaged, k")
        left.set_ylabel("mean squared error")
        low, high = min(self.floor, self.errors.min()), self.errors.max()
        room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0  # no point lies on the frame
        left.set_ylim(low - room if low > room else 0.0, high + room)
        left.xaxis.get_major_locator().set_params(integer=True)
        left.legend(frameon=False)
        edges = np.linspace(0, self.spread.max() or 1.0, 31)
        groups = [("all", self.spread, TRAINING)]
        if self.wrong is not None:
            groups = [("right", self.spread[~self.wrong], TRAINING), ("wrong", self.spread[self.wrong], VALIDATION)]
        for name, values, colour in groups:
            if len(values):
                share = np.full(len(values), 100.0 / len(values))
                right.hist(values, edges, weights=share, color=colour, alpha=0.6, label=f"{name} ({len(values):,})")
        right.set_xlabel("spread of an example")
        right.set_ylabel("examples, %")
        right.legend(frameon=False)
        tidy(left)
        tidy(right)
        self.figure_, self.axes_ = left.figure, [left, right]
        return self
