"""What a rule is, and the shape arithmetic that rules share."""

from numpy.exceptions import AxisError

from ..errors import shape_text
from ..symbols import ROWS, Dim, is_symbolic

RULES = {}
RECORDERS = {}

CONST, LOCAL, MIXED = "const", "local", "mixed"  # how a value depends on the rows of the batch


class Rule:
    """One op. Subclasses set `op` and override what applies; an instance is registered by `register`.

    vjp(node, grads, needs)   gradients of the inputs from those of the outputs (None = zero); `needs[i]` says whether
                              input i's is wanted.
    jvp(node, tangents)       tangents of the outputs from those of the inputs (None = zero).
    decompose(node)           the outputs again, made of primitives; only ops that have no vjp or jvp of their own for
                              some output. Second derivatives go through it, first ones use the fused kernel.
    lower(node, low)          append native ops to a Lowering.
    keeps_rows(node, states)  whether row i of the output depends on row i of the LOCAL inputs only.
    kinks(node)               tensors that jump where the op has no derivative (gradcheck leaves such points out).
    """

    op = ""
    decompose = None

    def vjp(self, node, grads, needs):
        return None

    def jvp(self, node, tangents):
        return None

    def lower(self, node, low):
        raise NotImplementedError(f"{self.op} has no native lowering")

    def keeps_rows(self, node, states):
        return False

    def kinks(self, node):
        return ()


def register(rule):
    """Class decorator: one instance of the rule is the entry of its op."""
    RULES[rule.op] = rule()
    return rule


def records(*names):
    """Decorator: the function records these public names."""

    def add(function):
        for name in names:
            RECORDERS[name] = function
        return function

    return add


def broadcast_shapes(*shapes):
    """NumPy's broadcasting, with sizes that may mention rows."""
    ndim = max(map(len, shapes))
    out = []
    for axis in range(-ndim, 0):
        size = 1
        for shape in shapes:
            other = shape[axis] if -axis <= len(shape) else 1
            if other == size or (isinstance(other, int) and other == 1):
                continue
            if not (isinstance(size, int) and size == 1):
                raise ValueError("shapes " + " and ".join(map(shape_text, shapes)) + " do not broadcast together")
            size = other
        out.append(size)
    return tuple(out)


def normalize_axis(axis, ndim):
    """An axis as a number in 0..ndim-1."""
    axis = axis.__index__()
    if not -ndim <= axis < ndim:
        raise AxisError(axis, ndim)
    return axis % ndim


def normalize_axes(axis, ndim):
    """None, an axis or several, as an ascending tuple."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = sorted(normalize_axis(a, ndim) for a in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} is named twice")
    return tuple(axes)


def sum_to(tensor, shape):
    """The vjp of broadcasting: sum a gradient back to the shape that was broadcast."""
    if tensor.shape == tuple(shape):
        return tensor
    extra = tensor.ndim - len(shape)
    axes = [*range(extra)]
    for i, size in enumerate(shape):
        if isinstance(size, int) and size == 1 and tensor.shape[extra + i] != 1:
            axes.append(extra + i)
    if axes:
        tensor = tensor.sum(axis=tuple(axes))
    return tensor if tensor.shape == tuple(shape) else tensor.reshape(tuple(shape))


def add_all(tensors):
    """The sum of those that are not None, or None."""
    total = None
    for tensor in tensors:
        if tensor is not None:
            total = tensor if total is None else total + tensor
    return total


def scaled(grad, tensor):
    """grad * tensor, without the product when grad is the constant 1."""
    node = grad.node
    if node.op == "constant" and not grad.shape and float(node.attrs["value"]) == 1.0:
        return tensor
    return grad * tensor


def full_like(tensor, value):
    """The number `value` at the shape of a tensor."""
    constant = tensor.graph.constant(float(value))
    return constant._apply("broadcast_to", (constant,), {"shape": tensor.shape})


def is_local_shape(shape):
    """Axis 0 is rows and nothing else mentions it."""
    return bool(shape) and shape[0] == ROWS and not is_symbolic(shape[1:])


def aligned_rows(node, states):
    """keeps_rows of elementwise ops: axis 0 of every local input is axis 0 of the output."""
    out = node.outputs[0].shape
    if not is_local_shape(out):
        return False
    for tensor, state in zip(node.inputs, states, strict=True):
        if tensor is None or state != LOCAL:
            continue
        if len(tensor.shape) != len(out):
            return False
    return True


def require_static(size, what):
    """A size that must be a number."""
    if isinstance(size, Dim):
        raise ValueError(f"{what} must be a number, but it is {size}")
    return size
