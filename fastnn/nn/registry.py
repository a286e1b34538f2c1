"""Module classes by name, and their options: what a model file's description needs. Classes register themselves."""

import importlib
import inspect
import pkgutil
import weakref
from collections.abc import Callable
from typing import Any

_classes: dict[str, list[weakref.ref[type]]] = {}
_SIMPLE = (type(None), bool, int, float, str)


def register(cls: type) -> None:
    """Called for every subclass of Module when it is defined."""
    others = [ref for ref in _classes.get(cls.__name__, []) if ref() is not None]
    _classes[cls.__name__] = [*others, weakref.ref(cls)]


def is_own(cls: type) -> bool:
    """Whether a class is one of fastnn's."""
    return cls.__module__.split(".")[0] == "fastnn"


def find(name: str, module: str | None = None) -> type | None:
    """The class of this name: fastnn's own, or the user's (of several that in `module`); None if unknown."""
    if module is None and name not in _classes:  # its file has not been needed yet
        package = importlib.import_module(__package__)
        for info in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{__package__}.{info.name}")
    known = [cls for cls in (ref() for ref in _classes.get(name, [])) if cls is not None]
    known = [cls for cls in known if is_own(cls) == (module is None) and cls.forward.__qualname__ != "_no_forward"]
    there = [cls for cls in known if cls.__module__ == module]
    return (there or known or [None])[-1]


def is_simple(value: Any) -> bool:
    """Whether JSON keeps a value: numbers, texts, flags, None, lists and tuples of them."""
    if isinstance(value, (tuple, list)):
        return all(map(is_simple, value))
    return isinstance(value, _SIMPLE)


def _listed(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


def tupled(value: Any) -> Any:
    """Lists as tuples, which a forward can read."""
    return tuple(tupled(item) for item in value) if isinstance(value, list) else value


class Given:
    """The simple arguments that an object was made with, by position and by name."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = tuple(arg if is_simple(arg) else ... for arg in args)
        self.kwargs = {name: arg if is_simple(arg) else ... for name, arg in kwargs.items()}

    def by_name(self, cls: type) -> dict[str, tuple[Any, Any]]:
        """{option: (value given, default)} of the constructor's own parameters; ... for what is not simple."""
        signature = inspect.signature(cls.__init__)
        bound = signature.bind(None, *self.args, **self.kwargs)
        bound.apply_defaults()
        found: dict[str, tuple[Any, Any]] = {}
        for parameter in list(signature.parameters.values())[1:]:
            if parameter.kind is parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                found.update((name, (value, ...)) for name, value in bound.arguments[parameter.name].items())
            else:
                found[parameter.name] = bound.arguments[parameter.name], parameter.default
        return found


def options_of(module: Any, describe: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The options that make a module like this one: its constructor's parameters, as the attributes of the same names
    are now, else as they were given. describe: (module, option) -> description of a module among them.

    Raises
    ------
    TypeError
        If an option can be found neither way.
    """
    name, options = type(module).__name__, {}
    for option, (given, default) in module._given.by_name(type(module)).items():
        if option == "seed":
            continue
        value = getattr(module, option, ...)
        if hasattr(value, "named_modules"):
            options[option] = describe(value, option)
        elif isinstance(given, bool) and (value is None or hasattr(value, "storage")):
            options[option] = value is not None  # bias=True makes a parameter of that name
        elif is_simple(value) or is_simple(given):
            options[option] = _listed(value if is_simple(value) else given)
        elif default is inspect.Parameter.empty or not callable(value):  # init=function: loaded weights replace it
            raise TypeError(
                f"{name} cannot be written as data: its option {option!r} is no plain value, and it keeps no attribute "
                "of that name that is one, or a module"
            )
    return options
