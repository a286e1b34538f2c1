"""LayerNorm: y = (x - mean) / sqrt(var + eps) * weight + bias, statistics over the trailing axes (Ba et al. 2016)."""

from typing import Any

import numpy as np

from .. import functional as F
from ..graph.parameter import Parameter, filled
from ..validation import check_count
from .layer import Layer


class LayerNorm(Layer):
    """Layer normalisation over the trailing axes of the input; the same in training and inference.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The trailing axes, PyTorch's argument.
    eps : float, default 1e-5
        Inside the root.
    elementwise_affine : bool, default True
        Whether there are a weight (ones at first) and a bias (zeros).
    bias : bool, default True
        False leaves the bias out.
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:  # fmt: skip
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(check_count("LayerNorm", "normalized_shape", size) for size in sizes)
        if not sizes:
            raise ValueError("LayerNorm: normalized_shape must name at least one axis")
        if not eps >= 0:
            raise ValueError(f"LayerNorm: eps must not be negative, got {eps}")
        self.eps = float(eps)
        self.elementwise_affine = bool(elementwise_affine)
        shape = self.normalized_shape
        self.weight = Parameter(filled(shape, 1), name="weight") if elementwise_affine else None
        self.bias = Parameter(filled(shape), name="bias") if elementwise_affine and bias else None

    def _draw_parameters(self, seed, path):
        for tensor, value in ((self.weight, 1), (self.bias, 0)):
            if tensor is not None:
                tensor.assign(np.full(tensor.shape, value, tensor.dtype))

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, eps=self.eps)

    def _fit_init(self, following):
        return following

    def extra_repr(self) -> str:
        affine = "" if self.elementwise_affine else ", elementwise_affine=False"
        return f"{', '.join(map(str, self.normalized_shape))}, eps={self.eps:g}{affine}"
