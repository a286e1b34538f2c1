"""Pictures, in scikit-learn's Display style. matplotlib is imported only when something is drawn."""

_PUBLIC = {"LearningCurveDisplay": "learning_curve"}

__all__ = list(_PUBLIC)


def __getattr__(name):
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'fastnn.plot' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("fastnn.plot." + module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
