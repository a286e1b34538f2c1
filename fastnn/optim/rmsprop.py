"""RMSProp: r = alpha r + (1 - alpha) g^2; w -= lr g / (sqrt(r) + eps) (Tieleman & Hinton 2012, lecture 6.5)."""

from typing import Any

from .base import Optimizer


class RMSprop(Optimizer):
    """RMSProp: ``r = alpha * r + (1 - alpha) * g**2``; ``w -= lr * g / (sqrt(r) + eps)``.

    Parameters
    ----------
    lr : float, default 1e-2
    alpha : float, default 0.99
    eps : float, default 1e-8
        Outside the root, as in PyTorch.
    weight_decay : float, default 0
        Coupled L2. Not on biases and norm parameters unless ``decay_bias=True``.
    momentum : float, default 0
        ``v = momentum * v + g / (sqrt(r) + eps)``; ``w -= lr * v``.
    centered : bool, default False
        Divide by the standard deviation, ``sqrt(r - a**2)`` with ``a`` the running average of g (Graves 2013).
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.
    """

    kind = "rmsprop"
    options = ("lr", "alpha", "eps", "momentum", "centered")

    def __init__(
        self, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0,
        momentum: float = 0.0, centered: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered
        self._configure(**common)

    def states(self, options: dict[str, Any]) -> Any:
        names = ("square_avg", "grad_avg") if options["centered"] else ("square_avg",)
        return (*names, "momentum_buffer") if options["momentum"] != 0 else names

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        return [options["lr"], options["alpha"], options["eps"], options["momentum"]]
