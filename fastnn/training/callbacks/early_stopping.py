"""EarlyStopping: stop when nothing improves any more, and keep the best weights on every exit."""

from __future__ import annotations

from typing import Any

from .base import Monitored

_WEIGHTS = "weights/"


class EarlyStopping(Monitored):
    """Stop when a column of the history has not improved for some epochs; restore the best weights on every exit.

    Parameters
    ----------
    monitor : str, default "val_loss"
    patience : int, default 10
        Epochs without improvement before stopping. NaN is no improvement, in the first epoch neither.
    min_delta : float, default 0
        A smaller change is no improvement.
    mode : {"auto", "min", "max"}
        "auto": "max" for names that hold acc, auc, f1, r2 or top, else "min".
    restore_best : bool, default True
        Put the weights of the best epoch back when the fit ends: after the last epoch, a stop, ``max_time``, an
        error or Ctrl-C. They are the weights that the best value was measured on.

    Attributes
    ----------
    best, best_epoch, stopped_epoch
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = patience
        self.restore_best = bool(restore_best)

    def forget(self) -> None:
        super().forget()
        self.stopped_epoch = None
        self._best_weights = None
        self._before = -1  # the epoch before the first one of this fit

    def on_fit_begin(self) -> None:
        super().on_fit_begin()
        self._before = self.trainer.epoch - 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        better = self.improved(epoch, logs)
        if better is None:
            return
        if better:
            if self.restore_best:
                self._best_weights = self.trainer.model.state_dict()
        elif epoch - (self._before if self.best_epoch is None else self.best_epoch) >= self.patience:
            self.stopped_epoch = epoch
            self.trainer.stop()

    def on_fit_end(self) -> None:
        if self.restore_best and self._best_weights is not None:
            self.trainer.model.load_state_dict(self._best_weights)
            self._best_weights = None

    def state_dict(self) -> dict[str, Any]:
        state = {**super().state_dict(), "stopped_epoch": self.stopped_epoch, "before": self._before}
        for name, array in (self._best_weights or {}).items():
            state[_WEIGHTS + name] = array
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.stopped_epoch, self._before = state["stopped_epoch"], state["before"]
        weights = {name[len(_WEIGHTS) :]: array for name, array in state.items() if name.startswith(_WEIGHTS)}
        self._best_weights = weights if weights and self.restore_best else None
