"""Eager kernels on NumPy arrays: forward and backward pairs, losses with gradients, optimizer steps.

Usable alone: this package imports NumPy and the native module and nothing else of fastnn. Every function releases the
GIL while it computes, takes ``out=`` (a tuple where there are several results), reads any strides, and follows its
arrays: float32 or float64, never mixed; integers become float32 (see ``_arrays.py`` for the rules).

The element-wise functions come from the native lists: a row added to a ``.def`` file appears here by itself.
"""

from . import _elementwise, _losses
from ._dense import linear, linear_backward, matmul
from ._dropout import dropout, dropout_backward
from ._elementwise import where
from ._losses import softmax_cross_entropy
from ._normalization import batch_norm, batch_norm_backward, batch_norm_inference
from ._optimizers import adam, rmsprop, sgd
from ._reduce import log_softmax, log_softmax_backward, max, mean, softmax, softmax_backward, sum

_made = {**_elementwise.make_all(__name__), **_losses.make_all(__name__)}
globals().update(_made)

__all__ = [
    "adam",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "dropout",
    "dropout_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "max",
    "mean",
    "rmsprop",
    "sgd",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "sum",
    "where",
    *_made,
]
