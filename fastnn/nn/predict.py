"""Running a module on arrays: the cache of compiled programs and the call itself."""

import numpy as np

from .. import _native, graph
from ..graph.parameter import graph_version
from .arrays import spec_of, split_inputs
from .module import _COMPILED_LIMIT


class NamedInputs:
    """A module whose inputs came as a dict: forward gets them by name. The graph sees an ordinary module."""

    def __init__(self, module, names):
        self._module = module
        self._names = names

    def __call__(self, *inputs):
        import inspect

        module = self._module
        try:
            bound = inspect.signature(module.forward).bind(**dict(zip(self._names, inputs, strict=True)))
        except TypeError as error:
            raise TypeError(f"{type(module).__name__}.forward and the inputs {self._names}: {error}") from None
        return module(*bound.args)

    def __getattr__(self, name):
        return getattr(self._module, name)


def with_names(module, names):
    """The module as the graph shall trace it."""
    return module if names is None else NamedInputs(module, names)


def _find_compiled(module, names, arrays, training):
    """The compiled program for these specs: from the module's cache, or planned now."""
    cache = module._compiled
    if cache is None:
        cache = module.__dict__.setdefault("_compiled", {})
    version = graph_version()
    key = (training, names, _native.get_isa(), *[(a.shape[1:], a.dtype, spec_of(a)[2]) for a in arrays])
    entry = cache.get(key)
    if entry is not None and entry[0] == version:
        return entry[2]
    dtype = module.dtype
    signature = (module._signature(), dtype)
    if entry is not None and entry[1] == signature:  # some other model changed
        compiled = entry[2]
    else:
        specs = tuple(spec_of(array) for array in arrays)
        compiled = graph.build_inference(with_names(module, names), specs, dtype, training=training)
    cache.pop(key, None)
    cache[key] = (version, signature, compiled)
    while len(cache) > _COMPILED_LIMIT:
        cache.pop(next(iter(cache)), None)
    return compiled


def _check_out(out, dtype):
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out must be a writeable C-contiguous {dtype} array, got {out.dtype} of shape {out.shape}")


def run_model(module, x, training, out):
    """Run `module` on arrays; see `Module.predict`."""
    names, arrays = split_inputs(x)
    compiled = _find_compiled(module, names, arrays, bool(training))
    if out is not None and not isinstance(out, tuple):
        _check_out(out, module.dtype)
        if any(np.may_share_memory(out, array) for array in arrays):
            arrays = tuple(array.copy() if np.may_share_memory(out, array) else array for array in arrays)
    guard = module._guard
    guard.start_reading()
    try:
        if not training:
            return compiled.run(arrays, out=out)
        step = module._mc_calls
        object.__setattr__(module, "_mc_calls", step + 1)
        return compiled.run(arrays, out=out, step=step)
    finally:
        guard.stop_reading()
