"""Optimizers and schedules: configuration only. Their state lives in the Trainer (decision 5).

Names are imported on first use.
"""

from .._lazy import attach

_NAMES = {
    "Optimizer": "base",
    "SGD": "sgd",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "RMSprop": "rmsprop",
    "Adam": "adam",
    "AdamW": "adam",
    "NAdam": "adam",
    "LARS": "layerwise",
    "LAMB": "layerwise",
    "LBFGS": "lbfgs",
    "minimize": "minimizer",
    "EWMA": "ewma",
    "l1": "penalties",
    "l2": "penalties",
    "penalty": "penalties",
    "ConstantLR": "lr_scheduler",
    "StepLR": "lr_scheduler",
    "MultiStepLR": "lr_scheduler",
    "ExponentialLR": "lr_scheduler",
    "InverseTimeLR": "lr_scheduler",
    "PolynomialLR": "lr_scheduler",
    "LinearLR": "lr_scheduler",
    "LinearWarmup": "lr_scheduler",
    "LambdaLR": "lr_scheduler",
    "CosineAnnealingLR": "lr_scheduler",
    "CosineAnnealingWarmRestarts": "lr_scheduler",
    "CyclicLR": "lr_scheduler",
    "OneCycleLR": "lr_scheduler",
    "SequentialLR": "lr_scheduler",
    "ChainedScheduler": "lr_scheduler",
}

_MODULES = ("lr_scheduler",)
__all__ = [*_MODULES, *_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES, _MODULES)
