"""Products: matmul and linear. Both lower to the native gemm, which takes any strides, so that a transpose is free."""

from ..symbols import product
from .base import CONST, LOCAL, Rule, add_all, is_local_shape, records, register
from .lists import activations
from .random import drop
from .shape import reshape, transpose

FORWARD_BLOCK = 0  # the native default (1024 terms)
WEIGHT_BLOCK = 256  # rows per block of a weight gradient (decision 1)


@register
class Matmul(Rule):
    """c = a @ b for matrices; attrs block: how many terms are summed before block sums are added."""

    op = "matmul"

    def vjp(self, node, grads, needs):
        (g,), (a, b) = grads, node.inputs
        return [matmul(node.graph, g, b.T) if needs[0] else None, matmul(node.graph, a.T, g) if needs[1] else None]

    def jvp(self, node, tangents):
        (ta, tb), (a, b), graph = tangents, node.inputs, node.graph
        return [
            add_all([
                None if ta is None else matmul(graph, ta, b),
                None if tb is None else matmul(graph, a, tb),
            ])
        ]  # fmt: skip

    def lower(self, node, low):
        a, b = map(low.view, node.inputs)
        low.gemm(node, a, b, block=node.attrs["block"])

    def keeps_rows(self, node, states):
        return states[0] == LOCAL and states[1] == CONST and is_local_shape(node.outputs[0].shape)


def matrix_product(graph, a, b, block=FORWARD_BLOCK):
    """a (m, k) @ b (k, n)."""
    return graph.emit("matmul", (a, b), {"block": block}, [((a.shape[0], b.shape[1]), "real")]).outputs[0]


@records("matmul")
def matmul(graph, a, b):
    """NumPy's a @ b, where at most a has more than two dimensions."""
    a, b = graph.real(a), graph.real(b)
    if not a.ndim or not b.ndim:
        raise ValueError("matmul needs at least one dimension on both sides: multiply scalars with *")
    if b.ndim > 2:
        raise ValueError("matmul of stacks of matrices on the right is not supported: reshape to a matrix")
    lead = a.shape[:-1]
    tail = b.shape[1:]
    if a.shape[-1] != b.shape[0]:
        raise ValueError(f"the inner sizes {a.shape[-1]} and {b.shape[0]} differ")
    left = a if a.ndim == 2 else reshape(graph, a, (product(lead), a.shape[-1]))
    right = b if b.ndim == 2 else reshape(graph, b, (b.shape[0], 1))
    return reshape(graph, matrix_product(graph, left, right), (*lead, *tail))


@register
class Linear(Rule):
    """y = dropout(activation(x @ weight.T + bias)); weight (out, in).

    attrs activation (list name or None), params; dropout (the attrs of one, or absent). Users' calls are recorded
    without both; passes put them in after differentiation.
    """

    op = "linear"

    def vjp(self, node, grads, needs):
        if _is_fused(node):
            from ..differentiate import gradients_through

            return gradients_through(node, grads)
        (g,), graph = grads, node.graph
        x, weight = node.inputs[0], node.inputs[1]
        g2 = reshape(graph, g, (product(g.shape[:-1]), g.shape[-1]))
        x2 = reshape(graph, x, (product(x.shape[:-1]), x.shape[-1]))
        dx = reshape(graph, matrix_product(graph, g2, weight), x.shape) if needs[0] else None
        dweight = matrix_product(graph, transpose(graph, g2), x2, WEIGHT_BLOCK) if needs[1] else None
        out = [dx, dweight]
        if len(needs) == 3:
            out.append(g2.sum(axis=0) if needs[2] else None)
        return out

    def jvp(self, node, tangents):
        if _is_fused(node):
            from ..differentiate import tangents_through

            return tangents_through(node, tangents)
        graph, (x, weight) = node.graph, node.inputs[:2]
        tx, tw = tangents[:2]
        tb = tangents[2] if len(tangents) == 3 else None
        parts = [
            None if tx is None else linear(graph, tx, weight, tb),
            None if tw is None else linear(graph, x, tw, tb if tx is None else None),
        ]
        if tx is None and tw is None:
            parts.append(tb._apply("broadcast_to", (tb,), {"shape": node.outputs[0].shape}))
        return [add_all(parts)]

    def decompose(self, node):
        y = linear(node.graph, *node.inputs)
        name = node.attrs["activation"]
        y = y if name is None else _activate(node.graph, y, name, node.attrs["params"])
        return [y if node.attrs.get("dropout") is None else drop(y, node.attrs["dropout"])]

    def lower(self, node, low):
        x, weight = low.view(node.inputs[0]), low.view(node.inputs[1])
        bias = low.view(node.inputs[2]) if len(node.inputs) == 3 else None
        code = 0 if node.attrs["activation"] is None else 1 + node.attrs["code"]
        low.gemm(
            node, x, weight.transpose((1, 0)), bias, activation=code, params=node.attrs["params"],
            drop=node.attrs.get("dropout"),
        )  # fmt: skip

    def keeps_rows(self, node, states):
        weights_const = all(state == CONST for state in states[1:])
        return states[0] == LOCAL and weights_const and is_local_shape(node.outputs[0].shape)


def _is_fused(node):
    return node.attrs["activation"] is not None or node.attrs.get("dropout") is not None


def _activate(graph, y, name, params):
    names = activations()[name]["params"]
    return graph.apply(name, (y,), dict(zip(names, params, strict=False)))


@records("linear")
def linear(graph, x, weight, bias=None, activation=None, **params):
    """activation(x @ weight.T + bias), weight (out, in)."""
    x, weight = graph.real(x), graph.real(weight)
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (out, in), not {weight.shape}")
    if not x.ndim or x.shape[-1] != weight.shape[1]:
        features = x.shape[-1] if x.ndim else "no"
        raise ValueError(f"the input has {features} features, the weight expects {weight.shape[1]}")
    inputs = [x, weight]
    if bias is not None:
        bias = graph.real(bias)
        if bias.shape != (weight.shape[0],):
            raise ValueError(f"bias must have shape ({weight.shape[0]},), not {bias.shape}")
        inputs.append(bias)
    attrs = {"activation": None, "params": ()}
    y = graph.emit("linear", inputs, attrs, [((*x.shape[:-1], weight.shape[0]), "real")]).outputs[0]
    return y if activation in (None, "identity") else graph.apply(activation, (y,), params)
