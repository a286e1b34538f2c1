"""The graph: trace a model once, differentiate it, fuse, plan, run.

trace (symbolic tensors) -> differentiate (vjp and jvp rules append nodes) -> passes -> lower (native programs).
Names are imported on first use.
"""

from .._lazy import attach

_NAMES = {
    "Parameter": "parameter",
    "Graph": "trace",
    "current": "context",
    "is_tracing": "context",
    "tracing": "context",
    "Tensor": "tensor",
    "build_inference": "build",
    "build_training": "build",
    "CompiledModel": "build",
    "TrainingProgram": "build",
    "Program": "program",
    "Profile": "profile",
    "compile": "program",
    "grad": "transforms",
    "value_and_grad": "transforms",
    "vjp": "transforms",
    "jvp": "transforms",
    "hvp": "transforms",
    "jacobian": "transforms",
    "hessian": "transforms",
    "autograd_table": "table",
    "gradcheck": "gradient_check",
    "GradcheckReport": "gradient_check",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
