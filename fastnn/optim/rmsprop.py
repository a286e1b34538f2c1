"""RMSProp: r = alpha r + (1 - alpha) g^2; w -= lr g / (sqrt(r) + eps) (Tieleman & Hinton 2012, lecture 6.5)."""

from .base import Optimizer, check_not_negative, check_share


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
    groups, decay_bias
        See `Optimizer`.
    """

    kind = "rmsprop"
    options = ("lr", "alpha", "eps", "weight_decay")

    def __init__(self, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, *, groups=(), decay_bias=False):
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self._configure(groups, decay_bias)

    def _check(self, options):
        super()._check(options)
        check_share("RMSprop", "alpha", options["alpha"])
        check_not_negative("RMSprop", "eps", options["eps"])

    def scalars(self, options, first_step, count):
        return [options["lr"], options["alpha"], options["eps"], options["weight_decay"]]
