"""Weights in and out of a module: load_state_dict, conversion of the dtype, sharing."""

from typing import Any, NamedTuple

import numpy as np

from ..graph.parameter import as_array


def _listed(names):
    names = sorted(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def load_state(module: Any, state: Any, strict: bool) -> Any:
    """See `Module.load_state_dict`. Everything is checked before the first write."""
    writes, report = _checked(module, state, strict)
    with module._guard.writing():
        for tensor, array in writes:
            tensor.assign(array.astype(tensor.dtype, copy=False))
    return report


def checked_writes(module: Any, state: Any, strict: bool) -> Any:
    """[(parameter or buffer, array)] of a state that fits; ValueError or TypeError if it does not."""
    return _checked(module, state, strict)[0]


class LoadReport(NamedTuple):
    """What ``load_state_dict(strict=False)`` left alone: names of the model, and names of the state."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _checked(module, state, strict):
    places = dict(module._all_named_tensors())
    given = {
        name: value
        for name, value in state.items()
        if name in places or name.rsplit(".", 1)[-1] != "num_batches_tracked"
    }
    unknown = [name for name in given if name not in places]
    covered = {id(places[name]) for name in given if name in places}
    missing = [name for name, tensor in module._named_tensors(False) if id(tensor) not in covered]
    missing += [name for name, tensor in module._named_tensors(True) if id(tensor) not in covered]
    if strict and unknown:
        raise ValueError(f"load_state_dict: unknown names {_listed(unknown)}; this model has {_listed(places)}")
    if strict and missing:
        raise ValueError(f"load_state_dict: missing names {_listed(missing)}")
    writes = []
    for name, value in given.items():
        tensor = places.get(name)
        if tensor is None:
            continue
        array = as_array(value)
        if array.shape != tuple(tensor.shape):
            raise ValueError(f"load_state_dict: {name} has shape {array.shape}, the model needs {tuple(tensor.shape)}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"load_state_dict: {name} has dtype {array.dtype}, which is not a real number")
        writes.append((tensor, array))
    return writes, LoadReport(missing, unknown)


def convert(module: Any, dtype: Any) -> Any:
    """See `Module.to`."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        dtype = None
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError("to: a model's dtype is 'float32' or 'float64'")
    with module._guard.writing():
        untouched = [inner for inner in module.modules() if inner._is_untouched()]
        for _, tensor in module._all_named_tensors():
            tensor.to(dtype)
        for inner in untouched:
            inner._mark_drawn()
    return module


def tied_places(module: Any) -> Any:
    """{name: first name} of the places that share a parameter with an earlier one."""
    first, tied = {}, {}
    for path, tensor in module._all_named_tensors():
        if id(tensor) in first:
            tied[path] = first[id(tensor)]
        else:
            first[id(tensor)] = path
    return tied
