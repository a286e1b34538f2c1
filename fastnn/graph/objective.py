"""J(theta) of a function or a module with its loss, as programs in float64 of the arrays that it is examined in.

What gradient checks and curvature share: the parameters become inputs of the graph, so that any point can be tried
without touching the model. Random masks are those of step 0, the same at every evaluation.
"""

import numpy as np

from .context import tracing
from .differentiate import gradients, tangents_of
from .executable import Executable
from .passes.rebuild import needed
from .rules.base import full_like
from .structure import flatten, unflatten
from .trace import Graph


class Objective:
    """J at any point.

    Parameters
    ----------
    target : callable or Module
        A function is examined in its floating arguments, a module in its trainable parameters, whatever its dtype.
    inputs : tuple of (nested) arrays
        Arguments; for a module with a loss the last one is the target.
    loss : callable, optional
        loss(output, target) -> scalar, for a module.
    training : bool
        Mode in which a module is traced.
    seed : int
        Key of dropout masks, and of the fixed random direction that turns an output of many numbers into one.
    disabled : iterable of str
        Passes to leave out.
    penalty : callable, optional
        {name: tensor} of a module's parameters -> scalar tensor or None, added to the loss.
    module : Module, optional
        Whose parameters are examined, if not the target's own.

    Attributes
    ----------
    names, arrays : list
        What J is examined in: names, and the point, float64 arrays.
    """

    def __init__(
        self, target, inputs, loss=None, *, training=True, seed=0, disabled=(), penalty=None, module=None
    ):  # fmt: skip
        self.graph = graph = Graph(np.float64, training=training, seed=seed)
        graph.values_only = True
        module = target if module is None and hasattr(target, "named_parameters") else module
        if loss is not None and module is None:
            raise TypeError("loss= is for modules; compose the function with its loss instead")
        self.arrays, self.names, self.tensors = [], [], []
        self._disabled = disabled
        if module is not None:
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    graph.stand_ins[id(parameter)] = self._add(np.array(parameter.numpy(), np.float64), name)
        arguments = self._arguments(inputs, module is not None)
        if not self.tensors:
            raise ValueError("there is nothing to check: no floating argument or trainable parameter")
        with tracing(graph):
            self.loss = _as_number(graph, _call(target, arguments, loss), seed)
            extra = None if penalty is None else penalty(dict(zip(self.names, self.tensors, strict=True)))
            self.loss = self.loss if extra is None else self.loss + extra
        self._value = Executable(graph, self.tensors, [self.loss], disabled)

    def _add(self, array, name):
        self.arrays.append(np.ascontiguousarray(array))
        self.names.append(name)
        self.tensors.append(self.graph.input(array.shape, "real", name))
        return self.tensors[-1]

    def _arguments(self, inputs, fixed):
        """The arguments as tensors: constants if `fixed`, else the floating ones are examined."""
        leaves, structure = flatten(inputs)
        given = []
        for i, leaf in enumerate(leaves):
            array = np.asarray(leaf)
            if not fixed and (array.dtype.kind == "f" or not array.ndim):
                given.append(self._add(np.array(array, np.float64), f"argument {i}"))
            else:
                given.append(self.graph.constant(array.astype(np.float64) if array.dtype.kind == "f" else array))
        return unflatten(structure, given)

    def value(self):
        """J at the point."""
        return float(self._value(self.arrays)[0])

    def _slopes(self):
        found = gradients([self.loss], [self.graph.constant(1.0)], self.tensors)
        return [full_like(t, 0.0) if g is None else g for g, t in zip(found, self.tensors, strict=True)]

    def gradients(self):
        """dJ at the point, one array per examined array."""
        return self.with_slopes()(self.arrays)[1:]

    def with_slopes(self):
        """A function of the arrays: [J, dJ per array]."""
        return Executable(self.graph, self.tensors, [self.loss, *self._slopes()], self._disabled)

    def with_kinks(self):
        """A function of the arrays: [J, then what jumps where J has no derivative]."""
        kinks = [k for node in needed([self.loss]) for k in node.rule.kinks(node)]
        return Executable(self.graph, self.tensors, [self.loss, *kinks], self._disabled)

    def hessian_product(self):
        """A function of directions (one array per examined array): the Hessian of J at the point times them.

        Forward mode over reverse mode: the derivative of the gradient along the direction (Pearlmutter 1994).
        """
        directions = [self.graph.input(t.shape, "real", "direction") for t in self.tensors]
        found = tangents_of(self._slopes(), dict(zip(self.tensors, directions, strict=True)))
        found = [full_like(t, 0.0) if h is None else h for h, t in zip(found, self.tensors, strict=True)]
        program = Executable(self.graph, [*self.tensors, *directions], found, self._disabled)
        return lambda arrays: program([*self.arrays, *arrays])


def _call(target, arguments, loss):
    if loss is None:
        return target(*arguments)
    if len(arguments) < 2:
        raise ValueError("a module with a loss needs inputs and a target")
    return loss(target(*arguments[:-1]), arguments[-1])


def _as_number(graph, result, seed):
    """A scalar result, or the sum of the outputs times a fixed random direction."""
    leaves, _ = flatten(result)
    outputs = [graph.real(graph.tensor(leaf)) for leaf in leaves]
    if len(outputs) == 1 and all(size == 1 for size in outputs[0].shape):
        return outputs[0].reshape(())
    rng = np.random.default_rng((seed, 1))
    total = None
    for y in outputs:
        part = (y * graph.constant(rng.normal(size=y.shape))).sum()
        total = part if total is None else total + part
    return total
