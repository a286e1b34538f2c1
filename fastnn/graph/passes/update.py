"""Put an optimizer's step into the product of the weight gradient, so that the gradient is never stored.

Decision 5: gradients and update are two programs, and this is a pass over the pair. It is for weights whose gradient
nothing else reads: no clipping by norm, no accumulation, no hook, no second use of the weight. The step comes behind
the last op that reads the weight (the input gradient of its layer), so that all of them see the weights of before.
The same arithmetic in the same order: the bits of the two programs.
"""

from typing import NamedTuple

from ..rules.dense import WEIGHT_BLOCK
from .rebuild import clone, needed, uses

_LEAVES = frozenset(("input", "parameter", "constant", "memory", "cast", "size"))
_VIEWS = frozenset(("reshape", "transpose", "broadcast_to", "slice", "stop_gradient", "alias"))
# Where it pays (docs/kernels.md): narrow products have ways of their own, small weights stay in cache between gradient
# and step, and the gradient of the outputs of a batch has to stay in L2.
LEAST_OUTPUTS, LEAST_SIZE, MOST_BYTES = 32, 1 << 19, 1 << 20


class Step(NamedTuple):
    """How a parameter is updated: what the native op needs besides the gradient.

    code : row of optimizers.def; arrays : its states, None where the options need none, in storage layout; average :
    the averaged weights or None; scalars : numbers, or columns of the step's scalars.
    """

    code: int
    arrays: tuple
    average: object
    scalars: tuple


def _product(gradient, users, kept):
    """The node of a weight gradient that nothing but the update reads, or None."""
    node = gradient.node
    if gradient.slot != 0 or users.get(id(gradient)) or kept[id(gradient)] > 1 or len(gradient.shape) != 2:
        return None
    if node.op != "weight_gradient" and (node.op != "matmul" or node.attrs["block"] != WEIGHT_BLOCK):
        return None
    return node if node.inputs[0].node.op == "transpose" else None


def _last_readers(nodes, weights):
    """id(weight) -> index of the last node that reads it, through any view."""
    origin, last = {id(w): id(w) for w in weights}, {}
    for node in nodes:
        for x in node.inputs:
            weight = origin.get(id(x))
            if weight is not None:
                last[weight] = node.index
                if node.op in _VIEWS:
                    origin.update((id(y), weight) for y in node.outputs)
    return last


def _pays(weight, rows):
    """Whether a weight is worth it, for batches of so many rows."""
    if len(weight.shape) != 2 or weight.shape[0] < LEAST_OUTPUTS:
        return False
    return (
        weight.shape[0] * weight.shape[1] >= LEAST_SIZE and rows * weight.shape[0] * weight.dtype.itemsize <= MOST_BYTES
    )


def _plan(outputs, nodes, steps, rows):
    """index of the product -> (weight, step, index of the node behind which it has to come)."""
    users, kept = uses(nodes), {}
    for t in outputs:
        kept[id(t)] = kept.get(id(t), 0) + 1
    last = _last_readers(nodes, [weight for weight, _ in steps.values()])
    plan = {}
    for at, (weight, step) in steps.items():
        node = _product(outputs[at], users, kept) if _pays(weight, rows) else None
        if node is not None and node.index not in plan:
            plan[node.index] = (weight, step, max(node.index, last.get(id(weight), 0)))
    return plan


def fuse_update(graph, outputs, steps, rows):
    """Return the outputs over a graph whose products update weights; a fused gradient becomes the weight's next state.

    Parameters
    ----------
    steps : dict
        Position of a gradient among the outputs -> (tensor of its parameter, Step).
    rows : int
        Most rows of a batch.
    """
    nodes = needed(outputs)
    plan = {} if any(node.op == "python_op" for node in nodes) else _plan(outputs, nodes, steps, rows)
    if not plan:
        return outputs
    mapping, waiting = {}, {}

    def update(node):
        weight, step, _ = plan[node.index]
        operands = [mapping.get(id(x), x) for x in node.inputs]
        arrays = [*step.arrays, *[None] * (3 - len(step.arrays)), step.average]
        present = [array is not None for array in arrays]
        leaves = [graph.emit("memory", (), {"value": a}, [(a.shape, "real")]) for a in arrays if a is not None]
        memory = [leaf.outputs[0] for leaf in leaves]
        attrs = {"code": step.code, "scalars": step.scalars, "present": tuple(present), "label": "weight_update"}
        shapes = [(node.outputs[0].shape, "real")]
        shapes += [(node.outputs[0].shape[:1], "real")] if node.op == "weight_gradient" else []
        made = graph.emit("weight_update", [*operands, weight, *memory], attrs, shapes, node.scope)
        mapping.update(zip(map(id, node.outputs), made.outputs, strict=True))

    for node in nodes:
        if node.index in plan:
            waiting.setdefault(plan[node.index][2], []).append(node)
        elif node.op not in _LEAVES:  # again, in this order
            made = clone(node, [mapping.get(id(x), x) for x in node.inputs])
            mapping.update(zip(map(id, node.outputs), made.outputs, strict=True))
        for product in waiting.pop(node.index, ()):
            update(product)
    return [mapping.get(id(t), t) for t in outputs]
