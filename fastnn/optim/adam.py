"""Adam (Kingma & Ba 2015, algorithm 1): both moments bias-corrected, eps outside the root."""

from .base import Optimizer, check_not_negative, check_share


class Adam(Optimizer):
    """Adam: ``m = b1 m + (1-b1) g``, ``v = b2 v + (1-b2) g^2``, ``w -= lr * m' / (sqrt(v') + eps)``.

    ``m' = m / (1 - b1^t)`` and ``v' = v / (1 - b2^t)``; t counts the steps of a parameter from 1.

    Parameters
    ----------
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 0
        Coupled L2: added to the gradient. Not on biases and norm parameters unless ``decay_bias=True``.
    groups, decay_bias
        See `Optimizer`.
    """

    kind = "adam"
    options = ("lr", "betas", "eps", "weight_decay")

    def __init__(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, groups=(), decay_bias=False):
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._configure(groups, decay_bias)

    def _check(self, options):
        super()._check(options)
        betas = options["betas"]
        if isinstance(betas, (str, float, int)) or len(betas) != 2:
            raise ValueError(f"Adam: betas must be two numbers, got {betas!r}")
        check_share("Adam", "betas[0]", betas[0])
        check_share("Adam", "betas[1]", betas[1])
        check_not_negative("Adam", "eps", options["eps"])

    def scalars(self, options, first_step, count):
        beta1, beta2 = options["betas"]
        # Python's pow, not NumPy's: the same bits for one step at a time and for many, on every machine
        steps = range(first_step, first_step + count)
        return [
            options["lr"],
            beta1,
            beta2,
            options["eps"],
            options["weight_decay"],
            [1.0 - beta1**t for t in steps],
            [1.0 - beta2**t for t in steps],
        ]
