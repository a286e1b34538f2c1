"""TrainerState: all that training has made besides the weights, owned by one object.

Counters, the optimizer's moments, averaged weights, gradients that wait for their update, history, and the place inside
a fit. What goes into a checkpoint, what is put back bit for bit after a look (`preserved`), and what compiled steps
write to is this object and nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..optim.ewma import WeightAverage
from ..optim.state import OptimizerState
from ..validation import check_not_negative, check_seed
from .history import History
from .resume_state import ResumeState

_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"
_OPEN = "open/"
_FIT = "fit/"
_COUNTS = ("epoch", "step", "micro_step", "open_batches", "open_rows", "open_divisor")


class TrainerState(_native.StepCounts):
    """See the module, and `_native.StepCounts` for the counters, which native calls keep.

    Attributes
    ----------
    optimizer_state : optim.state.OptimizerState
    average : optim.ewma.WeightAverage
    holds_average : bool
        The model has its averaged weights for the moment: it cannot be trained.
    open_gradients : dict or None
        {name: array in logical shape}, of a checkpoint that was written between the batches of one update.
    history : History
    resume : ResumeState or None
        Where inside a fit the checkpoint stood that was loaded.
    """

    def __init__(self) -> None:
        self.optimizer_state = OptimizerState()
        self.average = WeightAverage()
        self.holds_average = False
        self.open_gradients: dict[str, NDArray] | None = None
        self.history = History()
        self.resume: ResumeState | None = None

    def forget_moments(self) -> None:
        """Begin anew with what belongs to the parameters of another model."""
        self.optimizer_state, self.average, self.open_gradients = OptimizerState(), WeightAverage(), None
        self.open_batches, self.open_rows, self.open_divisor = 0, 0, 0.0

    def __reduce__(self):
        counts = {name: getattr(self, name) for name in _COUNTS}
        return TrainerState, (), {**self.__dict__, **counts}

    def __setstate__(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def counts(self) -> dict[str, Any]:
        """The counters by name."""
        return {name: getattr(self, name) for name in _COUNTS}


def state_dict(trainer) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """See `Trainer.state_dict`."""
    state = trainer.state
    if state.holds_average:
        raise RuntimeError("the model holds its averaged weights: save after the with trainer.averaged() block")
    with trainer.model._guard.reading():  # weights, moments and counters of one step
        return _guarded_state(trainer)


def _guarded_state(trainer):
    state = trainer.state
    parameters = dict(trainer.model.named_parameters())
    arrays = {_MODEL + name: array for name, array in trainer.model.state_dict().items()}
    moments, steps = state.optimizer_state.state_dict(parameters)
    arrays.update((_OPTIMIZER + name, array) for name, array in moments.items())
    averages, averaged_steps = state.average.state_dict(parameters)
    arrays.update((_AVERAGE + name, array) for name, array in averages.items())
    waiting = trainer._runner.open_gradients()
    arrays.update((_OPEN + name, np.array(array, order="C")) for name, array in waiting.items())
    values = {
        **state.counts(),
        "seed": trainer.seed,
        "optimizer": trainer.optimizer.kind,
        "optimizer_options": trainer.optimizer.to_config(),
        "parameter_steps": steps,
        "averaged_steps": averaged_steps,
        "history": state.history.to_dict(),
        "initial_loss": state.history.initial_loss,
    }
    place = state.resume if trainer._fit is None else trainer._fit.here()
    if place is not None:
        own, values["fit"] = place.to_parts()
        arrays.update((_FIT + name, array) for name, array in own.items())
    return arrays, values


def _under(prefix, arrays):
    """The arrays whose names begin so, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def load_state_dict(trainer, arrays: dict[str, NDArray], values: dict[str, Any]) -> None:
    """See `Trainer.load_state_dict`. All that can be refused comes before the first change."""
    try:
        state, seed, options = _parsed(trainer, arrays, values)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the checkpoint is damaged: {type(error).__name__} {error}") from None
    trainer.model.load_state_dict(_under(_MODEL, arrays))  # refuses before it writes
    if options is not None:
        trainer.optimizer.load_config(options)
    trainer._runner.forget()
    trainer.state, trainer.seed = state, seed


def _parsed(trainer, arrays, values):
    """(state, seed, the optimizer's options or None) of a checkpoint; nothing is changed."""
    if values.get("parameter_steps") and values["optimizer"] != trainer.optimizer.kind:
        raise ValueError(
            f"the checkpoint holds the state of {values['optimizer']!r}, this trainer's optimizer is "
            f"{trainer.optimizer.kind!r}"
        )
    optimizer, options, parameters = trainer.optimizer, None, dict(trainer.model.named_parameters())
    if values["optimizer"] == optimizer.kind:
        options = values["optimizer_options"]
        optimizer = optimizer.with_options(options)
    state = TrainerState()
    state.resume = ResumeState.from_parts(_under(_FIT, arrays), values["fit"]) if "fit" in values else None
    state.open_gradients = _open_gradients(_under(_OPEN, arrays), parameters)
    for name in _COUNTS:
        setattr(state, name, check_not_negative("the checkpoint", name, values.get(name, 0)))
    state.history.load_dict(values["history"])
    first = values.get("initial_loss")
    state.history.initial_loss = None if first is None else float(first)
    state.optimizer_state.load_state_dict(optimizer, parameters, _under(_OPTIMIZER, arrays), values["parameter_steps"])
    state.average.load_state_dict(parameters, _under(_AVERAGE, arrays), values.get("averaged_steps", {}))
    return state, check_seed("the checkpoint", "seed", values["seed"]), options


def _open_gradients(arrays, parameters):
    for name, array in arrays.items():
        if name not in parameters or array.shape != parameters[name].shape:
            raise ValueError(f"a gradient of {name!r}, which this model does not have in this shape")
    return arrays or None


# ---- put back after a look -----------------------------------------------------------------------------------------
class _Snapshot:
    """Weights, running statistics and the whole state of a trainer as they are now.

    Arrays are restored in place, so that compiled programs stay valid.
    """

    def __init__(self, trainer):
        self.trainer = trainer
        tensors = {id(tensor): tensor for _, tensor in trainer.model._all_named_tensors()}.values()
        self.tensors = [(tensor, tensor.storage.copy()) for tensor in tensors]
        state = trainer.state
        self.kind = state.optimizer_state.kind
        slots, averages = state.optimizer_state.slots, state.average.slots
        self.slots = {name: (slot, slot.steps, _copies(slot.arrays)) for name, slot in slots.items()}
        self.averages = {name: (slot, slot.steps, slot.array.copy()) for name, slot in averages.items()}
        self.counts, self.history = state.counts(), state.history.to_dict()
        self.waiting = {name: array.copy() for name, array in trainer._runner.open_gradients().items()}
        self.scheduler = trainer.scheduler
        self.options = trainer.optimizer.to_config()

    def restore(self):
        """Put everything back; states that did not exist are forgotten."""
        trainer, state = self.trainer, self.trainer.state
        for tensor, values in self.tensors:
            tensor.storage[...] = values
            tensor.version += 1
        moments = state.optimizer_state
        for slot, steps, arrays in self.slots.values():
            slot.steps = steps
            for name, (array, values) in arrays.items():
                array[...] = values
                slot.arrays[name] = array
        if moments.slots.keys() != self.slots.keys() or moments.kind != self.kind:
            moments.generation += 1  # programs that use the forgotten ones are stale
        moments.kind, moments.slots = self.kind, {name: entry[0] for name, entry in self.slots.items()}
        for slot, steps, values in self.averages.values():
            slot.steps = steps
            slot.array[...] = values
        if state.average.slots.keys() != self.averages.keys():
            moments.generation += 1
        state.average.slots = {name: entry[0] for name, entry in self.averages.items()}
        moments.clock += 1
        trainer._runner.drop_open()
        for name, value in self.counts.items():
            setattr(state, name, value)
        state.open_gradients = self.waiting or None
        state.history.load_dict(self.history)
        trainer.optimizer.load_config(self.options)
        trainer.scheduler = self.scheduler


def _copies(arrays):
    return {name: (array, array.copy()) for name, array in arrays.items()}


@contextmanager
def preserved(trainer) -> Iterator[Any]:
    """Inside the ``with`` the trainer may train; afterwards it is what it was before."""
    snapshot = _Snapshot(trainer)
    try:
        yield trainer
    finally:
        snapshot.restore()
