"""Modules, layers, losses and initialisers. Names are imported on first use."""

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


def __getattr__(name):
    from importlib import import_module

    if name in _NAMES:
        value = getattr(import_module("." + _NAMES[name], __name__), name)
    elif name in ("init", "activations"):
        value = import_module("." + name, __name__)
    elif name == "Parameter":
        from ..graph.parameter import Parameter as value
    elif name.startswith("_"):
        raise AttributeError(f"module 'fastnn.nn' has no attribute {name!r}")
    else:
        from .activations import CLASSES

        if name not in CLASSES:
            raise AttributeError(f"module 'fastnn.nn' has no attribute {name!r}")
        value = CLASSES[name]
    globals()[name] = value
    return value


def __dir__():
    from .activations import CLASSES

    return sorted({*globals(), *__all__, *CLASSES})
