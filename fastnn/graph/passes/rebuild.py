"""Walking and rebuilding a graph: what the passes share, and dead code: only what outputs need is ever walked."""


def needed(outputs):
    """Nodes that the outputs need, in order of recording. What they do not need is dead and is left behind here."""
    seen, found = set(), []
    stack = [t.node for t in outputs]
    while stack:
        node = stack.pop()
        if node.index not in seen:
            seen.add(node.index)
            found.append(node)
            stack.extend(x.node for x in node.inputs)
    found.sort(key=lambda node: node.index)
    return found


def uses(nodes):
    """id(tensor) -> list of nodes that read it."""
    users = {}
    for node in nodes:
        for x in node.inputs:
            users.setdefault(id(x), []).append(node)
    return users


def clone(node, inputs, attrs=None):
    """The node again on other inputs."""
    outputs = [(y.shape, y.kind) for y in node.outputs]
    return node.graph.emit(node.op, inputs, node.attrs if attrs is None else attrs, outputs, node.scope)


def rebuild(outputs, replace):
    """Outputs again, with replace(node, inputs) -> tensors (or None: the node as it is, on its new inputs)."""
    mapping = {}
    for node in needed(outputs):
        inputs = tuple(mapping.get(id(x), x) for x in node.inputs)
        made = replace(node, inputs)
        if made is None:
            if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
                continue
            made = clone(node, inputs).outputs
        for old, new in zip(node.outputs, made, strict=True):
            if new is not None and new is not old:
                mapping[id(old)] = new
    return [mapping.get(id(t), t) for t in outputs]
