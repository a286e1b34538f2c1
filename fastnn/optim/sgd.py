"""SGD with momentum, PyTorch's form: v = momentum v + (1 - dampening) g; w -= lr v (first step: v = g)."""

from .base import Optimizer, check_not_negative


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
    groups, decay_bias
        See `Optimizer`.
    """

    kind = "sgd"
    options = ("lr", "momentum", "dampening", "weight_decay", "nesterov")

    def __init__(
        self, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *, groups=(), decay_bias=False
    ):
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = bool(nesterov)
        self._configure(groups, decay_bias)

    def _check(self, options):
        super()._check(options)
        check_not_negative("SGD", "momentum", options["momentum"])
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs momentum > 0 and dampening=0")

    def scalars(self, options, first_step, count):
        first = 0.0 if first_step > 1 else [1.0] + [0.0] * (count - 1)
        return [
            options["lr"],
            options["momentum"],
            options["dampening"],
            options["weight_decay"],
            1.0 if options["nesterov"] else 0.0,
            first,
        ]
