"""Adam (Kingma & Ba 2015, algorithm 1), AdamW (Loshchilov & Hutter 2019) and NAdam (Dozat 2016)."""

from math import sqrt
from typing import Any

from ..kernels._nadam import nadam_shares
from .base import Optimizer


class _Moments(Optimizer):
    """What has two moments and betas."""

    def states(self, options):
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if options.get("amsgrad") else names

    def scalars(self, options, first_step, count):
        beta1, beta2 = options["betas"]
        # Python's pow, not NumPy's: the same bits for one step at a time and for many, on every machine
        steps = range(first_step, first_step + count)
        return [
            options["lr"],
            beta1,
            beta2,
            options["eps"],
            [1.0 - beta1**t for t in steps],
            [sqrt(1.0 - beta2**t) for t in steps],
        ]


class Adam(_Moments):
    """Adam: ``m = b1 m + (1-b1) g``, ``v = b2 v + (1-b2) g^2``, ``w -= lr * m' / (sqrt(v') + eps)``.

    ``m' = m / (1 - b1^t)`` and ``v' = v / (1 - b2^t)``; t counts the steps of a parameter from 1. Kingma & Ba 2015.

    Parameters
    ----------
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 0
        Coupled L2: added to the gradient. Not on biases and norm parameters unless ``decay_bias=True``.
    amsgrad : bool, default False
        The largest v so far takes the place of v (Reddi et al. 2018).
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.
    """

    kind = "adam"
    options = ("lr", "betas", "eps", "amsgrad")

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.amsgrad = amsgrad
        self._configure(**common)


class AdamW(Adam):
    """Adam with decoupled weight decay: ``w *= 1 - lr * weight_decay``, then Adam's step. Loshchilov & Hutter 2019.

    Parameters
    ----------
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 1e-2
        Decoupled. Not on biases and norm parameters unless ``decay_bias=True``.
    amsgrad : bool, default False
    **common
        ``groups, decay_bias, l1, max_norm, maximize``: see `Optimizer`.
    """

    kind = "adamw"

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(lr, betas, eps, weight_decay, amsgrad, **{"decoupled_weight_decay": True, **common})

    def _check(self, options):
        super()._check(options)
        if not options["decoupled_weight_decay"]:
            raise ValueError("AdamW: its weight decay is decoupled; Adam has the coupled form")


class NAdam(_Moments):
    """Adam with Nesterov momentum. Dozat 2016, PyTorch's form.

    ``w -= lr * (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) / (sqrt(v / (1 - b2^t)) + eps)`` with
    ``mu_t = b1 * (1 - 0.96^(t * momentum_decay) / 2)`` and ``P_t = mu_1 * ... * mu_t``.

    Parameters
    ----------
    lr : float, default 2e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 0
        Coupled L2. Not on biases and norm parameters unless ``decay_bias=True``.
    momentum_decay : float, default 4e-3
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.

    Notes
    -----
    ``P_t`` is computed from the betas of now: it does not remember betas that were changed during training.
    """

    kind = "nadam"
    options = ("lr", "betas", "eps", "momentum_decay")

    def __init__(
        self, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum_decay = momentum_decay
        self._configure(**common)

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        lr, beta1, beta2, eps, _, root2 = super().scalars(options, first_step, count)
        steps = range(first_step, first_step + count)
        shares = [nadam_shares(beta1, options["momentum_decay"], t) for t in steps]
        return [lr, beta1, beta2, eps, root2, [share[0] for share in shares], [share[1] for share in shares]]
