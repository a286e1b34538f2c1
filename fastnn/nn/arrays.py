"""What a user's array looks like to a program: its spec, and the one conversion that some dtypes need.

Programs gather rows of the array where it lies and convert them on the way (decision 7), so float32, float64, bool
and integer arrays are never copied, whatever their row stride. Copied once are: float16, long double and uint64,
swapped byte order, misaligned data, and rows whose own elements are not contiguous (x[:, ::2], Fortran order).
"""

from typing import Any

import numpy as np

_DIRECT = frozenset(
    np.dtype(name) for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "f4", "f8")
)


def as_rows(x: Any, what: str = "x") -> Any:
    """Return x as an array whose rows a program can gather.

    Raises
    ------
    TypeError
        If x does not hold real numbers.
    ValueError
        If x has no axis of rows.
    """
    x = plain_array(x, what)
    dtype = x.dtype
    if dtype not in _DIRECT:
        if dtype.kind == "f" and not dtype.isnative and dtype.itemsize in (4, 8):
            x = x.astype(dtype.newbyteorder("="))
        elif dtype.kind in "fiu":  # half and long double, uint64, swapped integers
            x = x.astype(np.float32 if dtype.itemsize <= 2 else np.float64)
        elif dtype.kind == "O":
            x = _from_objects(x, what)
        else:
            raise TypeError(f"{what} has dtype {dtype}; fastnn needs real numbers (float, integer or bool)")
    if x.ndim == 0:
        raise ValueError(f"{what} is a single number; expected an array of shape (rows, ...)")
    if not x.flags.c_contiguous:
        x = _contiguous_rows(x)
    elif not x.flags.aligned:
        x = x.copy()
    return x


def plain_array(x: Any, what: str = "x") -> Any:
    """An ndarray of anything that is one; what would lose its mask or its sparsity in silence is refused by name."""
    if type(x) is np.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{what} has masked values, which a network cannot see: fill them, such as {what}.filled(0), "
                         "or leave these rows out")  # fmt: skip
    refuse_sparse(x, what)
    try:
        return np.asarray(x)
    except TypeError:
        if "bfloat16" not in str(getattr(x, "dtype", "")):
            raise
        return np.asarray(x.float())  # torch's bfloat16, which NumPy does not have: float32 holds it exactly


def refuse_sparse(x: Any, what: str = "x") -> None:
    """TypeError if x is a sparse matrix of SciPy's kind."""
    if hasattr(x, "tocsr") and hasattr(x, "toarray"):
        raise TypeError(f"{what} is a sparse matrix, which is not supported: give {what}.toarray(), or an iterable of "
                        "dense batches")  # fmt: skip


def _from_objects(x, what):
    try:
        return x.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{what} has dtype object and holds values that are not numbers") from None


def _contiguous_rows(x):
    """x itself if each row is contiguous and aligned, else a copy."""
    if not x.flags.aligned or x.strides[0] % x.itemsize:
        return x.copy()
    if len(x) and not x[0].flags.c_contiguous:
        return np.ascontiguousarray(x)
    return x


def spec_of(x: Any) -> Any:
    """(shape without rows, dtype, distance between rows in elements) of an array made by `as_rows`."""
    size = 1
    for extent in x.shape[1:]:
        size *= extent
    return x.shape[1:], x.dtype, (x.strides[0] // x.itemsize if len(x) > 1 else size)


def split_inputs(x: Any) -> Any:
    """Return (names or None, tuple of arrays) of one input, a tuple of inputs or a dict of inputs.

    All inputs must have the same number of rows; errors name the input.
    """
    if isinstance(x, dict):
        if not x:
            raise ValueError("the dict of inputs is empty")
        names = tuple(x)
        arrays = tuple(as_rows(value, f"input {name!r}") for name, value in x.items())
    elif isinstance(x, tuple):
        if not x:
            raise ValueError("the tuple of inputs is empty")
        names = None
        arrays = tuple(as_rows(value, f"input {i}") for i, value in enumerate(x))
    else:
        return None, (as_rows(x),)
    rows = len(arrays[0])
    for i, array in enumerate(arrays):
        if len(array) != rows:
            label = repr(names[i]) if names else i
            raise ValueError(f"input {label} has {len(array)} rows, the first input has {rows}")
    return names, arrays
