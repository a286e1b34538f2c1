"""What the attributes of a Trainer may be: one check each, for the constructor and for every later assignment."""

from copy import deepcopy
from typing import Any

from ..nn.module import Module
from ..optim.base import Optimizer
from ..validation import check_function, check_positive, check_seed, check_share, check_threads, count, optional
from .callbacks.base import Callback


def _model(owner: str, name: str, value: Any) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{owner}: {name} must be an nn.Module, got {type(value).__name__}")
    return value


def _loss(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{owner}: {name} must be an object like nn.CrossEntropyLoss() or a function, got {value!r}")
    return value


def _optimizer(owner: str, name: str, value: Any) -> Optimizer:
    """A copy: what a schedule or a checkpoint changes in it is this trainer's alone."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"{owner}: {name} must be an object such as optim.Adam(lr=1e-3), got {value!r}")
    return deepcopy(value)


def _scheduler(owner: str, name: str, value: Any) -> Any:
    watches = isinstance(value, Callback)
    if value is not None and not watches and (isinstance(value, type) or not callable(value)):
        raise TypeError(f"{owner}: {name} must be like optim.StepLR(10), or a function; got {value!r}")
    return value


def _ema(owner: str, name: str, value: Any) -> float | None:
    try:
        return None if value is None else check_share(owner, name, value)
    except ValueError:
        raise ValueError(f"{owner}: {name} must be a decay in [0, 1) or None, got {value!r}") from None


def _threads(owner: str, name: str, value: Any) -> int:
    return check_threads(f"{owner}: {name}", value)


def _frozen(owner: str, name: str, value: Any) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"{owner}: {name} must be names of parameters such as 'critic.*', got {value!r}")
    return patterns


CHECKS = {
    "model": _model,
    "loss": _loss,
    "optimizer": _optimizer,
    "scheduler": _scheduler,
    "clip_grad_norm": check_positive,
    "clip_grad_value": check_positive,
    "accumulate": count(1),
    "ema": _ema,
    "gradient_hook": check_function,
    "num_threads": optional(_threads),
    "seed": check_seed,
    "frozen": _frozen,
}
