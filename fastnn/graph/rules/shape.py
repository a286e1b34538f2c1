"""Ops that only move or relabel elements: reshape, transpose, broadcast_to, slice, concatenate and their inverses.

Most are views of the same memory in a program; a copy is made only where no stride says the same.
"""

from ..symbols import Dim, product
from .base import (
    LOCAL,
    Rule,
    broadcast_shapes,
    is_local_shape,
    normalize_axis,
    records,
    register,
    require_static,
    sum_to,
)


def _emit_like(graph, op, x, attrs, shape):
    return graph.emit(op, (x,), attrs, [(tuple(shape), x.kind)]).outputs[0]


# --- reshape ------------------------------------------------------------------------------------------------------
@register
class Reshape(Rule):
    op = "reshape"

    def vjp(self, node, grads, needs):
        return [grads[0].reshape(node.inputs[0].shape)]

    def jvp(self, node, tangents):
        return [tangents[0].reshape(node.outputs[0].shape)]

    def lower(self, node, low):
        low.reshape(node)

    def keeps_rows(self, node, states):
        return is_local_shape(node.outputs[0].shape) and is_local_shape(node.inputs[0].shape)


@records("reshape")
def reshape(graph, x, shape):
    shape = (shape,) if isinstance(shape, (int, Dim)) else tuple(shape)
    shape = list(shape if any(isinstance(s, Dim) for s in shape) else map(int, shape))
    unknown = [i for i, s in enumerate(shape) if isinstance(s, int) and s == -1]
    if len(unknown) > 1:
        raise ValueError("only one size can be -1")
    total = product(x.shape)
    if unknown:
        known = product(s for i, s in enumerate(shape) if i != unknown[0])
        if isinstance(known, Dim) and not isinstance(total, Dim):
            raise ValueError(f"{total} elements do not make {tuple(shape)}")
        if isinstance(total, int) and (known == 0 or total % known):
            raise ValueError(f"{total} elements do not divide into {tuple(shape)}")
        shape[unknown[0]] = total // known
    if product(shape) != total:
        raise ValueError(f"{total} elements do not make {tuple(shape)}")
    if tuple(shape) == x.shape:
        return x
    return _emit_like(graph, "reshape", x, {}, shape)


# --- transpose ----------------------------------------------------------------------------------------------------
@register
class Transpose(Rule):
    op = "transpose"

    def vjp(self, node, grads, needs):
        axes = node.attrs["axes"]
        inverse = [0] * len(axes)
        for i, axis in enumerate(axes):
            inverse[axis] = i
        return [grads[0].transpose(*inverse)]

    def jvp(self, node, tangents):
        return [tangents[0].transpose(*node.attrs["axes"])]

    def lower(self, node, low):
        low.alias(node.outputs[0], low.view(node.inputs[0]).transpose(node.attrs["axes"]))

    def keeps_rows(self, node, states):
        return node.attrs["axes"][0] == 0


@records("transpose")
def transpose(graph, x, axes=None):
    axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(normalize_axis(a, x.ndim) for a in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"axes {axes} are not a permutation of {x.ndim} dimensions")
    if axes == tuple(range(x.ndim)):
        return x
    return _emit_like(graph, "transpose", x, {"axes": axes}, (x.shape[a] for a in axes))


# --- broadcast_to -------------------------------------------------------------------------------------------------
@register
class BroadcastTo(Rule):
    op = "broadcast_to"

    def vjp(self, node, grads, needs):
        return [sum_to(grads[0], node.inputs[0].shape)]

    def jvp(self, node, tangents):
        t = tangents[0]
        return [t._apply("broadcast_to", (t,), {"shape": node.outputs[0].shape})]

    def lower(self, node, low):
        low.alias(node.outputs[0], low.view(node.inputs[0]).broadcast_to(node.outputs[0].shape))

    def keeps_rows(self, node, states):
        x, y = node.inputs[0], node.outputs[0]
        return is_local_shape(y.shape) and x.ndim == y.ndim


@records("broadcast_to")
def broadcast_to(graph, x, shape):
    shape = tuple(shape)
    if broadcast_shapes(x.shape, shape) != shape:
        raise ValueError(f"{x.shape} does not broadcast to {shape}")
    return x if x.shape == shape else _emit_like(graph, "broadcast_to", x, {}, shape)


# --- slice --------------------------------------------------------------------------------------------------------
def _slice_axis(item, size):
    """(start, step, length) of a slice of an axis; sizes may mention rows."""
    if not isinstance(size, Dim):
        start, stop, step = item.indices(size)
        return start, step, len(range(start, stop, step))
    step = 1 if item.step is None else item.step
    if step == -1 and item.start is None and item.stop is None:
        return size - 1, -1, size
    if step != 1:
        raise ValueError(f"an axis of {size} can be sliced with step 1, or reversed as a whole")
    start = 0 if item.start is None else item.start
    stop = size if item.stop is None else item.stop
    start = size + start if isinstance(start, int) and start < 0 else start
    stop = size + stop if isinstance(stop, int) and stop < 0 else stop
    return start, 1, stop - start


def _indices(index, shape):
    """Per input axis (start, step, length), and the output's axes: input axis, or None for a new one."""
    index = list(index) if isinstance(index, tuple) else [index]
    given = sum(item is not None and item is not Ellipsis for item in index)
    if given > len(shape):
        raise IndexError(f"{given} indices for {len(shape)} dimensions")
    if not any(item is Ellipsis for item in index):
        index.append(Ellipsis)
    at = next(i for i, item in enumerate(index) if item is Ellipsis)
    index[at : at + 1] = [slice(None)] * (len(shape) - given)
    taken, out_axes, axis = [], [], 0
    for item in index:
        if item is None:
            out_axes.append(None)
        elif isinstance(item, slice):
            taken.append(_slice_axis(item, shape[axis]))
            out_axes.append(axis)
            axis += 1
        elif hasattr(item, "__index__") and not hasattr(item, "_fastnn_symbolic_"):
            taken.append(_position(item, shape[axis], axis))
            axis += 1
        else:
            raise TypeError("tensors are indexed with integers, slices, None and ... only")
    return taken, out_axes


def _position(item, size, axis):
    if isinstance(item, Dim):
        return item, 1, 1
    position = item.__index__()
    if isinstance(size, Dim):
        return (size + position if position < 0 else position), 1, 1
    if not -size <= position < size:
        raise IndexError(f"index {position} is out of range for axis {axis} of size {size}")
    return position % size, 1, 1


@register
class Slice(Rule):
    """Basic indexing without integers or new axes (those are a reshape around it); attrs starts, steps."""

    op = "slice"

    def vjp(self, node, grads, needs):
        attrs = {**node.attrs, "shape": node.inputs[0].shape}
        return [_emit_like(node.graph, "pad", grads[0], attrs, node.inputs[0].shape)]

    def jvp(self, node, tangents):
        return [_emit_like(node.graph, "slice", tangents[0], node.attrs, node.outputs[0].shape)]

    def lower(self, node, low):
        view = low.view(node.inputs[0]).slice(node.attrs["starts"], node.attrs["steps"], node.outputs[0].shape)
        low.alias(node.outputs[0], view)

    def keeps_rows(self, node, states):
        whole = node.attrs["starts"][0] == 0 and node.attrs["steps"][0] == 1
        return whole and is_local_shape(node.outputs[0].shape)


@register
class Pad(Rule):
    """Zeros with x in a slice of them: the transposed slice; attrs starts, steps, shape."""

    op = "pad"

    def vjp(self, node, grads, needs):
        attrs = {"starts": node.attrs["starts"], "steps": node.attrs["steps"]}
        return [_emit_like(node.graph, "slice", grads[0], attrs, node.inputs[0].shape)]

    def jvp(self, node, tangents):
        return [_emit_like(node.graph, "pad", tangents[0], node.attrs, node.outputs[0].shape)]

    def lower(self, node, low):
        x, y = low.view(node.inputs[0]), low.fill(node.outputs[0].shape, 0.0)
        low.copy(x, y.slice(node.attrs["starts"], node.attrs["steps"], x.shape))
        low.done(node.outputs[0], y)

    def keeps_rows(self, node, states):
        whole = node.attrs["starts"][0] == 0 and node.attrs["steps"][0] == 1
        return whole and is_local_shape(node.outputs[0].shape) and is_local_shape(node.inputs[0].shape)


@records("slice")
def slice_(graph, x, index):
    taken, out_axes = _indices(index, x.shape)
    shape = tuple(length for _, _, length in taken)
    attrs = {"starts": tuple(t[0] for t in taken), "steps": tuple(t[1] for t in taken)}
    if shape != x.shape or any(step != 1 for step in attrs["steps"]):
        x = _emit_like(graph, "slice", x, attrs, shape)
    return reshape(graph, x, tuple(1 if axis is None else shape[axis] for axis in out_axes))


# --- concatenate --------------------------------------------------------------------------------------------------
@register
class Concatenate(Rule):
    op = "concatenate"

    def vjp(self, node, grads, needs):
        axis, at, out = node.attrs["axis"], 0, []
        for x, need in zip(node.inputs, needs, strict=True):
            index = (slice(None),) * axis + (slice(at, at + x.shape[axis]),)
            out.append(slice_(node.graph, grads[0], index) if need else None)
            at = at + x.shape[axis]
        return out

    def jvp(self, node, tangents):
        graph = node.graph
        zero = graph.constant(0.0)
        parts = [
            broadcast_to(graph, zero, x.shape) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)
        ]
        return [concatenate(graph, *parts, axis=node.attrs["axis"])]

    def lower(self, node, low):
        axis, at = node.attrs["axis"], 0
        y = low.result(node.outputs[0], flexible=True)
        for tensor in node.inputs:
            x = low.view(tensor)
            starts = tuple(at if i == axis else 0 for i in range(x.ndim))
            low.copy(x, y.slice(starts, (1,) * x.ndim, x.shape))
            at = at + x.shape[axis]
        low.done(node.outputs[0], y)

    def keeps_rows(self, node, states):
        return node.attrs["axis"] > 0 and all(
            is_local_shape(x.shape) for x, state in zip(node.inputs, states, strict=True) if state == LOCAL
        )


@records("concatenate")
def concatenate(graph, *tensors, axis=0):
    if not tensors:
        raise ValueError("nothing to concatenate")
    tensors = [graph.real(x) for x in tensors]
    first = tensors[0]
    axis = normalize_axis(axis, first.ndim)
    for x in tensors[1:]:
        others = [i for i in range(first.ndim) if i != axis]
        if x.ndim != first.ndim or any(x.shape[i] != first.shape[i] for i in others):
            raise ValueError(f"shapes differ off axis {axis}")
    total = sum((x.shape[axis] for x in tensors[1:]), first.shape[axis])
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    if len(tensors) == 1:
        return first
    return graph.emit("concatenate", tensors, {"axis": axis}, [(shape, "real")]).outputs[0]


@records("stack")
def stack(graph, *tensors, axis=0):
    """New axis, then concatenate."""
    ndim = tensors[0].ndim + 1
    axis = normalize_axis(axis, ndim)
    index = (slice(None),) * axis + (None,)
    return concatenate(graph, *[slice_(graph, x, index) for x in tensors], axis=axis)


@records("flatten")
def flatten(graph, x):
    """All axes but the first as one."""
    return reshape(graph, x, (x.shape[0], require_static(product(x.shape[1:]), "the size of a row")))
