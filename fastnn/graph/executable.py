"""A traced function with inputs of fixed shapes, as a callable on arrays."""

import numpy as np

from .lower.plan import Plan
from .passes import run_passes
from .rules.losses import validate_labels
from .rules.target_checks import validate_target


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
        self.revisions = graph.watch.revisions()
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
        self._target_checks = [
            (position[id(node.outputs[0])], views, domain)
            for node, views, domain in graph.target_checks
            if id(node.outputs[0]) in position
        ]
        self._keys = [id(t) for t in inputs]
        self._shapes = {id(t): t.shape for t in self.outputs}

    def call(self, structure, result_structure, number_types):
        """A `_native.Call` for arguments of these structures and kinds, None if only `__call__` can run this.

        number_types: per leaf the type of a plain number, or None for an array.
        """
        segment = self.plan.segments[0]
        outputs = [id(t) for t in self.outputs]
        if not self.plan.simple or segment.program is None or self._casts or len(set(outputs)) < len(outputs):
            return None
        if self._target_checks:
            return None
        labels = {i: (classes, 0 if ignore is None else ignore) for i, classes, ignore in self._checks}
        if len(labels) < len(self._checks) or segment.program.slot_count > 2:
            return None
        if max((len(t.shape) for t in (*self.inputs, *self.outputs)), default=0) > 8:
            return None
        inputs = [
            (segment.feeds.get(id(t), -1), t.shape, t.dtype, number, labels.get(i))
            for i, (t, number) in enumerate(zip(self.inputs, number_types, strict=True))
        ]
        results = [(segment.results[id(t)], t.shape) for t in self.outputs]
        native = self.plan.native
        return native.Call(
            segment.program, structure, result_structure, inputs, results, self.dtype, self.plan.guard,
            self.plan.writes, self.revisions,
        )  # fmt: skip

    def check_targets(self, arrays):
        """Raise ValueError if a loss cannot take a target among the inputs; a difference quotient's may lie outside."""
        for i, views, domain in self._target_checks:
            validate_target(arrays[i], views, domain)

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
