"""Every activation of the native list as a module class, made by one factory; PReLU, which learns its parameter."""

import inspect
from typing import Any

import numpy as np

from .. import _native
from .. import functional as F
from ..graph.parameter import Parameter, filled
from ..validation import check_count
from .layer import Layer
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

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    parameters += [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=defaults[n]) for n in names]
    __init__.__signature__ = inspect.Signature(parameters)

    def forward(self, x):
        return function(x, *[getattr(self, name) for name in names])

    def _fit_init(self, following):
        return following if row["name"] == "identity" else row["name"]

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
        "_fit_init": _fit_init,
        "extra_repr": extra_repr,
    }
    return type(row["cls"], (Module,), body)


class GELU(Module):
    """Activation ``y = x * Phi(x)``, Phi the distribution function of the standard normal law.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh": ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Notes
    -----
    Hendrycks & Gimpel 2016
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate must be "none" or "tanh", not {approximate!r}')
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)

    def _fit_init(self, following):
        return "gelu"

    def extra_repr(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


class PReLU(Layer):
    """Activation ``y = x`` where x is positive, else ``weight * x``, with a learned weight.

    Parameters
    ----------
    num_parameters : int, default 1
        One weight for all, or one for each channel (axis 1).
    init : float, default 0.25

    Notes
    -----
    He, Zhang, Ren & Sun 2015. A weight decay pulls the slope towards 0, so towards a ReLU.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = n = check_count("PReLU", "num_parameters", num_parameters)
        self.init = float(init)
        self.weight = Parameter(filled(n, self.init), name="weight")

    def _draw_parameters(self, seed, path):
        self.weight.assign(np.full(self.weight.shape, self.init, self.weight.dtype))

    def forward(self, x: Any) -> Any:
        return F.prelu(x, self.weight)

    def _fit_init(self, following):
        return "prelu"

    def extra_repr(self) -> str:
        return f"{self.num_parameters}"


CLASSES = {row["cls"]: _make(row) for row in _native.list_rows("activations")}
CLASSES |= {"GELU": GELU, "PReLU": PReLU}
globals().update(CLASSES)  # so that pickle finds them
