"""Compute once, at compile time, what depends on constants only. Bitwise neutral: the same native ops compute it.

Random ops, states and Python-defined ops are left alone, and what would grow by more than it saves: a constant that
is only spread to a larger shape stays a view.
"""

import numpy as np

from ..symbols import is_symbolic
from .rebuild import needed, rebuild

_SPREADS = frozenset(("broadcast_to", "reshape", "transpose", "slice", "alias", "stop_gradient"))
_KEPT = frozenset(("python_op", "dropout", "dropout_affine", "noise", "assign", "batch_norm"))
LARGEST = 1 << 22  # elements of a folded constant


def _is_foldable(node, known):
    """Whether all inputs of an op are known, and its outputs are reals of a fixed shape without effects."""
    if not node.inputs or node.op in _KEPT or not all(x.node.index in known for x in node.inputs):
        return False
    return all(y.kind == "real" and not is_symbolic(y.shape) and np.prod(y.shape) <= LARGEST for y in node.outputs)


def fold_constants(graph, outputs):
    """Return the outputs over a graph without ops whose operands are all constants."""
    from ..lower.plan import Plan

    nodes = needed(outputs)
    known = {node.index for node in nodes if node.op == "constant" and node.outputs[0].kind == "real"}
    folded = []
    for node in nodes:
        if _is_foldable(node, known):
            known.add(node.index)
            folded.append(node)
    read = {x.node.index for node in nodes if node.index not in known for x in node.inputs}
    read |= {t.node.index for t in outputs}
    wanted = [y for node in folded if node.index in read and node.op not in _SPREADS for y in node.outputs]
    if not wanted:
        return outputs
    arrays = {id(y): np.empty(y.shape, graph.dtype) for y in wanted}
    Plan(graph.dtype, [], wanted).finish(1).run(1, {}, arrays)
    made = {}

    def replace(node, inputs):
        if not node.outputs or id(node.outputs[0]) not in arrays:
            return None
        made[node.index] = [graph.constant(arrays[id(y)]) for y in node.outputs]
        return made[node.index]

    return rebuild(outputs, replace)
