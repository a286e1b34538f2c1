"""softmax and log_softmax along the last axis.

vjp from the output y: softmax dx = y (g - sum(g y)); log-softmax dx = g - exp(y) sum(g).
"""

from .base import Rule, is_local_shape, normalize_axis, records, register

_KIND = {"softmax": 0, "log_softmax": 1}


@register
class Softmax(Rule):
    op = "softmax"

    def vjp(self, node, grads, needs):
        return [_backward(grads[0], node.outputs[0], node.attrs["name"])]

    def jvp(self, node, tangents):
        (t,), y = tangents, node.outputs[0]
        if node.attrs["name"] == "softmax":  # the Jacobian is symmetric
            return [_backward(t, y, "softmax")]
        return [t - (_exp(y) * t).sum(axis=-1, keepdims=True)]

    def lower(self, node, low):
        low.rowwise("softmax", node, ("x",), kind=_KIND[node.attrs["name"]])

    def keeps_rows(self, node, states):
        return node.outputs[0].ndim > 1 and is_local_shape(node.outputs[0].shape)


@register
class SoftmaxBackward(Rule):
    """dx of softmax and log_softmax from (grad, y): linear in grad."""

    op = "softmax_backward"

    def decompose(self, node):
        grad, y = node.inputs
        if node.attrs["name"] == "softmax":
            return [y * (grad - (grad * y).sum(axis=-1, keepdims=True))]
        return [grad - _exp(y) * grad.sum(axis=-1, keepdims=True)]

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        return gradients_through(node, grads)

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        low.rowwise("softmax_backward", node, ("grad", "y"), output="dx", kind=_KIND[node.attrs["name"]])

    def keeps_rows(self, node, states):
        return node.outputs[0].ndim > 1 and is_local_shape(node.outputs[0].shape)


def _exp(y):
    return y._apply("exp", (y,))


def _backward(grad, y, name):
    return y.graph.emit("softmax_backward", (grad, y), {"name": name}, [(y.shape, "real")]).outputs[0]


def _record(graph, x, axis, name):
    x = graph.real(x)
    if x.ndim == 0:
        raise ValueError(f"{name} needs at least one dimension")
    axis = normalize_axis(axis, x.ndim)
    if axis == x.ndim - 1:
        return graph.emit("softmax", (x,), {"name": name}, [(x.shape, "real")]).outputs[0]
    order = [i for i in range(x.ndim) if i != axis] + [axis]
    inverse = [order.index(i) for i in range(x.ndim)]
    return _record(graph, x.transpose(*order), -1, name).transpose(*inverse)


@records("softmax")
def softmax(graph, x, axis=-1):
    return _record(graph, x, axis, "softmax")


@records("log_softmax")
def log_softmax(graph, x, axis=-1):
    return _record(graph, x, axis, "log_softmax")
