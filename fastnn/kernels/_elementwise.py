"""Element-wise kernels, made by one factory from the native lists: activations.def, elementwise.def, binary.def."""

from types import FunctionType

import numpy as np

from fastnn import _native

from ._arrays import finish, output, plain_array, reals, row_stride, rows_of

_run_op = _native.run_op
_FROM_OUTPUT = {row["name"]: row["from_output"] for row in _native.list_rows("activations")}
_empty = np.empty


def unary(kind, x, p0, p1, out):
    """y = f(x), f by its number in the native list."""
    y = _native.unary(kind, x, p0, p1, out)
    return _unary_any(kind, x, p0, p1, out) if y is None else y


def _unary_any(kind, x, p0, p1, out):
    (x,), dtype, code = reals(("x",), x)
    y = output(out, x.shape, dtype, (x,), same=x)
    x, x_row = rows_of(x)
    rows, cols, (x_row, y_row) = _rows_and_cols(x.shape, x_row, row_stride(y))
    _run_op("unary", (x, y), (rows, cols, x_row, y_row, kind), (p0, p1), code)
    return finish(out, y)


def unary_backward(kind, grad, x, p0, p1, out, from_output=False):
    """dx = grad f'(x); with from_output, x is the forward output."""
    dx = _native.unary_backward(kind, grad, x, p0, p1, out, from_output)
    if dx is not None:
        return dx
    name = "output" if from_output else "x"
    (grad, x), dtype, code = reals(("grad", name), grad, x)
    if grad.shape != x.shape:
        raise ValueError(f"grad has shape {grad.shape} but {name} has {x.shape}")
    dx = _unary_backward_out(out, grad, x, dtype)
    grad, grad_row = rows_of(grad)
    x, x_row = rows_of(x)
    rows, cols, strides = _rows_and_cols(x.shape, grad_row, x_row, row_stride(dx))
    _run_op("unary_backward", (grad, x, dx), (rows, cols, *strides, kind, from_output), (p0, p1), code)
    return finish(out, dx)


def _unary_backward_out(out, grad, x, dtype):
    """The result may replace grad or x, but only if it overlaps no more than that one."""
    if out is None:
        return _empty(x.shape, dtype)
    dx = output(out, x.shape, dtype, (grad, x), same=grad)
    return dx if dx is out else output(out, x.shape, dtype, (grad, x), same=x)


def _rows_and_cols(shape, *strides):
    """``(rows, cols, strides)`` of the 2-D walk; one long row where every operand is contiguous."""
    cols = shape[-1] if shape else 1
    size = 1
    for extent in shape:
        size *= extent
    if all(stride == cols for stride in strides):
        return 1, size, (size,) * len(strides)
    return size // cols if cols else 0, cols, strides


def _broadcast_operand(array, shape):
    """``(array, row, col)``: element strides that read ``array`` as if broadcast to ``shape``, copied if need be."""
    cols = shape[-1] if shape else 1
    if array.shape == shape:
        array, row = rows_of(array)
        return array, row, 1
    if array.size == 1:
        return np.array(array.reshape(-1), order="C"), 0, 0
    if array.ndim and array.shape[-1] == cols and array.size == cols:
        array, _ = rows_of(array.reshape(cols))
        return array, 0, 1
    if array.ndim == len(shape) and array.shape == (*shape[:-1], 1):
        array, row = rows_of(array)
        return array, row, 0
    return np.array(np.broadcast_to(array, shape), order="C"), cols, 1


def _broadcast_run(op, operands, same, dtype, code, out, tail):
    """Run a native op over operands broadcast against each other."""
    shape = operands[0].shape
    if any(array.shape != shape for array in operands):
        shape = np.broadcast_shapes(*(array.shape for array in operands))
    target = output(out, shape, dtype, operands, same=same)
    if target.size == 0:
        return finish(out, target)
    walks = [_broadcast_operand(array, shape) for array in operands]
    cols = shape[-1] if shape else 1
    y_row = row_stride(target)
    if y_row == cols and all((row, col) == (cols, 1) or row == col == 0 for _, row, col in walks):
        rows, cols, y_row = 1, target.size, target.size
    else:
        rows = target.size // cols
    dims = [rows, cols]
    for _, row, col in walks:
        dims += (row, col)
    _run_op(op, (*(array for array, _, _ in walks), target), (*dims, y_row, *tail), (), code)
    return finish(out, target)


def binary(kind, a, b, out):
    """y = a (kind) b with NumPy's broadcasting."""
    y = _native.binary(kind, a, b, out)
    if y is not None:
        return y
    (a, b), dtype, code = reals(("a", "b"), a, b)
    same = b if out is b and b.shape != a.shape else a
    return _broadcast_run("binary", (a, b), same, dtype, code, out, (kind,))


def where(mask, a, b, *, out=None):
    """``a`` where ``mask`` is not zero, ``b`` elsewhere, broadcast against each other.

    Parameters
    ----------
    mask : array_like of bool or number
        NaN counts as not zero.
    a, b : array_like
        The two choices; one dtype.
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray of the dtype of ``a`` and ``b``
    """
    y = _native.where(mask, a, b, out)
    if y is not None:
        return y
    (a, b), dtype, code = reals(("a", "b"), a, b)
    mask = plain_array("mask", mask)
    if mask.dtype is not dtype:
        mask = np.asarray(mask != 0, dtype=dtype)
    return _broadcast_run("where", (mask, a, b), None, dtype, code, out, ())


# ---------------------------------------------------------------------------------------------------------------------
# The factory. A list row names its parameters, so the arguments of the templates below are renamed per row: help(),
# keyword calls and tracebacks then read as if the function had been written by hand.

_UNARY_DOC = """{doc}, element by element.{source}

Parameters
----------
x : array_like, any shape
    Integers and booleans become float32.
{parameters}out : ndarray, optional
    Where to write; may be ``x`` itself.

Returns
-------
ndarray of the shape and dtype of ``x``
"""

_BACKWARD_DOC = """Gradient of :func:`{name}`: ``grad`` times the derivative at ``x``.

Parameters
----------
grad : array_like
    Gradient with respect to the output, of the shape of ``x``.
x : array_like
    The forward input.
{parameters}{output}out : ndarray, optional
    Where to write; may be ``grad`` or ``x`` itself.

Returns
-------
ndarray of the shape and dtype of ``x``

Notes
-----
y = {doc}.{source}
"""

_OUTPUT_LINES = """output : array_like, optional
    The forward output, if it was kept: ``x`` is then not read and may be None. Quicker, or as quick; where the
    function saturates the derivative has an absolute error of a rounding of the output.
"""

#: a negative parameter gives outputs from which the sign of x cannot be told
_SIGN_BY_PARAMETER = frozenset(("leaky_relu", "elu"))


def derivative_from_output(name, params):
    """Whether the derivative of an activation with these parameters can be told from its output."""
    return bool(_FROM_OUTPUT.get(name)) and not (name in _SIGN_BY_PARAMETER and params[0] < 0)

_BINARY_DOC = """{doc}, element by element with NumPy's broadcasting{note}.

Parameters
----------
a, b : array_like
    Operands of one float dtype; Python numbers and integers take the dtype of the other.
out : ndarray, optional
    Where to write.

Returns
-------
ndarray of the broadcast shape
"""


def _unary_templates(kind):
    def plain(x, *, out=None):
        return unary(kind, x, 0.0, 0.0, out)

    def one(x, p0, *, out=None):
        return unary(kind, x, p0, 0.0, out)

    def two(x, p0, p1, *, out=None):
        return unary(kind, x, p0, p1, out)

    return plain, one, two


def _backward_from_output(row, grad, output, p0, p1, out):
    if not derivative_from_output(row["name"], (p0, p1)):
        name = row["params"][0]
        raise ValueError(f"output= needs {name} >= 0, not {p0}: the sign of x cannot be told from the output; pass x")
    return unary_backward(row["code"], grad, output, p0, p1, out, True)


def _backward_or_output_templates(row):
    kind = row["code"]

    def plain(grad, x, *, output=None, out=None):
        if output is None:
            return unary_backward(kind, grad, x, 0.0, 0.0, out)
        return unary_backward(kind, grad, output, 0.0, 0.0, out, True)

    def one(grad, x, p0, *, output=None, out=None):
        if output is None:
            return unary_backward(kind, grad, x, p0, 0.0, out)
        return _backward_from_output(row, grad, output, p0, 0.0, out)

    def two(grad, x, p0, p1, *, output=None, out=None):
        if output is None:
            return unary_backward(kind, grad, x, p0, p1, out)
        return _backward_from_output(row, grad, output, p0, p1, out)

    return plain, one, two


def _backward_templates(row):
    if row.get("from_output"):
        return _backward_or_output_templates(row)
    kind = row["code"]

    def plain(grad, x, *, out=None):
        return unary_backward(kind, grad, x, 0.0, 0.0, out)

    def one(grad, x, p0, *, out=None):
        return unary_backward(kind, grad, x, p0, 0.0, out)

    def two(grad, x, p0, p1, *, out=None):
        return unary_backward(kind, grad, x, p0, p1, out)

    return plain, one, two


def _binary_template(kind):
    def pair(a, b, *, out=None):
        return binary(kind, a, b, out)

    return pair


def named(template, name, parameters, defaults, doc, module):
    """The template as a function of its own name, with p0, p1, p2 renamed and given defaults."""
    code = template.__code__
    renamed = tuple(parameters[int(v[1])] if v in ("p0", "p1", "p2") else v for v in code.co_varnames)
    code = code.replace(co_varnames=renamed, co_name=name)
    function = FunctionType(code, template.__globals__, name, tuple(defaults), template.__closure__)
    function.__kwdefaults__ = template.__kwdefaults__
    function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = doc
    return function


def parameter_lines(names, defaults):
    """numpydoc lines of a row's parameters."""
    return "".join(
        f"{n} : float, default {d:g}\n    Parameter of the formula.\n" for n, d in zip(names, defaults, strict=True)
    )


def source_line(row):
    """A paragraph with a row's citation, empty if it has none."""
    return f"\n\nSource: {row['citation']}." if row["citation"] else ""


def make_unary(row, module):
    """kernels.<name> of a row of activations.def or elementwise.def."""
    names = tuple(row.get("params", ()))
    defaults = tuple(row.get("defaults", ()))[: len(names)]
    doc = _UNARY_DOC.format(
        doc="y = " + row["doc"] if row.get("derivative") else _sentence(row["doc"]),
        source=source_line(row) if "citation" in row else "",
        parameters=parameter_lines(names, defaults),
    )
    return named(_unary_templates(row["code"])[len(names)], row["name"], names, defaults, doc, module)


def make_backward(row, module):
    """kernels.<name>_backward of a row of activations.def."""
    names = tuple(row["params"])
    defaults = tuple(row["defaults"])[: len(names)]
    doc = _BACKWARD_DOC.format(
        name=row["name"], doc=row["doc"], source=source_line(row), parameters=parameter_lines(names, defaults),
        output=_OUTPUT_LINES if row.get("from_output") else "",
    )  # fmt: skip
    return named(_backward_templates(row)[len(names)], row["name"] + "_backward", names, defaults, doc, module)


def make_binary(row, module):
    """kernels.<name> of a row of binary.def."""
    comparison = any(sign in row["doc"] for sign in "<>=")
    doc = _BINARY_DOC.format(doc=_sentence(row["doc"]), note=": 1 where it holds, else 0" if comparison else "")
    return named(_binary_template(row["code"]), row["name"], (), (), doc, module)


def _sentence(text):
    return text[:1].upper() + text[1:]


def make_all(module):
    """Every element-wise kernel by name."""
    made = {}
    for row in _native.list_rows("activations"):
        made[row["name"]] = make_unary(row, module)
        made[row["name"] + "_backward"] = make_backward(row, module)
    for row in _native.list_rows("elementwise"):
        made[row["name"]] = make_unary(row, module)
    for row in _native.list_rows("binary"):
        made[row["name"]] = make_binary(row, module)
    return made
