"""Scale: feature normalisation as a part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.parameter import Parameter, filled
from ..validation import check_count
from .module import Module

if TYPE_CHECKING:
    from typing_extensions import Self


class Scale(Module):
    """Fitted feature normalisation ``y = (x - mean) / std``, saved with the model.

    Fit it on the training part; development and test parts then get the same transformation by themselves.

    Parameters
    ----------
    num_features : int
    per_feature : bool, default True
        False: one mean and deviation for all features, right for images.

    Attributes
    ----------
    mean, std : buffers of shape (num_features,)
        0 and 1 until `fit`: the layer does nothing.

    Examples
    --------
    >>> model = nn.Sequential(nn.Scale(x.shape[1]).fit(x), nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    """

    def __init__(self, num_features: int, per_feature: bool = True) -> None:
        self.num_features = n = check_count("Scale", "num_features", num_features)
        self.per_feature = bool(per_feature)
        self.mean = Parameter(filled(n), name="mean", buffer=True)
        self.std = Parameter(filled(n, 1), name="std", buffer=True)

    def fit(self, x: Any) -> Self:
        """Measure mean and deviation of the rows of x, in double and in two passes. Returns self.

        Parameters
        ----------
        x : array_like, shape (rows, num_features)
            Constant columns get the deviation 1.
        """
        from ..data.scale import StandardScale

        x = np.asanyarray(x)
        if x.ndim != 2 or x.shape[1] != self.num_features:
            raise ValueError(f"Scale: x has shape {x.shape}: expected (rows, {self.num_features})")
        if np.ma.is_masked(x):
            raise ValueError("Scale: x has masked values: fill them first, or leave these rows out")
        # Of the values as the layer will see them: a spread that its dtype rounds away is none.
        with np.errstate(over="ignore"):
            x = np.asarray(x).astype(self.mean.dtype, copy=False)
        fitted = StandardScale(per_feature=self.per_feature).fit(x)
        std = fitted.std.astype(self.std.dtype)
        for buffer, values in ((self.mean, fitted.mean), (self.std, np.where(std == 0.0, 1.0, std))):
            buffer.assign(np.broadcast_to(values, buffer.shape))
        return self

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.std

    def _fit_init(self, following):
        return following

    def extra_repr(self) -> str:
        return f"{self.num_features}" + ("" if self.per_feature else ", per_feature=False")
