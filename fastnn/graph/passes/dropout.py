"""Put a dropout into the linear layer before it, if the gradient can do with the dropped values.

y = activation(z) is then never stored, only dropout(y). A gradient that goes through the same dropout is zero wherever
an element was dropped; elsewhere dropout(y) > 0 exactly where y > 0. So ReLU's derivative is the same from both.
"""

from .rebuild import clone, needed, rebuild, uses

_SAME_STREAM = ("threshold", "seed", "layer")


def _same_stream(a, b):
    return a is not None and all(a[name] == b[name] for name in _SAME_STREAM)


def _reads_sign_behind(user, y, attrs):
    """Whether a node reads y only for ReLU's derivative of a gradient that went through the same dropout."""
    if user.attrs.get("name") != "relu" or sum(x is y for x in user.inputs) != 1:
        return False
    if user.op == "input_gradient":
        return user.inputs[-1] is y and _same_stream(user.attrs["dropout"], attrs)
    before = user.inputs[0].node
    return user.op == "unary_backward" and before.op == "dropout" and _same_stream(before.attrs, attrs)


def _plan(outputs):
    """index of the linear node -> the dropout to put into it."""
    nodes = needed(outputs)
    users, kept, plan = uses(nodes), {id(t) for t in outputs}, {}
    for node in nodes:
        host = node.inputs[0].node if node.op == "dropout" else None
        if host is None or host.op != "linear" or len(host.outputs[0].shape) != 2 or host.attrs.get("dropout"):
            continue
        y, activation = host.outputs[0], host.attrs["activation"]
        others = [user for user in users[id(y)] if user is not node]
        if id(y) in kept or host.index in plan or activation not in (None, "identity", "relu"):
            continue
        if all(_reads_sign_behind(user, y, node.attrs) for user in others) and node.attrs["threshold"] > 0:
            plan[host.index] = node
    return plan


def fuse_dropout(graph, outputs):
    """Return the outputs over a graph whose linear layers drop elements themselves."""
    plan, made = _plan(outputs), {}

    def replace(node, inputs):
        if node.index in plan:
            fused = clone(node, inputs, {**node.attrs, "dropout": plan[node.index].attrs}).outputs
            made[plan[node.index].index] = fused
            return fused
        return made.get(node.index)

    return rebuild(outputs, replace) if plan else outputs
