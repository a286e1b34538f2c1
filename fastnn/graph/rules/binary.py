"""y = a (op) b with NumPy broadcasting; and where(mask, a, b)."""

from .base import RECORDERS, Rule, add_all, aligned_rows, broadcast_shapes, records, register, sum_to
from .lists import binaries

_COMPARISONS = frozenset(("greater", "greater_equal", "less", "less_equal", "equal"))


def _share(wins, ties):
    return wins + 0.5 * ties


# (gradient of a, gradient of b) before broadcasting is undone, as functions made on demand
_VJP = {
    "add": (lambda g, a, b, y: g, lambda g, a, b, y: g),
    "subtract": (lambda g, a, b, y: g, lambda g, a, b, y: -g),
    "multiply": (lambda g, a, b, y: g * b, lambda g, a, b, y: g * a),
    "divide": (lambda g, a, b, y: g / b, lambda g, a, b, y: -(g * y / b)),
    # equal operands share the gradient, as in PyTorch
    "maximum": (lambda g, a, b, y: g * _share(a > b, a == b), lambda g, a, b, y: g * _share(a < b, a == b)),
    "minimum": (lambda g, a, b, y: g * _share(a < b, a == b), lambda g, a, b, y: g * _share(a > b, a == b)),
    # functional.clamp: a limit that is just reached lets the gradient pass
    "clamp_min": (lambda g, a, b, y: g * (a >= b), lambda g, a, b, y: g * (a < b)),
    "clamp_max": (lambda g, a, b, y: g * (a <= b), lambda g, a, b, y: g * (a > b)),
    "prelu": (
        lambda g, a, b, y: a._apply("where", (a > 0.0, g, g * b)),
        lambda g, a, b, y: a._apply("where", (a > 0.0, 0.0, g * a)),
    ),
}


@register
class Binary(Rule):
    """y = a (op) b; attrs name, code."""

    op = "binary"

    def vjp(self, node, grads, needs):
        name = node.attrs["name"]
        if name in _COMPARISONS:
            return [None, None]
        (g,), (a, b), y = grads, node.inputs, node.outputs[0]
        return [
            sum_to(rule(g, a, b, y), x.shape) if need else None
            for rule, x, need in zip(_VJP[node.attrs["rule"]], (a, b), needs, strict=True)
        ]

    def jvp(self, node, tangents):
        name = node.attrs["name"]
        if name in _COMPARISONS:
            return [None]
        (a, b), y = node.inputs, node.outputs[0]
        parts = [
            rule(tangent, a, b, y)
            for rule, tangent in zip(_VJP[node.attrs["rule"]], tangents, strict=True)
            if tangent is not None
        ]
        total = add_all(parts)
        if total.shape != y.shape:
            total = total._apply("broadcast_to", (total,), {"shape": y.shape})
        return [total]

    def lower(self, node, low):
        low.elementwise("binary", node, ("a", "b"), kind=node.attrs["code"])

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)

    def kinks(self, node):
        name = node.attrs["name"]
        if name in _COMPARISONS:
            return (node.outputs[0],)
        if name in ("maximum", "minimum"):
            a, b = node.inputs
            return (a >= b,)
        return (node.inputs[0] > 0.0,) if name == "prelu" else ()


def binary(graph, a, b, name, code, rule=None):
    """Record y = a (op) b; `rule` names the gradient, where it is not the op's own."""
    a, b = graph.real(a), graph.real(b)
    shape = broadcast_shapes(a.shape, b.shape)
    attrs = {"name": name, "code": code, "rule": rule or name}
    return graph.emit("binary", (a, b), attrs, [(shape, "real")]).outputs[0]


def _recorder(name, code):
    return lambda graph, a, b: binary(graph, a, b, name, code)


for _name, _row in binaries().items():
    RECORDERS[_name] = _recorder(_name, _row["code"])


@records("clamp")
def clamp(graph, x, limit, lower=True):
    """max(x, limit), or min where the limit is the upper one; where x is the limit its gradient passes."""
    name = "maximum" if lower else "minimum"
    return binary(graph, x, limit, name, binaries()[name]["code"], "clamp_min" if lower else "clamp_max")


@register
class Where(Rule):
    """y = a where mask is not 0, else b. The mask has no gradient."""

    op = "where"

    def vjp(self, node, grads, needs):
        (g,), (mask, a, b) = grads, node.inputs
        zero = node.graph.constant(0.0)
        return [
            None,
            sum_to(g._apply("where", (mask, g, zero)), a.shape) if needs[1] else None,
            sum_to(g._apply("where", (mask, zero, g)), b.shape) if needs[2] else None,
        ]

    def jvp(self, node, tangents):
        _, ta, tb = tangents
        if ta is None and tb is None:
            return [None]
        zero = node.graph.constant(0.0)
        mask, y = node.inputs[0], node.outputs[0]
        out = mask._apply("where", (mask, zero if ta is None else ta, zero if tb is None else tb))
        return [out if out.shape == y.shape else out._apply("broadcast_to", (out,), {"shape": y.shape})]

    def lower(self, node, low):
        low.elementwise("where", node, ("mask", "a", "b"))

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)

    def kinks(self, node):
        return (node.inputs[0],)


@records("where")
def where(graph, mask, a, b):
    mask, a, b = (graph.real(x) for x in (mask, a, b))
    shape = broadcast_shapes(mask.shape, a.shape, b.shape)
    return graph.emit("where", (mask, a, b), {}, [(shape, "real")]).outputs[0]
