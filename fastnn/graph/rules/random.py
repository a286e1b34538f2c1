"""Dropout: a mask that is recomputed wherever it is needed, never stored.

The mask of an element depends on (seed, layer, step, index) only (decision 8), so the derivative is the same op on
the gradient: linear in x, in both modes.
"""

from ...kernels._dropout import keep_threshold
from ..symbols import Dim, product
from .base import Rule, records, register


@register
class Dropout(Rule):
    """y = x * kept / keep rate; attrs threshold, seed, layer."""

    op = "dropout"

    def vjp(self, node, grads, needs):
        return [_emit(grads[0], node.attrs)]

    def jvp(self, node, tangents):
        return [_emit(tangents[0], node.attrs)]

    def lower(self, node, low):
        x, y = low.flat_view(node.inputs[0]), low.result(node.outputs[0])
        shape, attrs = node.outputs[0].shape, node.attrs
        rows, cols = (shape[0], product(shape[1:])) if len(shape) > 1 else (1, product(shape))
        low.op(
            "dropout",
            {"x": x, "y": y},
            rows=rows,
            cols=cols,
            x_row=cols,
            y_row=cols,
            features=cols,
            first=0,
            threshold=attrs["threshold"],
            seed=attrs["seed"],
            layer=attrs["layer"],
            scalars=(low.micro_step(), low.first_row() if isinstance(rows, Dim) else 0.0),
        )
        low.done(node.outputs[0], y)


def _emit(x, attrs):
    return x.graph.emit("dropout", (x,), attrs, [(x.shape, "real")]).outputs[0]


@records("dropout")
def dropout(graph, x, p=0.5, training=True, seed=None, layer=None, shared=False):
    """Drop elements with probability p and scale the rest; shared: one mask for all rows."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability must lie in [0, 1], not {p}")
    x = graph.real(x)
    layer = graph.next_random_layer() if layer is None else int(layer)
    if not training or p == 0.0:
        return x
    attrs = {
        "threshold": keep_threshold(p),
        "seed": _signed(graph.seed if seed is None else int(seed)),
        "layer": layer,
        "p": p,
    }
    if shared and x.ndim > 1:
        one = graph.constant(1.0)
        return x * _emit(graph.apply("broadcast_to", (one,), {"shape": (1, *x.shape[1:])}), attrs)
    return _emit(x, attrs)


def _signed(seed):
    """A seed of 64 bits as the signed integer of the same bits, which native sizes are."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"a seed must lie in 0..2**64-1, not {seed}")
    return seed - 2**64 if seed >= 2**63 else seed
