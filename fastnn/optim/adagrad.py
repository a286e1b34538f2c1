"""AdaGrad: r += g^2; w -= lr g / (sqrt(r) + eps) (Duchi, Hazan & Singer 2011)."""

from typing import Any

from .base import Optimizer


class Adagrad(Optimizer):
    """AdaGrad: ``r += g**2``; ``w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(r) + eps)``. Duchi et al. 2011.

    Suits sparse inputs: a weight whose input is rarely active keeps a large rate.

    Parameters
    ----------
    lr : float, default 1e-2
    lr_decay : float, default 0
    weight_decay : float, default 0
        Coupled L2. Not on biases and norm parameters unless ``decay_bias=True``.
    initial_accumulator_value : float, default 0
        Where ``r`` starts.
    eps : float, default 1e-10
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.
    """

    kind = "adagrad"
    options = ("lr", "lr_decay", "initial_accumulator_value", "eps")

    def __init__(
        self, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10, **common: Any,
    ) -> None:  # fmt: skip
        self.lr = lr
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.eps = eps
        self._configure(**common)

    def states(self, options: dict[str, Any]) -> Any:
        return ("sum",)

    def initial(self, state: Any, options: dict[str, Any]) -> Any:
        return options["initial_accumulator_value"]

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        decay = options["lr_decay"]
        divisor = [1.0 + (t - 1) * decay for t in range(first_step, first_step + count)] if decay else 1.0
        return [options["lr"], options["eps"], divisor]
