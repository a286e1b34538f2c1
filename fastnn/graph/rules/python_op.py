"""A Python-defined op: forward and vjp are functions of NumPy arrays. The program is split around it.

Everything else of a model stays native; only the segments' boundaries cost a return to Python.
"""

import numpy as np

from .base import Rule, records, register


@register
class PythonOp(Rule):
    """attrs forward(*arrays) -> array(s), backward(grads, *inputs) -> gradients or None, tangent or None."""

    op = "python_op"

    def vjp(self, node, grads, needs):
        backward = node.attrs["backward"]
        if backward is None:
            raise ValueError(f"{node.label} has no vjp: give python_op(..., vjp=function)")
        graph = node.graph
        zero = graph.constant(0.0)
        full = [
            zero._apply("broadcast_to", (zero,), {"shape": y.shape}) if g is None else g
            for g, y in zip(grads, node.outputs, strict=True)
        ]
        count = len(full)

        def run(*arrays):
            given = arrays[0] if count == 1 else tuple(arrays[:count])
            return backward(given, *arrays[count:])

        run.none_is_zero = True
        attrs = {"name": f"{node.label} vjp", "forward": run, "backward": None, "tangent": None}
        outputs = [(x.shape, "real") for x in node.inputs]
        return list(graph.emit("python_op", (*full, *node.inputs), attrs, outputs).outputs)

    def jvp(self, node, tangents):
        tangent = node.attrs["tangent"]
        if tangent is None:
            raise ValueError(f"{node.label} has no jvp: give python_op(..., jvp=function)")
        graph = node.graph
        zero = graph.constant(0.0)
        full = [
            zero._apply("broadcast_to", (zero,), {"shape": x.shape}) if t is None else t
            for t, x in zip(tangents, node.inputs, strict=True)
        ]
        count = len(full)

        def run(*arrays):
            given = arrays[0] if count == 1 else tuple(arrays[:count])
            return tangent(given, *arrays[count:])

        run.none_is_zero = True
        attrs = {"name": f"{node.label} jvp", "forward": run, "backward": None, "tangent": None}
        outputs = [(y.shape, "real") for y in node.outputs]
        return list(graph.emit("python_op", (*full, *node.inputs), attrs, outputs).outputs)


def run(node, arrays, shapes, dtype):
    """Call the user's function and check what it returns."""
    result = node.attrs["forward"](*arrays)
    results = result if isinstance(result, (tuple, list)) else (result,)
    if len(results) != len(shapes):
        raise ValueError(f"{node.label} must return {len(shapes)} arrays, it returned {len(results)}")
    may_be_none = getattr(node.attrs["forward"], "none_is_zero", False)  # gradients and tangents
    out = []
    for value, shape in zip(results, shapes, strict=True):
        if value is None and not may_be_none:
            raise ValueError(f"{node.label} returned None: its forward has to return an array of shape {shape}")
        array = np.zeros(shape, dtype) if value is None else np.asarray(value, dtype, order="C")
        if array.shape != shape:
            raise ValueError(f"{node.label} must return shape {shape}, it returned {array.shape}")
        out.append(array)
    return out


@records("python_op")
def python_op(graph, *inputs, forward, vjp=None, jvp=None, shape=None, name=None):
    """Record a Python-defined op; shape: of the output (a list of shapes for several), default the first input's."""
    inputs = [graph.real(x) for x in inputs]
    if not inputs:
        raise ValueError("a Python-defined op needs at least one tensor")
    many = isinstance(shape, list)
    shapes = [inputs[0].shape] if shape is None else [tuple(s) for s in shape] if many else [tuple(shape)]
    attrs = {
        "name": name or getattr(forward, "__name__", "python_op"),
        "forward": forward,
        "backward": vjp,
        "tangent": jvp,
    }
    outputs = graph.emit("python_op", inputs, attrs, [(s, "real") for s in shapes]).outputs
    return outputs if many else outputs[0]
