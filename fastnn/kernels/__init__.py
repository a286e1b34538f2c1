"""Eager kernels on NumPy arrays: forward and backward pairs, losses with gradients, optimizer steps.

Usable alone: this package imports NumPy and the native module and nothing else of fastnn. Every function releases the
GIL while it computes (unless that is about a microsecond), takes ``out=`` (a tuple where
there are several results), reads any strides, and follows its arrays: float32 or float64, never mixed; integers become
float32 (see ``_arrays.py`` for the rules).

The element-wise functions come from the native lists: a row added to a ``.def`` file appears here by itself.
"""

from . import _elementwise, _losses
from ._augment import affine, elastic, flip, remap, rotate, shift, smooth, zoom
from ._concatenate import concatenate
from ._dense import linear, linear_backward, matmul
from ._dropout import alpha_dropout, alpha_dropout_backward, dropout, dropout_backward, gaussian_noise
from ._elementwise import where
from ._layer_norm import layer_norm, layer_norm_backward
from ._losses import softmax_cross_entropy
from ._normalization import batch_norm, batch_norm_backward, batch_norm_inference
from ._optimizers import adadelta, adagrad, adam, adamw, lamb, lars, nadam, rmsprop, sgd
from ._power import power
from ._prelu import prelu_backward
from ._reduce import log_softmax, log_softmax_backward, max, mean, softmax, softmax_backward, sum

_made = {**_elementwise.make_all(__name__), **_losses.make_all(__name__)}
globals().update(_made)

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "affine",
    "alpha_dropout",
    "alpha_dropout_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "concatenate",
    "dropout",
    "dropout_backward",
    "elastic",
    "flip",
    "gaussian_noise",
    "lamb",
    "lars",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "max",
    "mean",
    "nadam",
    "power",
    "prelu_backward",
    "remap",
    "rmsprop",
    "rotate",
    "sgd",
    "shift",
    "smooth",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "sum",
    "where",
    "zoom",
    *_made,
]
