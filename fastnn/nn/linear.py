"""Linear: y = x W^T + b."""

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..graph.parameter import Parameter, filled
from ..validation import check_count
from . import init as initialisers
from .layer import Layer


class Linear(Layer):
    """Dense layer ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
    init : str or callable, default "auto"
        A name of `nn.init` without the underscore (``"xavier_normal"``, ``"zeros"``, ...), a callable
        ``init(shape, rng) -> array``, or ``"torch"`` for PyTorch's distribution of weights *and* biases,
        U(-1/sqrt(in), 1/sqrt(in)). Otherwise biases start at zero. "auto" fits what follows in a `Sequential`: Xavier,
        U(+-sqrt(6/(in+out))), before tanh, sigmoid and at the end; LeCun, N(0, 1/in), before SELU; He,
        U(+-sqrt(6/in)), before ReLU and its relatives, and where the model does not say what follows.
    seed : int, optional
        Draw now from this seed and keep it when the layer becomes part of a model. Without it the weights are another
        layer's every time (``fastnn.manual_seed`` makes them repeatable), until the model draws them by their place
        (``Sequential(..., seed=)``, ``model.reset_parameters(seed)``).

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
    bias : Parameter of shape (out_features,), or None
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, init: str | Callable[..., Any] = "auto",
        seed: int | None = None,
    ) -> None:  # fmt: skip
        self.in_features = check_count("Linear", "in_features", in_features)
        self.out_features = check_count("Linear", "out_features", out_features)
        initialisers.check(init)
        self.init = init
        self._following = None
        self.weight = Parameter(filled((self.out_features, self.in_features)), name="weight")
        self.bias = Parameter(filled(self.out_features), name="bias") if bias else None
        self._begin(seed)

    def _draw_parameters(self, seed, path):
        bound = initialisers.torch_bound(self.weight.shape) if self.init == "torch" else 0.0
        rng = initialisers.stream(seed, f"{path}.weight")
        init = initialisers.fitting(self._following) if self.init == "auto" else self.init
        self.weight.assign(initialisers.draw(init, self.weight.shape, rng).astype(self.weight.dtype))
        if self.bias is not None:
            rng = initialisers.stream(seed, f"{path}.bias")
            self.bias.assign(rng.uniform(-bound, bound, self.bias.shape).astype(self.bias.dtype))

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.weight, self.bias)

    def _fit_init(self, following):
        object.__setattr__(self, "_following", following)
        return "linear"

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")
