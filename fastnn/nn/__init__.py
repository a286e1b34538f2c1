"""Modules, layers, losses and initialisers. Names are imported on first use."""

from .._lazy import attach

_NAMES = {
    "Module": "module",
    "ModuleList": "module",
    "Sequential": "sequential",
    "Linear": "linear",
    "BatchNorm1d": "batch_norm",
    "Dropout": "dropout",
    "Loss": "losses",
    "CrossEntropyLoss": "losses",
    "MSELoss": "losses",
    "from_config": "config",
}

__all__ = ["init", "Parameter", *_NAMES]
_attribute, _ = attach(__name__, _NAMES, ("init", "activations"))


def __getattr__(name):
    if name in _NAMES or name in ("init", "activations") or name.startswith("_"):
        return _attribute(name)
    if name == "Parameter":
        from ..graph.parameter import Parameter

        return Parameter
    from .activations import CLASSES

    return CLASSES[name] if name in CLASSES else _attribute(name)


def __dir__():
    from .activations import CLASSES

    return sorted({*globals(), *__all__, *CLASSES})
