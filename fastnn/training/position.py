"""Position: where inside a fit a checkpoint was written, so that the next fit goes on from there."""

import os

import numpy as np

_EPOCH = "epoch/"
_CALLBACK = "callback"


class Position:
    """What a checkpoint holds of a running fit, besides the trainer itself.

    Attributes
    ----------
    first_epoch : int
        Epoch in which the fit began.
    at : int
        Batches of the epoch that are behind; 0 between two epochs.
    form : dict
        What the batches are made of (rows, batch size, order): has to be the same where `at` is not 0.
    progress : dict of ndarray
        The source's own, such as the losses of the batches behind.
    seen : int or None
        How many callbacks had been told of the epoch that was just closed.
    stopping : bool
        A callback had asked to stop.
    callbacks : list of (class name, {key: value or ndarray})
    """

    def __init__(self, first_epoch, at, form, progress, seen, stopping, callbacks):
        self.first_epoch = first_epoch
        self.at = at
        self.form = form
        self.progress = progress
        self.seen = seen
        self.stopping = stopping
        self.callbacks = callbacks

    @classmethod
    def of(cls, fit, stopping):
        """The position of a running fit."""
        source = fit.source
        callbacks = [(type(callback).__name__, callback.state_dict()) for callback in fit.callbacks]
        return cls(fit.first_epoch, source.at, source.form(), source.progress(), fit.seen, stopping, callbacks)

    def to_parts(self):
        """(arrays, plain values) of a checkpoint."""
        arrays = {_EPOCH + name: array for name, array in self.progress.items()}
        callbacks = []
        for i, (name, state) in enumerate(self.callbacks):
            plain = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
            arrays.update((f"{_CALLBACK}{i}/{key}", state[key]) for key in state.keys() - plain.keys())
            callbacks.append({"class": name, "state": plain})
        names = ("first_epoch", "at", "form", "seen", "stopping")
        return arrays, {**{name: getattr(self, name) for name in names}, "callbacks": callbacks}

    @classmethod
    def from_parts(cls, arrays, values):
        """What `to_parts` was made from."""
        callbacks = []
        for i, entry in enumerate(values["callbacks"]):
            prefix = f"{_CALLBACK}{i}/"
            own = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            callbacks.append((entry["class"], {**entry["state"], **own}))
        progress = {name[len(_EPOCH) :]: array for name, array in arrays.items() if name.startswith(_EPOCH)}
        seen = values["seen"]
        return cls(
            int(values["first_epoch"]),
            int(values["at"]),
            values["form"],
            progress,
            None if seen is None else int(seen),
            bool(values["stopping"]),
            callbacks,
        )

    def check(self, form, batches=None):
        """Raise ValueError if the batches of this fit are not those that the checkpoint stands among."""
        if self.at and form != self.form:
            differing = [name for name in self.form if form.get(name) != self.form[name]] or ["kind of data"]
            told = ", ".join(f"{name} {self.form.get(name)!r}, now {form.get(name)!r}" for name in differing)
            raise ValueError(
                f"the checkpoint stands inside an epoch, after {self.at} of its batches; this fit has others ({told})"
            )
        if batches is not None and self.at > batches:
            raise ValueError(f"the checkpoint stands after {self.at} batches of an epoch; this fit's has {batches}")


def restore_callbacks(callbacks, position):
    """Give callbacks their state back: the n-th of a class gets that of the n-th of that class in the checkpoint."""
    states = {}
    for name, state in position.callbacks:
        states.setdefault(name, []).append(state)
    for callback in callbacks:
        kept = states.get(type(callback).__name__)
        if kept:
            callback.load_state_dict(kept.pop(0))


def resumed_fit(trainer, path):
    """``fit(resume=path)``: load the checkpoint if there is one; whether there was."""
    path = os.fspath(path)  # a number would be taken for an open file
    if not os.path.exists(path):
        return False
    trainer.resume(path)
    return True
