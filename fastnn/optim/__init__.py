"""Optimizers: configuration only. Their state lives in the Trainer (decision 5). Names are imported on first use."""

_NAMES = {"Optimizer": "base", "SGD": "sgd", "RMSprop": "rmsprop", "Adam": "adam"}

__all__ = list(_NAMES)


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module 'fastnn.optim' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("." + _NAMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_NAMES])
