"""Symbolic tensors: what a model's forward computes with while it is traced.

A Tensor has a shape and a dtype but no value. Operators and functional calls record Nodes in the tensor's Graph.
Kinds of a tensor: "real" (the graph's dtype), "int" (int64 labels), "stat" (double statistics of batch norm).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..hints import keywords, missing
from . import rules
from .errors import shape_text, user_line
from .symbols import Dim, product


class Node:
    """One application of an op. `attrs` is a dict of static options; `scope` names the module it was recorded in."""

    __slots__ = ("attrs", "graph", "index", "inputs", "op", "outputs", "scope")

    def __init__(
        self, graph: Any, index: int, op: Any, inputs: Any, attrs: Any, outputs: Any, scope: Any,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.index = index
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.scope = scope
        self.outputs = tuple(Tensor(self, slot, shape, kind) for slot, (shape, kind) in enumerate(outputs))

    @property
    def rule(self) -> Any:
        """The rule (shape, vjp, jvp, lowering) of this node's op."""
        return rules.RULES[self.op]

    @property
    def label(self) -> Any:
        """The op as the user wrote it: relu rather than unary."""
        return self.attrs.get("name", self.op)

    def __repr__(self) -> str:
        return f"{self.label}#{self.index}"


class Tensor:
    """A symbolic value: output `slot` of `node`."""

    __slots__ = ("kind", "node", "shape", "slot")
    _fastnn_symbolic_ = True

    def __init__(self, node: Any, slot: Any, shape: Any, kind: Any) -> None:
        self.node = node
        self.slot = slot
        self.shape = shape
        self.kind = kind

    # --- what NumPy users expect -----------------------------------------------------------------------------
    @property
    def ndim(self) -> Any:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Any:
        """Number of elements; may be a multiple of the symbol rows."""
        return product(self.shape)

    @property
    def dtype(self) -> Any:
        """The NumPy dtype that the value will have."""
        return np.dtype(np.int64 if self.kind == "int" else np.float64 if self.kind == "stat" else self.graph.dtype)

    @property
    def graph(self) -> Any:
        """The graph that the tensor belongs to."""
        return self.node.graph

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The transposed matrix."""
        return self.transpose()

    def __repr__(self) -> str:
        return f"Tensor({self.node!r}, shape={shape_text(self.shape)}, {self.dtype})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d tensor has no length")
        if isinstance(self.shape[0], Dim):
            raise TypeError(f"len() needs a number, but axis 0 is the symbol rows: use x.shape[0] ({user_line()})")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        for i in range(len(self)):
            yield self[i]

    # --- recording --------------------------------------------------------------------------------------------
    def _apply(self, name, inputs, attrs=None):
        return self.node.graph.apply(name, inputs, attrs or {})

    def __add__(self, other):
        return self._apply("add", (self, other))

    def __radd__(self, other):
        return self._apply("add", (other, self))

    def __sub__(self, other):
        return self._apply("subtract", (self, other))

    def __rsub__(self, other):
        return self._apply("subtract", (other, self))

    def __mul__(self, other: Any) -> Any:
        return self._apply("multiply", (self, other))

    def __rmul__(self, other):
        return self._apply("multiply", (other, self))

    def __truediv__(self, other):
        return self._apply("divide", (self, other))

    def __rtruediv__(self, other):
        return self._apply("divide", (other, self))

    def __matmul__(self, other):
        return self._apply("matmul", (self, other))

    def __rmatmul__(self, other):
        return self._apply("matmul", (other, self))

    def __neg__(self):
        return self._apply("negative", (self,))

    def __abs__(self):
        return self._apply("absolute", (self,))

    def __pow__(self, exponent):
        return self._apply("power", (self,), {"exponent": exponent})

    def __rpow__(self, base):
        if not isinstance(base, (int, float)) or base <= 0:
            raise TypeError(f"only a positive number can be raised to a tensor, not {base!r}")
        return self._apply("exp", (self * math.log(base),))

    def __gt__(self, other):
        return self._apply("greater", (self, other))

    def __ge__(self, other):
        return self._apply("greater_equal", (self, other))

    def __lt__(self, other):
        return self._apply("less", (self, other))

    def __le__(self, other):
        return self._apply("less_equal", (self, other))

    def __eq__(self, other):
        return self._apply("equal", (self, other))

    def __ne__(self, other):
        return 1.0 - self._apply("equal", (self, other))

    __hash__ = object.__hash__

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape; one size may be -1."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return self._apply("reshape", (self,), {"shape": tuple(shape)})

    def transpose(self, *axes: Any) -> Any:
        """Axes in another order; reversed without arguments."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return self._apply("transpose", (self,), {"axes": tuple(axes) or None})

    def sum(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """Sum over axes (all without argument). ``numpy.sum`` calls it."""
        return self._reduce("sum", axis, keepdims, numpy)

    def mean(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """Mean over axes (all without argument). ``numpy.mean`` calls it."""
        return self._reduce("mean", axis, keepdims, numpy)

    def var(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """Biased variance over axes (all without argument). ``numpy.var`` calls it."""
        return self._reduce("var", axis, keepdims, numpy)

    def max(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """Largest element over axes (all without argument). ``numpy.max`` calls it."""
        return self._reduce("max", axis, keepdims, numpy)

    def min(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """Smallest element over axes (all without argument). ``numpy.min`` calls it."""
        return self._reduce("min", axis, keepdims, numpy)

    def _reduce(self, name, axis, keepdims, numpy):
        """numpy: the further arguments with which NumPy's function of that name calls the method."""
        unusual = {key for key, value in numpy.items() if not (value is None or (key == "ddof" and value == 0))}
        if unusual or not numpy.keys() <= {"dtype", "out", "ddof", "where", "initial"}:
            raise TypeError(keywords(name, unusual or numpy))
        return self._apply(name, (self,), {"axis": axis, "keepdims": bool(keepdims)})

    def __getitem__(self, index: int | slice) -> Any:
        return self._apply("slice", (self,), {"index": index})

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """NumPy's own functions record too, where an op has their name: np.exp(x), array + x."""
        name = ufunc.__name__
        if method == "__call__" and not kwargs:
            if name == "power" and isinstance(inputs[1], (int, float)):
                return inputs[0] ** inputs[1]
            if name != "power" and rules.has(name):
                return self._apply(name, inputs)
        raise TypeError(
            f"numpy.{name} does not compute on a tensor while a model is traced; use fastnn.functional: {user_line()}"
        )

    def __getattr__(self, name):
        raise AttributeError(missing("tensor", self, name))

    # --- a tensor has no value --------------------------------------------------------------------------------
    def __bool__(self):
        raise TypeError(
            "the value of a tensor is not known while a model is traced, so Python cannot branch on it "
            f"(use functional.where): {user_line()}"
        )

    def _no_value(self, *_, **__):
        raise TypeError(
            f"a tensor of shape {shape_text(self.shape)} has no value while a model is traced; "
            f"use fastnn.functional instead of NumPy or float() on it: {user_line()}"
        )

    __float__ = __int__ = __index__ = __complex__ = __array__ = item = numpy = tolist = _no_value
