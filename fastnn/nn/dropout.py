"""Dropout, AlphaDropout, GaussianNoise: layers that act in training only, from counter-based random streams."""

from typing import Any

from .. import functional as F
from .module import Module


class _Random(Module):
    """Base: the probability `p`, checked whenever it is set. Changing it acts at the next step."""

    def __init__(self, p=0.5):
        self.p = p

    def _fit_init(self, following):
        return following

    def __setattr__(self, name, value):
        if name == "p":
            if not 0 <= value <= 1:
                raise ValueError(
                    f"{type(self).__name__}: p is the probability of dropping, between 0 and 1; got {value}"
                )
            value = float(value)
        super().__setattr__(name, value)

    def extra_repr(self):
        return f"p={self.p:g}"


class Dropout(_Random):
    """Each element is dropped with probability p in training (Srivastava et al. 2014).

    Parameters
    ----------
    p : float, default 0.5
        Probability of *dropping* an element, in [0, 1], as in PyTorch.
    mode : {"inverted", "classic"}, default "inverted"
        Inverted divides what is kept by 1 - p, and nothing happens in inference. Classic leaves it as it is, and
        inference multiplies by 1 - p.
    shared : bool, default False
        One mask for all rows of the batch.

    Notes
    -----
    The mask is a function of (seed, layer, step, row of the batch, column): the same for every number of threads.
    Changing ``layer.p`` acts at the next step.
    """

    def __init__(self, p: float = 0.5, mode: str = "inverted", shared: bool = False) -> None:
        super().__init__(p)
        if mode not in ("inverted", "classic"):
            raise ValueError(f"Dropout: mode must be 'inverted' or 'classic', got {mode!r}")
        self.mode = mode
        self.shared = bool(shared)

    def forward(self, x: Any) -> Any:
        if self.mode == "inverted":
            return F.dropout(x, self.p, training=self.training, shared=self.shared)
        return F.dropout(x, self.p, training=self.training, shared=self.shared) * (1.0 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p:g}" + ("" if self.mode == "inverted" else ", mode=classic") + self.shared * ", shared"


class AlphaDropout(_Random):
    """Dropout after SELU: dropped elements become its lower limit, mean 0 and variance 1 are kept.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, in [0, 1]. Nothing happens in inference.

    Notes
    -----
    Klambauer, Unterthiner, Mayr & Hochreiter 2017, section 3.
    """

    def forward(self, x: Any) -> Any:
        return F.alpha_dropout(x, self.p, training=self.training)


class GaussianNoise(Module):
    """Adds independent normal noise in training; nothing happens in inference.

    Parameters
    ----------
    std : float, default 0.1
        Deviation of the noise.
    """

    def __init__(self, std: float = 0.1) -> None:
        self.std = std

    def __setattr__(self, name, value):
        if name == "std":
            if not 0 <= value < float("inf"):
                raise ValueError(f"GaussianNoise: std must be a finite number >= 0, got {value}")
            value = float(value)
        super().__setattr__(name, value)

    def forward(self, x: Any) -> Any:
        return F.gaussian_noise(x, self.std, training=self.training)

    def _fit_init(self, following):
        return following

    def extra_repr(self) -> str:
        return f"std={self.std:g}"
