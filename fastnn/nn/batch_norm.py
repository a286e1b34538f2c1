"""BatchNorm1d: y = (x - mean) / sqrt(var + eps) * weight + bias, statistics over the rows (Ioffe & Szegedy 2015)."""

import numpy as np

from .. import functional as F
from .layer import Layer, positive_int
from .module import Parameter


class BatchNorm1d(Layer):
    """Batch normalisation of the columns of (rows, num_features).

    Training uses the batch's mean and biased variance, and moves ``running = (1 - momentum) * running + momentum *
    batch`` (with the m/(m-1) correction of the variance if `unbiased`); inference uses the running statistics.

    Parameters
    ----------
    num_features : int
    eps : float, default 1e-5
        Inside the root.
    momentum : float, default 0.1
        Weight of the new batch, in [0, 1].
    unbiased : bool, default True
        PyTorch's running variance; False is the plain biased one.

    Raises
    ------
    ValueError
        When a training batch has one row (its variance is zero); `Trainer` merges such a remainder.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *, unbiased=True):
        self.num_features = n = positive_int(num_features, "BatchNorm1d: num_features")
        if not eps >= 0:
            raise ValueError(f"BatchNorm1d: eps must not be negative, got {eps}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm1d: momentum must be between 0 and 1, got {momentum}")
        self.eps = float(eps)
        self.momentum = float(momentum)
        self.unbiased = bool(unbiased)
        self.weight = Parameter(np.ones(n, np.float32), name="weight")
        self.bias = Parameter(np.zeros(n, np.float32), name="bias")
        self.running_mean = Parameter(np.zeros(n, np.float32), name="running_mean", requires_grad=False, buffer=True)
        self.running_var = Parameter(np.ones(n, np.float32), name="running_var", requires_grad=False, buffer=True)

    def _draw_parameters(self, seed, path):
        for tensor, value in (
            (self.weight, 1),
            (self.bias, 0),
            (self.running_mean, 0),
            (self.running_var, 1),
        ):
            tensor.assign(np.full(tensor.shape, value, tensor.dtype))

    def forward(self, x):
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
            unbiased=self.unbiased,
        )

    def extra_repr(self):
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"

    def _config(self):
        return {name: getattr(self, name) for name in ("num_features", "eps", "momentum", "unbiased")}
