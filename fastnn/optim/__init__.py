"""Optimizers: configuration only. Their state lives in the Trainer (decision 5). Names are imported on first use."""

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
    "EWMA": "ewma",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
