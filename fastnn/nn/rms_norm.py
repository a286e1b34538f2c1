"""RMSNorm: y = x / sqrt(mean(x^2) + eps) * weight, the mean over the trailing axes (Zhang & Sennrich 2019)."""

from typing import Any

import numpy as np

from .. import functional as F
from ..graph.parameter import filled
from ..validation import check_count
from .layer import Layer
from .module import Parameter


class RMSNorm(Layer):
    """Division by the root mean square over the trailing axes; nothing is subtracted. The same in inference.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The trailing axes, PyTorch's argument.
    eps : float, optional
        Inside the root. Default: the spacing of numbers at 1 in the model's dtype, as PyTorch's.
    elementwise_affine : bool, default True
        Whether there is a weight (ones at first).

    Notes
    -----
    Zhang & Sennrich 2019, "Root mean square layer normalization".
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True,
    ) -> None:  # fmt: skip
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(check_count("RMSNorm", "normalized_shape", size) for size in sizes)
        if not sizes:
            raise ValueError("RMSNorm: normalized_shape must name at least one axis")
        if eps is not None and not eps >= 0:
            raise ValueError(f"RMSNorm: eps must not be negative, got {eps}")
        self.eps = None if eps is None else float(eps)
        self.elementwise_affine = bool(elementwise_affine)
        self.weight = Parameter(filled(self.normalized_shape, 1), name="weight") if elementwise_affine else None

    def _draw_parameters(self, seed, path):
        if self.weight is not None:
            self.weight.assign(np.full(self.weight.shape, 1, self.weight.dtype))

    def forward(self, x: Any) -> Any:
        sizes = self.normalized_shape
        if tuple(x.shape[-len(sizes) :]) != sizes:
            raise ValueError(f"RMSNorm over the shape {sizes} does not fit x of shape {tuple(x.shape)}")
        axes = tuple(range(-len(sizes), 0))
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        y = x / F.sqrt(F.mean(x * x, axes, keepdims=True) + eps)
        return y if self.weight is None else y * self.weight

    def _fit_init(self, following):
        return following

    def extra_repr(self) -> str:
        eps = "" if self.eps is None else f", eps={self.eps:g}"
        affine = "" if self.elementwise_affine else ", elementwise_affine=False"
        return f"{', '.join(map(str, self.normalized_shape))}{eps}{affine}"
