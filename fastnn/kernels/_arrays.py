"""What every eager kernel checks before C sees an array: dtype, shape, strides, alignment, overlap.

Native code trusts its caller, so everything that can be wrong is refused here, before the first write.

The rules, the same for every kernel:

* The dtype is float32 or float64, and all float arrays of a call agree; a mixture raises ``TypeError``.
  float16 counts as float32. Integers, booleans, Python numbers and lists take the dtype of the other arrays,
  float32 if there is no other. Byte-swapped and misaligned arrays are copied. Masked arrays, complex numbers,
  longdouble and objects are refused.
* Any strides are read; where a kernel needs adjacent elements the array is copied.
* ``out`` has the shape and dtype of the result and is writeable. If it overlaps an input, the result is the one that
  inputs copied beforehand would give (NumPy's rule).
"""

from operator import index as as_index

import numpy as np
from numpy import ndarray

from fastnn import _native
from fastnn._native import FLOAT32, FLOAT64, grid_of, row_stride, rows_of  # noqa: F401 (for the kernels)

READY = 0x101  # flags.num bits: C-contiguous and aligned
READY_OUT = 0x501  # and writeable

# how native code calls the dtypes that it reads data sets in (fnn_dtype)
SOURCE_CODES = {"f4": 0, "f8": 1, "u1": 2, "i1": 3, "i2": 4, "u2": 5, "i4": 6, "i8": 7, "u4": 8, "b1": 9, "f2": 10}

_WEAK = (int, float, bool, list, tuple)  # Python's own values: no dtype of their own
# the function under NumPy's __array_function__ dispatch, which costs as much as the check itself
may_share_memory = getattr(np.may_share_memory, "_implementation", np.may_share_memory)


def contiguous(array, dtype=None):
    """The array, C-contiguous and aligned: copied where it is not."""
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.aligned else array.copy()


def reals(names, *values):
    """Arrays of one native dtype: ``(arrays, dtype, code)``; code is 0 float32, 1 float64.

    An argument whose name ends in "?" may be ``None`` and stays so.
    """
    return _native.plain_reals(names, values) or _converted(names, values)


def _refuse_missing(names, values):
    for name, value in zip(names, values, strict=True):
        if value is None and not name.endswith("?"):
            raise TypeError(f"{name} is None: expected an array")


def _converted(names, values):
    _refuse_missing(names, values)
    arrays, found, first = [], None, ""
    for name, value in zip(names, values, strict=True):
        name = name.rstrip("?")
        if value is None:
            arrays.append(None)
            continue
        array = plain_array(name, value)
        arrays.append(array)
        own = None if type(value) in _WEAK else _own_dtype(array)
        if own is None:
            continue
        if found is None:
            found, first = own, name
        elif own is not found:
            raise TypeError(f"{first} is {found} but {name} is {own}: convert one of them, fastnn does not mix floats")
    dtype = FLOAT32 if found is None else found
    arrays = [None if array is None else np.asarray(array, dtype=dtype) for array in arrays]
    return arrays, dtype, 0 if dtype is FLOAT32 else 1


def plain_array(name, value):
    """A base-class ndarray of bool, integer or float; anything else raises TypeError naming the argument."""
    if hasattr(value, "mask") and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill it first, e.g. {name}.filled(0)")
    if hasattr(value, "toarray"):
        raise TypeError(f"{name} is a sparse {type(value).__name__}: pass {name}.toarray()")
    array = np.asarray(value)
    kind = array.dtype.kind
    if kind not in "biuf" or (kind == "f" and array.dtype.itemsize > 8):
        raise TypeError(f"{name} has dtype {array.dtype}: expected float32, float64, float16, integers or booleans")
    return array


def _own_dtype(array):
    if array.dtype.kind != "f":
        return None
    return FLOAT64 if array.dtype.itemsize == 8 else FLOAT32


def vector(name, array, size, what):
    """A contiguous 1-D array of ``size`` elements, or None; another shape raises ValueError."""
    if array is None or _native.is_ready_vector(array, size):
        return array
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}: expected ({size},), one value per {what}")
    return np.array(array, order="C", copy=True)


def output(out, shape, dtype, inputs=(), same=None, name="out", contiguous=False):
    """The array that C may write: ``out`` itself where that is safe, else a fresh one for :func:`finish` to copy.

    ``same`` is the input that the kernel may overwrite in place, element by element; ``contiguous`` asks for a target
    without gaps.
    """
    if out is None:
        return np.empty(shape, dtype)
    if _native.plain_out(out, shape, dtype, inputs):
        return out
    check_out(out, shape, dtype, name)
    stride = row_stride(out)
    if out.flags.num & READY != READY:
        refuse_self_overlap(name, out)
        if stride is None or contiguous:
            return np.empty(shape, dtype)
    for array in inputs:
        if array is None or not may_share_memory(out, array):
            continue
        if array is same and (out is array or same_elements(out, array)):
            continue
        return np.empty(shape, dtype)
    return out


def check_out(out, shape, dtype, name="out"):
    """Refuse what a result of this shape and dtype cannot be written to."""
    if not isinstance(out, ndarray) or hasattr(out, "mask"):
        raise TypeError(f"{name} is {type(out).__name__}: expected a NumPy array")
    if out.dtype != dtype:
        raise TypeError(f"{name} is {out.dtype} but the result is {dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape} but the result has {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")


def outputs(out, shapes, dtype, inputs=(), names=(), contiguous=False):
    """A target for each of several results; ``out`` is None or a tuple with an array or None for each."""
    if out is None:
        return tuple(None if shape is None else np.empty(shape, dtype) for shape in shapes), (None,) * len(shapes)
    if not isinstance(out, (tuple, list)) or len(out) != len(shapes):
        raise TypeError(f"out must be a tuple of {len(shapes)} arrays or None: ({', '.join(names)})")
    given = []
    for array, shape, name in zip(out, shapes, names, strict=True):
        if array is None:
            continue
        if shape is None:
            raise ValueError(f"out gives an array for {name}, which was not asked for")
        for earlier in given:
            if overlapping(earlier, array):
                raise ValueError(f"out: the array for {name} overlaps another output")
        given.append(array)
    targets = tuple(
        None if shape is None else output(array, shape, dtype, inputs, None, f"out ({name})", contiguous)
        for array, shape, name in zip(out, shapes, names, strict=True)
    )
    return targets, tuple(out)


def finish(out, target):
    """The array to return: the target, copied to ``out`` where the two differ."""
    if out is None or out is target:
        return target
    out[...] = target
    return out


def same_elements(a, b):
    """Whether two arrays are the same elements of memory in the same order."""
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    )


def overlapping(a, b):
    """Whether two arrays share an element; undecided counts as shared."""
    if not isinstance(a, ndarray) or not isinstance(b, ndarray):
        return False  # output() refuses it with a better message
    if not may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=10000)
    except Exception:  # TooHardError moved between NumPy versions; it is the only one possible here
        return True


def refuse_self_overlap(name, array):
    """Raise ValueError if two indices of ``array`` may be the same memory (a broadcast or sliding view)."""
    reach = array.itemsize
    axes = sorted((abs(stride), size) for size, stride in zip(array.shape, array.strides, strict=True) if size > 1)
    for stride, size in axes:
        if stride < reach:
            raise ValueError(f"{name} overlaps itself (a broadcast or sliding view): pass an array of its own")
        reach = stride * (size - 1) + reach


def probability(name, value):
    """A float in [0, 1], or ValueError."""
    value = float(value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value}: expected a probability between 0 and 1")
    return value


def integer(name, value, limit):
    """A Python int in [0, limit), or TypeError / ValueError."""
    try:
        value = as_index(value)
    except TypeError:
        raise TypeError(f"{name} is {type(value).__name__}: expected an integer") from None
    if not 0 <= value < limit:
        raise ValueError(f"{name} is {value}: expected 0 <= {name} < 2**{limit.bit_length() - 1}")
    return value
