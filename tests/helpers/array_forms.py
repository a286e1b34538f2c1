"""An array in every form that a user may pass it in, good and bad."""

import numpy as np

F4, F8 = np.float32, np.float64


class Tagged(np.ndarray):
    pass


class Sparse:
    """What scipy's matrices look like."""

    def toarray(self):
        raise AssertionError("converted behind the caller's back")


def padded(x):
    holder = np.full((x.shape[0], x.shape[1] + 3), np.nan, x.dtype)
    holder[:, 1:-2] = x
    return holder[:, 1:-2]


def gaps(x):
    holder = np.full((2 * x.shape[0], 3 * x.shape[1]), np.nan, x.dtype)
    holder[::2, ::3] = x
    return holder[::2, ::3]


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    return raw


def packed(x):
    fields = np.zeros(x.shape, [("a", np.uint8), ("x", x.dtype)])
    fields["x"] = x
    return fields["x"]


def frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def other_float(x):
    return x.astype(F8 if x.dtype == F4 else F4)


def unpickled_dtype(x):
    """A dtype that is equal to NumPy's own and not the same object."""
    return x.view(np.dtype(x.dtype.str, metadata={"unit": "m"}))


FORMS = {
    "plain": lambda x: x.copy(),
    "Fortran": np.asfortranarray,
    "transposed twice": lambda x: x.T.copy().T,
    "negative": lambda x: x[::-1, ::-1].copy()[::-1, ::-1] if x.ndim == 2 else x[::-1].copy()[::-1],
    "padded": lambda x: padded(x) if x.ndim == 2 else padded(x[None])[0],
    "gaps": lambda x: gaps(x) if x.ndim == 2 else gaps(x[None])[0],
    "misaligned": misaligned,
    "packed record": packed,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": frozen,
    "subclass": lambda x: x.copy().view(Tagged),
    "masked": np.ma.masked_array,
    "sparse": lambda x: Sparse(),
    "list": lambda x: x.tolist(),
    "integers": lambda x: (10 * x).astype(np.int32),
    "half": lambda x: x.astype(np.float16),
    "other float": other_float,
    "longdouble": lambda x: x.astype(np.longdouble),
    "complex": lambda x: x.astype(complex),
    "metadata": unpickled_dtype,
    "one row less": lambda x: x[1:].copy(),
    "one column less": lambda x: x[..., 1:].copy(),
    "empty": lambda x: x[:0].copy(),
    "empty the other way": lambda x: x[..., :0].copy(),
    "same row again": lambda x: np.broadcast_to(x[:1], x.shape),
    "same column again": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "three axes": lambda x: x[None].copy(),
    "one axis": lambda x: x.ravel(),
    "scalar": lambda x: x.reshape(-1)[0],
    "None": lambda x: None,
    "text": lambda x: "abc",
}


def outcome(function, make):
    """What a call on fresh memory did: (results or error, all memory afterwards).

    `make` returns the arrays, out, and the memory to look at; results are (type, dtype, shape, bytes, is out).
    """
    arrays, out, memory = make()
    try:
        value = function(*arrays, out)
    except Exception as error:
        result = (type(error), str(error))
    else:
        value = value if isinstance(value, tuple) else (value,)
        result = [None if v is None else (type(v), v.dtype, v.shape, v.tobytes(), v is out) for v in value]
    return result, [m.tobytes() for m in memory]


def outs(shape, dtype):
    """name: function to an array offered as out, all of it NaN or 0"""
    rows, cols = shape
    like = np.zeros(shape, dtype)
    return {
        **{form: lambda disguise=disguise: disguise(like.copy()) for form, disguise in FORMS.items()},
        "row under row": lambda: np.lib.stride_tricks.as_strided(np.zeros(cols, dtype), shape, (0, dtype.itemsize)),
        "window": lambda: np.lib.stride_tricks.as_strided(np.zeros(rows + cols, dtype), shape, (dtype.itemsize,) * 2),
        "wide": lambda: np.zeros((rows, 2 * cols), dtype)[:, :cols],
        "upside down": lambda: np.zeros((rows, cols), dtype)[::-1],
        "half rows": lambda: np.zeros(rows * cols * 2, dtype)[: rows * cols].reshape(shape),
    }
