"""What every callback has, and those that need nothing more; the quantity that some of them watch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...validation import Strict, check_not_negative, count, one_of


class Callback(Strict):
    """Base of the callbacks: override what you need. ``self.trainer`` is set during a `fit`.

    A callback may change ``trainer.optimizer.lr`` (acts at the next step), change the model, predict, save a
    checkpoint, or call ``trainer.stop()``.

    Attributes
    ----------
    every_steps : int, default 1
        ``on_batch_end`` is called when the trainer's step is a multiple of this. Between two calls the steps run
        natively, many at a time; a callback that does not override ``on_batch_end`` costs nothing per step.
    allows_lookahead : bool, default False
        True: its hooks look neither at the model nor at the data, so steps of the next epochs may already have been
        made when they are called. Short epochs are trained several at a time if no callback minds.
    """

    trainer = None
    every_steps = 1
    allows_lookahead = False
    saves = False  # True: its on_batch_end comes after that of the others
    _checks = {"every_steps": count(1)}

    def on_fit_begin(self) -> None:
        """Before the first step."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before the steps of an epoch, and again where a resumed fit goes on inside one."""

    def on_batch_end(self, step: int, loss: Any) -> None:
        """After a training step; ``step`` counts from 1 over the trainer's life."""

    def on_losses(self, losses: NDArray[np.float64]) -> None:
        """The losses of the batches of a native call, in their order; the first batch of an epoch may be among them. A
        callback that has no other hook costs nothing per step."""

    def on_poll(self) -> None:
        """Whenever training comes back to Python of itself: about every 20 ms, between two steps."""

    def on_interrupt(self, reason: str) -> None:
        """When something ends the fit inside an epoch ("interrupted", "max_time", "callback", "nan"), before the
        epoch is closed."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """After an epoch and its evaluation; ``logs`` is the epoch's row of the history and may be extended."""

    def on_fit_end(self) -> None:
        """On every exit: the last epoch, a stop, an error, Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to keep of this callback: a dict of plain values and arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; called after ``on_fit_begin`` and ``on_epoch_begin``."""


class LambdaCallback(Callback):
    """Functions as a callback: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Parameters
    ----------
    every_steps : int, default 1
        For ``on_batch_end``.
    **hooks : callable
        By the hook's name.
    """

    def __init__(self, *, every_steps: int = 1, **hooks: Callable[..., Any]) -> None:
        self.every_steps = every_steps
        for name, function in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = ", ".join(n for n in vars(Callback) if n.startswith("on_"))
                raise TypeError(f"LambdaCallback: unknown hook {name!r}; hooks are {known}")
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, got {function!r}")
            setattr(self, name, function)


class TerminateOnNaN(Callback):
    """End the fit when the training loss is NaN or infinite, as a fit without this callback does after the epoch.

    Parameters
    ----------
    when : {"step", "epoch", "never"}, default "step"
        At the first such step; after its epoch; not at all.
    """

    _checks = {"when": one_of("step", "epoch", "never")}

    def __init__(self, when: str = "step") -> None:
        self.when = when


def _check_monitor(owner, name, value):
    if not isinstance(value, str):
        raise TypeError(f"{owner}: {name} must be the name of a column of the history, got {value!r}")
    return value


class Monitored(Callback):
    """Base of the callbacks that watch one column of the history.

    Parameters
    ----------
    monitor : str
        A column: "val_loss", "loss", "val_accuracy", ...
    mode : {"auto", "min", "max"}
        "auto": "max" for names that hold acc, auc, f1, r2 or top, else "min".
    min_delta : float
        A smaller change is no improvement.

    Attributes
    ----------
    best : float or None
    best_epoch : int or None
    """

    _checks = {
        **Callback._checks, "monitor": _check_monitor, "min_delta": check_not_negative, "patience": count(0),
    }  # fmt: skip

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        name = type(self).__name__
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{name}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.min_delta = min_delta
        self.larger = mode == "max" or (mode == "auto" and is_score(monitor))
        self.forget()

    def forget(self) -> None:
        """Start anew: no value has been seen."""
        self.best = None
        self.best_epoch = None

    def on_fit_begin(self) -> None:
        self.forget()

    def improved(self, epoch: int, logs: dict[str, Any]) -> bool | None:
        """Whether the watched value is the best so far; notes it. What is not finite is never better. None: this epoch
        did not measure it (``validation_every``).

        Raises
        ------
        ValueError
            If the column does not exist.
        """
        value = logs.get(self.monitor)
        if value is None and self.monitor in logs:  # not measured after this epoch
            return None
        if value is None:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, which this fit does not produce; it has "
                f"{', '.join(logs)}"
                + ("; give validation_data or validation_split" if self.monitor.startswith("val_") else "")
            )
        value = float(value)
        if not math.isfinite(value):
            return False
        better = self.best is None or (
            value > self.best + self.min_delta if self.larger else value < self.best - self.min_delta
        )
        if better:
            self.best, self.best_epoch = value, epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


def is_score(name: str) -> bool:
    """True for columns that are better when larger."""
    return any(word in name for word in ("acc", "auc", "f1", "r2", "top"))
