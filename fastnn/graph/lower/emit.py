"""Lowering: appends the native ops of one node after the other to a builder, and keeps track of where tensors lie.

The rules call it with names of slots and sizes as in ops.def. Views are passed by name; layouts that an op cannot
read are copied first, and only those.
"""

import numpy as np

from ..symbols import Dim, affine, product
from .view import View, coalesce, contiguous_strides, memory_order, permuted_strides

_ITEM = {"int": 8, "stat": 8}


class Destination:
    """Memory outside the program that wants a tensor's value; accumulate: it is added there."""

    __slots__ = ("accumulate", "view")

    def __init__(self, view, accumulate=False):
        self.view = view
        self.accumulate = accumulate


class Lowering:
    """One native program in the making.

    Parameters
    ----------
    builder : _native.Builder (or anything with its methods)
    dtype : numpy dtype of the reals
    leaf : function(node, lowering) -> View, for inputs, parameters, constants and casts
    read : set of id(tensor) that some op or the caller reads
    destinations : {id(tensor): [Destination, ...]}
    """

    def __init__(self, builder, dtype, leaf, read=frozenset(), destinations=None, native=None):
        if native is None:
            from ... import _native as native
        self.builder = builder
        self.dtype = np.dtype(dtype)
        self.item = self.dtype.itemsize
        self.nodes = []  # per native op: the graph node it came from (None: glue)
        self._native = native
        self._ops = _op_table(native)
        self._leaf = leaf
        self._views = {}
        self._node = None
        self._read = read
        self._destinations = destinations or {}
        self._orders = {}

    # --- what the plan calls ----------------------------------------------------------------------------------
    def lower(self, node):
        """Append the ops of one graph node."""
        self._node = node
        node.rule.lower(node, self)
        self._node = None

    def prefer(self, tensor, order):
        """Say which axis order in memory suits the readers of a tensor."""
        self._orders[id(tensor)] = tuple(order)

    # --- where tensors lie ------------------------------------------------------------------------------------
    def view(self, tensor):
        """Where a tensor lies."""
        return self._views[id(tensor)]

    def leaf(self, node):
        """Bind the buffer of an input, parameter or constant."""
        self.alias(node.outputs[0], self._leaf(node, self))

    def alias(self, tensor, view):
        """The tensor is this view of memory that exists."""
        self.done(tensor, view)

    def place(self, tensor, view):
        """The tensor lies here, and its destinations are already served."""
        self._views[id(tensor)] = view

    def done(self, tensor, view):
        """The tensor's value has been written to `view`: serve its other destinations."""
        self._views[id(tensor)] = view
        for destination in self._destinations.get(id(tensor), ()):
            if destination.view is not view:
                self.copy(view, destination.view, destination.accumulate)

    def is_live(self, tensor):
        """Whether anything reads the tensor."""
        return id(tensor) in self._read or id(tensor) in self._destinations

    def allocate(self, shape, kind="real", order=None):
        """Scratch for a tensor, C order unless said otherwise."""
        size = product(shape) * _ITEM.get(kind, self.item)
        buffer = self.builder.workspace(affine(size))
        strides = contiguous_strides(shape) if order is None else permuted_strides(shape, order)
        return View(buffer, 0, shape, strides, kind)

    def memory(self, shape):
        """Reals of an op's own that last from run to run of a workspace, zero at first."""
        return View(self.builder.persistent(product(shape) * self.item), 0, shape, contiguous_strides(shape))

    def result(self, tensor, flexible=False):
        """Where a node may write an output: its destination if the op can write that layout, else scratch."""
        destinations = self._destinations.get(id(tensor), ())
        if destinations and not destinations[0].accumulate:
            view = destinations[0].view
            if flexible or view.is_contiguous():
                return view
        return self.allocate(tensor.shape, tensor.kind, self._orders.get(id(tensor)) if flexible else None)

    def adds_into(self, tensor):
        """The view of the tensor's one accumulating destination, if nothing else reads the tensor; else None."""
        destinations = self._destinations.get(id(tensor), ())
        if len(destinations) == 1 and destinations[0].accumulate and id(tensor) not in self._read:
            return destinations[0].view
        return None

    def state(self, before, after):
        """Where a state lies, for an op that turns `before` into `after` in place."""
        view = self.view(before)
        self.place(after, view)
        return view

    def step_scalar(self, column):
        """A run-time scalar by its column among the step's."""
        return self._native.Slot(column)

    def micro_step(self):
        """The run-time scalar that random ops are numbered by."""
        return self.step_scalar(0)

    def first_row(self):
        """The run-time scalar that says where in the global batch the rows begin."""
        return self.step_scalar(1)

    # --- layouts ----------------------------------------------------------------------------------------------
    def contiguous(self, view):
        """The view, or a gapless copy."""
        if view.is_contiguous():
            return view
        fresh = self.allocate(view.shape, view.kind)
        self.copy(view, fresh)
        return fresh

    def flat_view(self, tensor):
        """A tensor's elements without gaps in C order."""
        return self.contiguous(self.view(tensor))

    def rows_view(self, tensor):
        """A matrix whose rows are gapless; any distance between rows."""
        return self.rows_of(self.view(tensor))

    def rows_of(self, view):
        matrix = view.as_matrix()
        if matrix is not None and (matrix.strides[1] == 1 or matrix.shape[1] == 1):
            if matrix.shape[0] == 1 or matrix.strides[0] != 0:
                return matrix
        return self.contiguous(view).as_matrix()

    # --- ops --------------------------------------------------------------------------------------------------
    def op(self, name, buffers, *, scalars=(), **dims):
        """Append a native op; buffers: {slot: View}, absent slots are NULL; dims by name, absent ones are 0."""
        slots, dim_names = self._ops[name]
        pointers = []
        for slot in slots:
            view = buffers.get(slot)
            if view is None:
                pointers.append(None)
            else:
                offset = view.offset * _ITEM.get(view.kind, self.item)
                pointers.append(view.buffer if offset == 0 else (view.buffer, affine(offset)))
        sizes = tuple(affine(dims.pop(dim, 0)) for dim in dim_names)
        if dims:
            raise TypeError(f"{name} has no size called {next(iter(dims))}")
        self.builder.op(name, tuple(pointers), sizes, tuple(scalars))
        self.nodes.append(self._node)

    def fill(self, shape, value):
        """Scratch filled with a number."""
        view = self.allocate(shape)
        self.op("fill", {"y": view}, n=product(shape), scalars=(value,))
        return view

    def copy(self, x, y, accumulate=False):
        """y[...] = x (or += x), any strides."""
        if x.kind != "real":
            raise ValueError(f"{x.kind} values of shape {x.shape} must be contiguous")
        order = memory_order(y)
        axes = coalesce([y.shape[a] for a in order], [[v.strides[a] for a in order] for v in (x, y)])
        if len(axes) > 6:
            raise ValueError("a layout of more than six dimensions cannot be copied")
        axes = [(1, (0, 0))] * (6 - len(axes)) + axes
        dims = {f"n{i}": size for i, (size, _) in enumerate(axes)}
        dims |= {f"x{i}": strides[0] for i, (_, strides) in enumerate(axes)}
        dims |= {f"y{i}": strides[1] for i, (_, strides) in enumerate(axes)}
        self.op("copy", {"x": x, "y": y}, accumulate=int(accumulate), **dims)

    def reshape(self, node):
        """A view where strides allow it, else a copy."""
        x, shape = self.view(node.inputs[0]), node.outputs[0].shape
        view = x.reshape(shape)
        if view is None:
            view = self.contiguous(x).reshape(shape)
        self.alias(node.outputs[0], view)

    def elementwise(self, name, node, slots, result="y", scalars=(), **options):
        """One pass over all operands, broadcast to the output's shape; options are dims of the op."""
        tensor = node.outputs[0]
        y = self.result(tensor, flexible=True)
        broadcasts = name in ("binary", "where")
        operands = [self.view(x).broadcast_to(tensor.shape) for x in node.inputs]
        axes = _walk([*operands, y], broadcasts)
        if axes is None:
            y = self.allocate(tensor.shape)
            operands = [self.contiguous(x) for x in operands]
            axes = _walk([*operands, y], broadcasts)
        (rows, row_strides), (cols, col_strides) = axes
        dims = {"rows": rows, "cols": cols, f"{result}_row": row_strides[-1], **options}
        for i, slot in enumerate(slots):
            dims[f"{slot}_row"] = row_strides[i]
            if broadcasts:
                dims[f"{slot}_col"] = col_strides[i]
        self.op(name, {**dict(zip(slots, operands, strict=True)), result: y}, scalars=scalars, **dims)
        self.done(tensor, y)

    def rowwise(self, name, node, slots, output="y", **options):
        """An op along the rows of matrices of the same shape (softmax)."""
        tensor = node.outputs[0]
        views = {slot: self.rows_view(x) for slot, x in zip(slots, node.inputs, strict=True)}
        target = self.result(tensor)
        y = target.as_matrix()
        dims = {f"{slot}_row": view.strides[0] for slot, view in views.items()}
        dims[f"{output}_row"] = y.shape[1]
        self.op(name, {**views, output: y}, rows=y.shape[0], cols=y.shape[1], **dims, **options)
        self.done(tensor, target)

    def gemm(self, node, a, b, bias=None, *, block=0, activation=0, params=(), drop=None, derivative=0, saved=None,
             column_sums=None):  # fmt: skip
        """c = a @ b and what follows: + bias, activation, dropout, times f'(saved); c in whatever layout it is wanted.

        a has any number of dimensions. drop: the attrs of a dropout. column_sums: a tensor, the sums of a's columns.
        """
        tensor = node.outputs[0]
        plain = not activation and bias is None and drop is None and not derivative
        into = self.adds_into(tensor) if plain else None
        target = self.result(tensor, flexible=True) if into is None else into
        c, left, turned = target.as_matrix(), a.as_matrix(), False
        if left is None:
            left = self.contiguous(a).as_matrix()
        if bias is not None:
            bias = self.contiguous(bias)
        if c is None or c.strides[1] != 1 and c.shape[1] != 1:
            if c is not None and c.strides[0] == 1 and plain:
                left, b, c, turned = b.transpose((1, 0)), left.transpose((1, 0)), c.transpose((1, 0)), True
            else:
                target = self.allocate(tensor.shape)
                c, into = target.as_matrix(), None
        if saved is not None:
            saved = self.rows_of(saved)
        buffers = {"a": left, "b": b, "bias": bias, "c": c, "saved": saved}
        sums, separate = None, False
        if column_sums is not None:
            added = self.adds_into(column_sums)
            sums = self.result(column_sums) if added is None else added
            separate = not (turned and b.strides[1] == 1 and (added is None) == (into is None))
            if not separate:
                buffers["b_sum"] = sums
        stream = {} if drop is None else {"keep": 1 + drop["threshold"], "seed": drop["seed"], "layer": drop["layer"]}
        scalars = tuple(params)
        if drop is not None:
            first = self.first_row() if isinstance(c.shape[0], Dim) else 0.0
            scalars = (*params, *[0.0] * (2 - len(params)), self.micro_step(), first)
        self.op(
            "gemm",
            buffers,
            rows=c.shape[0],
            cols=c.shape[1],
            depth=left.shape[1],
            a_row=left.strides[0],
            a_depth=left.strides[1],
            b_depth=b.strides[0],
            b_col=b.strides[1],
            c_row=c.strides[0] if c.shape[0] != 1 else c.shape[1],
            block=block,
            accumulate=int(into is not None),
            activation=activation,
            saved_row=0 if saved is None else saved.strides[0] if saved.shape[0] != 1 else saved.shape[1],
            derivative=derivative,
            **stream,
            scalars=scalars,
        )
        if into is None:
            self.done(tensor, target)
        else:
            self.place(tensor, target)
        if column_sums is not None:
            if separate:
                self._sum_rows(self.rows_of(a.transpose((1, 0))), sums, 0, added is not None)
            if added is None:
                self.done(column_sums, sums)
            else:
                self.place(column_sums, sums)

    # --- reductions -------------------------------------------------------------------------------------------
    def reduce(self, node, kind, mean):
        """Sum, mean or max over axes."""
        tensor, view, axes = node.outputs[0], self.view(node.inputs[0]), node.attrs["axes"]
        kept = [a for a in range(view.ndim) if a not in axes]
        divisor = product(view.shape[a] for a in axes) if mean else 0
        reduced = [a for a in axes if view.shape[a] != 1]
        into = self.adds_into(tensor)
        rows_first = reduced and all(a > reduced[-1] for a in kept if view.shape[a] != 1)
        has_columns = any(view.shape[a] != 1 for a in kept)
        if kind == "sum" and rows_first and has_columns:
            x = self.rows_of(_grouped(self, view, reduced, kept))
            y = self.result(tensor) if into is None else into
            self._sum_rows(x, y, divisor, into is not None)
        else:
            into = None
            y = self.result(tensor)
            x = self.rows_of(_grouped(self, view, kept, list(axes)))
            self.op(
                "reduce_cols", {"x": x, "y": y}, rows=x.shape[0], cols=x.shape[1], x_row=x.strides[0], y_row=1,
                kind=int(kind == "max"), divisor=divisor,
            )  # fmt: skip
        if into is None:
            self.done(tensor, y)
        else:
            self.place(tensor, y)

    def _sum_rows(self, x, y, divisor, accumulate):
        self.op(
            "sum_rows", {"x": x, "y": y}, rows=x.shape[0], cols=x.shape[1], x_row=x.strides[0], divisor=divisor,
            accumulate=int(accumulate),
        )  # fmt: skip

    # --- losses -----------------------------------------------------------------------------------------------
    def loss_results(self, node):
        """Views for (loss, gradient or None, weight_sum or None) of a loss node."""
        loss, gradient, weight_sum = node.outputs
        return (
            self.result(loss),
            self.result(gradient) if self.is_live(gradient) else None,
            self.result(weight_sum) if self.is_live(weight_sum) else None,
        )

    def loss_done(self, node, *views):
        """Record the outputs of a loss node."""
        for tensor, view in zip(node.outputs, views, strict=True):
            if view is not None:
                self.done(tensor, view)


def _op_table(native):
    return {name: (row[1], row[2]) for name, row in native.ops().items()}


def _walk(views, broadcasts):
    """Two axes (rows, cols) that walk all views (the last one is the output), or None."""
    y = views[-1]
    order = memory_order(y)
    axes = coalesce([y.shape[a] for a in order], [[v.strides[a] for a in order] for v in views])
    n = len(views)
    if not axes:
        axes = [(1, (1,) * n), (1, (1,) * n)]
    elif len(axes) == 1:
        size, strides = axes[0]
        if strides[-1] == 1:
            axes = [(1, tuple(size for _ in views)), axes[0]]
        else:
            axes = [axes[0], (1, (1,) * n)]
    if len(axes) != 2:
        return None
    _, col_strides = axes[1]
    allowed = (0, 1) if broadcasts else (1,)
    if col_strides[-1] != 1 or any(s not in allowed for s in col_strides[:-1]):
        return None
    if not broadcasts and any(s == 0 for s in axes[0][1]):
        return None
    return axes


def _grouped(low, view, outer, inner):
    """The view as a matrix (outer axes, inner axes)."""
    order = [*outer, *inner]
    missing = [a for a in range(view.ndim) if a not in order]  # axes of size 1
    moved = view.transpose([*missing, *order])
    shape = (product(view.shape[a] for a in outer), product(view.shape[a] for a in inner))
    flat = moved.reshape(shape)
    if flat is None:
        flat = _merged(moved, len(missing) + len(outer), shape)
    return low.contiguous(moved).reshape(shape) if flat is None else flat


def _merged(view, split, shape):
    """The view as a matrix if its outer and its inner axes each walk as one; else None."""
    sizes, steps = [], []
    for part in (slice(None, split), slice(split, None)):
        axes = coalesce(view.shape[part], [view.strides[part]])
        if len(axes) > 1:
            return None
        size, (stride,) = axes[0] if axes else (1, (1,))
        sizes.append(size)
        steps.append(stride)
    return View(view.buffer, view.offset, shape, steps, view.kind)
