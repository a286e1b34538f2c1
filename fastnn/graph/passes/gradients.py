"""Put what surrounds a gradient's product into it.

fuse_input_gradient: activation gradients, and the dropout before them, follow the product that makes their input.
fuse_bias_gradient: a bias gradient is the sums of the columns that the weight gradient reads.

The same arithmetic in the same order. Products flush denormals to zero and the ops on their own do not: what is
smaller than the smallest normal number may become 0.
"""

from ..rules.dense import FORWARD_BLOCK, WEIGHT_BLOCK
from .rebuild import needed, rebuild, uses

NO_ACTIVATION = {"name": None, "code": 0, "params": (), "output": False}


class _Readers:
    """Who reads a tensor, and whether a node is the only one."""

    def __init__(self, outputs):
        self.nodes = needed(outputs)
        self.users = uses(self.nodes)
        self.kept = {id(t) for t in outputs}

    def only(self, tensor):
        """Whether one node reads the tensor, once, and nobody asks for it."""
        return len(self.users.get(id(tensor), ())) == 1 and id(tensor) not in self.kept


def _product_before(tensor, readers):
    """(product, dropout or None) that make the tensor and nothing else, or None."""
    if not readers.only(tensor):
        return None
    node, dropout = tensor.node, None
    if node.op == "dropout" and readers.only(node.inputs[0]):
        node, dropout = node.inputs[0].node, node
    if node.op != "matmul" or node.attrs["block"] != FORWARD_BLOCK or len(node.outputs[0].shape) != 2:
        return None
    return node, dropout


def _input_gradients(outputs):
    """index of the last node of a group -> (product, dropout or None, unary_backward or None)."""
    readers, groups, taken = _Readers(outputs), {}, set()
    last = [node for node in readers.nodes if node.op == "unary_backward"]
    last += [node for node in readers.nodes if node.op == "dropout"]
    for node in last:
        if node.op == "dropout":
            product = node.inputs[0].node
            found = (product, node) if product.op == "matmul" and readers.only(node.inputs[0]) else None
            if found and (product.attrs["block"] != FORWARD_BLOCK or product.index in taken):
                found = None
        else:
            found = _product_before(node.inputs[0], readers) if node.inputs[0] is not node.inputs[1] else None
        if found is not None:
            taken.add(found[0].index)
            groups[node.index] = (*found, node if node.op == "unary_backward" else None)
    return groups


def fuse_input_gradient(graph, outputs):
    """Return the outputs over a graph whose products multiply by derivatives themselves."""
    groups = _input_gradients(outputs)
    mapping = {}

    def replace(node, inputs):
        mapping.update(zip(map(id, node.inputs), inputs, strict=True))
        if node.index not in groups:
            return None
        product, dropout, derivative = groups[node.index]
        attrs = {"block": product.attrs["block"], "dropout": None if dropout is None else dropout.attrs}
        attrs |= NO_ACTIVATION if derivative is None else {k: derivative.attrs[k] for k in NO_ACTIVATION}
        operands = [mapping.get(id(x), x) for x in product.inputs]
        if derivative is not None:
            operands.append(inputs[1])
        return graph.emit("input_gradient", operands, attrs, [(node.outputs[0].shape, "real")], product.scope).outputs

    return rebuild(outputs, replace) if groups else outputs


def fuse_bias_gradient(graph, outputs):
    """Return the outputs over a graph whose weight gradients give the bias gradients too."""
    nodes = needed(outputs)
    sums = {
        id(node.inputs[0]): node
        for node in nodes
        if node.op == "sum" and node.attrs["axes"] == (0,) and not node.attrs["mean"] and not node.attrs["keepdims"]
    }
    pairs = {}  # index of product -> index of sum, which comes later
    for node in nodes:
        if node.op == "matmul" and node.attrs["block"] == WEIGHT_BLOCK and node.inputs[0].node.op == "transpose":
            total = sums.get(id(node.inputs[0].node.inputs[0]))
            if total is not None and total.index > node.index and total.index not in pairs.values():
                pairs[node.index] = total.index
    made = {}

    def replace(node, inputs):
        if node.index in made:
            return (made[node.index],)
        if node.index not in pairs:
            return None
        shapes = [(node.outputs[0].shape, "real"), (node.outputs[0].shape[:1], "real")]
        dweight, made[pairs[node.index]] = graph.emit("weight_gradient", inputs, {}, shapes, node.scope).outputs
        return (dweight,)

    return rebuild(outputs, replace) if pairs else outputs
