"""fastnn: fast training and inference of dense neural networks on the CPU.

Names are imported on first use (PEP 562), so that ``import fastnn`` costs next to nothing over NumPy.
"""

__version__ = "0.1.0"

_MODULES = ("kernels", "functional", "graph", "nn", "optim", "training", "data", "io", "threads", "cli", "plot")

# public name -> the module of this package that defines it
_NAMES = {
    "Trainer": "training.trainer",
    "Callback": "training.callbacks",
    "EarlyStopping": "training.callbacks",
    "LambdaCallback": "training.callbacks",
    "TerminateOnNaN": "training.callbacks",
    "History": "training.history",
    "set_num_threads": "threads",
    "get_num_threads": "threads",
    "num_threads": "threads",
    "isa": "threads",
    "available_isas": "threads",
    "show_config": "threads",
    "get_include": "threads",
    "save": "io.model_file",
    "load": "io.model_file",
    "compile": "graph",
    "grad": "graph",
    "value_and_grad": "graph",
    "vjp": "graph",
    "jvp": "graph",
    "gradcheck": "graph",
    "Parameter": "graph.parameter",
}

__all__ = ["__version__", *_NAMES, "kernels", "functional", "nn", "optim", "training", "data", "io"]


def __getattr__(name):
    from importlib import import_module

    if name in _NAMES:
        value = getattr(import_module("." + _NAMES[name], __name__), name)
    elif name in _MODULES:
        value = import_module("." + name, __name__)
    else:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_NAMES, *_MODULES])
