"""The graph being recorded: nodes in order, parameters, state edges, random streams, and where in the model we are.

State (decision 6). An op with an effect takes a state tensor (say, the running mean) and returns the next one; the
graph remembers the latest of each. A program keeps exactly the final states alive: no pass can drop or double them,
and tracing itself changes nothing.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import rules
from .errors import shapes_text
from .parameter import Parameter
from .symbols import Dim
from .tensor import Node, Tensor
from .watch import Watch


class Graph:
    """Nodes recorded by one trace.

    Parameters
    ----------
    dtype : "float32" or "float64"
        The type of every real tensor.
    training : bool or "sampling"
        What `module.training` is while tracing; "sampling": true, but batch norm uses its running statistics.
    seed : int
        Philox key of random ops that do not name their own.

    Attributes
    ----------
    stand_ins : dict
        id(Parameter) -> Tensor used in its place (gradient checks make parameters inputs).
    values_only : bool
        Parameters without a stand-in enter as constants, converted (gradient checks are in float64).
    """

    def __init__(self, dtype: Any, training: bool = False, seed: int | None = 0) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"a program computes in float32 or float64, not {self.dtype}")
        self.training = training
        self.seed = seed
        self.nodes = []
        self.parameters = {}  # id -> (Parameter, Tensor)
        self.states = {}  # id -> (Parameter, latest Tensor)
        self.stand_ins = {}
        self.values_only = False
        self.random_layers = 0
        self.needs_two_rows = False  # batch statistics are taken
        self.derived = None  # while differentiating: the scope of the node whose rule is at work
        self._scope = []
        self._constants = {}
        self.watch = Watch()
        self.label_checks = []  # (input node, classes, ignore_index): to check before each run
        self.target_checks = []  # (input node, views of it, Domain): the same for float targets

    # --- recording --------------------------------------------------------------------------------------------
    def apply(self, name: str, inputs: Any, attrs: Any) -> Any:
        """Record op `name` on inputs (tensors, parameters, arrays, numbers or None) and return its output(s)."""
        recorder = rules.recorder(name)
        try:
            return recorder(self, *[self.tensor(x) for x in inputs], **attrs)
        except (ValueError, TypeError, IndexError) as error:
            raise self._explain(error, name, inputs) from None

    def emit(self, op: Any, inputs: Any, attrs: Any, outputs: Any, scope: Any = None) -> Any:
        """Append a node; outputs is a list of (shape, kind)."""
        scope = self.derived if scope is None and self.derived is not None else scope
        node = Node(self, len(self.nodes), op, tuple(inputs), attrs, outputs, self.scope if scope is None else scope)
        self.nodes.append(node)
        return node

    def _explain(self, error, name, inputs):
        if getattr(error, "fastnn_explained", False):
            return error
        where = f"{self.scope}: " if self._scope else ""
        explained = type(error)(f"{where}{name} of shapes {shapes_text(inputs)}: {error}")
        explained.fastnn_explained = True
        return explained

    # --- leaves -----------------------------------------------------------------------------------------------
    def tensor(self, value: Any) -> Any:
        """Anything that may stand in an expression, as a tensor of this graph (None stays None)."""
        if value is None:
            return None
        if isinstance(value, Tensor):
            if value.graph is not self:
                raise ValueError(
                    "a tensor of another trace is used here: a forward may not keep tensors from one call to the next"
                )
            return value
        if isinstance(value, Parameter):
            return self.parameter(value)
        if isinstance(value, Dim):
            return self.size_tensor(value)
        return self.constant(value)

    def input(self, shape: tuple[int, ...], kind: str = "real", name: str = "") -> Any:
        """A value given at run time."""
        return self.emit("input", (), {"label": name}, [(tuple(shape), kind)]).outputs[0]

    def parameter(self, parameter: Any) -> Any:
        """The tensor of a parameter: its latest state if an op has changed it."""
        key = id(parameter)
        self.watch.on(parameter)
        if key in self.states:
            return self.states[key][1]
        if key in self.stand_ins:
            return self.stand_ins[key]
        if key not in self.parameters:
            if self.values_only:
                self.stand_ins[key] = self._constant(parameter.numpy().astype(self.dtype), "real")
                return self.stand_ins[key]
            if parameter.dtype != self.dtype:
                raise TypeError(
                    f"parameter {parameter.name or parameter.shape} is {parameter.dtype} but the model is traced in "
                    f"{self.dtype}: convert it with .to()"
                )
            node = self.emit("parameter", (), {"parameter": parameter}, [(parameter.shape, "real")])
            self.parameters[key] = (parameter, node.outputs[0])
        return self.parameters[key][1]

    def set_state(self, parameter: Any, tensor: Any) -> None:
        """Record that `parameter` holds `tensor` after the program has run."""
        self.states[id(parameter)] = (parameter, tensor)

    def constant(self, value: Any, kind: Any = None) -> Any:
        """A value known now. Arrays are copied, so that later changes to them have no effect."""
        if isinstance(value, (int, float)) and kind is None:
            key = float(value)
            if key not in self._constants or key == 0.0:
                self._constants[key] = self._constant(np.array(value, self.dtype), "real")
            return self._constants[key]
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{type(value).__name__} {array.dtype} is not a tensor, an array or a number")
        if kind is None:
            kind = "real" if array.ndim == 0 or array.dtype.kind == "f" else "int"
        return self._constant(np.array(array, np.int64 if kind == "int" else self.dtype, order="C"), kind)

    def _constant(self, array, kind):
        return self.emit("constant", (), {"value": array}, [(array.shape, kind)]).outputs[0]

    def size_tensor(self, size: Any) -> Any:
        """A size as a real scalar tensor."""
        if not isinstance(size, Dim):
            return self.constant(float(size))
        return self.emit("size", (), {"size": size}, [((), "real")]).outputs[0]

    def real(self, tensor: Any) -> Any:
        """`tensor` in the graph's dtype: integers that enter arithmetic are converted (decision 7)."""
        if tensor.kind == "real":
            return tensor
        if tensor.kind == "int" and tensor.node.op == "constant":
            return self.constant(tensor.node.attrs["value"], "real")
        node = tensor.node
        if tensor.kind == "int" and node.op == "input":
            return self.emit("cast", (tensor,), {}, [(tensor.shape, "real")]).outputs[0]
        if tensor.kind == "int" and len(node.inputs) == 1:  # a view: convert what it looks at
            return self.emit(node.op, (self.real(node.inputs[0]),), node.attrs, [(tensor.shape, "real")]).outputs[0]
        raise TypeError(f"{tensor.node.label} gives {tensor.dtype}, which cannot enter arithmetic")

    # --- effects and names ------------------------------------------------------------------------------------
    def next_random_layer(self) -> Any:
        """The number of the next random op: the layer id of its Philox stream."""
        self.random_layers += 1
        return self.random_layers - 1

    @property
    def scope(self) -> Any:
        """The path of the module whose forward is running, as in `0.block.linear`."""
        return ".".join(self._scope)

    @contextlib.contextmanager
    def module(self, name: str) -> Iterator[Any]:
        """Name the module whose forward runs inside the `with` block."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()


def is_constant(tensor: Any, value: Any) -> Any:
    """Whether a tensor is the scalar constant `value`."""
    return tensor.node.op == "constant" and not tensor.shape and float(tensor.node.attrs["value"]) == value
