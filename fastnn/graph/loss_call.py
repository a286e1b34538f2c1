"""Calling a loss: functions of users' own take sample weights by name or as their third argument."""

import inspect
from collections.abc import Callable
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def weight_argument(loss: Callable[..., Any]) -> str | None:
    """How a loss takes sample weights: by "name" (``sample_weight=``), by "place" (the third), or None: not at all."""
    try:
        parameters = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not say
        return "name"
    if any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters):
        return "name"
    places = [p for p in parameters if p.kind in _POSITIONAL]
    third = len(places) >= 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return "place" if third else None


def call_loss(loss: Callable[..., Any], output: Any, target: Any, weight: Any = None) -> Any:
    """``loss(output, target)``, with the weights if there are any."""
    if weight is None:
        return loss(output, target)
    if weight_argument(loss) == "place":
        return loss(output, target, weight)
    return loss(output, target, sample_weight=weight)
