"""Users' code that has to pass ``mypy --strict`` and pyright: somebody who embeds compiled models."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
from fastnn import functional as F
from fastnn import nn


class Scorer:
    """Predicts into memory of its own."""

    def __init__(self, model: nn.Module, rows: int, outputs: int) -> None:
        self.program = fastnn.compile(model, np.zeros((rows, 4), np.float32))
        self.out = np.empty((rows, outputs), np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.program(x, out=self.out)
        return self.out

    def report(self) -> str:
        return str(self.program.summary())


def newton(f: Callable[[Any], Any], x: np.ndarray, steps: int = 5) -> np.ndarray:
    gradient, curvature = fastnn.grad(f), fastnn.hessian(f)
    for _ in range(steps):
        x = x - np.linalg.solve(curvature(x), gradient(x))
    return x


def directional(x: np.ndarray, v: np.ndarray) -> tuple[Any, Any]:
    y, pullback = fastnn.vjp(lambda a: F.softmax(a), x)
    _, tangent = fastnn.jvp(lambda a: F.log_softmax(a), (x,), (v,))
    return pullback(np.ones_like(y)), tangent


def config() -> dict[str, Any]:
    fastnn.set_num_threads(None)
    model = nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    again = nn.from_config(model.to_config())
    assert isinstance(again, nn.Module)
    return dict(again.to_config())
