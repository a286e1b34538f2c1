"""Lists and dicts of modules and parameters: what a module owns by way of them, and their own count of changes."""

from collections.abc import Iterator
from typing import Any

from .._native import Revised
from ..graph.context import is_tracing
from ..graph.parameter import Parameter


def is_owned(value: Any) -> Any:
    """Whether a module owns this attribute or item: a module, a parameter, a list or dict of them."""
    return isinstance(value, (Parameter, ModuleList, ModuleDict)) or hasattr(value, "named_modules")


def own(value: Any) -> Any:
    """Lists, tuples and dicts of nothing but modules and parameters (nested at will), and empty lists and dicts, as
    what counts its changes; everything else as it is."""
    if type(value) in (list, tuple) and (value or type(value) is list):
        items = [own(item) for item in value]
        return ModuleList(items) if all(map(is_owned, items)) else value
    if isinstance(value, dict) and not isinstance(value, ModuleDict):
        items = {key: own(item) for key, item in value.items()}
        return ModuleDict(items) if all(isinstance(k, str) and is_owned(v) for k, v in items.items()) else value
    return value


def members(value: Any, path: str) -> Iterator[Any]:
    """Yield (path, module or parameter) of what an attribute called `path` owns directly."""
    if isinstance(value, ModuleList):
        for i, item in enumerate(list.__iter__(value)):
            yield from members(item, f"{path}.{i}")
    elif isinstance(value, ModuleDict):
        for key in dict.__iter__(value):
            yield from members(dict.__getitem__(value, key), f"{path}.{key}")
    elif is_owned(value):
        yield path, value


def cells(value: Any) -> Iterator[Any]:
    """Yield what counts the changes of the lists and dicts of an attribute."""
    if isinstance(value, (ModuleList, ModuleDict)):
        yield value.changes
        items = list.__iter__(value) if isinstance(value, ModuleList) else dict.values(value)
        for item in items:
            yield from cells(item)


class _Counted:
    """What lists and dicts share: a change counts if a module or parameter comes or goes; other items (a record that
    somebody keeps) change nothing, and a forward cannot read them."""

    def __new__(cls, *args):
        made = super().__new__(cls)
        made.changes = Revised()
        return made

    def _owns(self):
        return any(map(is_owned, self._items()))

    def _check_read(self):
        if is_tracing() and not all(map(is_owned, self._items())):
            raise TypeError(
                f"a {self._plain.__name__} of the model holds values besides modules, and a change inside it could "
                "not be seen: use a tuple"
            )

    def __reduce__(self):
        return type(self), (self._plain(self),)


def _changing(base, name, convert=None):
    method = getattr(base, name)

    def call(self, *args, **kwargs):
        owned = self._owns()
        result = method(self, *(args if convert is None else convert(*args)), **kwargs)
        if owned or self._owns():
            self.changes._touch()
        return result

    call.__name__, call.__doc__ = name, method.__doc__
    return call


def _reading(base, name):
    method = getattr(base, name)

    def call(self, *args):
        self._check_read()
        return method(self, *args)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


class ModuleList(_Counted, list):
    """A list of modules or parameters that tells programs when it changes. Made from any such list, and any empty
    one, that is assigned to an attribute of a Module; items are named ``list.0``, ``list.1``, ..."""

    _plain = list

    def __init__(self, items: Any = ()) -> None:
        list.__init__(self, [own(item) for item in items])

    def _items(self):
        return list.__iter__(self)

    for _name in ("pop", "remove", "clear", "reverse", "sort", "__delitem__", "__imul__"):
        locals()[_name] = _changing(list, _name)
    append = _changing(list, "append", lambda item: (own(item),))
    insert = _changing(list, "insert", lambda index, item: (index, own(item)))
    extend = _changing(list, "extend", lambda items: ([own(item) for item in items],))
    __iadd__ = _changing(list, "__iadd__", lambda items: ([own(item) for item in items],))
    __setitem__ = _changing(
        list,
        "__setitem__",
        lambda index, item: (index, [own(i) for i in item] if isinstance(index, slice) else own(item)),
    )
    for _name in ("__iter__", "__len__", "__getitem__", "__contains__", "__reversed__", "index", "count"):
        locals()[_name] = _reading(list, _name)
    del _name


class ModuleDict(_Counted, dict):
    """A dict of modules or parameters by name that tells programs when it changes. Made from any such dict, and any
    empty one, that is assigned to an attribute of a Module; items are named ``dict.key``."""

    _plain = dict

    def __init__(self, items: Any = ()) -> None:
        dict.__init__(self, {key: own(item) for key, item in dict(items).items()})

    def _items(self):
        return dict.values(self)

    for _name in ("pop", "popitem", "clear", "__delitem__"):
        locals()[_name] = _changing(dict, _name)
    __setitem__ = _changing(dict, "__setitem__", lambda key, item: (key, own(item)))
    setdefault = _changing(dict, "setdefault", lambda key, item=None: (key, own(item)))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As ``dict.update``."""
        for key, item in dict(*args, **kwargs).items():
            self[key] = item

    def __ior__(self, other):
        self.update(other)
        return self

    for _name in ("__iter__", "__len__", "__getitem__", "__contains__", "get", "items", "keys", "values"):
        locals()[_name] = _reading(dict, _name)
    del _name
