"""Losses with their gradient computed in the same visit: cross_entropy and the pointwise losses of losses.def.

Both nodes give (loss, gradient, weight_sum). The first derivative uses the gradient output; anything beyond (a
cotangent of that output) goes through `decompose`. weight_sum, a mean's divisor, is a constant to differentiation.
"""

import math

import numpy as np

from ...kernels._labels import DOMAINS
from ...kernels._losses import PointwiseRow
from ..errors import shape_text
from ..symbols import product
from .base import RECORDERS, Rule, full_like, records, register, scaled
from .formula import loss_from_list
from .lists import losses
from .target_checks import note_target

REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}
NO_IGNORE = -(2**63)


def slots(node):
    """name -> tensor of the operands a loss node was given."""
    return dict(zip(node.attrs["slots"], node.inputs, strict=True))


class _Loss(Rule):
    """What both loss ops share: first order from the gradient output, more through the decomposition."""

    def vjp(self, node, grads, needs):
        loss_grad, gradient_grad, _ = grads
        wants_more = any(
            need and name not in self.smooth_slots for name, need in zip(node.attrs["slots"], needs, strict=True)
        )
        if gradient_grad is not None or wants_more:
            from ..differentiate import gradients_through

            return gradients_through(node, grads)
        g = loss_grad
        if g.ndim and g.ndim < node.outputs[1].ndim:  # one loss per row
            g = g.reshape((*g.shape, 1))
        return [scaled(g, node.outputs[1]), *[None] * (len(node.inputs) - 1)]

    def jvp(self, node, tangents):
        t, *others = tangents
        if any(other is not None for other in others):
            from ..differentiate import tangents_through

            return tangents_through(node, tangents)
        term = node.outputs[1] * t
        shape = node.outputs[0].shape
        loss = term if shape == term.shape else term.sum(axis=-1) if shape else term.sum()
        from ..differentiate import Deferred, tangents_through

        return [loss, Deferred(lambda: tangents_through(node, tangents)[1]), None]


def _reduced(node, per_row, gradient, weight_sum):
    """(loss, gradient, None) from per-row losses and the gradient of their sum."""
    reduction = node.attrs["reduction"]
    if reduction == "none":
        return [per_row, gradient, None]
    loss = per_row.sum()
    if reduction == "mean":
        divisor = weight_sum._apply("stop_gradient", (weight_sum,))
        loss, gradient = loss / divisor, gradient / divisor
    return [loss, gradient, None]


# --- cross-entropy ------------------------------------------------------------------------------------------------
@register
class CrossEntropy(_Loss):
    """-sum_c t_c log softmax(logits)_c, t the (smoothed, weighted) target of each row."""

    op = "cross_entropy"
    smooth_slots = ("logits",)

    def decompose(self, node):
        given, graph = slots(node), node.graph
        logits = given["logits"]
        target = self._target(node, given)
        total = target.sum(axis=1, keepdims=True)
        log_p = graph.apply("log_softmax", (logits,), {})
        per_row = -(target * log_p).sum(axis=1)
        gradient = graph.apply("exp", (log_p,), {}) * total - target
        return _reduced(node, per_row, gradient, node.outputs[2])

    def _target(self, node, given):
        """The rows t as primitives, smoothing and weights included."""
        graph, logits, attrs = node.graph, given["logits"], node.attrs
        classes = logits.shape[1]
        if "target" in given:
            smoothing = attrs["label_smoothing"]
            target = given["target"]
            if smoothing:
                target = target * (1.0 - smoothing) + smoothing / classes
            if "class_weight" in given:
                target = target * given["class_weight"]
        else:
            # the kernel itself says what the labels' targets are: at logits 0 its gradient is total/classes - t
            zeros = full_like(logits, 0.0)
            frozen = {**given, "logits": zeros}
            frozen.pop("sample_weight", None)
            probe = _emit(graph, frozen, {**attrs, "reduction": "none"})
            scale = 1.0 / (math.log(classes) * classes) if classes > 1 else 0.0
            target = probe.outputs[0].reshape((logits.shape[0], 1)) * scale - probe.outputs[1]
            target = graph.apply("stop_gradient", (target,), {})
        if "sample_weight" in given:
            target = target * given["sample_weight"].reshape((logits.shape[0], 1))
        return target

    def lower(self, node, low):
        given, attrs = slots(node), node.attrs
        views = {name: low.rows_view(t) if t.ndim == 2 else low.flat_view(t) for name, t in given.items()}
        loss, gradient, weight_sum = low.loss_results(node)
        rows, cols = given["logits"].shape
        low.op(
            "cross_entropy",
            {**views, "loss": loss, "dlogits": gradient, "weight_sum": weight_sum},
            rows=rows,
            cols=cols,
            logits_row=views["logits"].strides[0],
            target_row=views["target"].strides[0] if "target" in views else 0,
            dlogits_row=cols,
            reduction=REDUCTIONS[attrs["reduction"]],
            ignore_index=attrs["ignore_index"],
            scalars=(attrs["label_smoothing"],),
        )
        low.loss_done(node, loss, gradient, weight_sum)


def _emit(graph, given, attrs):
    attrs = {**attrs, "slots": tuple(given)}
    logits = given["logits"] if "logits" in given else given["x"]
    op = "cross_entropy" if "logits" in given else "pointwise_loss"
    shape = () if attrs["reduction"] != "none" else logits.shape[:1] if "logits" in given else logits.shape
    outputs = [(shape, "real"), (logits.shape, "real"), ((), "real")]
    return graph.emit(op, tuple(given.values()), attrs, outputs)


def _column(tensor, rows, what):
    if tensor.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{what} must have shape ({rows},), not {tensor.shape}")
    return tensor.reshape((rows,))


@records("cross_entropy")
def cross_entropy(
    graph, logits, target, class_weight=None, sample_weight=None, label_smoothing=0.0, ignore_index=None,
    reduction="mean",
):  # fmt: skip
    """Softmax cross-entropy of logits (rows, classes) against labels (rows,) or probabilities (rows, classes)."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1], not {label_smoothing}")
    logits = graph.real(logits)
    if logits.ndim != 2:
        raise ValueError("logits must have shape (rows, classes)")
    rows, classes = logits.shape
    given = {"logits": logits}
    if target.shape == logits.shape and not (target.kind == "int" and classes == 1):
        if ignore_index is not None:
            raise ValueError("ignore_index needs integer labels, not rows of probabilities")
        given["target"] = graph.real(target)
    elif target.kind == "int":
        given["labels"] = _column(target, rows, "labels")
        check_labels(graph, target, classes, ignore_index)
    else:
        raise TypeError(
            f"the target must be integer labels ({rows},) or probabilities ({rows}, {classes}), "
            f"not {target.dtype} of shape {shape_text(target.shape)}"
        )
    if class_weight is not None:
        given["class_weight"] = graph.real(class_weight)
        if class_weight.shape != (classes,):
            raise ValueError(f"class_weight must have shape ({classes},)")
    if sample_weight is not None:
        given["sample_weight"] = _column(graph.real(sample_weight), rows, "sample_weight")
    attrs = {
        "reduction": reduction,
        "label_smoothing": float(label_smoothing),
        "ignore_index": NO_IGNORE if ignore_index is None else int(ignore_index),
    }
    return _emit(graph, given, attrs).outputs[0]


def check_labels(graph, labels, classes, ignore_index):
    """Check constant labels now; note that the others must be checked before each run."""
    node = labels.node
    while node.op in ("reshape", "slice", "transpose"):
        node = node.inputs[0].node
    if node.op == "constant":
        validate_labels(node.attrs["value"], classes, ignore_index)
    else:
        graph.label_checks.append((node, classes, ignore_index))


def validate_labels(labels, classes, ignore_index=None):
    """Raise IndexError if a label lies outside 0..classes-1 (and is not ignore_index)."""
    if not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < classes:
        return
    bad = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        bad &= labels != ignore_index
    if bad.any():
        row = int(np.argmax(bad.ravel()))
        raise IndexError(f"label {labels.ravel()[row]} of row {row} is out of range for {classes} classes")


# --- pointwise losses ---------------------------------------------------------------------------------------------
@register
class PointwiseLoss(_Loss):
    """The losses of losses.def, rows weighted; attrs name, code, params, reduction."""

    op = "pointwise_loss"
    smooth_slots = ("x",)

    def decompose(self, node):
        given, attrs = slots(node), node.attrs
        value, gradient = (self._formula(given, attrs, what) for what in ("forward", "derivative"))
        if "sample_weight" in given:
            weight = given["sample_weight"].reshape((value.shape[0], *(1,) * (value.ndim - 1)))
            value, gradient = value * weight, gradient * weight
        if attrs["reduction"] == "none":
            return [value, gradient, None]
        return _reduced(node, value, gradient, node.outputs[2])

    def _formula(self, given, attrs, what):
        """The loss or its derivative element by element, in primitives."""
        params = (given.get("parameter", attrs["params"][0]), *attrs["params"][1:]) if attrs["params"] else ()
        value = loss_from_list(attrs["name"], given["x"], given["target"], params, what)
        if value is None:
            raise ValueError(f"the {attrs['name']} loss has a word that graph/rules/formula.py does not know")
        return value

    def lower(self, node, low):
        given, attrs = slots(node), node.attrs
        views = {name: low.flat_view(t) for name, t in given.items()}
        shape = given["x"].shape
        rows, cols = (shape[0], product(shape[1:])) if shape else (1, 1)
        loss, gradient, weight_sum = low.loss_results(node)
        low.op(
            "pointwise_loss",
            {**views, "loss": loss, "dx": gradient, "weight_sum": weight_sum},
            rows=rows,
            cols=cols,
            x_row=cols,
            target_row=cols,
            dx_row=cols,
            reduction=REDUCTIONS[attrs["reduction"]],
            kind=attrs["code"],
            scalars=attrs["params"],
        )
        low.loss_done(node, loss, gradient, weight_sum)

    def kinks(self, node):
        return (self._formula(slots(node), node.attrs, "derivative"),)


def _parameters(graph, row, options, x):
    """(tensor of one first parameter per column or None, floats), checked as the eager kernel checks them."""
    unknown = set(options) - set(row["params"])
    if unknown:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}")
    values = tuple(options.get(n, d) for n, d in zip(row["params"], row["defaults"], strict=True))
    shape = x.shape if x.ndim == 2 else (None,)
    per_column, values = PointwiseRow(row).parameters(values, shape, np.dtype(np.float64))
    return None if per_column is None else graph.real(graph.constant(per_column)), values


@records("pointwise_loss")
def pointwise_loss(graph, x, target, sample_weight=None, *, name, reduction="mean", **options):
    """A loss of losses.def between x and a target of the same shape."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    row = losses()[name]
    x, target = graph.real(x), graph.real(target)
    if x.shape != target.shape:
        if not _same_but_ones(x.shape, target.shape):
            raise ValueError(f"the target has shape {target.shape}, the prediction {x.shape}")
        target = target.reshape(x.shape)
    if row["target"] in DOMAINS:
        note_target(graph, target, DOMAINS[row["target"]])
    parameter, params = _parameters(graph, row, options, x)
    given = {"x": x, "target": target}
    if sample_weight is not None:
        given["sample_weight"] = _column(graph.real(sample_weight), x.shape[0], "sample_weight")
    if parameter is not None:
        given["parameter"] = parameter
    return _emit(graph, given, {"name": name, "code": row["code"], "params": params, "reduction": reduction}).outputs[0]


def _same_but_ones(a, b):
    """(n,) against (n, 1): equal up to trailing axes of size 1 (decision 15)."""
    if abs(len(a) - len(b)) != 1:
        return False
    short, long = sorted((a, b), key=len)
    return long[:-1] == short and isinstance(long[-1], int) and long[-1] == 1


def _recorder(name):
    return lambda graph, x, target, sample_weight=None, **options: pointwise_loss(
        graph, x, target, sample_weight, name=name, **options
    )


for _name in losses():
    RECORDERS[losses()[_name]["function"]] = _recorder(_name)
