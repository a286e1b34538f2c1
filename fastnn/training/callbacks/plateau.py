"""ReduceLROnPlateau: a smaller rate when nothing improves any more."""

from __future__ import annotations

from typing import Any

from ...validation import between, check_not_negative, count
from .base import Monitored


class ReduceLROnPlateau(Monitored):
    """Multiply the learning rate by a factor when a column of the history has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
    factor : float, default 0.1
        In (0, 1).
    patience : int, default 10
        Epochs without improvement before the rate falls.
    min_delta : float, default 1e-4
        A smaller change is no improvement.
    cooldown : int, default 0
        Epochs after a reduction that do not count.
    min_lr : float, default 0
        The rate never falls below.
    mode : {"auto", "min", "max"}

    Notes
    -----
    It changes ``trainer.optimizer.lr`` (and the rates of groups that have their own), so a `scheduler` goes on from
    the smaller base rate. Reductions are part of a checkpoint.
    """

    _checks = {
        **Monitored._checks, "factor": between(0, 1), "cooldown": count(0), "min_lr": check_not_negative,
    }  # fmt: skip

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.min_lr = min_lr

    def forget(self) -> None:
        super().forget()
        self.waited = 0
        self.resting = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        better = self.improved(epoch, logs)
        if better is None:
            return
        if self.resting > 0:
            self.resting -= 1
            self.waited = 0
        elif better:
            self.waited = 0
        else:
            self.waited += 1
            if self.waited >= self.patience:
                self._reduce()
                self.waited, self.resting = 0, self.cooldown

    def _reduce(self):
        optimizer = self.trainer.optimizer
        optimizer.lr = self._lower(optimizer.lr)
        for group in optimizer.groups:
            if "lr" in group:
                group["lr"] = self._lower(group["lr"])

    def _lower(self, rate):
        return min(rate, max(rate * self.factor, self.min_lr))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self.waited, "resting": self.resting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited, self.resting = state["waited"], state["resting"]
