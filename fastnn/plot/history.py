"""History: loss, scores and other columns of each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .figure import NEUTRAL, TRAINING, VALIDATION, new_axes, tidy

# Training and validation part keep their colours in every panel; the rest takes turns.
_STYLES = {
    "training": {"color": TRAINING},
    "training, inference mode": {"color": TRAINING, "linestyle": "--"},
    "validation": {"color": VALIDATION},
}
_TURNS = (TRAINING, VALIDATION, "#b45309", "#6d28d9", "#0f766e", NEUTRAL)
_DASHES = ("-", "--", ":", "-.")  # lines that lie on each other are told apart
_LABELS = {
    "accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "r2": "R²", "units": "units (shares)",
    "gradient_span": "largest / smallest gradient", "update_ratio": "update / weight", "auc": "AUC", "f1": "F1",
}  # fmt: skip

# Columns of a history that are no quality of the model, and those that share a panel or are ratios.
_OTHER = {"epoch", "lr", "seconds", "samples_per_second"}
_UNITS = {
    "dead_units": "dead", "linear_units": "linear", "saturated": "saturated inputs", "unit_drift": "drift",
}  # fmt: skip
_NORMS = {"gradient_norm": "gradient", "weight_norm": "weights", "trust_ratio": "weights / gradient, median"}
_RATIOS = {"gradient_span", "update_ratio", "norms"}
_MOST_COLUMNS = 3


def _place(name):
    """(panel, label of the line) of a column."""
    if name in _UNITS:
        return "units", _UNITS[name]
    if name in _NORMS:
        return "norms", _NORMS[name]
    if name.startswith("val_"):
        return name.removeprefix("val_"), "validation"
    if name.startswith("train_"):
        return name.removeprefix("train_"), "training, inference mode"
    return name, "training"


def _curves(values):
    """Panel -> {label: list}: loss first, then scores, then what else the columns hold."""
    found = {}
    for name, column in values.items():
        if name in _OTHER or not any(value is not None for value in column):
            continue
        panel, label = _place(name)
        found.setdefault(panel, {})[label] = [float("nan") if v is None else float(v) for v in column]
    last = {"units": 2, "penalty": 1, **dict.fromkeys(_RATIOS, 3)}
    return dict(sorted(found.items(), key=lambda item: (item[0] != "loss", last.get(item[0], 0))))


class HistoryDisplay:
    """Loss, scores and other columns over the epochs, a panel for each quantity, up to three side by side.

    Parameters
    ----------
    curves : dict of str to dict
        Quantity -> {"training": values, "training, inference mode": values, "validation": values, or any label}, one
        value for each epoch. The columns of `HealthMonitor` that are shares of units are one panel.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        One for each quantity. Set by `plot`, as `figure_`.

    Examples
    --------
    >>> history = trainer.fit(x, y, epochs=20, validation_split=0.2)
    >>> HistoryDisplay.from_history(history).plot()
    >>> HistoryDisplay.from_histories({"Adam": adam, "SGD": sgd}).plot()
    """

    def __init__(self, curves: Mapping[str, Mapping[str, list[float]]]) -> None:
        if not curves:
            raise ValueError("there is nothing to draw: the history holds no epoch")
        self.curves = curves

    @classmethod
    def from_history(cls, history: Any) -> HistoryDisplay:
        """Make a display from what `Trainer.fit` returns.

        Parameters
        ----------
        history : History or dict of lists
        """
        return cls(_curves(getattr(history, "columns", history)))

    @classmethod
    def from_histories(
        cls, histories: Mapping[str, Any], columns: Iterable[str] = ("loss", "val_loss")
    ) -> HistoryDisplay:
        """Compare several fits: a panel for each column, a line for each history.

        Parameters
        ----------
        histories : dict of str to History (or dict of lists)
        columns : sequence of str, default ("loss", "val_loss")
            Those that no history holds are left out.
        """
        curves: dict[str, dict[str, list[float]]] = {}
        for name in columns:
            for label, history in histories.items():
                column = getattr(history, "columns", history).get(name, ())
                if any(value is not None for value in column):
                    curves.setdefault(name, {})[label] = [float("nan") if v is None else float(v) for v in column]
        return cls(curves)

    def plot(self, axes: Any = None, *, log_loss: str = "auto") -> HistoryDisplay:
        """Draw.

        Parameters
        ----------
        axes : list of matplotlib Axes, optional
            One for each quantity; default: a new figure.
        log_loss : bool or "auto", default "auto"
            Logarithmic axis for the loss. "auto": if it is positive and spans more than a factor of ten.

        Returns
        -------
        HistoryDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of `axes` is not that of the quantities.
        """
        if axes is None:
            columns = min(len(self.curves), _MOST_COLUMNS)
            rows = -(-len(self.curves) // columns)
            axes = new_axes(columns, rows, **({"height": 3.1} if rows > 1 else {}))
            for spare in axes[len(self.curves) :]:
                spare.remove()
            axes = axes[: len(self.curves)]
        axes = list(axes) if hasattr(axes, "__iter__") else [axes]
        if len(axes) != len(self.curves):
            raise ValueError(
                f"{len(self.curves)} quantities ({', '.join(self.curves)}) need as many axes, not {len(axes)}"
            )
        for axis, (quantity, parts) in zip(axes, self.curves.items(), strict=True):
            self._draw(axis, quantity, parts)
            is_loss = quantity in ("loss", "val_loss", "train_loss")
            decades = quantity in _RATIOS or (is_loss and log_loss == "auto")
            if (is_loss and log_loss is True) or (decades and _spans_decades(parts)):
                axis.set_yscale("log")
        self.figure_, self.axes_ = axes[0].figure, axes
        return self

    def _draw(self, axis, quantity, parts):
        from matplotlib.ticker import MaxNLocator

        known = set(parts) <= set(_STYLES)
        single = "training" in parts and len(parts) == 1 and quantity != "loss"  # a column of its own: no legend
        for i, (label, values) in enumerate(parts.items()):
            style = {"color": NEUTRAL} if single else _STYLES[label] if known else _turn(i)
            marker = "o" if len(values) < 3 else None  # a line of one point would be invisible
            axis.plot(range(1, len(values) + 1), values, label=label, marker=marker, linewidth=1.6, **style)
        axis.set_xlabel("epoch")
        axis.set_ylabel(_LABELS.get(quantity, quantity.replace("val_", "validation ").replace("_", " ")))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(axis)
        if not single:
            axis.legend(frameon=False)


def _turn(i):
    return {"color": _TURNS[i % len(_TURNS)], "linestyle": _DASHES[i % len(_DASHES)]}


def _spans_decades(parts):
    values = [value for column in parts.values() for value in column if value == value]
    return bool(values) and min(values) > 0.0 and max(values) > 10.0 * min(values)
