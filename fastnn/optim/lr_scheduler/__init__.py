"""Schedules of the learning rate: configuration, pure functions of (base rate, step, epoch) (decision 4).

Names and defaults are PyTorch's. Every schedule multiplies with others (``LinearWarmup(500) * CosineAnnealingLR(30)``),
follows others (`SequentialLR`) and draws itself (``schedule.plot(steps)``). Names are imported on first use.
"""

from ..._lazy import attach

_NAMES = {
    "Schedule": "base",
    "ConstantLR": "decay",
    "StepLR": "decay",
    "MultiStepLR": "decay",
    "ExponentialLR": "decay",
    "InverseTimeLR": "decay",
    "PolynomialLR": "decay",
    "LinearLR": "decay",
    "LinearWarmup": "decay",
    "LambdaLR": "decay",
    "CosineAnnealingLR": "cosine",
    "CosineAnnealingWarmRestarts": "cosine",
    "CyclicLR": "cyclic",
    "OneCycleLR": "cyclic",
    "SequentialLR": "compose",
    "ChainedScheduler": "base",
    "ReduceLROnPlateau": "..training.callbacks.plateau",  # it watches the history, so it is a callback; PyTorch's place
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
