"""Sums, means and maxima over axes."""

from ..symbols import product
from .base import Rule, is_local_shape, normalize_axes, records, register


def _kept(shape, axes, keepdims):
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _spread(node, y):
    """A value of the output's shape, broadcast back to the input's."""
    x, axes = node.inputs[0], node.attrs["axes"]
    ones = _kept(x.shape, axes, True)
    if y.shape != ones:
        y = y.reshape(ones)
    return y._apply("broadcast_to", (y,), {"shape": x.shape})


@register
class Sum(Rule):
    """Sum over axes; attrs axes, keepdims, mean (divide by the number of terms)."""

    op = "sum"

    def vjp(self, node, grads, needs):
        (g,), attrs = grads, node.attrs
        if attrs["mean"]:
            g = g / node.graph.size_tensor(product(node.inputs[0].shape[a] for a in attrs["axes"]))
        return [_spread(node, g)]

    def jvp(self, node, tangents):
        attrs = node.attrs
        name = "mean" if attrs["mean"] else "sum"
        return [tangents[0]._apply(name, (tangents[0],), {"axis": attrs["axes"], "keepdims": attrs["keepdims"]})]

    def lower(self, node, low):
        low.reduce(node, kind="sum", mean=node.attrs["mean"])

    def keeps_rows(self, node, states):
        return 0 not in node.attrs["axes"] and is_local_shape(node.outputs[0].shape)


@register
class Max(Rule):
    """Largest element over axes; at ties the gradient is shared equally."""

    op = "max"

    def _share(self, node):
        x, attrs = node.inputs[0], node.attrs
        mask = x._apply("equal", (x, _spread(node, node.outputs[0])))
        return mask / mask.sum(axis=attrs["axes"], keepdims=True)

    def vjp(self, node, grads, needs):
        return [_spread(node, grads[0]) * self._share(node)]

    def jvp(self, node, tangents):
        product_ = tangents[0] * self._share(node)
        return [product_.sum(axis=node.attrs["axes"], keepdims=node.attrs["keepdims"])]

    def lower(self, node, low):
        low.reduce(node, kind="max", mean=False)

    def keeps_rows(self, node, states):
        return 0 not in node.attrs["axes"] and is_local_shape(node.outputs[0].shape)

    def kinks(self, node):
        x = node.inputs[0]
        return (x._apply("equal", (x, _spread(node, node.outputs[0]))),)


def _record(graph, x, axis, keepdims, op, attrs):
    x = graph.real(x)
    axes = normalize_axes(axis, x.ndim)
    attrs = {"axes": axes, "keepdims": bool(keepdims), **attrs}
    return graph.emit(op, (x,), attrs, [(_kept(x.shape, axes, keepdims), "real")]).outputs[0]


@records("sum")
def sum_(graph, x, axis=None, keepdims=False):
    return _record(graph, x, axis, keepdims, "sum", {"mean": False})


@records("mean")
def mean(graph, x, axis=None, keepdims=False):
    return _record(graph, x, axis, keepdims, "sum", {"mean": True, "name": "mean"})


@records("max")
def max_(graph, x, axis=None, keepdims=False):
    return _record(graph, x, axis, keepdims, "max", {})


@records("min")
def min_(graph, x, axis=None, keepdims=False):
    return -_record(graph, -x, axis, keepdims, "max", {})


@records("var")
def var(graph, x, axis=None, keepdims=False):
    """Biased variance: the mean squared distance from the mean."""
    x = graph.real(x)
    return mean(graph, graph.apply("square", (x - mean(graph, x, axis, True),), {}), axis, keepdims)
