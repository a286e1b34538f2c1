"""ModelCheckpoint: write the trainer's state, or the model, to a file while training runs."""

from __future__ import annotations

import os
import time
from typing import Any

from ...validation import check_positive, count, one_of
from .base import Monitored


class ModelCheckpoint(Monitored):
    """Save while training runs: after epochs, steps or seconds; each file replaces the one before it in one step.

    Parameters
    ----------
    path : str or path-like
        May hold fields such as ``{epoch}`` (epochs made so far), ``{step}`` and columns of the history,
        ``{val_loss:.3f}``; each name is then a file of its own.
    monitor : str, optional
        Save only where this column is better than at every save before: in earlier fits of the trainer too, if the file
        is there. Default: always.
    mode : {"auto", "min", "max"}
    every_epochs : int, default 1
        Look after every so many epochs; the others count for nothing.
    every_steps, every_seconds : optional
        Save inside epochs as well (not with `monitor`). Seconds are looked at about every 20 ms.
    what : {"checkpoint", "model"}
        All of the trainer, for ``Trainer.resume``; or the model alone, for ``fastnn.load``.

    Notes
    -----
    A checkpoint is also written when Ctrl-C, ``max_time`` or ``Trainer.stop`` end the fit inside an epoch: from the
    place where it was cut, so that training can go on as if nothing had happened.
    """

    saves = True
    _checks = {
        **Monitored._checks, "what": one_of("checkpoint", "model"), "every_epochs": count(1),
        "every_seconds": check_positive,
    }  # fmt: skip

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        every_epochs: int = 1,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        what: str = "checkpoint",
    ) -> None:
        super().__init__("loss" if monitor is None else monitor, mode, 0.0)
        inside = every_steps is not None or every_seconds is not None
        if monitor is not None and inside:
            raise ValueError("ModelCheckpoint: monitor is measured after epochs; give no every_steps or every_seconds")
        self.path = os.fspath(path)
        self._owner = None  # the trainer whose values `best` is of
        self.best_only = monitor is not None
        self.every_epochs = every_epochs
        self.every_seconds = every_seconds
        self.what = what
        if every_steps is not None:
            self.every_steps = every_steps
            self.on_batch_end = self._after_steps  # an instance's own hook, so that others cost nothing per step
        try:
            self._name({"loss": 0.0}, strict=False)
        except (ValueError, IndexError) as error:
            raise ValueError(f"ModelCheckpoint: path {self.path!r} is no format of names: {error}") from None

    def on_fit_begin(self) -> None:
        self._remember()
        self._last = time.monotonic()

    def _remember(self):
        """Begin with the best of the trainer's earlier fits, if the file that holds it would be overwritten."""
        fields = "{" in self.path
        if self._owner is not self.trainer or not (fields or os.path.exists(self.path)):
            self.forget()
        self._owner = self.trainer
        if not self.best_only or fields or self.best is not None or not os.path.exists(self.path):
            return
        history = self.trainer.history
        for epoch, value in zip(history.epoch, history.columns.get(self.monitor, []), strict=False):
            if value is not None and (epoch + 1) % self.every_epochs == 0:
                self.improved(epoch, {self.monitor: value})

    def _after_steps(self, step, loss):
        self.save({"loss": loss})

    def on_poll(self) -> None:
        if self.every_seconds is not None and time.monotonic() - self._last >= self.every_seconds:
            self.save({})

    def on_interrupt(self, reason: str) -> None:
        self._cut = reason != "nan" and not self.best_only
        if self._cut:
            self.save({})

    _cut = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        cut, self._cut = self._cut, False
        if cut:
            return  # the file holds the place where the epoch was cut
        if (epoch + 1) % self.every_epochs == 0 and (not self.best_only or self.improved(epoch, logs)):
            self.save(logs)

    def save(self, logs: dict[str, Any]) -> None:
        """Write the file now; not the weights of a fit that has just ended because its loss is not finite."""
        if self.trainer._fit is not None and self.trainer._fit.reason == "nan":
            return
        name = self._name(logs)
        if self.what == "checkpoint":
            self._write(name)
        else:
            from ...io.model_file import save

            save(self.trainer, name)
        self._last = time.monotonic()

    def _write(self, name):
        self.trainer.save_checkpoint(name)

    def _name(self, logs, strict=True):
        if "{" not in self.path:
            return self.path
        trainer = self.trainer
        fields = {"epoch": trainer.epoch, "step": trainer.step} if trainer is not None else {"epoch": 0, "step": 0}
        try:
            return self.path.format(**{**logs, **fields})
        except KeyError as error:
            if not strict:
                return self.path
            known = ", ".join({**fields, **logs})
            raise ValueError(f"ModelCheckpoint: path names {error}, which is not there; known: {known}") from None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._last = time.monotonic()
