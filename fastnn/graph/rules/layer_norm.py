"""Layer norm (Ba, Kiros & Hinton 2016): every row by its own mean and biased variance.

y = (x - mean) / sqrt(var + eps) * weight + bias along the last axis. The statistics are double whatever the dtype; only
the fused backward reads them.
"""

from ..symbols import product
from .base import CONST, LOCAL, Rule, is_local_shape, records, register
from .normalization import gradients_of_norm, named


def _normal(x, eps):
    """((x - mean) / deviation, deviation) in primitives."""
    deviation = x._apply("sqrt", (x._apply("var", (x,), {"axis": -1, "keepdims": True}) + eps,))
    return (x - x.mean(axis=-1, keepdims=True)) / deviation, deviation


@register
class LayerNorm(Rule):
    """Outputs y, mean, var (stat) of a matrix x."""

    op = "layer_norm"

    def decompose(self, node):
        given = named(node)
        y, _ = _normal(given["x"], node.attrs["eps"])
        if "weight" in given:
            y = y * given["weight"]
        return [y + given["bias"] if "bias" in given else y, None, None]

    def vjp(self, node, grads, needs):
        return gradients_of_norm(node, grads[0], "layer_norm_backward")

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        given = named(node)
        x, y = low.rows_view(given["x"]), low.result(node.outputs[0])
        buffers = {"x": x, "y": y}
        buffers |= {name: low.flat_view(given[name]) for name in ("weight", "bias") if name in given}
        for slot, name in ((1, "mean"), (2, "var")):
            buffers[name] = low.result(node.outputs[slot])
            low.done(node.outputs[slot], buffers[name])
        rows, features = given["x"].shape
        low.op(
            "layer_norm",
            buffers,
            rows=rows,
            cols=features,
            x_row=x.strides[0],
            y_row=features,
            scalars=(node.attrs["eps"],),
        )
        low.done(node.outputs[0], y)

    def keeps_rows(self, node, states):
        rest_const = all(state == CONST for state in states[1:])
        return states[0] == LOCAL and rest_const and is_local_shape(node.outputs[0].shape)


@register
class LayerNormBackward(Rule):
    """dx, dweight, dbias from (grad, x, mean, var, weight); mean and var are the statistics of x itself."""

    op = "layer_norm_backward"

    def decompose(self, node):
        given = named(node)
        grad, x = given["grad"], given["x"]
        normal, deviation = _normal(x, node.attrs["eps"])
        g = grad * given["weight"] if "weight" in given else grad
        mean, slope = g.mean(axis=-1, keepdims=True), (g * normal).mean(axis=-1, keepdims=True)
        return [(g - mean - normal * slope) / deviation, (grad * normal).sum(axis=0), grad.sum(axis=0)]

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        return gradients_through(node, grads)

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        given = named(node)
        grad, x = low.rows_view(given["grad"]), low.rows_view(given["x"])
        rows, features = given["x"].shape
        buffers = {"grad": grad, "x": x, "mean": low.view(given["mean"]), "var": low.view(given["var"])}
        if "weight" in given:
            buffers["weight"] = low.flat_view(given["weight"])
        results = {}
        for slot, name in enumerate(("dx", "dweight", "dbias")):
            if low.is_live(node.outputs[slot]):
                results[slot] = buffers[name] = low.result(node.outputs[slot])
        low.op(
            "layer_norm_backward",
            buffers,
            rows=rows,
            cols=features,
            grad_row=grad.strides[0],
            x_row=x.strides[0],
            dx_row=features,
            scalars=(node.attrs["eps"],),
        )
        for slot, view in results.items():
            low.done(node.outputs[slot], view)


@records("layer_norm")
def layer_norm(graph, x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    """PyTorch's layer_norm: over the trailing axes `normalized_shape`, which are numbers."""
    x = graph.real(x)
    shape, axes = x.shape, tuple(normalized_shape)
    if not axes or tuple(shape[len(shape) - len(axes) :]) != axes:
        raise ValueError(f"layer norm over the shape {axes} does not fit x with the trailing axes {shape[1:]}")
    given = {"x": x if len(axes) == 1 and len(shape) == 2 else x.reshape((-1, product(axes)))}
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        if tuple(value.shape) != axes:
            raise ValueError(f"{name} must have shape {axes}, not {value.shape}")
        value = graph.real(value)
        given[name] = value if len(axes) == 1 else value.reshape((product(axes),))
    matrix = given["x"].shape
    outputs = [(matrix, "real"), ((matrix[0],), "stat"), ((matrix[0],), "stat")]
    attrs = {"slots": tuple(given), "eps": float(eps)}
    y = graph.emit("layer_norm", tuple(given.values()), attrs, outputs).outputs[0]
    return y if tuple(matrix) == tuple(shape) else y.reshape(shape)
