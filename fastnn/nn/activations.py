"""Every activation of the native list as a module class, made by one factory (decision 16)."""

from .. import _native
from .. import functional as F
from .module import Module


def _make(row):
    names = tuple(row["params"])
    function = getattr(F, row["name"])
    defaults = dict(zip(names, row["defaults"], strict=False))

    def __init__(self, *args, **kwargs):
        values = dict(zip(names, args, strict=False))
        if len(args) > len(names) or kwargs.keys() - names or kwargs.keys() & values.keys():
            wanted = ", ".join(names) or "no parameters"
            raise TypeError(f"{row['cls']} takes {wanted}; got {(*args, *(f'{k}={v}' for k, v in kwargs.items()))}")
        for name, value in {**defaults, **values, **kwargs}.items():
            setattr(self, name, float(value))

    def forward(self, x):
        return function(x, *[getattr(self, name) for name in names])

    def _config(self):
        return {name: getattr(self, name) for name in names}

    def extra_repr(self):
        return ", ".join(f"{name}={getattr(self, name):g}" for name in names)

    lines = [f"Activation ``y = {row['doc']}``, element by element."]
    if names:
        lines += ["", "Parameters", "----------"]
        lines += [f"{name} : float, default {defaults[name]:g}" for name in names]
    if row["citation"]:
        lines += ["", "Notes", "-----", row["citation"]]
    body = {
        "__doc__": "\n    ".join(lines),
        "__module__": "fastnn.nn.activations",
        "__init__": __init__,
        "forward": forward,
        "_config": _config,
        "extra_repr": extra_repr,
    }
    return type(row["cls"], (Module,), body)


CLASSES = {row["cls"]: _make(row) for row in _native.list_rows("activations")}
globals().update(CLASSES)  # so that pickle finds them
