"""functional_call: a model as a function of its parameters, for gradients by name."""

import weakref
from collections.abc import Mapping
from typing import Any

from ..graph import context
from ..graph.structure import flatten, unflatten
from ..graph.transforms import Compiled
from .module import Module

_compiled: "weakref.WeakKeyDictionary[Module, dict[bool, Compiled]]" = weakref.WeakKeyDictionary()


def functional_call(model: Module, params: Mapping[str, Any], *inputs: Any, training: bool = False) -> Any:
    """Run a model with other parameters than its own, which stay as they are.

    Parameters
    ----------
    model : Module
    params : dict of str to array
        By the names of ``named_parameters()`` and ``named_buffers()``; those that are not named are the model's own.
    *inputs : arrays
        As for ``model(*inputs)``; their shapes are those of the program, which is compiled once per tuple of shapes.
    training : bool, default False
        Batch statistics and live dropout. Nothing is learned, and no running statistics change.

    Returns
    -------
    The model's output: differentiable inside `fastnn.grad` and its like.

    Raises
    ------
    ValueError
        For a name that the model does not have, or a value of another shape.

    Examples
    --------
    >>> def loss(params):
    ...     return F.mse_loss(fastnn.functional_call(model, params, x), y)
    >>> gradients = fastnn.grad(loss)(model.state_dict())  # {"0.weight": ..., "0.bias": ...}
    """
    if context.is_tracing():
        return _traced(model, params, inputs, training)
    programs = _compiled.setdefault(model, {})
    if training not in programs:
        reference = weakref.ref(model)  # the program may not keep the model alive
        programs[training] = Compiled(lambda params, *inputs: _traced(reference(), params, inputs, training))
    return programs[training](dict(params), *inputs)


def _traced(model: Any, params: Mapping[str, Any], inputs: tuple[Any, ...], training: bool) -> Any:
    current = context.current()
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    given = {}
    for name, value in params.items():
        if name not in tensors:
            raise ValueError(f"functional_call: there is no parameter {name!r}; the model has {', '.join(tensors)}")
        given[id(tensors[name])] = tensor = current.real(current.tensor(value))
        if tensor.shape != tuple(tensors[name].shape):
            shape = tuple(tensors[name].shape)
            raise ValueError(f"functional_call: {name} has shape {tensor.shape}, the model needs {shape}")
    leaves, structure = flatten(inputs)
    before = current.stand_ins, current.states, current.training
    current.stand_ins, current.states = {**current.stand_ins, **given}, dict(current.states)
    current.training = training
    try:
        return model(*unflatten(structure, [current.tensor(leaf) for leaf in leaves]))
    finally:
        current.stand_ins, current.states, current.training = before


