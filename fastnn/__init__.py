"""fastnn: fast training and inference of dense neural networks on the CPU.

Names are imported on first use (PEP 562), so that ``import fastnn`` costs next to nothing over NumPy.
"""

from ._lazy import attach

__version__ = "0.1.0"

_MODULES = (
    "kernels", "functional", "graph", "nn", "optim", "training", "data", "io", "threads", "cli", "plot", "ensemble",
    "search", "diagnostics",
)  # fmt: skip

# public name -> the module of this package that defines it
_NAMES = {
    "Trainer": "training.trainer",
    "Callback": "training.callbacks",
    "EarlyStopping": "training.callbacks",
    "LambdaCallback": "training.callbacks",
    "TerminateOnNaN": "training.callbacks",
    "ModelCheckpoint": "training.callbacks",
    "ReduceLROnPlateau": "training.callbacks",
    "CSVLogger": "training.callbacks",
    "StepHistory": "training.callbacks",
    "HealthMonitor": "diagnostics.health_monitor",
    "History": "training.history",
    "manual_seed": "seeds",
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
    "hvp": "graph",
    "jacobian": "graph",
    "hessian": "graph",
    "functional_call": "nn.functional_call",
    "autograd_table": "graph",
    "gradcheck": "graph",
    "Parameter": "graph.parameter",
}

__all__ = ["__version__", *_NAMES, "kernels", "functional", "nn", "optim", "training", "data", "io"]
__getattr__, __dir__ = attach(__name__, _NAMES, _MODULES)
