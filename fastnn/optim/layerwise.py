"""Optimizers for large batches, with a rate per layer: LARS (You et al. 2017) and LAMB (You et al. 2020)."""

from math import inf
from typing import Any

from .adam import _Moments
from .base import Optimizer


class _Layerwise:
    """Their weight decay has its place in the formula."""

    common = ("weight_decay", "l1", "max_norm")
    per_layer = True

    def _own_options(self):
        return {**super()._own_options(), "decoupled_weight_decay": False}

    def _configure(self, **common):
        if common.pop("decoupled_weight_decay", False):
            raise TypeError(f"{self._name()} takes no decoupled_weight_decay: its formula says where the decay enters")
        super()._configure(**common)


class LARS(_Layerwise, Optimizer):
    """Momentum with a rate per layer: ``v = momentum * v + lr * r * (g + weight_decay * w)``; ``w -= v``.

    ``r = trust_coefficient * ||w|| / (||g|| + weight_decay * ||w|| + eps)`` over each parameter, 1 if either norm is 0.
    You, Gitman & Ginsburg 2017, algorithm 1.

    Parameters
    ----------
    lr : float, default 0.1
        The global rate; the layer's is ``r`` times it, with the default coefficient about a thousandth of the ratio of
        norms. Descriptions of LARS without the coefficient (``trust_coefficient=1``) take steps 1,000 times as long.
    momentum : float, default 0.9
    weight_decay : float, default 0
        Not on biases and norm parameters unless ``decay_bias=True``.
    trust_coefficient : float, default 1e-3
    eps : float, default 0
    **common
        ``groups, decay_bias, l1, max_norm, maximize``: see `Optimizer`.
    """

    kind = "lars"
    options = ("lr", "momentum", "trust_coefficient", "eps")

    def __init__(
        self, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0, trust_coefficient: float = 1e-3,
        eps: float = 0.0, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.eps = eps
        self._configure(**common)

    def states(self, options: dict[str, Any]) -> Any:
        return ("momentum_buffer",)

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        first = 0.0 if first_step > 1 else [1.0] + [0.0] * (count - 1)
        return [options["lr"], options["momentum"], options["trust_coefficient"], options["eps"], first]


class LAMB(_Layerwise, _Moments):
    """Adam with a rate per layer: ``u = m' / (sqrt(v') + eps) + weight_decay * w``; ``w -= lr * ||w|| / ||u|| * u``.

    ``m'`` and ``v'`` are Adam's corrected moments; the ratio is 1 if either norm is 0. You et al. 2020, algorithm 2.

    Parameters
    ----------
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0
        Not on biases and norm parameters unless ``decay_bias=True``.
    eps_inside_root : bool, default False
        ``sqrt(v' + eps)`` in place of ``sqrt(v') + eps``.
    trust_clip : float, optional
        The largest ratio, 10 in some implementations.
    **common
        ``groups, decay_bias, l1, max_norm, maximize``: see `Optimizer`.
    """

    kind = "lamb"
    options = ("lr", "betas", "eps", "eps_inside_root", "trust_clip")

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        eps_inside_root: bool = False,
        trust_clip: float | None = None,
        **common: Any,
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.eps_inside_root = bool(eps_inside_root)
        self.trust_clip = trust_clip
        self._configure(**common)

    def penalties(self, options: dict[str, Any]) -> Any:
        return 0.0, options["l1"]  # the decay stands behind the moments

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        clip = options["trust_clip"]
        ends = [1.0 if options["eps_inside_root"] else 0.0, inf if clip is None else clip]
        return super().scalars(options, first_step, count) + ends
