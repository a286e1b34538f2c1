"""Differentiation on the graph: reverse mode (vjp) and forward mode (jvp). Both only append nodes.

Derivatives are made of the same ops as the model, so that differentiating twice needs nothing new: a fused op whose
derivative is asked for again is taken apart first (`decompose`).
"""

from .rules.base import add_all


class Deferred:
    """A tangent that is only built if something reads it."""

    __slots__ = ("_make", "_value")

    def __init__(self, make):
        self._make = make
        self._value = None

    def get(self):
        """The tangent (None = zero)."""
        if self._make is not None:
            self._value, self._make = self._make(), None
        return self._value


def _between(outputs, inputs):
    """Nodes on a path from inputs to outputs, in order of recording; inputs' own nodes are not included."""
    stop = {id(t) for t in inputs}
    reached = _ancestors(outputs, stop)
    depends = set(stop)
    on_path = []
    for node in reached:
        if node.op != "stop_gradient" and any(id(x) in depends for x in node.inputs):
            on_path.append(node)
            depends.update(id(y) for y in node.outputs if id(y) not in stop)
    return on_path, depends


def _ancestors(outputs, stop):
    """Nodes that outputs need, up to the tensors in `stop` and to constants, in order of recording."""
    seen, found = set(), []
    stack = [t.node for t in outputs if id(t) not in stop]
    while stack:
        node = stack.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        found.append(node)
        if node.op != "stop_gradient":
            stack.extend(x.node for x in node.inputs if id(x) not in stop)
    found.sort(key=_index)
    return found


def _index(node):
    return node.index


def gradients(outputs, cotangents, inputs):
    """Reverse mode: the gradients of sum_i <outputs_i, cotangents_i> with respect to inputs.

    Returns
    -------
    list of Tensor or None
        None where an input does not reach the outputs (a zero gradient).
    """
    on_path, depends = _between(outputs, inputs)
    collected = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None:
            collected.setdefault(id(output), []).append(cotangent)
    wanted = {id(t) for t in inputs}
    for node in reversed(on_path):
        grads = [_take(collected, y, wanted) for y in node.outputs]
        if all(g is None for g in grads):
            continue
        needs = tuple(id(x) in depends for x in node.inputs)
        with _derivative_of(node):
            results = node.rule.vjp(node, grads, needs)
        if results is None:
            continue
        for x, need, gradient in zip(node.inputs, needs, results, strict=True):
            if need and gradient is not None:
                collected.setdefault(id(x), []).append(gradient)
    return [add_all(collected.get(id(t), ())) for t in inputs]


def _take(collected, tensor, wanted):
    """The gradient gathered for a node's output. What is asked for is a cut: nothing flows on beyond it."""
    if id(tensor) in wanted:
        return None
    return add_all(collected.pop(id(tensor), ()))


def tangents_of(outputs, seeds):
    """Forward mode: the derivatives of outputs along seeds ({input: tangent}).

    Returns
    -------
    list of Tensor or None
        None where an output does not depend on the seeds.
    """
    on_path, _ = _between(outputs, list(seeds))
    known = {id(x): t for x, t in seeds.items()}
    for node in on_path:
        tangents = [_tangent(known, x) for x in node.inputs]
        if all(t is None for t in tangents):
            continue
        with _derivative_of(node):
            results = node.rule.jvp(node, tangents)
        if results is None:
            continue
        for y, tangent in zip(node.outputs, results, strict=True):
            if tangent is not None and id(y) not in known:
                known[id(y)] = tangent
    return [_tangent(known, y) for y in outputs]


class _derivative_of:
    """While a rule is at work: what it records belongs to the node's module, marked as its derivative."""

    __slots__ = ("graph", "node", "outer")

    def __init__(self, node):
        self.node = node
        self.graph = node.graph

    def __enter__(self):
        self.outer = self.graph.derived
        scope = self.node.scope
        if self.outer is None and scope:
            self.graph.derived = scope if scope.endswith("'") else scope + "'"

    def __exit__(self, *_):
        self.graph.derived = self.outer


def _tangent(known, tensor):
    value = known.get(id(tensor))
    if isinstance(value, Deferred):
        value = known[id(tensor)] = value.get()
    return value


def gradients_through(node, grads):
    """vjp of a fused op by way of its decomposition."""
    parts = node.rule.decompose(node)
    pairs = [(y, g) for y, g in zip(parts, grads, strict=True) if y is not None and g is not None]
    return gradients([y for y, _ in pairs], [g for _, g in pairs], node.inputs)


def tangents_through(node, tangents):
    """jvp of a fused op by way of its decomposition."""
    parts = node.rule.decompose(node)
    seeds = {x: t for x, t in zip(node.inputs, tangents, strict=True) if t is not None}
    present = [y for y in parts if y is not None]
    found = iter(tangents_of(present, seeds))
    return [None if y is None else next(found) for y in parts]
