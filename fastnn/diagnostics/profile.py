"""A trainer's whole step under the clock: gradients, then the update, and the memory that they need."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..graph.errors import shape_text
from ..graph.limits import limits
from ..graph.profile import Profile, profile_plan, profile_program
from ..nn.arrays import split_inputs
from ..threads import num_threads as thread_limit
from ..training.step_program import FusedPrograms
from ..training.targets import prepare_target, prepare_weight

if TYPE_CHECKING:
    from ..training.trainer import Trainer

_SPAN = 0.03  # seconds of steps that are timed as one call
_SPANS = 7


class MemoryUse:
    """Bytes that a training step needs while it runs, data sets not counted.

    Attributes
    ----------
    weights, gradients, state : int
        Parameters and buffers; all gradients; the optimizer's moments and averaged weights.
    activations : int
        The planned memory of everything between input and gradients.
    scratch : int
        What single ops work in: packed panels, partial sums.
    least_activations : int
        The most that is alive at one op: no plan can be smaller.
    """

    def __init__(
        self,
        weights: int,
        gradients: int,
        state: int,
        activations: int,
        scratch: int,
        least_activations: int,
    ) -> None:
        self.weights, self.gradients, self.state = weights, gradients, state
        self.activations, self.scratch, self.least_activations = activations, scratch, least_activations

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.state + self.activations + self.scratch

    @property
    def least(self) -> int:
        """Weights, gradients, state and the activations that must live."""
        return self.weights + self.gradients + self.state + self.least_activations

    @property
    def ratio(self) -> float:
        """total / least."""
        return self.total / max(self.least, 1)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "total": self.total, "least": self.least, "ratio": self.ratio}

    def __str__(self) -> str:
        return (
            f"memory: {_bytes(self.total)} = weights {_bytes(self.weights)} + gradients {_bytes(self.gradients)} + "
            f"optimizer state {_bytes(self.state)} + activations {_bytes(self.activations)} + scratch "
            f"{_bytes(self.scratch)}; {self.ratio:.2f} times the lower bound (activations at least "
            f"{_bytes(self.least_activations)})"
        )


def _bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024


def profile(
    trainer: Trainer,
    x: Any,
    y: ArrayLike,
    *,
    batch_size: int | str = 128,
    sample_weight: ArrayLike | None = None,
    repeats: int = 20,
) -> Profile:
    """Measure a whole training step, op by op: gradients and update. The trainer and its model stay as they are.

    Parameters
    ----------
    trainer : Trainer
    x, y, sample_weight
        As in `Trainer.fit`; at least one batch.
    batch_size : int
    repeats : int
        Steps that are timed.

    Returns
    -------
    fastnn.graph.Profile
        ``print`` shows per op: shape, FLOPs, bytes, threads, time, GFLOP/s, GB/s, the share of what this machine can do
        (measured at the first profile, which takes half a second); the whole step against its roofline; and the memory
        of the step against its lower bound.
    """
    names, arrays = split_inputs(x)
    total = len(arrays[0])
    rows = total if batch_size == "full" else min(int(batch_size), total)
    if rows < 1 or int(repeats) < 1:
        raise ValueError(
            f"profile needs rows, a batch size and repeats of at least 1; got {total}, {batch_size}, {repeats}"
        )
    target, spec = prepare_target(y, trainer.loss, trainer._output_shape(names, arrays), total, trainer.model.dtype)
    weight = None if sample_weight is None else prepare_weight(sample_weight, total, trainer.model.dtype, trainer.loss)
    step = trainer._runner.program(names, arrays, target, spec, weight is not None, rows)
    programs = step.programs()
    if trainer.gradient_hook is not None:
        programs = FusedPrograms(step.training, step.update, fuse=False)
    step.check_rows(rows)
    externals = step.externals(arrays, target, weight)
    order = np.random.default_rng(trainer.seed).permutation(total)[: total // rows * rows]
    with trainer.model._guard.writing(), thread_limit(trainer.num_threads), _unchanged(programs):
        scalars = step.gradient_rows(1), step.update.rows(1, trainer._rate())
        ops = _gradient_ops(programs, externals, order[:rows], scalars, repeats)
        ops += _update_ops(step, programs, scalars[1], repeats)
        wall = _wall(step, programs, externals, order, rows, repeats)
        machine = limits(trainer.model.dtype)
    what = f"a training step of {rows} rows with {type(trainer.optimizer).__name__}"
    return Profile(what, ops, machine, wall, memory_of(trainer, step, programs))


def _natives(programs):
    gradients = [segment.program for segment in programs.training.plan.segments if segment.program is not None]
    return [*gradients, programs.update]


@contextmanager
def _unchanged(programs):
    """Whatever the programs write is as before when the block ends."""
    bound = {}
    for program in _natives(programs):
        bound.update((id(array), array) for array in program.bound_arrays().values())
    kept = [(array, array.copy()) for array in bound.values() if array.flags.writeable]
    try:
        yield
    finally:
        for array, before in kept:
            array[...] = before


def _gradient_ops(programs, externals, index, scalars, repeats):
    given = dict(programs.externals(externals))
    if programs.training.index_id is not None:
        given[programs.training.index_id] = np.ascontiguousarray(index, np.int64)
    return profile_plan(programs.training.plan, len(index), {}, given, tuple(programs.scalars(*scalars)[0]), repeats)


def _update_ops(step, programs, scalars, repeats):
    program, kind = programs.update, step.trainer.optimizer.kind
    names = {id(parameter.storage): (name, parameter.shape) for name, parameter, _ in step.items}
    arrays = program.bound_arrays()
    described = []
    for entry, used in zip(program.op_report(0), program.op_buffers(0, {}), strict=True):
        name, shape = names.get(id(arrays.get(next(iter(used)))), ("gradients", ()))
        what = kind if entry["name"] == "optimizer" else entry["name"]
        described.append({**entry, "label": f"{name} {what}", "shape": shape_text(shape) if shape else ""})
    return profile_program(program, described, step.trainer.model.dtype, 0, {}, tuple(scalars[0]), repeats)


def _wall(step, programs, externals, order, rows, repeats):
    """Median seconds of a step among several native calls of many steps."""
    rate = step.trainer._rate()

    def run(count):
        index = np.ascontiguousarray(np.resize(order, count * rows), np.int64)
        offsets = np.arange(count + 1, dtype=np.int64) * rows
        scalars, losses = step.gradient_rows(count), np.empty(count)
        start = time.perf_counter()
        programs.run_steps(externals, index, offsets, scalars, step.update.rows(count, rate), losses)
        return (time.perf_counter() - start) / count

    run(2)
    count = max(2, min(10_000, int(_SPAN / max(run(5), 1e-7)), 1 + int(2e7 / rows)))
    return float(np.median([run(count) for _ in range(max(3, min(_SPANS, repeats)))]))


def memory_of(trainer: Trainer, step: int, programs: Any):
    """The MemoryUse of a step's step."""
    natives = _natives(programs)
    tensors = {id(t): t for _, t in trainer.model._all_named_tensors()}
    slots = trainer.state.optimizer_state.slots.values()
    state = sum(array.nbytes for slot in slots for array in slot.arrays.values())
    state += sum(average.array.nbytes for _, average, _ in step.update.slots if average is not None)
    return MemoryUse(
        weights=sum(t.storage.nbytes for t in tensors.values()),
        gradients=sum(view.nbytes for _, view in programs.training.gradients),
        state=state,
        activations=sum(program.workspace_bytes for program in natives),
        scratch=sum(program.scratch_bytes for program in natives),
        least_activations=sum(program.lower_bound_bytes for program in natives),
    )
