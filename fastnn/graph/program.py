"""Program: a compiled function or module that can be called, summarised and profiled."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..hints import keywords
from .transforms import Compiled


class Program:
    """What `fastnn.compile` returns."""

    def __init__(self, fn: Callable[..., Any], example_inputs: Any = (), disabled: Iterable[str] = ()) -> None:
        self._fn = fn
        self._disabled = tuple(disabled)
        self._is_module = hasattr(fn, "named_parameters") and hasattr(fn, "forward")
        self._model = None
        self._forward = None
        self._function = None
        self._rows = 1
        if not self._is_module:
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
        self._specs = [shape for shape, _ in specs]
        self._model = build_inference(self._fn, specs, self._fn.dtype, disabled=self._disabled)
        self._forward = self._model.forward

    def watch_for(self, watch: Any) -> None:
        """Tell what a program that this one becomes a part of depends on."""
        if self._is_module:
            watch.tree(self._fn)
        else:
            self._function.watch_for(watch)

    def __call__(self, *inputs: Any, out: Any = None) -> Any:
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
        if self._function is not None:
            if out is not None:
                raise TypeError("out= is for compiled modules")
            return self._function(*inputs)
        shapes = [np.shape(x)[1:] for x in inputs]
        if self._model is None or not self._model.revisions.are_current() or shapes != self._specs:
            self._prepare(inputs)
        arrays = tuple(np.asarray(x) for x in inputs)
        if out is not None:  # as if the inputs had been copied beforehand
            outs = out if isinstance(out, tuple) else (out,)
            arrays = tuple(a.copy() if any(np.may_share_memory(a, o) for o in outs) else a for a in arrays)
        return self._model.run(arrays, out)

    @property
    def plan(self) -> Any:
        """The lowered native program(s), those of the latest signature."""
        if self._is_module:
            if self._model is None:
                raise RuntimeError("give compile() example inputs, or call the program, before asking for its plan")
            return self._model.plan
        if self._function.last is None:
            raise RuntimeError("give compile() example inputs, or call the program, before asking for its plan")
        return self._function.last.plan

    def summary(self, rows: int | None = None) -> Any:
        """The op table as text: name, shape, FLOPs, bytes, threads and why; totals and memory at the end.

        Parameters
        ----------
        rows : int, optional
            Rows of the batch that sizes are given for; default those of the example inputs.
        """
        from .tables import summary

        return summary(self.plan, self._rows if rows is None else rows)

    def profile(self, *inputs: Any, repeats: int = 20) -> Any:
        """Measure each op on these inputs.

        Parameters
        ----------
        *inputs : arrays
        repeats : int, default 20
            Runs that are timed.

        Returns
        -------
        Profile
            ``print`` shows per op: shape, FLOPs, bytes, threads, time, GFLOP/s, GB/s, and the share of what this
            machine can do (measured at the first profile, which takes half a second); and the whole call against its
            roofline.
        """
        from .limits import limits
        from .profile import Profile, median_seconds, profile_plan

        if self._is_module:
            if self._model is None:
                self._prepare(inputs)
            arrays, rows = self._model._check_inputs(inputs)
            values = {id(t): a for t, a in zip(self._model._inputs, arrays, strict=True)}
        else:
            executable, arrays, _ = self._function.prepare(inputs)
            values, rows = executable.bind(arrays), 1
        if not rows:
            raise ValueError("profile: the inputs have no rows")
        ops = profile_plan(self.plan, rows, values, repeats=repeats)
        wall = median_seconds(lambda: self(*inputs), repeats)
        what = f"a call on {rows} rows" if self._is_module else "a call"
        return Profile(what, ops, limits(self.plan.dtype), wall)


def compile(fn: Callable[..., Any], *example_inputs: Any, disabled: Iterable[str] = (), **other: Any) -> Any:
    """Trace and compile a function or a module.

    Parameters
    ----------
    fn : callable
        A function of tensors, compiled per tuple of shapes and dtypes; or a module, compiled for inference with any
        number of rows.
    *example_inputs : arrays
        Only their shapes and dtypes matter. Without them the first call compiles.
    disabled : iterable of str
        Passes to leave out ("merge_common", "fuse_activation").

    Returns
    -------
    Program
    """
    if other:
        raise TypeError(keywords("compile", other))
    return Program(fn, example_inputs, disabled)
