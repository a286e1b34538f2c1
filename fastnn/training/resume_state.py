"""ResumeState: where inside a fit a checkpoint was written, so that the next fit goes on from there."""

import numpy as np

_EPOCH = "epoch/"
_CALLBACK = "callback"


class ResumeState:
    """What a checkpoint holds of a running fit, besides the trainer itself.

    Attributes
    ----------
    first_epoch : int
        Epoch in which the fit began.
    batch_index : int
        Batches of the epoch that are behind; 0 between two epochs.
    batch_spec : dict
        What the batches are made of (rows, batch size, order): has to be the same where `batch_index` is not 0.
    progress : dict of ndarray
        The feed's own, such as the losses of the batches behind.
    notified : int or None
        How many callbacks had been told of the epoch that was just closed.
    stopping : bool
        A callback had asked to stop.
    callbacks : list of (class name, {key: value or ndarray})
    """

    def __init__(self, first_epoch, batch_index, batch_spec, progress, notified, stopping, callbacks):
        self.first_epoch = first_epoch
        self.batch_index = batch_index
        self.batch_spec = batch_spec
        self.progress = progress
        self.notified = notified
        self.stopping = stopping
        self.callbacks = callbacks

    @classmethod
    def of(cls, fit, stopping):
        """The place of a running fit."""
        callbacks = [(type(callback).__name__, callback.state_dict()) for callback in fit.callbacks]
        made, progress = fit.progress_inside()
        return cls(fit.first_epoch, made, fit.feed.batch_spec(), progress, fit.notified, stopping, callbacks)

    def to_parts(self):
        """(arrays, plain values) of a checkpoint."""
        arrays = {_EPOCH + name: array for name, array in self.progress.items()}
        callbacks = []
        for i, (name, state) in enumerate(self.callbacks):
            plain = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
            arrays.update((f"{_CALLBACK}{i}/{key}", state[key]) for key in state.keys() - plain.keys())
            callbacks.append({"class": name, "state": plain})
        names = ("first_epoch", "batch_index", "batch_spec", "notified", "stopping")
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
        notified = values["notified"]
        return cls(
            int(values["first_epoch"]),
            int(values["batch_index"]),
            values["batch_spec"],
            progress,
            None if notified is None else int(notified),
            bool(values["stopping"]),
            callbacks,
        )

    def check(self, batch_spec, batches=None):
        """Raise ValueError if the batches of this fit are not those that the checkpoint stands among."""
        made = self.batch_index
        if made and batch_spec != self.batch_spec:
            known = self.batch_spec
            differing = [name for name in known if batch_spec.get(name) != known[name]] or ["kind of data"]
            told = ", ".join(f"{name} {known.get(name)!r}, now {batch_spec.get(name)!r}" for name in differing)
            raise ValueError(
                f"the checkpoint stands inside an epoch, after {made} of its batches; this fit has others ({told})"
            )
        if batches is not None and made > batches:
            raise ValueError(f"the checkpoint stands after {made} batches of an epoch; this fit's has {batches}")


def restore_callbacks(callbacks, place):
    """Give callbacks their state back: the n-th of a class gets that of the n-th of that class in the checkpoint."""
    states = {}
    for name, state in place.callbacks:
        states.setdefault(name, []).append(state)
    for callback in callbacks:
        kept = states.get(type(callback).__name__)
        if kept:
            callback.load_state_dict(kept.pop(0))
