"""The graph: trace a model once, differentiate it, fuse, plan, run.

trace (symbolic tensors) -> differentiate (vjp and jvp rules append nodes) -> passes -> lower (native programs).
Names are imported on first use.
"""

_NAMES = {
    "Parameter": "parameter",
    "graph_version": "parameter",
    "bump_graph_version": "parameter",
    "Graph": "trace",
    "current": "trace",
    "is_tracing": "trace",
    "tracing": "trace",
    "Tensor": "tensor",
    "build_inference": "build",
    "build_training": "build",
    "CompiledModel": "build",
    "TrainingProgram": "build",
    "Program": "program",
    "compile": "transforms",
    "grad": "transforms",
    "value_and_grad": "transforms",
    "vjp": "transforms",
    "jvp": "transforms",
    "gradcheck": "gradcheck",
    "GradcheckReport": "gradcheck",
}

__all__ = list(_NAMES)


def __getattr__(name):
    from importlib import import_module

    if name not in _NAMES:
        raise AttributeError(f"module 'fastnn.graph' has no attribute {name!r}")
    value = getattr(import_module("." + _NAMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_NAMES})
