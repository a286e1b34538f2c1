"""Losses over functions of ``fastnn.functional``: focal loss, Kullback-Leibler divergence, Gaussian likelihood."""

import math
from typing import Any

import numpy as np

from .. import functional as F
from ..kernels._labels import DOMAINS
from .losses import CrossEntropyLoss, Loss, _check_reduction


def _reduced(rows: Any, sample_weight: Any, reduction: str, divisor: Any = None) -> Any:
    """Sum or mean of a loss per row; the mean divides by the divisor, or the sum of the sample weights."""
    if sample_weight is not None:
        rows = rows * sample_weight
    if reduction == "sum":
        return F.sum(rows)
    if divisor is None:
        return F.mean(rows) if sample_weight is None else F.sum(rows) / F.maximum(F.sum(sample_weight), _TINY)
    return F.sum(rows) / F.maximum(divisor, _TINY)


_TINY = 1e-30


class FocalLoss(CrossEntropyLoss):
    """Cross-entropy that fades for rows that are right already: ``-(1 - p)^gamma log p``, p of the true class.

    Lin, Goyal, Girshick, He & Dollár 2017, equation 4.

    Parameters
    ----------
    gamma : float, default 2.0
        0 is the cross-entropy.
    weight : array of shape (classes,), optional
        Class weights (alpha); the mean divides by the sum of the weights used.
    ignore_index : int, optional
        Rows with this label count for nothing.
    reduction : {"mean", "sum"}
    """

    def __init__(
        self, gamma: float = 2.0, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None:
        if isinstance(gamma, str) or not 0 <= gamma < math.inf:
            raise ValueError(f"FocalLoss: gamma must be a finite number >= 0, got {gamma!r}")
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)
        self.gamma = float(gamma)
        del self.label_smoothing

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        def per_row(logits: Any, weight: Any) -> Any:
            return F.cross_entropy(logits, target, weight=weight, ignore_index=self.ignore_index, reduction="none")

        weight = self.weight
        if weight is not None and isinstance(output, np.ndarray):
            weight = weight.astype(output.dtype)
        surprise = per_row(output, None)
        rows = F.power(-F.expm1(-surprise), self.gamma) * (surprise if weight is None else per_row(output, weight))
        if weight is None and self.ignore_index is None:
            return _reduced(rows, sample_weight, self.reduction)
        shares = per_row(output * 0.0, weight) / math.log(max(output.shape[1], 2))  # weight of the label, 0 if ignored
        divisor = F.sum(shares if sample_weight is None else shares * sample_weight)
        return _reduced(rows, sample_weight, self.reduction, divisor)


class KLDivLoss(Loss):
    """Divergence of log-probabilities from rows of probabilities: ``sum_j t_j (log t_j - x_j)`` per row.

    As `torch.nn.KLDivLoss` with ``reduction="batchmean"``: x is what `nn.LogSoftmax` gives. Kullback & Leibler 1951.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows; the terms of a row are added.
    """

    target = "rows"
    link = "exp"
    domain = DOMAINS["probability"]

    def __init__(self, *, reduction: str = "mean") -> None:
        _check_reduction("KLDivLoss", reduction)
        self.reduction = reduction

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        entropy = target * F.log(F.maximum(target, _TINY))
        return _reduced(F.sum(entropy - target * output, axis=1), sample_weight, self.reduction)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of targets under N(mean, variance): ``(log v + (m - t)^2 / v) / 2``, summed over columns.

    The model returns ``(mean, variance)``, both of the targets' shape (rows, columns); Nix & Weigend 1994.

    Parameters
    ----------
    eps : float, default 1e-6
        The variance is at least this.
    full : bool, default False
        Add ``log(2 pi) / 2`` per column.
    reduction : {"mean", "sum"}
        Over the rows.
    """

    target = "any"

    def __init__(self, *, eps: float = 1e-6, full: bool = False, reduction: str = "mean") -> None:
        if isinstance(eps, str) or not 0 < eps < math.inf:
            raise ValueError(f"GaussianNLLLoss: eps must be a positive number, got {eps!r}")
        _check_reduction("GaussianNLLLoss", reduction)
        self.eps, self.full, self.reduction = float(eps), bool(full), reduction

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        mean, variance = output
        if mean.shape != target.shape:
            target = F.reshape(target, mean.shape)
        variance = F.maximum(variance, self.eps)
        terms = 0.5 * (F.log(variance) + F.square(mean - target) / variance)
        if self.full:
            terms = terms + 0.5 * math.log(2.0 * math.pi)
        return _reduced(F.sum(terms, axis=1), sample_weight, self.reduction)

    def values(self, output: Any) -> Any:
        """The means."""
        return np.asarray(output[0])
