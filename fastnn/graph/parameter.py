"""Parameters: arrays that a model learns, each owned for life by one object.

Storage (decision 2). A weight of logical shape (out, in) lies in memory row-major as (in, ld), ld = out padded, the
same for every ISA: the layout that the forward product reads without packing. The padding is zero and is never data.
Every write bumps the version; whatever changes a program (dtype, requires_grad) bumps the revision.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .._native import Guard, Versioned
from ..hints import missing
from .context import current, is_tracing

if TYPE_CHECKING:
    from typing_extensions import Self

_LINE = 64  # bytes of a cache line: the alignment of every owned array


def aligned_zeros(shape: Any, dtype: Any) -> Any:
    """Zeros at an address that is a multiple of 64 bytes."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.zeros(count * dtype.itemsize + _LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


def as_array(value: Any) -> Any:
    """Values for a parameter as an array: anything NumPy takes, or a tensor of PyTorch (which is not imported)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a parameter holds real numbers, not {array.dtype}")
    return array


_local = threading.local()


@contextmanager
def unallocated() -> Iterator[Any]:
    """Parameters made inside the block have shapes but no memory and no values, until `Parameter.allocate`."""
    before, _local.unallocated = is_unallocated(), True
    try:
        yield
    finally:
        _local.unallocated = before


def is_unallocated() -> Any:
    """Whether the calling thread is inside ``with unallocated():``."""
    return getattr(_local, "unallocated", False)


def filled(shape: Any, value: float = 0.0) -> Any:
    """Initial values of a parameter, all the same; an array that needs no memory."""
    return np.broadcast_to(np.float32(value), shape)


def _storage(shape, dtype):
    """Zeros in the shape of a storage; without memory, and read-only, where nothing is allocated."""
    return np.broadcast_to(np.zeros((), dtype), shape) if is_unallocated() else aligned_zeros(shape, dtype)


def padded_ld(columns: Any) -> Any:
    """The distance between rows of a weight's storage: a multiple of 16 items, never of 4096 bytes (cache sets)."""
    ld = -(-max(columns, 1) // 16) * 16
    return ld + 16 if (ld * 4) % 4096 == 0 else ld


_padded_ld = padded_ld


def storage_shape(shape: Any) -> Any:
    """The shape of the array that holds a parameter of this logical shape."""
    if len(shape) == 2:
        return (shape[1], padded_ld(shape[0]))
    count = int(np.prod(shape, dtype=np.int64))
    return (-(-max(count, 1) // 16) * 16,)


def logical_view(storage: Any, shape: Any) -> Any:
    """The logical array inside a storage array, as a view."""
    if len(shape) == 2:
        return storage[:, : shape[0]].T
    count = int(np.prod(shape, dtype=np.int64))
    return storage[:count].reshape(shape)


def _in_expression(name):
    """An operator of Parameter: on the parameter's tensor while a model is traced, on its values otherwise."""

    def operate(self, *args, **kwargs):
        return getattr(self._operand(), name)(*args, **kwargs)

    operate.__name__ = name
    return operate


class _Arithmetic:
    """What makes a Parameter usable in the expressions of a forward, like a tensor."""

    __slots__ = ()

    for _name in "add radd sub rsub mul rmul truediv rtruediv matmul rmatmul neg abs pow gt ge lt le getitem".split():
        locals()[f"__{_name}__"] = _in_expression(f"__{_name}__")
    for _name in ("sum", "mean", "var", "max", "min", "reshape", "transpose"):
        locals()[_name] = _in_expression(_name)
    del _name

    def _operand(self):
        return current().parameter(self) if is_tracing() else self.numpy()

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if is_tracing():
            return self._operand().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        inputs = [x.numpy() if isinstance(x, Parameter) else x for x in inputs]
        return getattr(ufunc, method)(*inputs, **kwargs)

    @property
    def T(self):  # noqa: N802 (NumPy's name)
        """The transposed matrix."""
        return self._operand().T

    @property
    def _fastnn_symbolic_(self):
        if not is_tracing():
            raise AttributeError("a parameter is symbolic only while a model is traced")
        return True

    def _apply(self, name, inputs, attrs=None):
        return current().apply(name, inputs, attrs or {})


class Parameter(_Arithmetic, Versioned):
    """An array that a model owns: a weight that is learned, or (``buffer=True``) a statistic that it carries.

    Parameters
    ----------
    data : array_like
        Initial values, copied. float32 and float64 keep their type; everything else becomes float32.
    name : str, default ""
        For messages only; modules name their parameters by attribute.
    requires_grad : bool, default True
        False freezes it: programs compiled from then on contain no op for its gradient.
    buffer : bool, default False
        A value that is saved with the model but never trained (running statistics). Implies ``requires_grad=False``.

    Notes
    -----
    Using one Parameter object in several places ties the weights: gradients add, and it is saved once.
    """

    __slots__ = ("name", "shape", "storage", "buffer", "_requires_grad", "__weakref__")

    def __init__(self, data: Any, name: str = "", requires_grad: bool = True, buffer: bool = False) -> None:
        data = np.asarray(data)
        dtype = data.dtype if data.dtype in (np.float32, np.float64) else np.dtype(np.float32)
        if data.dtype.kind not in "fiub":
            raise TypeError(f"a parameter holds real numbers, not {data.dtype}")
        self.name = name
        self.shape = data.shape
        self.buffer = bool(buffer)
        self._requires_grad = bool(requires_grad) and not self.buffer
        self.version = 0
        self.storage = _storage(storage_shape(self.shape), dtype.newbyteorder("="))
        if not is_unallocated():
            logical_view(self.storage, self.shape)[...] = data

    @property
    def dtype(self) -> Any:
        """float32 or float64."""
        return self.storage.dtype

    @property
    def ndim(self) -> Any:
        """Number of logical dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values, padding not counted."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def ld(self) -> Any:
        """Items between rows of the storage of a matrix; None for other shapes."""
        return self.storage.shape[1] if len(self.shape) == 2 else None

    @property
    def requires_grad(self) -> Any:
        """Whether training changes it. Setting it makes compiled programs stale."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: Any) -> None:
        value = bool(value)
        if value and self.buffer:
            raise ValueError(f"buffer {self.name or self.shape} is not trainable")
        if value != self._requires_grad:
            self._requires_grad = value
            self._touch()

    def guard(self) -> Any:
        """Who may read or write this array alone; see `_native.Guard`."""
        return Guard((self,))

    def numpy(self) -> Any:
        """A read-only view of the values in logical shape. It follows later writes; copy it to keep it."""
        view = logical_view(self.storage, self.shape)
        view.flags.writeable = False
        return view

    def __array__(self, dtype=None, copy=None):
        if is_tracing():
            raise TypeError("NumPy sees a parameter's values of now: in a forward use fastnn.functional on it")
        with self.guard().reading():
            array = np.array(self.numpy(), dtype=dtype)
        if copy is False:
            raise ValueError("a parameter is copied when it becomes an array; numpy() gives a read-only view")
        return array

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name):
        raise AttributeError(missing("tensor", self, name))

    def assign(self, array: Any) -> None:
        """Overwrite the values.

        Parameters
        ----------
        array : array_like
            Values of exactly the logical shape; converted to the parameter's dtype.

        Raises
        ------
        ValueError
            If the shape differs: nothing is broadcast.
        RuntimeError
            If another thread trains or predicts with it now.
        """
        array = np.asarray(array)
        if array.shape != self.shape:
            raise ValueError(f"parameter {self.name or ''} has shape {self.shape}, the values {array.shape}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"a parameter holds real numbers, not {array.dtype}")
        with self.guard().writing():
            if not is_unallocated():  # else values will be loaded
                logical_view(self.storage, self.shape)[...] = array
            self.version += 1

    def to(self, dtype: Any) -> Self:
        """Convert to float32 or float64 in new storage; compiled programs become stale. Returns self."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"a parameter is float32 or float64, not {dtype}")
        if dtype != self.dtype:
            with self.guard().writing():
                fresh = _storage(self.storage.shape, dtype)
                if not is_unallocated():
                    fresh[...] = self.storage
                self.storage = fresh
                self.version += 1
                self._touch()
        return self

    def allocate(self) -> None:
        """Give a parameter that was made in ``with unallocated():`` memory, filled with zeros."""
        if not self.storage.flags.writeable:
            self.storage = aligned_zeros(self.storage.shape, self.dtype)

    def __repr__(self) -> str:
        kind = "buffer" if self.buffer else "" if self._requires_grad else "frozen"
        inner = ", ".join(text for text in (self.name, str(self.shape), str(self.dtype), kind) if text)
        return f"Parameter({inner})"

    def __getstate__(self):
        with self.guard().reading():
            return (np.array(self.numpy()), self.name, self._requires_grad, self.buffer, self.version)

    def __setstate__(self, state):
        data, name, requires_grad, buffer, version = state
        self.__init__(data, name, requires_grad, buffer)
        self.version = version

    def __deepcopy__(self, memo):
        with self.guard().reading():
            copy = Parameter(self.numpy(), self.name, self._requires_grad, self.buffer)
            copy.version = self.version
        memo[id(self)] = copy
        return copy
