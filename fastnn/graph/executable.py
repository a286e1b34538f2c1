"""A traced function with inputs of fixed shapes, as a callable on arrays."""

import numpy as np

from .lower.plan import Plan
from .passes import run_passes
from .rules.losses import validate_labels


class Executable:
    """Outputs of a graph as a function of its inputs.

    Parameters
    ----------
    graph : Graph
    inputs, outputs : list of Tensor
    disabled : passes to leave out
    effects : list of Tensor
        States to be written besides.
    """

    def __init__(self, graph, inputs, outputs, disabled=(), effects=()):
        self.dtype = graph.dtype
        self.inputs = inputs
        tensors = run_passes(graph, [*(graph.real(t) for t in outputs), *effects], disabled)
        self.outputs = tensors[: len(outputs)]
        self.plan = Plan(graph.dtype, inputs, self.outputs, effects=tensors[len(outputs) :]).finish(1)
        position = {id(t): i for i, t in enumerate(inputs)}
        self._casts = [
            (id(node.outputs[0]), position[id(node.inputs[0])]) for node in self.plan.nodes if node.op == "cast"
        ]
        self._checks = [
            (position[id(node.outputs[0])], classes, ignore)
            for node, classes, ignore in graph.label_checks
            if id(node.outputs[0]) in position
        ]
        self._keys = [id(t) for t in inputs]
        self._shapes = {id(t): t.shape for t in self.outputs}

    def bind(self, arrays):
        """{id(tensor): array} of the inputs, labels checked."""
        for i, classes, ignore_index in self._checks:
            validate_labels(arrays[i], classes, ignore_index)
        values = dict(zip(self._keys, arrays, strict=True))
        for key, i in self._casts:
            values[key] = arrays[i].astype(self.dtype)
        return values

    def __call__(self, arrays, step=0):
        """Run on arrays of the inputs' shapes and dtypes; returns the list of outputs."""
        results = {key: np.empty(shape, self.dtype) for key, shape in self._shapes.items()}
        self.plan.run(1, self.bind(arrays), results, (step, 0))
        given, out = set(), []
        for tensor in self.outputs:
            array = results[id(tensor)]
            out.append(array.copy() if id(tensor) in given else array)
            given.add(id(tensor))
        return out
