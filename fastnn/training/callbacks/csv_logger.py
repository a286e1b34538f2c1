"""CSVLogger: the history as a text table, one line per epoch, written as it happens."""

from __future__ import annotations

import csv
import os
from typing import Any

from .base import Callback


class CSVLogger(Callback):
    """Write each epoch's row of the history to a CSV file.

    Parameters
    ----------
    path : str or path-like
    append : bool, default False
        Keep the rows of an existing file. Otherwise it is replaced, except by a fit that continues a trainer's
        epochs (a second `fit`, or one after `resume`): that keeps the rows of the epochs before.
    separator : str, default ","

    Notes
    -----
    The columns are those of the first row; ``epoch`` counts from 0. Every row is on its way to the disk before the
    next epoch begins.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False, separator: str = ",") -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: separator must be one character, got {separator!r}")
        self.path = os.fspath(path)
        self.append = bool(append)
        self.separator = separator
        self._file = None

    def on_fit_begin(self) -> None:
        self._columns, kept = None, []
        if (self.append or self.trainer.epoch) and os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file, delimiter=self.separator))
            self._columns = rows[0] if rows else None
            kept = [row for row in rows[1:] if self.append or self._is_before(row)]
        self._done = int(kept[-1][0]) if kept and not self.append else -1
        self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (closed by on_fit_end)
        self._writer = csv.writer(self._file, delimiter=self.separator)
        if self._columns:
            self._writer.writerows([self._columns, *kept])
            self._file.flush()

    def _is_before(self, row):
        """Whether a row of the file belongs to an epoch that the trainer has behind it (a torn last line does not)."""
        return len(row) == len(self._columns) and row[0].isdigit() and int(row[0]) < self.trainer.epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if epoch <= self._done:  # told again of an epoch that the file holds, by a resumed fit
            return
        if self._columns is None:
            self._columns = ["epoch", *logs]
            self._writer.writerow(self._columns)
        values = {"epoch": epoch, **logs}
        self._writer.writerow(["" if values.get(name) is None else values[name] for name in self._columns])
        self._file.flush()

    def on_fit_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = self._writer = None
