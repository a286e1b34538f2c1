"""Highway: y = t * h(x) + (1 - t) * x, t = sigmoid(W x + b) (Srivastava, Greff & Schmidhuber 2015)."""

from typing import Any

import numpy as np

from .. import functional as F
from ..validation import check_count
from .linear import Linear
from .module import Module
from .sequential import Sequential


class Gate(Linear):
    """A Linear whose bias starts at a value."""

    def __init__(self, features: int, start: Any) -> None:
        self.start = float(start)
        super().__init__(features, features, init="xavier_uniform")

    def _draw_parameters(self, seed, path):
        super()._draw_parameters(seed, path)
        self.bias.assign(np.full(self.bias.shape, self.start))


class Highway(Module):
    """Highway layer: ``y = t * h(x) + (1 - t) * x`` with ``t = sigmoid(W x + b)``.

    The gate t says for each unit how much of the layer h is used; the rest of x is carried past it, and so is its
    gradient: very deep nets train. Srivastava, Greff & Schmidhuber 2015.

    Parameters
    ----------
    features : int
        Of the input and the output.
    layer : Module, optional
        h. Default: ``Sequential(Linear(features, features), ReLU())``.
    bias : float, default -2
        Where b starts: most of x is carried at first (sigmoid(-2) = 0.12).

    Attributes
    ----------
    layer, gate : Module
        ``gate`` is the Linear of W and b.
    """

    def __init__(self, features: int, layer: Any = None, *, bias: float = -2.0) -> None:
        from .activations import CLASSES

        self.features = n = check_count("Highway", "features", features)
        self.bias = float(bias)
        if layer is not None and not isinstance(layer, Module):
            raise TypeError(f"Highway: layer is {type(layer).__name__}, not a Module; nn.ReLU() needs its ()")
        self.layer = Sequential(Linear(n, n), CLASSES["ReLU"]()) if layer is None else layer
        self.gate = Gate(n, self.bias)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        if y.shape != x.shape:
            raise ValueError(f"Highway({self.features}): its layer makes shape {y.shape} of shape {x.shape}")
        t = F.sigmoid(self.gate(x))
        return t * y + (1.0 - t) * x

    def _fit_init(self, following):
        self.layer._fit_init(following)
        return "linear"
