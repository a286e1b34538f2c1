"""History: what happened in each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_BARS = "▁▂▃▄▅▆▇█"


def sparklines(columns: Mapping[str, list[float | None]], width: int = 60) -> str:
    """Curves as text, one line per column, all on one scale: logarithmic if all numbers are positive.

    Parameters
    ----------
    columns : dict of str to list of float or None
    width : int
    """
    shown = {name: _condensed(values, width) for name, values in columns.items()}
    known = [value for values in shown.values() for value in values if math.isfinite(value)]
    if not known:
        return "no epochs yet"
    scale = math.log if min(known) > 0 else float
    low, high = scale(min(known)), scale(max(known))
    lines = []
    for name, values in shown.items():
        bars = "".join(_bar(scale(v), low, high) if math.isfinite(v) else "×" for v in values)
        first, last = ("-" if v is None else f"{v:.4g}" for v in (columns[name][0], columns[name][-1]))
        lines.append(f"{name:<{max(map(len, shown))}}  {first:>9} {bars} {last}")
    return "\n".join(lines)


def _condensed(values, width):
    """At most `width` numbers: means of equal parts; what is missing is NaN."""
    values = [float("nan") if value is None else float(value) for value in values]
    count = min(len(values), width)
    bounds = [i * len(values) // count for i in range(count + 1)] if count else []
    parts = [values[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return [sum(part) / len(part) for part in parts]


def _bar(value, low, high):
    share = (value - low) / (high - low) if high > low else 0.0
    return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]


class History:
    """One column per quantity, one entry per epoch; ``history["val_loss"]`` is a list.

    ``loss`` is the mean per row of the training-mode batch losses, weighted by class and sample weights (as the loss's
    ``row_weights`` say) whatever the loss's reduction, without penalties; ``val_loss`` the same in inference mode;
    metrics are ``val_<name>``, and with ``eval_train=True`` also ``train_loss`` and ``train_<name>``. ``penalty`` is
    what L2 and L1 add to the loss at the epoch's end, if the optimizer has such terms (see ``optim.penalty``). ``lr``
    is the rate at the epoch's end, ``seconds`` the time of its training steps (without evaluation) and
    ``samples_per_second`` the rows trained per such second.

    Attributes
    ----------
    epoch : list of int
        Numbers of the epochs, from 0; a second `fit` continues them.
    initial_loss : float or None
        Of the very first batch, before its update: what an untrained model has.
    stop_reason : str
        "epochs", "callback", "max_time", "nan", "interrupted" or "error": why the last `fit` ended.
    """

    def __init__(self) -> None:
        self.epoch = []
        self.columns = {}
        self.initial_loss = None
        self.stop_reason = ""

    def add(self, epoch: int, values: Any) -> None:
        """Append one epoch; columns that are new or absent are filled with None."""
        before = len(self.epoch)
        for name in values:
            self.columns.setdefault(name, [None] * before)
        for name, column in self.columns.items():
            column[before:] = [values.get(name)]  # whatever an exception has left there
        self.epoch.append(epoch)

    def amend(self, values: Any) -> None:
        """Overwrite and extend the row of the last epoch."""
        for name, value in values.items():
            self.columns.setdefault(name, [None] * len(self.epoch))[-1] = value

    @property
    def history(self) -> dict[str, list[Any]]:
        """The columns as a dict of lists (Keras' name)."""
        return self.columns

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.columns:
            raise KeyError(f"history has no {name!r}; it has {', '.join(self.columns) or 'no epochs yet'}")
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(self.epoch)

    def __iter__(self):
        """One dict per epoch, so that ``pandas.DataFrame(history)`` is the table."""
        columns = self.to_dict()
        return ({name: column[i] for name, column in columns.items()} for i in range(len(self)))

    def keys(self) -> Any:
        """Names of the columns."""
        return self.columns.keys()

    def last(self) -> dict[str, Any]:
        """The values of the last epoch as a dict."""
        return {name: column[-1] for name, column in self.columns.items()} if self.epoch else {}

    def to_dict(self) -> dict[str, Any]:
        """A copy as {"epoch": [...], column: [...]}, for JSON or a data frame."""
        return {"epoch": list(self.epoch), **{name: list(column) for name, column in self.columns.items()}}

    def load_dict(self, values: Any) -> None:
        """Take over what `to_dict` returned."""
        self.epoch = list(values["epoch"])
        self.columns = {name: list(column) for name, column in values.items() if name != "epoch"}

    def plot(self, axes: Any = None) -> Any:
        """Draw every column over the epochs; without matplotlib, print `text` instead.

        Parameters
        ----------
        axes : list of matplotlib Axes, optional
            One for each quantity; default: a new figure.

        Returns
        -------
        fastnn.plot.HistoryDisplay or None
        """
        from ..plot import HistoryDisplay

        display = HistoryDisplay.from_history(self)
        try:
            return display.plot(axes)
        except ImportError:
            print(self.text())
            return None

    def text(self, width: int = 60) -> str:
        """The losses as lines of text, first and last value beside them, on one logarithmic scale.

        Parameters
        ----------
        width : int, default 60
            Most characters of a line's curve; longer histories are shown by means of neighbouring epochs.
        """
        names = [name for name in ("loss", "train_loss", "val_loss") if name in self]
        return sparklines({name: self[name] for name in names}, width)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items() if value is not None)
        return f"History({len(self.epoch)} epochs; {last})"
