"""Training: Trainer, callbacks, history. Names are imported on first use."""

_NAMES = {
    "Trainer": "trainer",
    "History": "history",
    "Callback": "callbacks",
    "EarlyStopping": "callbacks",
    "LambdaCallback": "callbacks",
    "TerminateOnNaN": "callbacks",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module 'fastnn.training' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("." + _NAMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_NAMES])
