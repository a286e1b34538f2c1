"""What goes through a model: the output of every layer, and the gradient of the loss with respect to it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..graph.context import tracing
from ..graph.differentiate import gradients
from ..graph.executable import Executable
from ..graph.structure import flatten
from ..graph.tensor import Tensor
from ..graph.trace import Graph
from .arrays import split_inputs
from .highway import Highway
from .hooks import forward_hook
from .losses import meaning_of
from .predict import with_names
from .sequential import Concat, Residual


class Signal(NamedTuple):
    """One layer of a probed model.

    Attributes
    ----------
    path : str
        Its name in the model.
    layer : Module
    output : ndarray (rows, ...)
    gradient : ndarray (rows, ...)
        Of the loss, with respect to the output; zeros where the loss does not depend on it.
    """

    path: str
    layer: object
    output: np.ndarray
    gradient: np.ndarray


def probe(
    model: Any, x: Any, y: Any = None, loss: Callable[..., Any] | None = None, *, training: bool = True,
    seed: int = 0,
) -> Any:  # fmt: skip
    """Run a model on a batch and look at every layer. Nothing is learned, and no running statistics change.

    Parameters
    ----------
    model : Module
    x : array (rows, ...), or a tuple or dict of arrays
        All rows are taken as one batch; some hundred are enough.
    y, loss : array and callable (output, target) -> scalar, optional
        Whose gradients. Default: gradients of independent N(0, 1) numbers at the output, drawn with `seed`.
    training : bool, default True
        Batch statistics and live dropout, or inference.
    seed : int, default 0
        Of dropout's masks and the default gradients.

    Returns
    -------
    list of Signal
        In the order in which the layers run. Layers are modules without modules inside, and blocks that do more than
        run their layers one after the other. A layer that is used twice is there twice.
    """
    if (y is None) != (loss is None):
        raise ValueError("probe: give y and loss together, or neither")
    names, arrays = split_inputs(x)
    graph = Graph(model.dtype, training=training, seed=seed)
    inputs = [graph.input(array.shape, name=f"x{i}") for i, array in enumerate(arrays)]
    arrays = [np.require(array, graph.dtype, ("C", "A")) for array in arrays]
    noted = []
    with tracing(graph):
        with forward_hook(lambda layer, path, _, value: _note(graph, noted, layer, path, value)):
            output = with_names(model, names)(*inputs)
        if loss is not None:
            y = np.asarray(y)
            labels = y.dtype.kind in "iu" and meaning_of(loss).target == "class"
            arrays.append(np.require(y, np.int64 if labels else graph.dtype, ("C", "A")))
            inputs.append(graph.input(y.shape, "int" if labels else "real", "y"))
            ends = [graph.real(graph.tensor(loss(output, inputs[-1]))).reshape(())]
            seeds = [graph.constant(1.0)]
        else:
            ends = [graph.real(graph.tensor(leaf)) for leaf in flatten(output)[0]]
            rng = np.random.default_rng(seed)
            seeds = [graph.constant(rng.standard_normal(end.shape)) for end in ends]
        found = gradients(ends, seeds, [offset for *_, offset in noted])
    values = [value for _, _, value, _ in noted]
    kept = [gradient for gradient in found if gradient is not None]
    results = Executable(graph, inputs, [*values, *kept])(arrays)
    outputs, rest = results[: len(values)], iter(results[len(values) :])
    return [
        Signal(path, layer, value, np.zeros_like(value) if gradient is None else next(rest))
        for (layer, path, _, _), value, gradient in zip(noted, outputs, found, strict=True)
    ]


def _note(graph, noted, layer, path, value):
    """Note a layer's output, and add a zero to it whose gradient is that of the output."""
    if not isinstance(value, Tensor) or value.kind != "real" or _is_chain(layer):
        return value
    zero = graph.constant(0.0)
    offset = zero._apply("broadcast_to", (zero,), {"shape": value.shape}) if value.shape else zero
    value = value + offset
    noted.append((layer, path, value, offset))
    return value


def _is_chain(layer):
    """A module that shows nothing that its layers do not show."""
    return any(True for _ in layer.named_children()) and not isinstance(layer, (Residual, Concat, Highway))
