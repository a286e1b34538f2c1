"""Time per op of a program, beside what this machine could do.

An op's limit is max(FLOPs / peak, bytes / bandwidth) with all threads in use (limits.py). The bandwidth is that of the
smallest memory level that holds everything touched since the op last had its operands in its hands: the gradient that
was just computed comes from a near cache, a weight that is read once per step from where the whole step fits.
"""

import time
from typing import Any

import numpy as np

from .limits import limits
from .tables import count_text, describe_segment, text_table

_PYTHON_ROUNDS = 5


class OpTime:
    """One line of a profile.

    Attributes
    ----------
    label, kernel, shape : str
    seconds : float
        Of a run, waiting for other threads included: the best of several.
    flops, bytes : float
    threads : int
    limit : float
        Seconds that this machine needs at least; 0 for Python-defined ops.
    bound : str
        What sets the limit: "compute", "memory", or "python".
    """

    __slots__ = ("bound", "bytes", "flops", "kernel", "label", "limit", "seconds", "shape", "threads")

    def __init__(
        self, label: Any, kernel: Any, shape: tuple[int, ...], seconds: Any, flops: Any, moved: Any, threads: Any,
        limit: Any, bound: Any,
    ) -> None:  # fmt: skip
        self.label, self.kernel, self.shape, self.seconds = label, kernel, shape, seconds
        self.flops, self.bytes, self.threads, self.limit, self.bound = flops, moved, threads, limit, bound

    @property
    def share(self) -> Any:
        """Of the limit: 1 is as fast as this machine can be."""
        return self.limit / self.seconds if self.seconds > 0 else 0.0


class Profile:
    """What `Program.profile` and `Trainer.profile` return; ``print`` shows the table.

    Attributes
    ----------
    ops : list of OpTime
    limits : Limits
        This machine's, as measured.
    seconds : float
        Sum of the ops.
    wall : float
        Of a whole call or step, not interrupted by the clock: the median of several.
    limit : float
        The roofline: the sum of the ops' limits.
    memory : MemoryUse or None
        Of a training step.
    """

    def __init__(self, what: Any, ops: Any, measured: Any, wall: Any, memory: Any = None) -> None:
        self.what, self.ops, self.limits, self.wall, self.memory = what, ops, measured, wall, memory
        self.seconds = sum(op.seconds for op in ops)
        self.limit = sum(op.limit for op in ops)

    @property
    def share(self) -> Any:
        """Of the roofline that a whole call or step reaches."""
        return self.limit / self.wall if self.wall > 0 else 0.0

    def to_dict(self) -> Any:
        """Everything as numbers and text, for JSON."""
        ops = [{**{name: getattr(op, name) for name in OpTime.__slots__}, "share": op.share} for op in self.ops]
        memory = None if self.memory is None else self.memory.to_dict()
        machine = {"threads": self.limits.threads, "flops": self.limits.flops, "levels": self.limits.levels}
        return {
            "what": self.what, "wall": self.wall, "seconds": self.seconds, "limit": self.limit, "share": self.share,
            "limits": machine, "ops": ops, "memory": memory,
        }  # fmt: skip

    def __str__(self):
        header = [
            "op", "kernel", "output", "FLOPs", "bytes", "threads", "us", "of all", "GFLOP/s", "GB/s", "limit us",
            "bound by", "of limit",
        ]  # fmt: skip
        text = [text_table(header, [self._line(op) for op in self.ops])]
        text.append(
            f"{self.what}: {self.wall * 1e6:.1f} us, {100 * self.share:.0f} % of the roofline's "
            f"{self.limit * 1e6:.1f} us; ops one by one {self.seconds * 1e6:.1f} us"
        )
        text.append(f"this machine (measured): {self.limits}")
        if self.memory is not None:
            text.append(str(self.memory))
        return "\n".join(text)

    __repr__ = __str__

    def _line(self, op):
        seconds = max(op.seconds, 1e-12)
        native = op.bound != "python"
        return [
            op.label, op.kernel, op.shape, count_text(op.flops), count_text(op.bytes), op.threads,
            f"{op.seconds * 1e6:.2f}", f"{100 * op.seconds / max(self.seconds, 1e-12):.0f} %",
            f"{op.flops / seconds * 1e-9:.1f}" if native else "", f"{op.bytes / seconds * 1e-9:.1f}" if native else "",
            f"{op.limit * 1e6:.2f}" if native else "", op.bound, f"{100 * op.share:.0f} %" if native else "",
        ]  # fmt: skip


def profile_plan(
    plan: Any, rows: int, values: Any, externals: Any = None, scalars: Any = (0.0, 0.0), repeats: int = 10,
) -> Any:  # fmt: skip
    """OpTime of every op of a plan, in the order in which they run.

    Parameters
    ----------
    values : dict
        id(tensor) -> array of the inputs.
    externals : dict, optional
        Buffer -> array of the first program (data sets and row numbers of a training step).
    """
    values, ops = dict(values), []
    for segment, python_ops in zip(plan.segments, plan.python_ops, strict=True):
        ops += [_python_op(plan, node, rows, values, repeats) for node in python_ops]
        if segment.program is None:
            continue
        given = {buffer: values[key] for key, buffer in segment.feeds.items()}
        if segment is plan.segments[0]:
            given |= externals or {}
        for key, buffer in segment.results.items():
            values[key] = given[buffer] = plan._array(key, rows, {})
        ops += profile_program(
            segment.program, describe_segment(segment, rows), plan.dtype, rows, given, scalars, repeats
        )
    return ops


def profile_program(
    program: Any, described: Any, dtype: Any, rows: int, externals: Any, scalars: Any, repeats: int,
) -> Any:  # fmt: skip
    """OpTime of every op of one native program."""
    times = [program.profile(rows, externals, scalars, 1) for _ in range(max(1, repeats))]
    seconds = np.min(times, axis=0)
    chunks = -(-rows // program.chunk) if program.chunk else 1
    step = min(rows, program.capacity)
    machine, distances = limits(dtype), _distances(program.op_buffers(step, externals))
    ops = []
    for op, used, time_ in zip(described, distances, seconds, strict=True):
        compute = op["flops"] / machine.flops
        memory = _memory_seconds(op["bytes"], used, machine)
        ops.append(
            OpTime(
                op["label"], op["name"], op["shape"], float(time_), op["flops"] * chunks, op["bytes"] * chunks,
                op["threads"], max(compute, memory) * chunks, "compute" if compute >= memory else "memory",
            )
        )  # fmt: skip
    return ops


def _memory_seconds(moved, used, machine):
    """Time to move an op's bytes, each operand from the level where it must lie by now."""
    sizes = [min(size, moved) for size, _ in used]
    total = sum(sizes)
    if not total:
        return moved / machine.bandwidth(moved)
    return sum(
        moved * size / total / machine.bandwidth(distance) for size, (_, distance) in zip(sizes, used, strict=True)
    )


def _distances(table):
    """Per op [(bytes of a buffer, bytes of all different buffers touched since it was last used, by that op too)].

    table: per op {buffer: bytes}. The program runs again and again, so that the first use follows the last one. The
    other operands of the op itself do not count: they are touched later or at the same time.
    """
    count, found = len(table), []
    for at, used in enumerate(table):
        distances = []
        for buffer, size in used.items():
            seen = {buffer: size}
            for back in range(1, count + 1):
                before = table[(at - back) % count]
                seen.update(before)
                if buffer in before:
                    break
            distances.append((size, sum(seen.values())))
        found.append(distances)
    return found


def _python_op(plan, node, rows, values, repeats):
    times = []
    for _ in range(max(1, min(repeats, _PYTHON_ROUNDS))):
        start = time.perf_counter()
        plan.run_python([node], rows, values)
        times.append(time.perf_counter() - start)
    shape = str(node.outputs[0].shape)
    label = f"{node.scope} {node.label}" if node.scope else node.label
    return OpTime(label, "python", shape, float(np.median(times)), 0.0, 0.0, 1, 0.0, "python")


def median_seconds(run: Any, repeats: int) -> float:
    """Median time of a call, several of them timed together where they are short."""
    run()
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    inner = max(1, int(2e-4 / max(once, 1e-9)))
    times = []
    for _ in range(max(3, repeats)):
        start = time.perf_counter()
        for _ in range(inner):
            run()
        times.append((time.perf_counter() - start) / inner)
    return float(np.median(times))
