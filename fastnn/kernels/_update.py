"""What all optimizer steps share: the checks of their arrays and the one native call."""

import numpy as np
from numpy import ndarray

from fastnn import _native

from ._arrays import FLOAT32, FLOAT64, as_index, overlapping, refuse_self_overlap

_step = _native.optimizer_step
_ROWS = {row["name"]: row for row in _native.list_rows("optimizers")}
_KIND = {name: row["code"] for name, row in _ROWS.items()}
_NAMES = {name: ("param", "grad", *row["states"]) for name, row in _ROWS.items()}


def update(name, arrays, scalars, weight_decay=0.0, maximize=False):
    """One native pass over param, grad and states (None: absent), in place."""
    if not _step(_KIND[name], arrays, scalars, weight_decay, maximize):
        _update_copies(name, arrays, scalars, weight_decay, maximize)


def _update_copies(name, arrays, scalars, weight_decay, maximize):
    """The step for strided, misaligned or overlapping arrays: on contiguous copies, written back."""
    names, param = _NAMES[name], arrays[0]
    _check_param(param)
    for i, array in enumerate(arrays):
        if array is not None:
            _check_array(names[i], array, param)
            if i != 1 and not array.flags.writeable:
                raise ValueError(f"{names[i]} is read-only: optimizer steps work in place")
    _refuse_shared(names, arrays)
    for i, array in enumerate(arrays):
        if array is not None and i != 1:
            refuse_self_overlap(names[i], array)
    copies = tuple(None if array is None else np.array(array, order="C", copy=True, subok=False) for array in arrays)
    _step(_KIND[name], copies, scalars, weight_decay, maximize)
    for i, (array, copy) in enumerate(zip(arrays, copies, strict=True)):
        if array is not None and i != 1:
            array[...] = copy


def _refuse_shared(names, arrays):
    """Raise ValueError if two arrays other than the gradient overlap."""
    written = [(name, array) for i, (name, array) in enumerate(zip(names, arrays)) if i != 1 and array is not None]
    for i, (name, array) in enumerate(written):
        for other, before in written[:i]:
            if overlapping(array, before):
                raise ValueError(f"{name} and {other} share memory: each needs an array of its own")


def _check_param(param):
    if not isinstance(param, ndarray) or hasattr(param, "mask"):
        raise TypeError(f"param is {type(param).__name__}: expected a NumPy array, the step works in place")
    if param.dtype != FLOAT32 and param.dtype != FLOAT64:
        raise TypeError(f"param is {param.dtype}: expected native float32 or float64, the step works in place")


def _check_array(name, array, param):
    if not isinstance(array, ndarray) or hasattr(array, "mask"):
        raise TypeError(f"{name} is {type(array).__name__}: expected a NumPy array of the dtype of param")
    if array.dtype != param.dtype:
        raise TypeError(f"{name} is {array.dtype} but param is {param.dtype}")
    if array.shape != param.shape:
        raise ValueError(f"{name} has shape {array.shape} but param has {param.shape}")


def check_step(step):
    """The step as an int, at least 1."""
    step = as_index(step)
    if step < 1:
        raise ValueError(f"step is {step}: steps are counted from 1")
    return step


def check_rate(name, value):
    """A float in [0, 1)."""
    value = float(value)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value}: expected 0 <= {name} < 1")
    return value
