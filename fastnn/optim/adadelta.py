"""AdaDelta: steps in the unit of the weights, without a rate to choose (Zeiler 2012, algorithm 1)."""

from typing import Any

from .base import Optimizer


class Adadelta(Optimizer):
    """AdaDelta: ``d = sqrt(a + eps) / sqrt(r + eps) * g``; ``w -= lr * d``. Zeiler 2012.

    ``r`` and ``a`` are running averages of ``g**2`` and of ``d**2``: ``r = rho * r + (1 - rho) * g**2`` before,
    ``a = rho * a + (1 - rho) * d**2`` after.

    Parameters
    ----------
    lr : float, default 1.0
    rho : float, default 0.9
    eps : float, default 1e-6
    weight_decay : float, default 0
        Coupled L2. Not on biases and norm parameters unless ``decay_bias=True``.
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.
    """

    kind = "adadelta"
    options = ("lr", "rho", "eps")

    def __init__(
        self, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.rho = rho
        self.eps = eps
        self.weight_decay = weight_decay
        self._configure(**common)

    def states(self, options: dict[str, Any]) -> Any:
        return ("square_avg", "acc_delta")

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        return [options["lr"], options["rho"], options["eps"]]
