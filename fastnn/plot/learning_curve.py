"""Learning curve over the number of training rows: does more data help?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figure import TRAINING, VALIDATION, new_axes, tidy

_COLOURS = {"training": TRAINING, "validation": VALIDATION}


class LearningCurveDisplay:
    """A quantity of the training and of the validation part over the number of rows trained on.

    Parameters
    ----------
    rows : sequence of int
    train, validation : sequence of float
    name : str, default "loss"
        Of the quantity.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : matplotlib Axes
        Set by `plot`, as `figure_`.

    Examples
    --------
    >>> diagnostics.learning_curve(make, x, y, validation_data=held, epochs=10).plot("accuracy")
    """

    def __init__(self, rows: Sequence[int], train: Any, validation: Any, name: str = "loss") -> None:
        if not len(rows) == len(train) == len(validation) > 0:
            raise ValueError("rows, train and validation must be equally long, and not empty")
        self.rows, self.train, self.validation, self.name = rows, train, validation, name

    def plot(self, axes: Any = None) -> LearningCurveDisplay:
        """Draw.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        LearningCurveDisplay
            Itself.
        """
        axis = new_axes(width=4.6, height=3.4)[0] if axes is None else axes
        for part, values in (("training", self.train), ("validation", self.validation)):
            axis.plot(self.rows, values, color=_COLOURS[part], label=part, marker="o", markersize=4, linewidth=1.6)
        axis.set_xlabel("training rows")
        axis.set_ylabel(self.name)
        axis.set_xlim(left=0)
        tidy(axis)
        axis.legend(frameon=False)
        self.figure_, self.axes_ = axis.figure, axis
        return self
