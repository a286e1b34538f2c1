"""A graph as something that runs: one native program, or several with Python-defined ops between them.

Nodes of level k need k Python ops to have run before; each level is one native program. A value that crosses levels
lies in an array of its own.
"""

import numpy as np

from ..passes.rebuild import needed
from ..symbols import at, is_symbolic, product
from .emit import Destination, Lowering
from .locality import row_local
from .view import View, contiguous_strides

CHUNK_ROWS = 256
_VIEW_OPS = frozenset(("reshape", "transpose", "broadcast_to", "slice", "stop_gradient", "alias"))


class Segment:
    """One native program: what it reads (id(tensor) -> buffer), what it writes, and its op list."""

    __slots__ = ("builder", "feeds", "lowering", "nodes", "program", "results", "to_bind")

    def __init__(self):
        self.builder = self.lowering = self.program = None
        self.nodes = []
        self.feeds = {}
        self.results = {}
        self.to_bind = []


class Plan:
    """The lowered program(s) of some outputs.

    Parameters
    ----------
    inputs : list of Tensor
        Given at run time, in this order.
    outputs : list of Tensor
        Written to arrays at run time, in this order.
    effects : list of Tensor
        States that must be reached; they lie in their parameters' memory.
    arena : dict, optional
        id(tensor) -> (ndarray in logical shape and any strides, accumulate): values with a fixed address.
    arena_tensors : list of Tensor
        The keys of arena.
    gather : optional
        Function (tensor, lowering, segment) -> View that makes an input from a data set; see training.py.
    keep : list of Tensor
        Values that stay readable after a run.
    """

    def __init__(
        self, dtype, inputs, outputs, *, effects=(), arena=None, arena_tensors=(), gather=None, keep=(), native=None
    ):
        if native is None:
            from ... import _native as native
        self.native = native
        self.dtype = np.dtype(dtype)
        self.inputs = inputs
        self.outputs = outputs
        self.keep = list(keep)  # tensors whose buffers stay readable after the run
        self.kept = {}  # id(tensor) -> (segment, buffer)
        self._arena = arena or {}
        self._gather = gather
        self.simple = True
        self.capacity = 0
        self.nodes = needed([*outputs, *effects, *arena_tensors, *self.keep])
        self.chunk = 0
        read = [node.attrs["parameter"] for node in self.nodes if node.op == "parameter"]
        self.guard = native.Guard(tuple({id(parameter): parameter for parameter in read}.values()))
        self._effects = list(effects)
        self._arena_tensors = list(arena_tensors)
        self._lower()

    # --- levels -----------------------------------------------------------------------------------------------
    def _levels(self):
        """Level of each node's outputs; Python ops run after the segment of their own inputs' level."""
        level = {}
        for node in self.nodes:
            before = max((level[x.node.index] for x in node.inputs), default=0)
            level[node.index] = before + 1 if node.op == "python_op" else before
        return level

    def _lower(self):
        level = self._levels()
        last = max(level.values(), default=0)
        self.segments = [Segment() for _ in range(last + 1)]
        self.python_ops = [[] for _ in range(last + 1)]  # those that run before the segment
        home = {}
        for node in self.nodes:
            if node.op == "python_op":
                self.python_ops[level[node.index]].append(node)
            else:
                self.segments[level[node.index]].nodes.append(node)
                home[node.index] = level[node.index]
        local = not last and self._gather is None and not self._arena_tensors and not self._effects and not self.keep
        local = local and bool(self.outputs) and row_local(self.nodes, self.inputs, self.outputs)
        self.chunk = CHUNK_ROWS if local else 0
        self._replicate_leaves(home)
        crossing = self._crossing(level)
        for index, segment in enumerate(self.segments):
            self._lower_segment(segment, crossing[index])

    def _replicate_leaves(self, home):
        """Leaves and their views belong to every segment that reads them."""
        if len(self.segments) == 1:
            return
        for index, segment in enumerate(self.segments):
            present = {node.index for node in segment.nodes}
            stack = list(segment.nodes)
            while stack:
                for x in stack.pop().inputs:
                    node = x.node
                    if node.index in present or home.get(node.index, index) >= index:
                        continue
                    if node.op in ("parameter", "constant", "size") or (node.op in _VIEW_OPS and _from_leaf(node)):
                        present.add(node.index)
                        segment.nodes.append(node)
                        stack.append(node)
            segment.nodes.sort(key=lambda node: node.index)

    def _crossing(self, level):
        """Per segment the tensors that others read: later segments, Python ops, or the caller."""
        own = [{node.index for node in segment.nodes} for segment in self.segments]
        found = [{} for _ in self.segments]

        def export(tensor, given=("input", "cast") if self._gather is None else ()):
            node = tensor.node
            if node.op != "python_op" and node.op not in given:
                found[level[node.index]][id(tensor)] = tensor

        for tensor in self.outputs:
            export(tensor, ())
        for ops in self.python_ops:
            for node in ops:
                for x in node.inputs:
                    export(x)
        for index, segment in enumerate(self.segments):
            for node in segment.nodes:
                for x in node.inputs:
                    if x.node.index not in own[index]:
                        export(x)
        return found

    # --- one segment ------------------------------------------------------------------------------------------
    def _lower_segment(self, segment, exported):
        if not segment.nodes and len(self.segments) > 1:
            return
        segment.builder = builder = self.native.Builder(0 if self.dtype == np.float32 else 1)
        read = {id(x) for node in segment.nodes for x in node.inputs}
        read |= {id(t) for t in (*self._effects, *exported.values())}
        own = {node.index for node in segment.nodes}
        destinations = {}
        for tensor in exported.values():
            buffer = builder.external(self._row_bytes(tensor))
            segment.results[id(tensor)] = buffer
            view = View(buffer, 0, tensor.shape, contiguous_strides(tensor.shape), tensor.kind)
            destinations.setdefault(id(tensor), []).append(Destination(view))
        for tensor in self._arena_tensors:
            if tensor.node.index not in own:
                continue
            for array, accumulate in self._arena[id(tensor)]:
                view = self._fixed(segment, array)
                destinations.setdefault(id(tensor), []).append(Destination(view, accumulate))
        for tensor in self.keep:
            if tensor.node.index in own:
                buffer = builder.persistent(product(tensor.shape) * self.dtype.itemsize)
                view = View(buffer, 0, tensor.shape, contiguous_strides(tensor.shape))
                destinations.setdefault(id(tensor), []).insert(0, Destination(view))
                self.kept[id(tensor)] = (segment, buffer)
        low = segment.lowering = Lowering(
            builder, self.dtype, lambda node, low: self._leaf(segment, node, low), read, destinations, self.native
        )
        _prefer_layouts(segment.nodes, destinations, low)
        self._foreign(segment, own, low)
        for node in segment.nodes:
            low.lower(node)

    def _foreign(self, segment, own, low):
        """Bind the values that other segments or Python ops made."""
        for node in segment.nodes:
            for x in node.inputs:
                if x.node.index not in own and id(x) not in segment.feeds:
                    low.place(x, self._external(segment, x))

    def _external(self, segment, tensor):
        buffer = segment.builder.external(self._row_bytes(tensor))
        segment.feeds[id(tensor)] = buffer
        return View(buffer, 0, tensor.shape, contiguous_strides(tensor.shape), tensor.kind)

    def _row_bytes(self, tensor):
        if not self.chunk or not is_symbolic(tensor.shape):
            return 0
        return product(tensor.shape[1:]) * tensor.dtype.itemsize

    def _fixed(self, segment, array):
        """A view of an array whose address never changes."""
        buffer = segment.builder.external(0)
        segment.to_bind.append((buffer, array))
        return View(buffer, 0, array.shape, [s // array.itemsize for s in array.strides])

    def _leaf(self, segment, node, low):
        tensor = node.outputs[0]
        if node.op == "parameter":
            parameter = node.attrs["parameter"]
            view = self._fixed(segment, parameter.numpy())
            segment.to_bind[-1] = (view.buffer, parameter.storage)
            return view
        if node.op in ("constant", "memory"):
            array = node.attrs["value"]
            view = self._fixed(segment, array if array.ndim else array.reshape(1))
            view.kind = tensor.kind
            return View(view.buffer, 0, tensor.shape, contiguous_strides(tensor.shape), tensor.kind)
        if self._gather is not None:
            return self._gather(tensor, low, segment)
        return self._external(segment, tensor)

    # --- finishing and running --------------------------------------------------------------------------------
    def finish(self, capacity):
        """Plan the memory for up to `capacity` rows."""
        self.capacity = capacity
        for segment in self.segments:
            if segment.builder is None:
                continue
            segment.program = segment.builder.finish(min(capacity, self.chunk) if self.chunk else capacity, self.chunk)
            segment.builder = None
            for buffer, array in segment.to_bind:
                segment.program.bind(buffer, array)
        self.simple = len(self.segments) == 1
        return self

    @property
    def writes(self):
        """Whether a run changes states."""
        return bool(self._effects)

    def run(self, rows, values, results, scalars=()):
        """Run on arrays: values and results are {id(tensor): array}; results are written."""
        with self.guard.writing() if self.writes else self.guard.reading():
            self._run(rows, values, results, scalars)

    def _run(self, rows, values, results, scalars):
        if self.simple:
            segment = self.segments[0]
            externals = {buffer: values[key] for key, buffer in segment.feeds.items()}
            for key, buffer in segment.results.items():
                externals[buffer] = results[key]
            segment.program.run(rows, externals, scalars)
            return
        values = dict(values)
        for segment, python_ops in zip(self.segments, self.python_ops, strict=True):
            self.run_python(python_ops, rows, values)
            if segment.program is None:
                continue
            externals = {buffer: values[key] for key, buffer in segment.feeds.items()}
            for key, buffer in segment.results.items():
                values[key] = externals[buffer] = self._array(key, rows, results)
            segment.program.run(rows, externals, scalars)
        for tensor in self.outputs:
            if results[id(tensor)] is not values[id(tensor)]:
                np.copyto(results[id(tensor)], values[id(tensor)])

    def run_python(self, nodes, rows, values):
        """Run Python-defined ops on values ({id(tensor): array}), which gets their outputs."""
        from ..rules.python_op import run

        for node in nodes:
            arrays = []
            for x in node.inputs:
                array = values[id(x)].view()
                array.flags.writeable = False
                arrays.append(array)
            shapes = [tuple(at(size, rows) for size in y.shape) for y in node.outputs]
            for y, array in zip(node.outputs, run(node, arrays, shapes, self.dtype), strict=True):
                values[id(y)] = array

    def _array(self, key, rows, results):
        if key in results:
            return results[key]
        tensor = self._tensors()[key]
        return np.empty(tuple(at(size, rows) for size in tensor.shape), tensor.dtype)

    def _tensors(self):
        if not hasattr(self, "_by_id"):
            self._by_id = {id(y): y for node in self.nodes for y in node.outputs}
        return self._by_id


def _from_leaf(node):
    while node.op in _VIEW_OPS:
        node = node.inputs[0].node
    return node.op in ("parameter", "constant", "size")


def _prefer_layouts(nodes, destinations, low):
    """Parts of a transposed destination (tied weights' gradients) are made in its order."""
    wanted = {}
    for node in reversed(nodes):
        for y in node.outputs:
            targets = destinations.get(id(y))
            if targets and y.ndim == 2 and targets[0].view.strides[0] == 1 and y.shape[0] != 1:
                wanted[id(y)] = (1, 0)
            if id(y) in wanted and node.op in ("binary", "unary", "unary_backward", "where"):
                for x in node.inputs:
                    if x.shape == y.shape:
                        wanted.setdefault(id(x), (1, 0))
                        low.prefer(x, (1, 0))
