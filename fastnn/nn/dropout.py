"""Dropout: each element is dropped with probability p, the others are divided by 1 - p (Srivastava et al. 2014)."""

from .. import functional as F
from .module import Module


class Dropout(Module):
    """Inverted dropout: nothing happens in inference.

    Parameters
    ----------
    p : float, default 0.5
        Probability of *dropping* an element, in [0, 1], as in PyTorch.

    Notes
    -----
    The mask is a function of (seed, layer, step, row of the batch, column): the same for every number of threads.
    Changing ``layer.p`` acts at the next step.
    """

    def __init__(self, p=0.5):
        self.p = p

    def __setattr__(self, name, value):
        if name == "p":
            if not 0 <= value <= 1:
                raise ValueError(f"Dropout: p is the probability of dropping, between 0 and 1; got {value}")
            value = float(value)
        super().__setattr__(name, value)

    def forward(self, x):
        return F.dropout(x, self.p, training=self.training)

    def extra_repr(self):
        return f"p={self.p:g}"

    def _config(self):
        return {"p": self.p}
