"""Program: a compiled function or module that can be called, summarised and profiled."""

import functools
import time

import numpy as np

from .errors import shape_text
from .parameter import graph_version
from .symbols import at


class Program:
    """What `fastnn.compile` returns."""

    def __init__(self, fn, example_inputs=(), disabled=()):
        self._fn = fn
        self._disabled = tuple(disabled)
        self._is_module = hasattr(fn, "named_parameters") and hasattr(fn, "forward")
        self._model = None
        self._forward = None
        self._function = None
        self._rows = 1
        self._version = None
        if not self._is_module:
            from .transforms import Compiled

            self._function = Compiled(fn, effects=True, disabled=disabled)
        if example_inputs:
            self._prepare(example_inputs)

    def _prepare(self, inputs):
        if not self._is_module:
            self._function.prepare(inputs)
            return
        arrays = [np.asarray(x) for x in inputs]
        if any(not a.ndim for a in arrays):
            raise ValueError("a module's inputs need an axis of rows")
        from .build import build_inference

        specs = [(a.shape[1:], a.dtype) for a in arrays]
        self._rows = len(arrays[0])
        self._version = graph_version()
        self._specs = [shape for shape, _ in specs]
        self._model = build_inference(self._fn, specs, self._fn.dtype, disabled=self._disabled)
        self._forward = self._model.forward()
        if self._forward is not None:
            self._forward.allow(None, self._version)

    def __call__(self, *inputs, out=None):
        """Run on arrays.

        Parameters
        ----------
        out : ndarray or tuple, optional
            Modules only: where to write.
        """
        if self._forward is not None and len(inputs) == 1:
            y = self._forward.run(inputs[0], out)
            if y is not None:
                return y
        if not self._is_module:
            if out is not None:
                raise TypeError("out= is for compiled modules")
            return self._function(*inputs)
        shapes = [np.shape(x)[1:] for x in inputs]
        if self._model is None or self._version != graph_version() or shapes != self._specs:
            self._prepare(inputs)
        arrays = tuple(np.asarray(x) for x in inputs)
        if out is not None:  # as if the inputs had been copied beforehand
            outs = out if isinstance(out, tuple) else (out,)
            arrays = tuple(a.copy() if any(np.may_share_memory(a, o) for o in outs) else a for a in arrays)
        return self._model.run(arrays, out)

    @property
    def plan(self):
        """The lowered native program(s), those of the latest signature."""
        if self._is_module:
            if self._model is None:
                raise RuntimeError("give compile() example inputs, or call the program, before asking for its plan")
            return self._model.plan
        if self._function.last is None:
            raise RuntimeError("give compile() example inputs, or call the program, before asking for its plan")
        return self._function.last.plan

    def summary(self, rows=None):
        """The op table as text: name, shape, FLOPs, bytes, threads and why; totals and memory at the end.

        Parameters
        ----------
        rows : int, optional
            Rows of the batch that sizes are given for; default those of the example inputs.
        """
        return summary(self.plan, self._rows if rows is None else rows)

    def profile(self, *inputs, repeats=10):
        """Time per op as text, on these inputs: microseconds, GFLOP/s, GB/s, share of this machine's measured limit."""
        if self._is_module:
            if self._model is None:
                self._prepare(inputs)
            arrays, rows = self._model._check_inputs(inputs)
            values = {id(t): a for t, a in zip(self._model._inputs, arrays, strict=True)}
        else:
            executable, arrays, _ = self._function.prepare(inputs)
            values, rows = executable.bind(arrays), 1
        return profile(self.plan, rows, values, repeats)


def describe_ops(plan, rows):
    """One dict per native op: the native report plus the graph's name and output shape."""
    table = []
    for segment in plan.segments:
        if segment.program is None:
            continue
        step = min(rows, segment.program.capacity)
        for entry, node in zip(segment.program.op_report(step), segment.lowering.nodes, strict=True):
            label, shape = "layout", ""
            if node is not None:
                activation = node.attrs.get("activation")
                label = node.attrs.get("label") or node.label
                label += f"+{activation}" if activation else ""
                label = f"{node.scope} {label}" if node.scope else label
                shape = shape_text(node.outputs[0].shape)
            table.append({**entry, "label": label, "shape": shape})
    return table


def _count(value):
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 1000:
            return f"{value:.0f}" if unit == "" else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}P"


def _table(header, lines):
    widths = [max(len(str(line[i])) for line in [header, *lines]) for i in range(len(header))]
    text = []
    for line in [header, ["-" * w for w in widths], *lines]:
        cells = [str(c).ljust(w) for c, w in zip(line[:3], widths, strict=False)]
        cells += [str(c).rjust(w) for c, w in zip(line[3:], widths[3:], strict=True)]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def summary(plan, rows):
    """The op table of a plan."""
    ops = describe_ops(plan, rows)
    chunked = f" in chunks of {plan.chunk}" if plan.chunk else ""
    lines = [
        [op["label"], op["name"], op["shape"], _count(op["flops"]), _count(op["bytes"]), op["threads"], op["reason"]]
        for op in ops
    ]
    programs = [segment.program for segment in plan.segments if segment.program is not None]
    planned = sum(program.workspace_bytes for program in programs)
    least = sum(program.lower_bound_bytes for program in programs)
    python_ops = sum(map(len, plan.python_ops))
    foot = [
        f"{len(ops)} ops for {min(rows, plan.chunk) if plan.chunk else rows} rows{chunked}: "
        f"{_count(sum(op['flops'] for op in ops))} FLOPs, {_count(sum(op['bytes'] for op in ops))} bytes moved",
        f"workspace {planned} bytes, lower bound {least} bytes",
    ]
    if python_ops:
        foot.append(f"{python_ops} Python-defined ops split it into {len(programs)} native programs")
    header = ["op", "kernel", "output", "FLOPs", "bytes", "threads", "why"]
    return _table(header, lines) + "\n" + "\n".join(foot)


@functools.lru_cache(maxsize=4)
def measured_limits(itemsize):
    """(GFLOP/s, GB/s) that this machine reached just now: a product of 768x768 and a copy of 64 MB, best of three."""
    from .. import _native

    dtype = np.float32 if itemsize == 4 else np.float64
    code, n = (0, 768) if itemsize == 4 else (1, 768)
    a, b, c = np.ones((n, n), dtype), np.ones((n, n), dtype), np.empty((n, n), dtype)
    dims = dict.fromkeys(_native.ops()["gemm"][2], 0)
    dims |= {"rows": n, "cols": n, "depth": n, "a_row": n, "a_depth": 1, "b_depth": n, "b_col": 1, "c_row": n}
    order = tuple(dims.values())
    product = _best(lambda: _native.run_op("gemm", (a, b, None, c), order, (), code))
    source = np.ones(64_000_000 // itemsize, dtype)
    target = np.empty_like(source)
    moved = _best(lambda: np.copyto(target, source))
    return 2e-9 * n**3 / product, 2e-9 * source.nbytes / moved


def _best(run):
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def profile(plan, rows, values, repeats):
    """The time table of a plan."""
    if len(plan.segments) > 1:
        raise ValueError("a program that is split around Python-defined ops cannot be profiled as one")
    segment = plan.segments[0]
    results = {id(t): np.empty(tuple(at(s, rows) for s in t.shape), plan.dtype) for t in plan.outputs}
    externals = {buffer: values[key] for key, buffer in segment.feeds.items()}
    externals |= {buffer: results[key] for key, buffer in segment.results.items()}
    seconds = segment.program.profile(rows, externals, (0.0,), repeats)
    ops = describe_ops(plan, rows)
    peak, bandwidth = measured_limits(plan.dtype.itemsize)
    chunks = -(-rows // plan.chunk) if plan.chunk else 1
    lines, total, ideal_total = [], sum(seconds), 0.0
    for op, time_ in zip(ops, seconds, strict=True):
        time_ = max(time_, 1e-12)
        flops, moved = op["flops"] * chunks, op["bytes"] * chunks
        ideal = max(flops / (peak * 1e9), moved / (bandwidth * 1e9))
        ideal_total += ideal
        lines.append([
            op["label"], op["name"], op["shape"], f"{time_ * 1e6:.1f}", f"{100 * time_ / max(total, 1e-12):.0f} %",
            f"{flops / time_ * 1e-9:.1f}", f"{moved / time_ * 1e-9:.1f}", f"{100 * ideal / time_:.0f} %",
        ])  # fmt: skip
    header = ["op", "kernel", "output", "us", "of all", "GFLOP/s", "GB/s", "of limit"]
    return (
        _table(header, lines)
        + f"\ntotal {total * 1e6:.1f} us, {100 * ideal_total / max(total, 1e-12):.0f} % of the limit "
        + f"(measured: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s from memory; data in cache can exceed it)"
    )
