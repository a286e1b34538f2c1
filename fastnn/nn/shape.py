"""Layers without weights over the last axis or the shape: Flatten, Softmax, LogSoftmax, GLU."""

from typing import Any

from .. import functional as F
from .module import Module


class Flatten(Module):
    """All axes but the first as one: (rows, 28, 28) becomes (rows, 784)."""

    def forward(self, x: Any) -> Any:
        return F.flatten(x)

    def _fit_init(self, following):
        return following


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` along the last axis.

    For a model that gives probabilities. Do not train it with `CrossEntropyLoss`, which takes logits.
    """

    def forward(self, x: Any) -> Any:
        return F.softmax(x)


class LogSoftmax(Module):
    """``x - log(sum(exp(x)))`` along the last axis."""

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x)


class GLU(Module):
    """Gated linear unit: ``a * sigmoid(b)``, a and b the halves of the last axis, whose size must be even.

    Notes
    -----
    Dauphin, Fan, Auli & Grangier 2017, "Language modeling with gated convolutional networks".
    """

    def forward(self, x: Any) -> Any:
        size = x.shape[-1]
        if size % 2:
            raise ValueError(f"GLU: the last axis must be even, got {size} columns")
        return x[..., : size // 2] * F.sigmoid(x[..., size // 2 :])
