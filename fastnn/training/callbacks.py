"""Callbacks: hooks around epochs and, only where overridden, around batches."""

import math


class Callback:
    """Base of the callbacks: override what you need. ``self.trainer`` is set during a `fit`.

    ``on_batch_end`` runs after every training step and so costs Python time per step; the others are free. A callback
    may change ``trainer.optimizer.lr`` (acts at the next step), change the model, predict, or call ``trainer.stop()``.
    """

    trainer = None

    def on_fit_begin(self):
        """Before the first step."""

    def on_epoch_begin(self, epoch):
        """Before the steps of an epoch."""

    def on_batch_end(self, step, loss):
        """After a training step; ``step`` counts from 1 over the trainer's life."""

    def on_epoch_end(self, epoch, logs):
        """After an epoch and its evaluation; ``logs`` is the epoch's row of the history and may be extended."""

    def on_fit_end(self):
        """On every exit: the last epoch, a stop, an error, Ctrl-C."""


class LambdaCallback(Callback):
    """Functions as a callback: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``."""

    def __init__(self, **hooks):
        for name, function in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = ", ".join(n for n in vars(Callback) if n.startswith("on_"))
                raise TypeError(f"LambdaCallback: unknown hook {name!r}; hooks are {known}")
            setattr(self, name, function)


class TerminateOnNaN(Callback):
    """End the fit at the first step whose loss is NaN or infinite."""

    stop_on_nan = True


class EarlyStopping(Callback):
    """Stop when a quantity of the history has not improved for some epochs; restore the best weights on every exit.

    Parameters
    ----------
    monitor : str, default "val_loss"
    patience : int, default 10
        Epochs without improvement before stopping.
    min_delta : float, default 0
        A smaller change is no improvement.
    mode : {"auto", "min", "max"}
        "auto": "max" for names that hold accuracy, auc, f1 or r2, else "min".
    restore_best : bool, default True
        Put the weights of the best epoch back when the fit ends, however it ends.

    Attributes
    ----------
    best, best_epoch, stopped_epoch
    """

    def __init__(self, monitor="val_loss", patience=10, min_delta=0.0, mode="auto", restore_best=True):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'auto', 'min' or 'max', got {mode!r}")
        if int(patience) != patience or patience < 0:
            raise ValueError(f"EarlyStopping: patience must be an integer >= 0, got {patience!r}")
        self.monitor = monitor
        self.patience = int(patience)
        self.min_delta = abs(float(min_delta))
        larger = any(word in monitor for word in ("acc", "auc", "f1", "r2"))
        self.sign = -1.0 if mode == "max" or (mode == "auto" and larger) else 1.0
        self.restore_best = bool(restore_best)
        self._reset()

    def _reset(self):
        self.best = None
        self.best_epoch = None
        self.stopped_epoch = None
        self._best_weights = None

    def on_fit_begin(self):
        self._reset()

    def on_epoch_end(self, epoch, logs):
        value = logs.get(self.monitor)
        if value is None:
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, which this fit does not produce; it has {', '.join(logs)}"
                + ("; give validation_data or validation_split" if self.monitor.startswith("val_") else "")
            )
        better = not math.isnan(value) and (
            self.best is None or self.sign * value < self.sign * self.best - self.min_delta
        )
        if better:
            self.best, self.best_epoch = value, epoch
            if self.restore_best:
                self._best_weights = self.trainer.model.state_dict()
        elif self.best_epoch is not None and epoch - self.best_epoch >= self.patience:
            self.stopped_epoch = epoch
            self.trainer.stop()

    def on_fit_end(self):
        if self.restore_best and self._best_weights is not None:
            self.trainer.model.load_state_dict(self._best_weights)
            self._best_weights = None
