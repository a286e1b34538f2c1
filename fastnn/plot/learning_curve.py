"""Learning curves: loss and scores of each epoch."""

from .figure import TRAINING, VALIDATION, new_axes, tidy

# Training and validation part keep their colours in every panel.
_COLOURS = {"training": TRAINING, "validation": VALIDATION}
_LABELS = {"accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "r2": "R²"}

# Columns of a history that are no quality of the model.
_OTHER = {"epoch", "lr", "seconds", "samples_per_second"}


def _curves(values):
    """Quantity -> {part: list}, loss first; ``val_`` columns are the validation part's."""
    found = {}
    for name, column in values.items():
        if name in _OTHER or not any(value is not None for value in column):
            continue
        part = "validation" if name.startswith("val_") else "training"
        quantity = name.removeprefix("val_").removeprefix("train_")
        if name == "train_loss":  # inference mode; "loss" is drawn already
            continue
        found.setdefault(quantity, {})[part] = [float("nan") if v is None else float(v) for v in column]
    return dict(sorted(found.items(), key=lambda item: item[0] != "loss"))


class LearningCurveDisplay:
    """Loss and scores over the epochs, a panel for each quantity.

    Parameters
    ----------
    curves : dict of str to dict
        Quantity -> {"training": values, "validation": values}, one value for each epoch.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        One for each quantity. Set by `plot`, as `figure_`.

    Examples
    --------
    >>> history = trainer.fit(x, y, epochs=20, validation_split=0.2)
    >>> LearningCurveDisplay.from_history(history).plot()
    """

    def __init__(self, curves):
        if not curves:
            raise ValueError("there is nothing to draw: the history holds no epoch")
        self.curves = curves

    @classmethod
    def from_history(cls, history):
        """Make a display from what `Trainer.fit` returns.

        Parameters
        ----------
        history : History or dict of lists
        """
        return cls(_curves(getattr(history, "columns", history)))

    def plot(self, axes=None, *, log_loss="auto"):
        """Draw.

        Parameters
        ----------
        axes : list of matplotlib Axes, optional
            One for each quantity; default: a new figure.
        log_loss : bool or "auto", default "auto"
            Logarithmic axis for the loss. "auto": if it is positive and spans more than a factor of ten.

        Returns
        -------
        LearningCurveDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of `axes` is not that of the quantities.
        """
        if axes is None:
            axes = new_axes(len(self.curves))
        axes = list(axes) if hasattr(axes, "__iter__") else [axes]
        if len(axes) != len(self.curves):
            raise ValueError(
                f"{len(self.curves)} quantities ({', '.join(self.curves)}) need as many axes, not {len(axes)}"
            )
        for axis, (quantity, parts) in zip(axes, self.curves.items(), strict=True):
            self._draw(axis, quantity, parts)
            if quantity == "loss" and (log_loss is True or (log_loss == "auto" and _spans_decades(parts))):
                axis.set_yscale("log")
        self.figure_, self.axes_ = axes[0].figure, axes
        return self

    def _draw(self, axis, quantity, parts):
        from matplotlib.ticker import MaxNLocator

        for part, values in parts.items():
            marker = "o" if len(values) < 3 else None  # a line of one point would be invisible
            axis.plot(range(1, len(values) + 1), values, color=_COLOURS[part], label=part, marker=marker, linewidth=1.6)
        axis.set_xlabel("epoch")
        axis.set_ylabel(_LABELS.get(quantity, quantity))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(axis)
        axis.legend(frameon=False)


def _spans_decades(parts):
    values = [value for column in parts.values() for value in column if value == value]
    return bool(values) and min(values) > 0.0 and max(values) > 10.0 * min(values)
