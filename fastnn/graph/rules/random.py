"""Dropout, alpha dropout and Gaussian noise: random numbers that are recomputed wherever they are needed, never stored.

The number of an element depends on (seed, layer, step, index) only (decision 8), so the derivative is the same op on
the gradient: linear in x, in both modes.
"""

from ...kernels._dropout import alpha_constants, keep_threshold
from ..symbols import Dim, product
from .base import Rule, records, register


class _Stream(Rule):
    """An op that takes one number of a random stream for each element."""

    def lower_stream(self, node, low, *scalars, **option):
        x, y = low.flat_view(node.inputs[0]), low.result(node.outputs[0])
        shape, attrs = node.outputs[0].shape, node.attrs
        rows, cols = (shape[0], product(shape[1:])) if len(shape) > 1 else (1, product(shape))
        low.op(
            self.op,
            {"x": x, "y": y},
            rows=rows,
            cols=cols,
            x_row=cols,
            y_row=cols,
            features=cols,
            first=0,
            seed=attrs["seed"],
            layer=attrs["layer"],
            **option,
            scalars=(low.micro_step(), low.first_row() if isinstance(rows, Dim) else 0.0, *scalars),
        )
        low.done(node.outputs[0], y)


@register
class Dropout(_Stream):
    """y = x * kept / keep rate; attrs threshold, seed, layer."""

    op = "dropout"

    def vjp(self, node, grads, needs):
        return [_emit("dropout", grads[0], node.attrs)]

    def jvp(self, node, tangents):
        return [_emit("dropout", tangents[0], node.attrs)]

    def lower(self, node, low):
        self.lower_stream(node, low, threshold=node.attrs["threshold"])


@register
class DropoutAffine(_Stream):
    """y = kept ? x * scale + shift : fill; attrs threshold, seed, layer, constants (scale, shift, fill)."""

    op = "dropout_affine"

    def vjp(self, node, grads, needs):
        return [_emit("dropout_affine", grads[0], _linear_part(node.attrs))]

    def jvp(self, node, tangents):
        return [_emit("dropout_affine", tangents[0], _linear_part(node.attrs))]

    def lower(self, node, low):
        self.lower_stream(node, low, *node.attrs["constants"], threshold=node.attrs["threshold"])


@register
class Noise(_Stream):
    """y = x + std * r; attrs std, seed, layer."""

    op = "noise"

    def vjp(self, node, grads, needs):
        return [grads[0]]

    def jvp(self, node, tangents):
        return [tangents[0]]

    def lower(self, node, low):
        self.lower_stream(node, low, node.attrs["std"], uniform=0)


def _linear_part(attrs):
    return {**attrs, "constants": (attrs["constants"][0], 0.0, 0.0)}


def _emit(op, x, attrs):
    return x.graph.emit(op, (x,), attrs, [(x.shape, "real")]).outputs[0]


def drop(x, attrs):
    """The dropout of these attrs."""
    return _emit("dropout", x, attrs)


def _stream_of(graph, seed, layer):
    layer = graph.next_random_layer() if layer is None else int(layer)
    return {"seed": _signed(graph.seed if seed is None else int(seed)), "layer": layer}


def _check_probability(p):
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability must lie in [0, 1], not {p}")


@records("dropout")
def dropout(graph, x, p=0.5, training=True, seed=None, layer=None, shared=False):
    """Drop elements with probability p and scale the rest; shared: one mask for all rows."""
    _check_probability(p)
    x, stream = graph.real(x), _stream_of(graph, seed, layer)
    if not training or p == 0.0:
        return x
    attrs = {"threshold": keep_threshold(p), "p": p, **stream}
    if shared and x.ndim > 1:
        one = graph.constant(1.0)
        return x * _emit("dropout", graph.apply("broadcast_to", (one,), {"shape": (1, *x.shape[1:])}), attrs)
    return _emit("dropout", x, attrs)


@records("alpha_dropout")
def alpha_dropout(graph, x, p=0.5, training=True, seed=None, layer=None):
    """Dropout that keeps mean 0 and variance 1 of SELU's outputs."""
    _check_probability(p)
    x, stream = graph.real(x), _stream_of(graph, seed, layer)
    if not training or p == 0.0:
        return x
    threshold = keep_threshold(p)
    if threshold == 0:
        return _emit("dropout", x, {"threshold": 0, "p": p, **stream})
    return _emit("dropout_affine", x, {"threshold": threshold, "constants": alpha_constants(threshold), **stream})


@records("gaussian_noise")
def gaussian_noise(graph, x, std=0.1, training=True, seed=None, layer=None):
    """Add normal noise of a given deviation."""
    if not std >= 0.0:
        raise ValueError(f"the deviation of noise must not be negative, not {std}")
    x, stream = graph.real(x), _stream_of(graph, seed, layer)
    if not training or std == 0.0:
        return x
    return _emit("noise", x, {"std": float(std), **stream})


def _signed(seed):
    """A seed of 64 bits as the signed integer of the same bits, which native sizes are."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"a seed must lie in 0..2**64-1, not {seed}")
    return seed - 2**64 if seed >= 2**63 else seed
