"""Linear: y = x W^T + b."""

import numpy as np

from .. import functional as F
from . import init as initialisers
from .layer import Layer, positive_int
from .module import Parameter


class Linear(Layer):
    """Dense layer ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
    init : str or callable, default "kaiming_uniform"
        A name of `nn.init` without the underscore (``"xavier_normal"``, ``"zeros"``, ...), a callable
        ``init(shape, rng) -> array``, or ``"torch"`` for PyTorch's distribution of weights *and* biases,
        U(-1/sqrt(in), 1/sqrt(in)). Otherwise biases start at zero. The default, U(+-sqrt(6/in)), keeps the variance
        of activations through ReLU layers (He et al. 2015, equation 10).
    seed : int, optional
        Draw now from this seed and keep it when the layer becomes part of a model. Without it the weights are keyed
        by the layer's place in the model (``Sequential(..., seed=)``, ``model.reset_parameters(seed)``).

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
    bias : Parameter of shape (out_features,), or None
    """

    def __init__(self, in_features, out_features, bias=True, *, init="kaiming_uniform", seed=None):
        self.in_features = positive_int(in_features, "Linear: in_features")
        self.out_features = positive_int(out_features, "Linear: out_features")
        initialisers.check(init)
        self.init = init
        self.weight = Parameter(np.zeros((self.out_features, self.in_features), np.float32), name="weight")
        self.bias = Parameter(np.zeros(self.out_features, np.float32), name="bias") if bias else None
        self._draw(0 if seed is None else seed, "")
        if seed is not None:
            self._keep_weights()

    def _draw_parameters(self, seed, path):
        bound = initialisers.torch_bound(self.weight.shape) if self.init == "torch" else 0.0
        rng = initialisers.stream(seed, f"{path}.weight")
        self.weight.assign(initialisers.draw(self.init, self.weight.shape, rng).astype(self.weight.dtype))
        if self.bias is not None:
            rng = initialisers.stream(seed, f"{path}.bias")
            self.bias.assign(rng.uniform(-bound, bound, self.bias.shape).astype(self.bias.dtype))

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")

    def _config(self):
        if not isinstance(self.init, str):
            name = "kaiming_uniform"  # a callable cannot be written; loaded weights replace it anyway
        else:
            name = self.init
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "init": name,
        }
