"""grad, value_and_grad, vjp, jvp, hvp: functions of NumPy arrays, traced and compiled once per signature.

A function is written with fastnn.functional and operators. It is traced with symbolic tensors the first time that it
meets a tuple of shapes and dtypes, and its program is kept in a small least-recently-used table (decision 3).
Everything that is not an argument is a constant of the trace: arrays that the function closes over are copied then.
The function is traced again if a variable that it closes over is bound to another object, or if a module, a number or
a tuple among the globals that it names is; other globals are not watched.
Parameters are referenced: programs see their new values. Transforms nest, so that a Hessian-vector product is
``jvp(grad(f), (x,), (v,))``, which `hvp` is short for.

dtypes: float32 stays float32 and float64 stays float64, mixtures raise; float16 counts as float32. Integer arrays
that are differentiated become float32 (or the type of the others); others may serve as labels and are converted
where they enter arithmetic. Python floats follow the arrays, and are float64 alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .context import current, tracing
from .differentiate import gradients, tangents_of
from .executable import Executable
from .rules.base import full_like
from .structure import describe, flatten, unflatten
from .trace import Graph

CACHE_SIZE = 32
_FAST = 4  # signatures of a function that are tried natively, the latest first
_NUMBERS = (float, int, np.float64, np.float32)  # that may stand for an array of no axes


def _is_symbolic(value):
    return hasattr(value, "_fastnn_symbolic_")


def _arrays(leaves, real):
    """(arrays, kinds, dtype) of the arguments of a program; real[i]: leaf i must be floating."""
    arrays, strong, weak = [], set(), False
    for leaf in leaves:
        if hasattr(leaf, "storage"):
            leaf = leaf.numpy()
        array = np.asarray(leaf)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise TypeError(f"arguments must be real arrays or numbers, not {type(leaf).__name__} {array.dtype}")
        if array.dtype.kind == "f":
            if isinstance(leaf, float) and not isinstance(leaf, np.floating):
                weak = True
            else:
                strong.add("float64" if array.dtype.itemsize == 8 else "float32")
        arrays.append(array)
    if len(strong) > 1:
        raise TypeError("arguments mix float32 and float64: convert them to one of the two")
    dtype = np.dtype(strong.pop() if strong else "float64" if weak else "float32")
    kinds = ["real" if r or a.dtype.kind == "f" or not a.ndim else "int" for r, a in zip(real, arrays, strict=True)]
    arrays = [
        np.require(a, np.int64 if kind == "int" else dtype, ("C", "A")) for a, kind in zip(arrays, kinds, strict=True)
    ]
    return arrays, kinds, dtype


class Compiled:
    """A function of nested arrays, one program per signature.

    Parameters
    ----------
    fn : callable
        Takes and returns (nested tuples, lists, dicts of) tensors.
    real_args : set of int, optional
        Arguments whose integers become floating; None: all of them.
    watch : callable, optional
        The user's function inside fn: a change of what it closes over means another trace.
    effects : bool
        Whether states that the function changes (running statistics) are written.
    """

    def __init__(
        self, fn: Callable[..., Any], real_args: Any = (), effects: bool = False, disabled: Iterable[str] = (),
        watch: Any = None,
    ) -> None:  # fmt: skip
        self.fn = fn
        self.watch = fn if watch is None else watch
        self.real_args = real_args
        self.effects = effects
        self.disabled = tuple(disabled)
        self.last = None
        self._fast = ()
        self._cache = OrderedDict()
        self._lock = threading.RLock()

    def prepare(self, args: Any) -> Any:
        """(executable, arrays, structure of the result) for these arguments."""
        from .. import _native

        leaves, structure = flatten(args)
        real = []
        for i, arg in enumerate(args):
            real += [self.real_args is None or i in self.real_args] * len(flatten(arg)[0])
        arrays, kinds, dtype = _arrays(leaves, real)
        closed_over = _closed_over(self.watch)
        key = (
            describe(structure), tuple(a.shape for a in arrays), tuple(kinds), dtype, _native.get_isa(),
            tuple(map(id, closed_over)),
        )  # fmt: skip
        with self._lock:
            entry = self._cache.get(key)
            if entry is None or not entry.executable.revisions.are_current():
                # the closure's values are kept with the program: their ids in the key stay theirs
                entry = _Entry(*self._trace(arrays, kinds, dtype, structure), closed_over)
                self._cache[key] = entry
                while len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
            self.last = entry.executable
            self._remember(entry.call(leaves, structure))
        return entry.executable, arrays, entry.structure

    def _remember(self, call):
        """Try this native call first from now on."""
        if call is not None:
            self._fast = (call, *(other for other in self._fast if other is not call))[:_FAST]

    def _trace(self, arrays, kinds, dtype, structure):
        graph = Graph(dtype)
        named = enumerate(zip(arrays, kinds, strict=True))
        inputs = [graph.input(array.shape, kind, f"argument {i}") for i, (array, kind) in named]
        self.watch_for(graph.watch)
        with tracing(graph):
            result = self.fn(*unflatten(structure, inputs))
        leaves, result_structure = flatten(result)
        outputs = [graph.tensor(_not_none(leaf)) for leaf in leaves]
        effects = [t for _, t in graph.states.values()] if self.effects else []
        return Executable(graph, inputs, outputs, self.disabled, effects), result_structure

    def watch_for(self, watch: Any) -> None:
        """Tell what a program of this function depends on."""
        fn = self.watch
        if isinstance(fn, Compiled):
            fn.watch_for(watch)
        else:
            watch.callable(fn, getattr(fn, "__name__", type(fn).__name__))

    def __call__(self, *args: Any) -> Any:
        for call in self._fast:
            result = call.run(args)
            if result is not None:
                return result
        if any(_is_symbolic(leaf) for leaf in flatten(args)[0]):
            return self.fn(*args)
        executable, arrays, structure = self.prepare(args)
        executable.check_targets(arrays)
        return unflatten(structure, [array if array.ndim else array[()] for array in executable(arrays)])


class _Entry:
    """The program of one signature."""

    __slots__ = ("calls", "closed_over", "executable", "structure")

    def __init__(self, executable, structure, closed_over):
        self.executable, self.structure, self.closed_over = executable, structure, closed_over
        self.calls = {}

    def call(self, leaves, structure):
        """The `_native.Call` for leaves of these types, None for those that need converting."""
        numbers = tuple(None if type(leaf) is np.ndarray else type(leaf) for leaf in leaves)
        if any(number is not None and number not in _NUMBERS for number in numbers):
            return None
        if (describe(structure), numbers) not in self.calls:
            made = self.executable.call(structure, self.structure, numbers)
            self.calls[describe(structure), numbers] = made
        return self.calls[describe(structure), numbers]


def _closed_over(fn):
    """What a function, and functions that it closes over, close over now: other objects, another program."""
    found, functions = [], [fn]
    for fn in functions:  # grows
        while isinstance(fn, Compiled):
            fn = fn.watch
        for cell in getattr(fn, "__closure__", None) or ():
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                value = None
            found.append(value)
            if (isinstance(value, Compiled) or hasattr(value, "__closure__")) and value not in functions:
                functions.append(value)
    return found


def _not_none(leaf):
    if leaf is None:
        raise TypeError("the function returned None: return a tensor (or a tuple, list or dict of them)")
    return leaf


# --- reverse mode -----------------------------------------------------------------------------------------------------
def _graph_of(leaves):
    return next((leaf.graph for leaf in leaves if hasattr(leaf, "graph")), None) or current()


def _differentiable(args, which):
    """(args with fresh points to differentiate at, those points per argument of `which`)."""
    leaves, _ = flatten(args)
    graph = _graph_of(leaves)
    args, points = list(args), []
    for i in which:
        own, structure = flatten(args[i])
        fresh = [graph.apply("alias", (leaf,), {}) for leaf in own]
        args[i] = unflatten(structure, fresh)
        points.append((fresh, structure))
    return graph, args, points


def _zeros_for_none(found, points):
    return [full_like(p, 0.0) if g is None else g for g, p in zip(found, points, strict=True)]


def value_and_grad(fn: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns (fn(*args), gradient of it).

    Parameters
    ----------
    fn : callable
        Returns one number.
    argnums : int or tuple of int, default 0
        Arguments to differentiate with respect to; a tuple gives a tuple of gradients. An argument may be a nested
        tuple, list or dict of arrays: its gradient has the same structure.
    """
    which = argnums if isinstance(argnums, tuple) else (argnums,)

    def run(*args):
        missing = [i for i in which if not -len(args) <= i < len(args)]
        if missing:
            raise ValueError(f"argnums names argument {missing[0]}, but {len(args)} were given")
        graph, args, points = _differentiable(args, [i % len(args) for i in which])
        value = graph.real(graph.tensor(_not_none(fn(*args))))
        if value.shape not in ((), (1,), (1, 1)):
            raise ValueError(f"only one number has a gradient, but the function returned shape {value.shape}: use vjp")
        flat = [p for own, _ in points for p in own]
        found = _zeros_for_none(gradients([value], [full_like(value, 1.0)], flat), flat)
        rest = iter(found)
        grads = tuple(unflatten(structure, [next(rest) for _ in own]) for own, structure in points)
        return value.reshape(()), grads if isinstance(argnums, tuple) else grads[0]

    return _named(Compiled(run, _Which(which), watch=fn), fn, "value_and_grad")


class _Which:
    """Membership in argnums; negative numbers make every argument floating, which is what they may mean."""

    def __init__(self, which):
        self.which = which

    def __contains__(self, i):
        return i in self.which or any(w < 0 for w in self.which)


def grad(fn: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns the gradient of fn; arguments as for `value_and_grad`."""
    both = value_and_grad(fn, argnums)

    def run(*args):
        return both.fn(*args)[1]

    return _named(Compiled(run, both.real_args, watch=fn), fn, "grad")


def _named(compiled, fn, what):
    compiled.__name__ = f"{what}({getattr(fn, '__name__', 'function')})"
    return compiled


# vjp and jvp get the function anew at each call: their programs are found by its identity
_by_function = OrderedDict()
_by_function_lock = threading.RLock()


def _cached(kind, fn, make):
    try:
        hash(fn)
    except TypeError:
        return make()
    with _by_function_lock:
        compiled = _by_function.get((kind, fn))
        if compiled is None:
            compiled = _by_function[kind, fn] = make()
            while len(_by_function) > 3 * CACHE_SIZE:
                _by_function.popitem(last=False)
        else:
            _by_function.move_to_end((kind, fn))
    return compiled


def vjp(fn: Callable[..., Any], *x: Any) -> Any:
    """(y, pullback): y = fn(*x), and pullback(cotangent of y) -> tuple of gradients, one per argument.

    Examples
    --------
    >>> y, pullback = fastnn.vjp(lambda a, b: a @ b, a, b)
    >>> da, db = pullback(np.ones_like(y))
    """
    forward = _cached("forward", fn, lambda: Compiled(fn, None))

    def run(cotangent, *args):
        graph, args, points = _differentiable(args, range(len(args)))
        outputs, structure = flatten(fn(*args))
        outputs = [graph.real(graph.tensor(_not_none(y))) for y in outputs]
        cotangents, given = flatten(cotangent)
        if describe(given) != describe(structure) and len(cotangents) != len(outputs):
            raise ValueError("the cotangent must have the structure of the function's result")
        cotangents = [graph.real(graph.tensor(c)) for c in cotangents]
        for y, c in zip(outputs, cotangents, strict=True):
            if c.shape != y.shape:
                raise ValueError(f"the cotangent of an output of shape {y.shape} has shape {c.shape}")
        flat = [p for own, _ in points for p in own]
        found = iter(_zeros_for_none(gradients(outputs, cotangents, flat), flat))
        return tuple(unflatten(structure, [next(found) for _ in own]) for own, structure in points)

    back = _cached("vjp", fn, lambda: Compiled(run, None, watch=fn))
    y = forward(*x)
    dtypes = [leaf.dtype for leaf in flatten(y)[0] if not _is_symbolic(leaf)]

    def pullback(cotangent):
        leaves, structure = flatten(cotangent)
        if dtypes and not any(map(_is_symbolic, leaves)):
            cotangent = unflatten(structure, [np.asarray(c, d) for c, d in zip(leaves, dtypes, strict=True)])
        return back(cotangent, *x)

    return y, pullback


def jvp(fn: Callable[..., Any], x: Any, v: Any) -> Any:
    """(y, dy): y = fn(*x) and its derivative along the tangents v, in forward mode.

    Parameters
    ----------
    x, v : tuple
        Arguments and their tangents, of the same shapes (a single argument may come without the tuple).
    """
    x = x if isinstance(x, tuple) else (x,)
    v = v if isinstance(v, tuple) else (v,)
    if len(x) != len(v):
        raise ValueError(f"{len(x)} arguments but {len(v)} tangents")

    def run(x, v):
        graph, args, points = _differentiable(x, range(len(x)))
        flat = [p for own, _ in points for p in own]
        tangents = [graph.real(graph.tensor(t)) for t in flatten(v)[0]]
        if len(tangents) != len(flat):
            raise ValueError("the tangents must have the structure of the arguments")
        for p, t in zip(flat, tangents, strict=True):
            if p.shape != t.shape:
                raise ValueError(f"the tangent of an argument of shape {p.shape} has shape {t.shape}")
        outputs, structure = flatten(fn(*args))
        outputs = [graph.real(graph.tensor(_not_none(y))) for y in outputs]
        found = tangents_of(outputs, dict(zip(flat, tangents, strict=True)))
        return (
            unflatten(structure, outputs),
            unflatten(structure, _zeros_for_none(found, outputs)),
        )

    return _cached("jvp", fn, lambda: Compiled(run, None, watch=fn))(x, v)


def hvp(fn: Callable[..., Any], x: Any, v: Any) -> Any:
    """(y, H v): y = fn(*x), and the product of the Hessian of fn with the direction v, without forming the Hessian.

    Forward mode over reverse mode (Pearlmutter 1994): the gradient's derivative along v, at about twice the cost of a
    gradient.

    Parameters
    ----------
    fn : callable
        Returns one number.
    x, v : tuple
        Arguments and directions, of the same shapes (a single argument may come without the tuple).

    Returns
    -------
    y, product
        The product has the structure of x: a tuple if x is one.
    """
    points, directions = (a if isinstance(a, tuple) else (a,) for a in (x, v))
    both = _cached(("hvp", len(points)), fn, lambda: value_and_grad(fn, tuple(range(len(points)))))
    (y, _), (_, product) = jvp(both, points, directions)
    return y, product if isinstance(x, tuple) else product[0]


def jacobian(fn: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns the derivative of every output with respect to every element of an argument.

    Parameters
    ----------
    fn : callable
        Of arrays; returns one array of any shape.
    argnums : int, default 0

    Returns
    -------
    callable
        Its result has the shape ``(*output.shape, *argument.shape)``: one pass of `vjp` per output, or of `jvp` per
        element where those are fewer.
    """

    def run(*args):
        points = [np.asarray(a) for a in args]
        points = [p if p.dtype in (np.float32, np.float64) else p.astype(np.float32) for p in points]
        x = points[argnums]
        y, pullback = vjp(fn, *points)
        y = np.asarray(y)
        if y.size <= x.size:
            rows = [pullback(unit.reshape(y.shape))[argnums] for unit in np.eye(y.size, dtype=y.dtype)]
            return np.reshape(rows, (*y.shape, *x.shape))
        zeros = [np.zeros_like(p) for p in points]
        columns = []
        for unit in np.eye(x.size, dtype=x.dtype):
            zeros[argnums] = unit.reshape(x.shape)
            columns.append(jvp(fn, tuple(points), tuple(zeros))[1])
        return np.moveaxis(np.reshape(columns, (*x.shape, *y.shape)), range(x.ndim), range(-x.ndim, 0))

    return _renamed(run, fn, "jacobian")


def hessian(fn: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns the second derivatives of one number, of shape ``(*argument.shape, *argument.shape)``.

    One `jvp` of the gradient per element; `hvp` gives products with directions at the cost of one.
    """
    return _renamed(jacobian(grad(fn, argnums), argnums), fn, "hessian")


def _renamed(function, fn, what):
    function.__name__ = f"{what}({getattr(fn, '__name__', 'function')})"
    return function
