"""Models as programs: build_inference for predictions of any number of rows, build_training for training steps."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..kernels._arrays import SOURCE_CODES
from .context import tracing
from .differentiate import gradients
from .loss_call import call_loss
from .lower.plan import Plan
from .parameter import aligned_zeros, logical_view, storage_shape
from .passes import fuse_update, is_on, run_passes
from .rules.losses import validate_labels
from .structure import flatten, unflatten
from .symbols import ROWS, Dim, at, product
from .trace import Graph

_SCALARS = ("micro_step", "first_row", "divisor")  # of a step of gradients, by column; the last one if they accumulate


def _trace(module, input_specs, dtype, training, seed):
    """(graph, input tensors, outputs as the forward returned them)."""
    graph = Graph(dtype, training=training, seed=seed)
    inputs = [graph.input((ROWS, *spec[0]), name=f"x{i}") for i, spec in enumerate(input_specs)]
    with tracing(graph):
        output = module(*inputs)
    return graph, inputs, output


class CompiledModel:
    """A model compiled for predictions: run(arrays) for any number of rows, from any thread.

    A model that works row by row runs in chunks of 256 rows in constant memory; another is planned for a capacity
    that grows when a larger batch arrives.
    """

    def __init__(self, graph: Any, inputs: Any, output: Any, disabled: Iterable[str] = ()) -> None:
        leaves, self._structure = flatten(output)
        outputs = [graph.real(graph.tensor(leaf)) for leaf in leaves]
        outputs = run_passes(graph, outputs, disabled)
        self.dtype = graph.dtype
        self.needs_two_rows = graph.needs_two_rows
        self._inputs = inputs
        self._outputs = outputs
        self._lock = threading.Lock()
        self.revisions = graph.watch.revisions()
        self._plan = Plan(graph.dtype, inputs, outputs)
        self._plan.finish(256)
        self.forward = self._make_forward()

    def _make_forward(self):
        """A `_native.Forward` of the usual model (one input, one output, one program, row by row), else None."""
        plan = self._plan
        if not plan.simple or len(self._inputs) != 1 or len(self._outputs) != 1 or self._structure is not None:
            return None
        feeds, results = plan.segments[0].feeds, plan.segments[0].results
        program, features, shape = plan.segments[0].program, self._inputs[0].shape[1:], self._outputs[0].shape
        if len(feeds) != 1 or len(results) != 1 or not shape or shape[0] != ROWS or not plan.chunk:
            return None
        if program.slot_count or max(len(shape), len(features) + 1) > 8:
            return None
        (feed,), (result,) = feeds.values(), results.values()
        code = 0 if self.dtype == np.float32 else 1
        return plan.native.Forward(program, feed, result, features, shape[1:], code, plan.guard, self.revisions)

    @property
    def chunk_rows(self) -> Any:
        """Rows per chunk; 0 if the model mixes rows."""
        return self._plan.chunk

    @property
    def plan(self) -> Any:
        """The lowered program(s)."""
        return self._plan

    @property
    def guard(self) -> Any:
        """Of the parameters that a call reads."""
        return self._plan.guard

    def run(self, arrays: Any, out: Any = None, step: Any = 0) -> Any:
        """Predict.

        Parameters
        ----------
        arrays : tuple of ndarray (rows, ...)
            One per input; other real dtypes are converted.
        out : ndarray (or tuple for several outputs), optional
            C-contiguous, of the model's dtype and the output's shape.
        step : int
            Numbers the random masks of a training-mode program.
        """
        if self.forward is not None and len(arrays) == 1:
            y = self.forward.run(arrays[0], out)
            if y is not None:
                return y
        return self._run(arrays, out, step)

    def _run(self, arrays, out, step):
        arrays, rows = self._check_inputs(arrays)
        shapes = [tuple(at(size, rows) for size in y.shape) for y in self._outputs]
        if out is None:
            outs = [np.empty(shape, self.dtype) for shape in shapes]
        else:
            given, structure = flatten(out)
            if len(given) != len(shapes):
                raise ValueError(f"the model has {len(shapes)} outputs, out= has {len(given)}")
            outs = [self._check_out(array, shape) for array, shape in zip(given, shapes, strict=True)]
        if rows or not all(array.size == 0 for array in outs):
            self._compute(rows, arrays, outs, step)
        return unflatten(self._structure, outs)

    def _compute(self, rows, arrays, outs, step):
        plan = self._plan
        if not plan.chunk and rows > plan.capacity:
            with self._lock:
                if rows > self._plan.capacity:
                    fresh = Plan(self.dtype, self._inputs, self._outputs)
                    self._plan = fresh.finish(max(rows, 2 * self._plan.capacity))
                plan = self._plan
        if self.needs_two_rows and rows < 2:
            raise ValueError("batch statistics need at least 2 rows: one row has no variance")
        values = {id(t): array for t, array in zip(self._inputs, arrays, strict=True)}
        results = {}
        for tensor, array in zip(self._outputs, outs, strict=True):
            if id(tensor) in results:
                continue
            results[id(tensor)] = array
        plan.run(rows, values, results, (step, 0))
        for tensor, array in zip(self._outputs, outs, strict=True):
            if results[id(tensor)] is not array:
                np.copyto(array, results[id(tensor)])

    def _check_inputs(self, arrays):
        if len(arrays) != len(self._inputs):
            raise ValueError(f"the model takes {len(self._inputs)} inputs, got {len(arrays)}")
        checked, rows = [], None
        for i, (tensor, array) in enumerate(zip(self._inputs, arrays, strict=True)):
            array = np.asarray(array)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"input {i} holds {array.dtype}, not real numbers")
            expected = tensor.shape[1:]
            if array.ndim != len(expected) + 1 or array.shape[1:] != expected:
                wanted = ", ".join(["rows", *map(str, expected)])
                raise ValueError(f"input {i} must have shape ({wanted}), not {array.shape}")
            rows = len(array) if rows is None else rows
            if len(array) != rows:
                raise ValueError(f"input {i} has {len(array)} rows, input 0 has {rows}")
            checked.append(np.require(array, self.dtype, ("C", "A")))
        return checked, rows or 0

    def _check_out(self, out, shape):
        if type(out) is not np.ndarray or out.dtype != self.dtype:
            raise TypeError(f"out must be a {self.dtype} array")
        if out.shape != shape:
            raise ValueError(f"out must have shape {shape}, not {out.shape}")
        if not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError("out must be C-contiguous and writeable")
        return out


def build_inference(
    module: Any, input_specs: Any, dtype: Any, *, training: bool = False, seed: int | None = 0,
    disabled: Iterable[str] = (),
) -> Any:  # fmt: skip
    """Compile a model for predictions.

    Parameters
    ----------
    module : callable
        Run once on symbolic tensors of shape (rows, ...).
    input_specs : sequence of (shape without rows, dtype)
        One per input; dtypes are those of the arrays to come, which are converted.
    dtype : float32 or float64
        The model's own.
    training : bool or "sampling"
        What `module.training` is while tracing: True gives the Monte-Carlo path, "sampling" the same with running
        instead of batch statistics. No state is changed either way: running statistics stay as they are.
    seed : int
        Key of random ops.
    disabled : iterable of str
        Passes to leave out.

    Returns
    -------
    CompiledModel
    """
    graph, inputs, output = _trace(module, input_specs, dtype, training, seed)
    return CompiledModel(graph, inputs, output, disabled)


class TrainingProgram:
    """One training step without the update: loss and gradients of a batch, gathered by row numbers.

    Attributes
    ----------
    program : _native.Program
        For _native.run_steps. None if the model has Python-defined ops: then `run_steps` below is the only way.
    index_id : int
        Buffer of the int64 row numbers (None without gather).
    inputs : dict
        Name -> buffer of the data sets: "x0", "x1", ..., "y", and "w" with sample weights.
    loss_id : int
        Buffer whose first real is the loss of the batch.
    scalar_names : tuple
        Columns of the per-step scalars.
    gradients : list of (Parameter, ndarray)
        Views of the arena in each parameter's storage layout, in the order of first use. Parameters that the loss
        does not reach are not among them.
    arena : ndarray
        All gradients, one contiguous 64-byte aligned array; padding stays zero.
    label_checks : list of (name, classes, ignore_index)
        What integer targets must satisfy; checked by whoever owns the data, once.
    needs_two_rows : bool
        The model takes batch statistics: no batch may have one row.
    revisions : _native.Revisions
        Of the model and the loss that it was traced from.
    updated : set of int
        id of the parameters that it updates itself; their gradients are nowhere.
    """

    recipe, updated = None, frozenset()

    def __init__(
        self, plan: Any, arena: Any, gradients: Any, inputs: Any, index_id: Any, loss: Callable[..., Any] | None,
        graph: Any, capacity: Any, label_checks: Any, scalar_names: Any,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.arena = arena
        self.gradients = gradients
        self.inputs = inputs
        self.index_id = index_id
        self.capacity = capacity
        self.scalar_names = scalar_names
        self.needs_two_rows = graph.needs_two_rows
        self.label_checks = label_checks
        self.dtype = graph.dtype
        self.revisions = graph.watch.revisions()
        self._loss_segment, self.loss_id = plan.kept[id(loss)]
        self.segmented = not plan.simple
        self.program = None if self.segmented else plan.segments[0].program

    def run_steps(
        self, update: Any, externals: Any, index: int | slice, offsets: Any, gradient_scalars: Any,
        update_scalars: Any, updates: Any, losses: Any, stop: Any, seconds: Any, check_nan: Any, ledger: Any = None,
    ) -> Any:  # fmt: skip
        """Many steps in one call; the arguments of _native.run_steps without the ids. Returns the steps done."""
        if not self.segmented:
            from .. import _native

            return _native.run_steps(
                self.program, update, externals, self.index_id, index, offsets, gradient_scalars, update_scalars,
                updates, self.loss_id, losses, stop, seconds, check_nan, ledger,
            )  # fmt: skip
        from .segmented import run_steps

        return run_steps(
            self, update, externals, index, offsets, gradient_scalars, update_scalars, updates, losses, stop,
            seconds, check_nan, ledger,
        )  # fmt: skip

    def with_steps(self, steps: int) -> Any:
        """Another program of the same step and arena that also updates parameters; its scalars are behind those of
        this one.

        Parameters
        ----------
        steps : dict
            id(parameter) -> passes.update.Step. It makes those that nothing stands in the way of: see `updated`.

        Returns
        -------
        TrainingProgram or None
            None if there are none: the pass is off, or Python-defined ops split the program.
        """
        return self.recipe.compile(steps) if self.recipe is not None and steps else None

    def validate_labels(self, name: str, labels: Any) -> None:
        """Raise IndexError if the labels of data set `name` are outside the loss's classes."""
        for checked, classes, ignore_index in self.label_checks:
            if checked == name:
                validate_labels(np.asarray(labels), classes, ignore_index)


class _Gather:
    """Makes the inputs of a training program from data sets, by row numbers."""

    def __init__(self, specs, by_gather):
        self.specs = specs  # id(tensor) -> (name, shape, dtype, row stride or None)
        self.by_gather = by_gather
        self.buffers = {}
        self.index = None

    def __call__(self, tensor, low, segment):
        source = tensor.node.inputs[0] if tensor.node.op == "cast" else tensor
        name, shape, dtype, stride = self.specs[id(source)]
        if name not in self.buffers:
            self.buffers[name] = low.builder.external(0, name)
        from .lower.view import View, contiguous_strides

        code = SOURCE_CODES.get(dtype.str[1:])
        if code is None or not dtype.isnative:
            raise TypeError(f"{name} has dtype {dtype}, which cannot be gathered: convert it first")
        buffer, columns = self.buffers[name], product(shape)
        if not self.by_gather:
            if tensor.dtype != dtype:
                raise TypeError(f"{name} must be {tensor.dtype} when rows are not gathered, not {dtype}")
            return View(buffer, 0, tensor.shape, contiguous_strides(tensor.shape), tensor.kind)
        if self.index is None:
            self.index = low.builder.external(0, "index")
        view = low.result(tensor)
        src = View(buffer, 0, (ROWS,), (1,), "stat")
        index = View(self.index, 0, (ROWS,), (1,), "int")
        if tensor.kind == "int":
            if columns != 1 or dtype != np.int64:
                raise TypeError(f"{name} holds labels: it must be int64 of one column, not {dtype} {shape}")
            low.op("gather_labels", {"src": src, "index": index, "y": view}, rows=ROWS)
        else:
            row = columns if stride is None else stride
            low.op(
                "gather", {"src": src, "index": index, "y": view}, rows=ROWS, cols=columns, src_row=row, y_row=columns,
                src_dtype=code,
            )  # fmt: skip
        return view


def _spec(name, spec):
    shape, dtype, *stride = spec
    return name, tuple(shape), np.dtype(dtype), stride[0] if stride else None


def build_training(
    module: Any, loss: Callable[..., Any] | None, input_specs: Any, target_spec: Any, dtype: Any, *, capacity: Any,
    sample_weight: bool = False, gather: bool = True, accumulate: bool = False, seed: int | None = 0,
    frozen: frozenset[int] | set[int] = frozenset(), disabled: Iterable[str] = (),
) -> Any:  # fmt: skip
    """Compile the gradient half of a training step (decision 5).

    Parameters
    ----------
    module : callable
        Run once on symbolic tensors with training on.
    loss : callable
        loss(output, target) -> scalar tensor, or with a third argument, the sample weights.
    input_specs : sequence of (shape without rows, dtype[, elements between rows])
        The data sets as they are; other dtypes than the model's are converted by the gather.
    target_spec : the same for the target
        Integer dtypes of shape () or (1,) are class labels and must be int64.
    dtype : float32 or float64
    capacity : int
        Most rows of a batch.
    sample_weight : bool
        The loss takes a weight per row, data set "w" (of the model's dtype).
    gather : bool
        Rows are picked by an index; False: the externals are the batch itself.
    accumulate : bool
        Gradients are multiplied by the step scalar "divisor" (the batch's own, so that they are those of the sum of
        its rows) and added to the arena. Whoever applies them clears it afterwards.
    seed : int
        Key of dropout's stream.
    frozen : set of int
        id of parameters that are constants here, whatever their `requires_grad`.

    Returns
    -------
    TrainingProgram
    """
    graph, inputs, output = _trace(module, input_specs, dtype, True, seed)
    specs = {id(t): _spec(f"x{i}", spec) for i, (t, spec) in enumerate(zip(inputs, input_specs, strict=True))}
    target_shape, target_dtype = tuple(target_spec[0]), np.dtype(target_spec[1])
    labels = target_dtype.kind in "iu" and product(target_shape) == 1
    target = graph.input((ROWS, *target_shape), "int" if labels else "real", "y")
    specs[id(target)] = _spec("y", target_spec)
    weight = None
    if sample_weight:
        weight = graph.input((ROWS,), name="w")
        specs[id(weight)] = ("w", (), graph.dtype, None)
    graph.watch.callable(loss, f"the loss {getattr(loss, '__name__', type(loss).__name__)}")
    with tracing(graph), graph.module("loss"):
        value = graph.real(graph.tensor(call_loss(loss, output, target, weight)))
    if value.shape != () and any(isinstance(size, Dim) or size != 1 for size in value.shape):
        raise ValueError(f"a loss must be one number, not a tensor of shape {value.shape}")
    value = value.reshape(())
    return _finish_training(graph, value, specs, capacity, gather, accumulate, frozen, disabled)


def _finish_training(graph, value, specs, capacity, gather, accumulate, frozen, disabled):
    trainable = [(p, t) for p, t in graph.parameters.values() if p.requires_grad and id(p) not in frozen]
    seed = graph.constant(1.0)
    if accumulate:
        seed = graph.emit("step_scalar", (), {"column": _SCALARS.index("divisor")}, [((), "real")]).outputs[0]
    found = gradients([value], [seed], [t for _, t in trainable])
    pairs = [(p, g) for (p, _), g in zip(trainable, found, strict=True) if g is not None]
    effects = [t for _, t in graph.states.values()]
    tensors = run_passes(graph, [value, *(g for _, g in pairs), *effects], disabled)
    # what lies at a fixed address is written by a native op, also when Python computed it
    tensors = [graph.apply("alias", (t,), {}) if t.node.op == "python_op" else t for t in tensors]
    recipe = _Recipe(graph, tensors, [p for p, _ in pairs], specs, capacity, gather, accumulate)
    program = recipe.compile()
    if is_on("fuse_update", disabled) and gather and not accumulate and not program.segmented:
        program.recipe = recipe
    return program


class _Recipe:
    """A differentiated training graph, behind the passes. tensors: the loss, one gradient per parameter, effects."""

    def __init__(self, graph, tensors, parameters, specs, capacity, gather, accumulate):
        self.graph, self.tensors, self.parameters, self.specs = graph, tensors, parameters, specs
        self.capacity, self.gather, self.accumulate = capacity, gather, accumulate
        self.arena, views = _arena(parameters, graph.dtype)
        self.views = {id(p): view for p, view in zip(parameters, views, strict=True)}

    def compile(self, steps=None):
        """The TrainingProgram; steps: {id(parameter): passes.update.Step}, updates to be made by it. None if it could
        make none of them."""
        tensors, count = list(self.tensors), len(self.parameters)
        if steps:
            owned = {id(p): t for p, t in self.graph.parameters.values()}
            places = {1 + i: (owned[id(p)], steps[id(p)]) for i, p in enumerate(self.parameters) if id(p) in steps}
            tensors = fuse_update(self.graph, tensors, places, self.capacity)
        value, grads, effects = tensors[0], tensors[1 : 1 + count], tensors[1 + count :]
        updated = [t for t in grads if t.node.op == "weight_update" and t.slot == 0]
        if steps and not updated:
            return None
        left = [(p, t) for p, t in zip(self.parameters, grads, strict=True) if not any(t is u for u in updated)]
        program = self._lower(value, left, [*effects, *updated])
        program.updated = {id(p) for p in self.parameters} - {id(p) for p, _ in left}
        return program

    def _lower(self, value, pairs, effects):
        graph, found, places = self.graph, [(p, self.views[id(p)]) for p, _ in pairs], {}
        for (parameter, view), (_, tensor) in zip(found, pairs, strict=True):
            places.setdefault(id(tensor), []).append((logical_view(view, parameter.shape), self.accumulate))
        source = _Gather(self.specs, self.gather)
        unique = list({id(t): t for _, t in pairs}.values())
        plan = Plan(
            graph.dtype, [], [], effects=effects, arena=places, arena_tensors=unique, gather=source, keep=[value]
        ).finish(self.capacity)
        names = {id_: spec[0] for id_, spec in self.specs.items()}
        checks = [(names[id(node.outputs[0])], classes, ignore) for node, classes, ignore in graph.label_checks]
        scalars = _SCALARS if self.accumulate else _SCALARS[:2]
        return TrainingProgram(
            plan, self.arena, found, source.buffers, source.index, value, graph, self.capacity, checks, scalars
        )


def _arena(parameters, dtype):
    """One array for all gradients, and each parameter's part of it in storage shape."""
    shapes = [storage_shape(p.shape) for p in parameters]
    sizes = [int(np.prod(shape)) for shape in shapes]
    arena = aligned_zeros((sum(sizes),), dtype)
    views, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        views.append(arena[start : start + size].reshape(shape))
        start += size
    return arena, views
