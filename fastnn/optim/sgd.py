"""SGD with momentum in its three written forms (Sutskever et al. 2013)."""

from typing import Any

from .base import Optimizer

_FORMS = {"torch": 0.0, "classical": 1.0, "averaging": 2.0}  # FNN_SGD_* of the native library


class SGD(Optimizer):
    """Stochastic gradient descent.

    ``g += weight_decay * w``; ``v = momentum * v + (1 - dampening) * g`` (``v = g`` at the first step);
    ``w -= lr * v``, or with Nesterov ``w -= lr * (g + momentum * v)``. Sutskever et al. 2013, PyTorch's form.

    Parameters
    ----------
    lr : float, default 1e-3
    momentum : float, default 0
    dampening : float, default 0
    weight_decay : float, default 0
        Coupled L2: added to the gradient. Not on biases and norm parameters unless ``decay_bias=True``.
    nesterov : bool, default False
        Needs a momentum and no dampening.
    form : {"torch", "classical", "averaging"}
        How momentum is written; the forms are the same up to scaling until the rate changes. ``"classical"`` (Keras):
        ``v = momentum * v - lr * g``, ``w += v``, with Nesterov ``w += momentum * v - lr * g``: the weights are then
        the points ``theta + momentum * v`` at which the look-ahead form takes its gradient. ``"averaging"``:
        ``v = momentum * v + (1 - momentum) * g``, ``w -= lr * v``, from ``v = 0``.
    **common
        ``groups, decay_bias, l1, max_norm, decoupled_weight_decay, maximize``: see `Optimizer`.
    """

    kind = "sgd"
    options = ("lr", "momentum", "dampening", "nesterov", "form")

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        form: str = "torch",
        **common: Any,
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.form = form
        self._configure(**common)

    def _check(self, options):
        super()._check(options)
        if options["form"] not in _FORMS:
            raise ValueError(f"SGD: form must be one of {', '.join(_FORMS)}, got {options['form']!r}")
        plain = options["momentum"] > 0 and options["dampening"] == 0 and options["form"] != "averaging"
        if options["nesterov"] and not plain:
            raise ValueError("SGD: nesterov=True needs momentum > 0, dampening=0 and not the averaging form")

    def states(self, options: dict[str, Any]) -> Any:
        return ("momentum_buffer",) if options["momentum"] != 0 else ()

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        first = 0.0 if first_step > 1 else [1.0] + [0.0] * (count - 1)
        return [
            options["lr"],
            options["momentum"],
            options["dampening"],
            1.0 if options["nesterov"] else 0.0,
            _FORMS[options["form"]],
            first,
        ]
