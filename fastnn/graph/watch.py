"""What a trace reads besides its arguments, so that a program knows when it is stale (decision 22).

Modules, their lists and dicts, parameters and losses count their own changes (`_native.Revised`). Attributes of plain
objects, and variables that a function closes over, have to stay the same objects. What can change in place and tells
nobody is refused by name where it is read: lists, dicts, sets. Arrays become read-only copies.
"""

import functools
import sys
import types
from collections.abc import MutableMapping, MutableSequence, MutableSet

import numpy as np

from .. import _native
from ..hints import missing
from .context import current, is_tracing

_SIMPLE = (str, bytes, int, float, complex, bool, type(None), type, np.generic, np.dtype, types.ModuleType)
_CHANGING = (MutableSequence, MutableMapping, MutableSet)


def read_only(array):
    """A copy that nobody can write to."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def frozen(value):
    """An array, or tuple of arrays, as read-only copies; anything else as it is."""
    if isinstance(value, np.ndarray):
        return read_only(value)
    if type(value) is tuple and not all(map(stays, value)):
        return tuple(map(frozen, value))
    return value


def stays(value):
    """Whether a value can only change by being replaced: numbers, texts, types, read-only arrays, tuples of them."""
    if isinstance(value, np.ndarray):
        return not value.flags.writeable
    if isinstance(value, (tuple, frozenset)):
        return all(map(stays, value))
    return isinstance(value, (_native.Revised, *_SIMPLE)) or not hasattr(value, "__dict__") and not _changes(value)


def _changes(value):
    return isinstance(value, _CHANGING)


class Watch:
    """Collects what one trace reads."""

    def __init__(self):
        self._sources = {}  # id -> (Revised, its revision when it was read first)
        self._values = []
        self._known = {}  # id -> plain object or function that is watched already

    def on(self, source):
        """A `Revised`."""
        self._sources.setdefault(id(source), (source, source._revision))

    def tree(self, owner):
        """A `Watched` with all that belongs to it."""
        for source in owner._sources():
            self.on(source)

    def read(self, value, what):
        """A value that the trace reads from an attribute or variable.

        Raises
        ------
        TypeError
            If it can change in place.
        """
        if isinstance(value, Watched):
            self.tree(value)
        elif isinstance(value, _native.Revised):
            self.on(value)
        elif _changes(value):
            raise TypeError(
                f"{what} is a {type(value).__name__}, and a change inside it could not be seen: use a tuple, an array, "
                "or a list or dict of nothing but modules"
            )
        elif isinstance(value, tuple):
            for item in value:
                self.read(item, what)
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):
            self.read(value.__self__, what)
        elif isinstance(value, functools.partial):
            for item in (value.func, value.args, *value.keywords.values()):
                self.read(item, what)
        elif not isinstance(value, (np.ndarray, *_SIMPLE)):
            self._attributes(value, what)

    def _attributes(self, value, what):
        """All attributes of a plain object."""
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is not dict or id(value) in self._known or _is_foreign(type(value)):
            return
        if hasattr(value, "detach"):
            raise TypeError(f"{what} is a tensor of another library: give fastnn a NumPy array")
        self._known[id(value)] = value
        for name, item in list(attributes.items()):
            if isinstance(item, np.ndarray) and item.flags.writeable:
                attributes[name] = item = read_only(item)
            self._values.append((attributes, name, item))
            self.read(item, f"{what}.{name}")
        self._values.append((attributes, None, len(attributes)))

    def function(self, fn):
        """The variables that a function closes over, and the modules and losses among the globals that it names."""
        if id(fn) in self._known:
            return
        self._known[id(fn)] = fn
        for cell in fn.__closure__ or ():
            self.cell(cell)
        if fn.__module__ and fn.__module__.split(".")[0] == "fastnn":
            return
        for name in _names(fn.__code__):
            value = fn.__globals__.get(name)
            if isinstance(value, (_native.Revised, int, float, tuple)) and stays(value):
                self._values.append((fn.__globals__, name, value))
                self.read(value, name)

    def cell(self, cell):
        """A variable of an enclosing function."""
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            return
        self._values.append((cell, None, value))
        if isinstance(value, (_native.Revised, tuple, types.FunctionType)) and not _changes(value):
            self.read_variable(value)
        elif hasattr(value, "watch_for"):  # another compiled function
            value.watch_for(self)

    def read_variable(self, value):
        """What a variable holds: arrays and lists there are constants of the trace, as they always were."""
        if isinstance(value, tuple):
            for item in value:
                self.read_variable(item)
        elif isinstance(value, (_native.Revised, types.FunctionType)):
            self.read(value, "")

    def callable(self, fn, what):
        """A loss, or another function given by the user."""
        if hasattr(fn, "watch_for"):  # a compiled function
            fn.watch_for(self)
        elif isinstance(fn, (Watched, types.FunctionType, types.MethodType, functools.partial)):
            self.read(fn, what)
        else:
            self._attributes(fn, what)

    def revisions(self):
        """`_native.Revisions` of what has been read so far."""
        return _native.Revisions(tuple(self._sources.values()), tuple(self._values))


def _names(code):
    """Names of globals and attributes in a function's code and in the functions inside it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant))
    return sorted(found)


def _is_foreign(cls):
    """Whether a class is of the standard library (a logger, a lock, a path) or ours: nothing a user's model changes."""
    root = (cls.__module__ or "").split(".")[0]
    return root == "fastnn" or (root in sys.stdlib_module_names and root != "__main__")


class Watched(_native.Revised):
    """Base of modules and losses: each change of an attribute counts, and nothing that a trace reads changes unseen.

    Arrays are kept as read-only copies. Lists, dicts, sets and plain objects are kept apart, so that reading them is
    noticed while a model is traced; everywhere else they are attributes like any other.
    """

    _apart = None  # {name: value}
    _kind = "module"  # of hints.py

    def __setattr__(self, name, value):
        value = frozen(value)
        if self._apart is not None:
            self._apart.pop(name, None)
        if not stays(value) and not getattr(value, "_fastnn_symbolic_", False) and not hasattr(type(self), name):
            self.__dict__.pop(name, None)
            self.__dict__.setdefault("_apart", {})[name] = value
        else:
            object.__setattr__(self, name, value)
        if not getattr(value, "_fastnn_symbolic_", False):  # a forward may keep a tensor to look at
            self._touch()

    def __getattr__(self, name):
        apart = self.__dict__.get("_apart")
        if apart is None or name not in apart:
            raise AttributeError(missing(self._kind, self, name))
        if is_tracing():
            current().watch.read(apart[name], f"the attribute {name!r} of {type(self).__name__}")
        return apart[name]

    def __delattr__(self, name):
        self._touch()
        if self._apart is not None and name in self._apart:
            del self._apart[name]
        else:
            object.__delattr__(self, name)

    def __dir__(self):
        return sorted({*object.__dir__(self), *(self._apart or ())})

    def __getstate__(self):
        state = self.__dict__.copy()
        if self._apart is not None:
            state["_apart"] = dict(self._apart)
        return state

    def __setstate__(self, state):
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.__dict__.update(state)

    def _sources(self):
        """What counts changes of this object: itself, and what it owns."""
        return [self]

    def _options(self):
        """{name: value} of the attributes, private ones left out."""
        known = {**self.__dict__, **(self._apart or {})}
        return {name: value for name, value in known.items() if not name.startswith("_")}
