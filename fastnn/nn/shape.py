"""Layers without weights over the last axis or the shape: Flatten, Softmax, LogSoftmax."""

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
