"""Breaking the symmetry: units that start equal stay equal."""

import warnings
from typing import Any

from .linear import Linear


def equal_units(model: Any) -> Any:
    """Names of the hidden `Linear` layers whose units all start with the same weights and the same bias.

    Such units compute the same and get the same gradient, so that they stay one unit. The last layer is left out: its
    units are told apart by the targets.
    """
    found = []
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, Linear)]
    for path, layer in layers[:-1]:
        weight = layer.weight.numpy()
        if len(weight) < 2 or not layer.weight.requires_grad or (weight[1] != weight[0]).any():
            continue
        bias = None if layer.bias is None else layer.bias.numpy()
        if (weight == weight[0]).all() and (bias is None or (bias == bias[0]).all()):
            found.append(path)
    return found


def warn_of_equal_units(model: Any) -> None:
    """Warn once per call if a hidden layer's units are all equal."""
    for path in equal_units(model):
        warnings.warn(
            f"layer '{path}': all units have the same weights, so they learn the same thing; draw them at random "
            "(init='auto')",
            UserWarning,
            stacklevel=3,
        )
