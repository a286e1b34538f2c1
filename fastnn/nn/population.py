"""Batch norm's statistics of a whole data set, for a whole model (Ioffe & Szegedy 2015, algorithm 2)."""

from typing import Any

from ..graph import build_inference
from .arrays import split_inputs
from .batch_norm import BatchNorm1d
from .hooks import forward_hook
from .predict import with_names


def estimate_population(model: Any, x: Any) -> Any:
    """Set the running statistics of every `BatchNorm1d` in `model` to those of the rows of `x`.

    Layer by layer: a later one sees its inputs as inference gives them, with the exact statistics of those before it.
    After training this replaces running averages, which lag behind the weights.

    Parameters
    ----------
    model : Module
    x : array (rows, ...), or a tuple or dict of arrays
        Usually the training part. One pass over it for each batch norm.

    Returns
    -------
    Module
        The model.
    """
    names, arrays = split_inputs(x)
    specs = tuple((array.shape[1:], array.dtype) for array in arrays)
    with model._guard.writing():
        done = set()
        while True:
            layer, compiled = _next(model, names, specs, done)
            if layer is None:
                return model
            layer.estimate_population(compiled.run(arrays))
            done.add(id(layer))


def _next(model, names, specs, done):
    """The first batch norm that runs and is not done, and the program of its input."""
    found = []

    def note(layer, path, inputs, value):
        if isinstance(layer, BatchNorm1d) and id(layer) not in done and not found:
            found.extend((layer, inputs[0]))
        return value

    def inputs_of_it(*inputs):
        with forward_hook(note):
            with_names(model, names)(*inputs)
        return found[1] if found else inputs[0]

    compiled = build_inference(inputs_of_it, specs, model.dtype)
    return (found[0], compiled) if found else (None, None)
