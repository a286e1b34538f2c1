"""Running a module on arrays: the cache of compiled programs and the call itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _native, graph
from .arrays import split_inputs

_COMPILED_LIMIT = 16  # programs kept per module (least recently used goes first)
_PART_ROWS = 8192  # rows converted at a time when the data have another dtype than the model


class NamedInputs:
    """A module whose inputs came as a dict: forward gets them by name. The graph sees an ordinary module."""

    def __init__(self, module: Any, names: Any) -> None:
        self._module = module
        self._names = names

    def __call__(self, *inputs: Any) -> Any:
        import inspect

        module = self._module
        try:
            bound = inspect.signature(module.forward).bind(**dict(zip(self._names, inputs, strict=True)))
        except TypeError as error:
            raise TypeError(f"{type(module).__name__}.forward and the inputs {self._names}: {error}") from None
        return module(*bound.args)

    def __getattr__(self, name):
        return getattr(self._module, name)


def with_names(module: Any, names: Any) -> Any:
    """The module as the graph shall trace it."""
    return module if names is None else NamedInputs(module, names)


def _find_compiled(module, names, arrays, training, seed=0):
    """The compiled program for these specs: from the module's cache, or planned now."""
    cache = module._compiled
    if cache is None:
        cache = module.__dict__.setdefault("_compiled", {})
    key = (training, seed, names, _native.get_isa(), *[array.shape[1:] for array in arrays])
    compiled = cache.get(key)
    if compiled is None or not compiled.revisions.are_current():
        specs = tuple((array.shape[1:], array.dtype) for array in arrays)
        try:
            with module._guard.reading():
                compiled = graph.build_inference(
                    with_names(module, names), specs, module.dtype, training=training, seed=seed
                )
        except ValueError as error:
            if any(array.ndim == 1 for array in arrays):
                hint = "the input has one dimension; models take (rows, features), x.reshape(1, -1) is one row"
                raise ValueError(f"{error} ({hint})") from None
            raise
    cache.pop(key, None)
    cache[key] = compiled
    while len(cache) > _COMPILED_LIMIT:
        cache.pop(next(iter(cache)), None)
    return compiled


def _check_out(out, dtype):
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out must be a writeable C-contiguous {dtype} array, got {out.dtype} of shape {out.shape}")


def _convert_in_parts(compiled, arrays, out):
    """Predict on arrays of another dtype, a part of the rows at a time, so that only a part is ever converted."""
    rows = len(arrays[0])
    for start in range(0, rows, _PART_ROWS):
        part = tuple(array[start : start + _PART_ROWS] for array in arrays)
        if out is not None:
            compiled.run(part, out=out[start : start + _PART_ROWS])
            continue
        first = compiled.run(part)
        if not isinstance(first, np.ndarray):  # several outputs
            return compiled.run(arrays)
        out = np.empty((rows, *first.shape[1:]), first.dtype)
        out[:_PART_ROWS] = first
    return out


class Samples(NamedTuple):
    """Mean and standard deviation over Monte-Carlo predictions, and the predictions themselves if asked for."""

    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray | None = None


def predict_mc(
    module: Any, x: Any, n: int = 100, *, function: Callable[..., Any] | None = None, keep: bool = False,
    seed: int = 0,
) -> Any:  # fmt: skip
    """Predict with live dropout: `n` passes, each with masks of its own (Gal & Ghahramani 2016).

    An average over thinned networks, which is what training approximates: their spread says how sure the model is.
    Batch norm uses its running statistics.

    Parameters
    ----------
    module : Module
        With dropout or another random layer in it.
    x : array (rows, ...), or a tuple or dict of arrays
    n : int, default 100
        Passes.
    function : callable (output) -> array, optional
        What is averaged, such as ``fastnn.functional.softmax`` where the model gives logits.
    keep : bool, default False
        Also return all predictions, (n, rows, ...).
    seed : int, default 0
        Equal seeds give equal masks.

    Returns
    -------
    Samples
        ``mean, std, samples``; the deviation is that of the n passes (divided by n).
    """
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ValueError(f"predict_mc: n must be an integer >= 1, got {n!r}")
    if isinstance(seed, bool) or int(seed) != seed or not 0 <= seed < 2**63:
        raise ValueError(f"predict_mc: seed must be an integer from 0 to 2**63 - 1, got {seed!r}")
    names, arrays = split_inputs(x)
    compiled = _find_compiled(module, names, arrays, "sampling", int(seed))
    samples, mean, squares = [], 0.0, 0.0
    with compiled.guard.reading():
        for i in range(int(n)):
            y = compiled.run(arrays, step=i)
            if not isinstance(y, np.ndarray):
                raise ValueError("predict_mc: the model must have one output")
            y = y if function is None else function(y)
            if keep:
                samples.append(y)
            off = y - mean  # Welford's update, in double
            mean = mean + off.astype(np.float64) / (i + 1)
            squares = squares + off * (y - mean)
    std = np.sqrt(squares / n)
    return Samples(mean.astype(y.dtype), std.astype(y.dtype), np.stack(samples) if keep else None)


def run_model(module: Any, x: Any, training: bool, out: Any) -> Any:
    """Run `module` on arrays; see `Module.predict`."""
    names, arrays = split_inputs(x)
    compiled = _find_compiled(module, names, arrays, bool(training))
    if names is None and not training:
        module.__dict__["_forward"] = compiled.forward  # the next call on plain arrays tries it first
    if out is not None and not isinstance(out, tuple):
        _check_out(out, compiled.dtype)
        if any(np.may_share_memory(out, array) for array in arrays):
            arrays = tuple(array.copy() if np.may_share_memory(out, array) else array for array in arrays)
    with compiled.guard.reading():
        if training:
            step = module._mc_calls
            object.__setattr__(module, "_mc_calls", step + 1)
            return compiled.run(arrays, out=out, step=step)
        large = len(arrays[0]) > _PART_ROWS and compiled.chunk_rows and not isinstance(out, tuple)
        if large and any(array.dtype != compiled.dtype or not array.flags.c_contiguous for array in arrays):
            if out is None or len(out) == len(arrays[0]):
                return _convert_in_parts(compiled, arrays, out)
        return compiled.run(arrays, out=out)
