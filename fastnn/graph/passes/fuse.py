"""Fuse an activation into the op that makes its input: linear, batch norm. Bitwise neutral.

The fused kernel keeps y = f(z) only, so nothing else may read z. Training does not where the derivative of f is taken
from y (graph/rules/elementwise.py).
"""

from .rebuild import clone, needed, rebuild, uses

_HOSTS = frozenset(("linear", "batch_norm", "batch_norm_inference"))


def _plan(outputs):
    """index of host node -> activation node to put into it."""
    from ..rules.lists import activations

    nodes = needed(outputs)
    users = uses(nodes)
    kept = {id(t) for t in outputs}
    plan = {}
    for node in nodes:
        name = node.attrs.get("name")
        if node.op != "unary" or name not in activations():
            continue
        z = node.inputs[0]
        host = z.node
        if host.op not in _HOSTS or z.slot != 0 or host.attrs["activation"] is not None or id(z) in kept:
            continue
        if host.index in plan:
            continue
        if all(user is node for user in users[id(z)]):
            plan[host.index] = node
    return plan


def fuse_activation(graph, outputs):
    """Return the outputs over a graph with activations inside the ops before them."""
    plan = _plan(outputs)
    if not plan:
        return outputs
    fused = {}

    def replace(node, inputs):
        if node.index in plan:
            unary = plan[node.index]
            attrs = {**node.attrs, "activation": unary.attrs["name"], "code": unary.attrs["code"]}
            attrs["params"] = unary.attrs["params"]
            made = clone(node, inputs, attrs).outputs
            fused[unary.index] = made[:1]
            return made
        return fused.get(node.index)

    return rebuild(outputs, replace)
