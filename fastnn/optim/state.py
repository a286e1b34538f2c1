"""The moments of an optimizer, per parameter name: owned by the Trainer, saved in logical shape (decision 5)."""

from typing import Any

import numpy as np

from .. import _native
from ..graph.parameter import aligned_zeros, logical_view

_ROWS = {row["name"]: row for row in _native.list_rows("optimizers")}


def row_of(optimizer: Any) -> Any:
    """The native list's row for an optimizer."""
    if optimizer.kind not in _ROWS:
        raise TypeError(f"{type(optimizer).__name__} names no native optimizer: kind is {optimizer.kind!r}")
    return _ROWS[optimizer.kind]


def code_of(kind: Any) -> Any:
    """The code of a row of the native list."""
    return _ROWS[kind]["code"]


class Slots(_native.Stepped):
    """State arrays of one parameter, in its storage layout, and the number of steps it has had (`steps`)."""

    __slots__ = ("arrays",)

    def __init__(self, arrays: Any, steps: int = 0) -> None:
        self.arrays = arrays
        self.steps = steps

    def __reduce__(self):
        return Slots, (self.arrays, self.steps)


class OptimizerState(_native.Clocked):
    """{parameter name: Slots} for one kind of optimizer; grows as parameters are first trained."""

    def __init__(self, kind: Any = None, slots: Any = None) -> None:
        self.kind = kind
        self.slots = {} if slots is None else slots

    def __reduce__(self):
        return OptimizerState, (self.kind, self.slots)

    def start(self, optimizer: Any) -> None:
        """Forget the slots if they belong to another kind of optimizer."""
        if self.kind != optimizer.kind:
            self.kind = optimizer.kind
            self.slots = {}
            self.generation += 1

    def slots_for(self, name: str, parameter: Any, optimizer: Any, options: dict[str, Any]) -> Any:
        """The slots of a parameter: those states that the options need, started at its first step, converted if its
        dtype has changed."""
        slots = self.slots.get(name)
        storage = parameter.storage
        if slots is None or any(array.shape != storage.shape for array in slots.arrays.values()):
            slots = self.slots[name] = Slots({})
        for state in optimizer.states(options):
            if state not in slots.arrays:
                slots.arrays[state] = aligned_zeros(storage.shape, storage.dtype)
                slots.arrays[state][...] = optimizer.initial(state, options)
        for state, array in slots.arrays.items():
            if array.dtype != storage.dtype:
                fresh = aligned_zeros(storage.shape, storage.dtype)
                fresh[...] = array
                slots.arrays[state] = fresh
        return slots

    def state_dict(self, parameters: Any) -> Any:
        """Return ({"name/state": contiguous logical array}, {name: steps}) for the parameters by name."""
        arrays, steps = {}, {}
        for name, slots in self.slots.items():
            if name in parameters:
                steps[name] = slots.steps
                for state, array in slots.arrays.items():
                    logical = logical_view(array, parameters[name].shape)
                    arrays[f"{name}/{state}"] = np.array(logical, order="C")
        return arrays, steps

    def load_state_dict(self, optimizer: Any, parameters: Any, arrays: Any, steps: int) -> None:
        """Fill the slots from what `state_dict` returned. Raises ValueError if a name or a shape does not fit."""
        known = row_of(optimizer)["states"]
        self.kind, self.slots = optimizer.kind, {}
        for name, count in steps.items():
            if name not in parameters:
                raise ValueError(f"optimizer state for {name!r}, which this model does not have")
            parameter = parameters[name]
            slots = self.slots_for(name, parameter, optimizer, optimizer.options_of(optimizer.group_of(name)))
            slots.steps = int(count)
            for state in known:
                value = arrays.get(f"{name}/{state}")
                if value is None and state not in slots.arrays:
                    continue
                if value is None or tuple(value.shape) != tuple(parameter.shape):
                    raise ValueError(f"optimizer state {state!r} of {name!r} is missing or has another shape")
                if state not in slots.arrays:  # not needed now, but an option that needs it may come back
                    slots.arrays[state] = aligned_zeros(parameter.storage.shape, parameter.storage.dtype)
                logical_view(slots.arrays[state], parameter.shape)[...] = value
