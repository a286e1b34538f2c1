"""Batch norm (Ioffe & Szegedy 2015): training mode with state edges, inference mode, and the fused backward.

y = (x - mean) / sqrt(var + eps) * weight + bias over the rows of x (rows, features). The training op also takes the
running statistics and returns the next ones; the program writes them in place, exactly once, whatever passes do.
Its statistics mean and var are double whatever the dtype; only the fused backward reads them.
"""

from .base import CONST, LOCAL, Rule, is_local_shape, records, register
from .lists import activations


def named(node):
    return dict(zip(node.attrs["slots"], node.inputs, strict=True))


def gradients_of_norm(node, grad, backward):
    """Gradients of a norm's inputs, by its fused backward op, from the statistics that its forward op has kept."""
    given, attrs = named(node), node.attrs
    slots = tuple(name for name in ("x", "weight") if name in given)
    x = given["x"]
    inputs = (grad, x, node.outputs[1], node.outputs[2], *(given[s] for s in slots[1:]))
    features = (x.shape[1],)
    back = node.graph.emit(
        backward,
        inputs,
        {"slots": ("grad", "x", "mean", "var", *slots[1:]), "eps": attrs["eps"]},
        [(x.shape, "real"), (features, "real"), (features, "real")],
    )
    by_name = dict(zip(("x", "weight", "bias"), back.outputs, strict=True))
    return [by_name.get(name) for name in attrs["slots"]]


def _normalized(x, given, mean, var, eps):
    """The formula in primitives."""
    y = (x - mean) / x._apply("sqrt", (var + eps,))
    if "weight" in given:
        y = y * given["weight"]
    return y + given["bias"] if "bias" in given else y


@register
class BatchNorm(Rule):
    """Outputs y, mean, var (stat), and with running statistics their next states."""

    op = "batch_norm"

    def decompose(self, node):
        given, attrs = named(node), node.attrs
        x = given["x"]
        mean = x.mean(axis=0)
        var = x._apply("var", (x,), {"axis": 0})
        y = _normalized(x, given, mean, var, attrs["eps"])
        if attrs["activation"] is not None:
            names = activations()[attrs["activation"]]["params"]
            y = y._apply(attrs["activation"], (y,), dict(zip(names, attrs["params"], strict=False)))
        return [y, None, None, *([None, None] if "running_mean" in given else [])]

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        if node.attrs["activation"] is not None:
            return gradients_through(node, grads)
        return gradients_of_norm(node, grads[0], "batch_norm_backward")

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        given, attrs = named(node), node.attrs
        x = low.rows_view(given["x"])
        y = low.result(node.outputs[0])
        features = given["x"].shape[1]
        buffers = {"x": x, "y": y}
        buffers |= {name: low.flat_view(given[name]) for name in ("weight", "bias") if name in given}
        for slot, name in ((1, "mean"), (2, "var")):
            buffers[name] = low.result(node.outputs[slot])
            low.done(node.outputs[slot], buffers[name])
        for slot, name in ((3, "running_mean"), (4, "running_var")):
            if name in given and low.is_live(node.outputs[slot]):
                buffers[name] = low.state(given[name], node.outputs[slot])
        low.op(
            "batch_norm",
            buffers,
            rows=given["x"].shape[0],
            cols=features,
            x_row=x.strides[0],
            y_row=y.strides[0],
            unbiased=int(attrs["unbiased"]),
            activation=0 if attrs["activation"] is None else 1 + attrs["code"],
            scalars=(attrs["eps"], attrs["momentum"], *attrs["params"]),
        )
        low.done(node.outputs[0], y)


@register
class BatchNormBackward(Rule):
    """dx, dweight, dbias from (grad, x, mean, var, weight); mean and var are the statistics of x itself."""

    op = "batch_norm_backward"

    def decompose(self, node):
        given, eps = named(node), node.attrs["eps"]
        grad, x = given["grad"], given["x"]
        mean = x.mean(axis=0)
        scale = x._apply("sqrt", (x._apply("var", (x,), {"axis": 0}) + eps,))
        normal = (x - mean) / scale
        dbias, dweight = grad.sum(axis=0), (grad * normal).sum(axis=0)
        dx = (grad - grad.mean(axis=0) - normal * (grad * normal).mean(axis=0)) / scale
        return [dx * given["weight"] if "weight" in given else dx, dweight, dbias]

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        return gradients_through(node, grads)

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        given = named(node)
        grad, x = low.rows_view(given["grad"]), low.rows_view(given["x"])
        features = given["x"].shape[1]
        buffers = {"grad": grad, "x": x, "mean": low.view(given["mean"]), "var": low.view(given["var"])}
        if "weight" in given:
            buffers["weight"] = low.flat_view(given["weight"])
        results = {}
        for slot, name in enumerate(("dx", "dweight", "dbias")):
            if low.is_live(node.outputs[slot]):
                results[slot] = buffers[name] = low.result(node.outputs[slot])
        low.op(
            "batch_norm_backward",
            buffers,
            rows=given["x"].shape[0],
            cols=features,
            grad_row=grad.strides[0],
            x_row=x.strides[0],
            dx_row=features,
            scalars=(node.attrs["eps"],),
        )
        for slot, view in results.items():
            low.done(node.outputs[slot], view)


@register
class BatchNormInference(Rule):
    """y from given statistics."""

    op = "batch_norm_inference"

    def decompose(self, node):
        given, attrs = named(node), node.attrs
        y = _normalized(given["x"], given, given["mean"], given["var"], attrs["eps"])
        if attrs["activation"] is not None:
            names = activations()[attrs["activation"]]["params"]
            y = y._apply(attrs["activation"], (y,), dict(zip(names, attrs["params"], strict=False)))
        return [y]

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        return gradients_through(node, grads)

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)

    def lower(self, node, low):
        given, attrs = named(node), node.attrs
        x, y = low.rows_view(given["x"]), low.result(node.outputs[0])
        buffers = {"x": x, "y": y}
        buffers |= {name: low.flat_view(t) for name, t in given.items() if name != "x"}
        buffers["memo"] = low.memory((1 + 3 * given["x"].shape[1],))
        low.op(
            "batch_norm_inference",
            buffers,
            rows=given["x"].shape[0],
            cols=given["x"].shape[1],
            x_row=x.strides[0],
            y_row=y.strides[0],
            activation=0 if attrs["activation"] is None else 1 + attrs["code"],
            scalars=(attrs["eps"], *attrs["params"]),
        )
        low.done(node.outputs[0], y)

    def keeps_rows(self, node, states):
        rest_const = all(state == CONST for state in states[1:])
        return states[0] == LOCAL and rest_const and is_local_shape(node.outputs[0].shape)


def _check(graph, x, vectors):
    x = graph.real(x)
    if x.ndim != 2:
        raise ValueError(f"batch norm needs x of shape (rows, features), not {x.ndim} dimensions")
    given = {"x": x}
    for name, value in vectors.items():
        if value is None:
            continue
        if value.shape != (x.shape[1],):
            raise ValueError(f"{name} must have shape ({x.shape[1]},), not {value.shape}")
        given[name] = graph.real(value)
    return given


def _emit(graph, op, given, attrs, outputs):
    attrs = {**attrs, "slots": tuple(given), "activation": None, "params": ()}
    return graph.emit(op, tuple(given.values()), attrs, outputs).outputs


@records("batch_norm_training")
def batch_norm_training(
    graph, x, running_mean=None, running_var=None, weight=None, bias=None, *, momentum=0.1, eps=1e-5, unbiased=True,
    states=(None, None),
):  # fmt: skip
    """Normalise with the batch's statistics; `states` are the buffers that the running statistics live in."""
    vectors = {"weight": weight, "bias": bias}
    if running_mean is not None and running_var is not None:
        vectors |= {"running_mean": running_mean, "running_var": running_var}
    given = _check(graph, x, vectors)
    shape = given["x"].shape
    if isinstance(shape[0], int) and shape[0] < 2:
        raise ValueError("batch norm in training needs at least 2 rows: one row has no variance")
    vector = (shape[1],)
    outputs = [(shape, "real"), (vector, "stat"), (vector, "stat")]
    if "running_mean" in given:
        outputs += [(vector, "real"), (vector, "real")]
    attrs = {"momentum": float(momentum), "eps": float(eps), "unbiased": bool(unbiased)}
    out = _emit(graph, "batch_norm", given, attrs, outputs)
    if "running_mean" in given:
        for parameter, state in zip(states, out[3:], strict=True):
            graph.set_state(parameter, state)
    graph.needs_two_rows = True
    return out[0]


@records("batch_norm_inference")
def batch_norm_inference(graph, x, mean, var, weight=None, bias=None, *, eps=1e-5):
    given = _check(graph, x, {"mean": mean, "var": var, "weight": weight, "bias": bias})
    attrs = {"eps": float(eps)}
    return _emit(graph, "batch_norm_inference", given, attrs, [(given["x"].shape, "real")])[0]


@records("batch_norm")
def batch_norm(
    graph, x, running_mean=None, running_var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5,
    unbiased=True, states=(None, None),
):  # fmt: skip
    """PyTorch's batch_norm: by the batch's statistics when training (or when there are no others)."""
    if not training and running_mean is not None and running_var is not None:
        return batch_norm_inference(graph, x, running_mean, running_var, weight, bias, eps=eps)
    if training and (running_mean is None) != (running_var is None):
        raise ValueError("give both running statistics or neither")
    return batch_norm_training(
        graph, x, running_mean if training else None, running_var if training else None, weight, bias,
        momentum=momentum, eps=eps, unbiased=unbiased, states=states,
    )  # fmt: skip
