"""BatchNorm1d: y = (x - mean) / sqrt(var + eps) * weight + bias, statistics over the rows (Ioffe & Szegedy 2015)."""

from typing import Any

import numpy as np

from .. import functional as F
from .. import kernels
from ..graph import context
from ..graph.parameter import Parameter, filled
from ..validation import check_count
from .layer import Layer

_CHUNK = 16384  # rows of a data set at a time


class BatchNorm1d(Layer):
    """Batch normalisation of the columns of (rows, num_features).

    Training uses the batch's mean and biased variance, and moves ``running = (1 - momentum) * running + momentum *
    batch`` (with the m/(m-1) correction of the variance if `unbiased`); inference uses the running statistics.

    Parameters
    ----------
    num_features : int
    eps : float, default 1e-5
        Inside the root.
    momentum : float or None, default 0.1
        Weight of the new batch, in [0, 1]. None: the plain average over all batches so far, whose number is kept in
        the buffer ``num_batches_tracked``.
    unbiased : bool, default True
        PyTorch's running variance; False is the plain biased one.

    Raises
    ------
    ValueError
        When a training batch has one row (its variance is zero); `Trainer` merges such a remainder.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, unbiased: bool = True) -> None:
        self.num_features = n = check_count("BatchNorm1d", "num_features", num_features)
        if not eps >= 0:
            raise ValueError(f"BatchNorm1d: eps must not be negative, got {eps}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm1d: momentum must be between 0 and 1, or None, got {momentum}")
        self.eps = float(eps)
        self.momentum = None if momentum is None else float(momentum)
        self.unbiased = bool(unbiased)
        self.weight = Parameter(filled(n, 1), name="weight")
        self.bias = Parameter(filled(n), name="bias")
        self.running_mean = Parameter(filled(n), name="running_mean", requires_grad=False, buffer=True)
        self.running_var = Parameter(filled(n, 1), name="running_var", requires_grad=False, buffer=True)
        if momentum is None:
            self.num_batches_tracked = Parameter(np.zeros((), np.float32), name="num_batches_tracked", buffer=True)

    def _draw_parameters(self, seed, path):
        for tensor, value in (
            (self.weight, 1),
            (self.bias, 0),
            (self.running_mean, 0),
            (self.running_var, 1),
        ):
            tensor.assign(np.full(tensor.shape, value, tensor.dtype))
        if self.momentum is None:
            self.num_batches_tracked.assign(np.zeros(()))

    def forward(self, x: Any) -> Any:
        training = self.training and context.current().training != "sampling"
        cumulative = training and self.momentum is None
        if cumulative:
            self._average(x)
        return F.batch_norm(
            x,
            None if cumulative else self.running_mean,
            None if cumulative else self.running_var,
            self.weight,
            self.bias,
            training=training,
            momentum=0.0 if self.momentum is None else self.momentum,
            eps=self.eps,
            unbiased=self.unbiased,
        )

    def _average(self, x):
        """Record ``running += (batch - running) / n`` for the n-th batch."""
        x, rows = F.stop_gradient(x), x.shape[0]
        count = self.num_batches_tracked + 1.0
        mean, var = F.mean(x, axis=0), F.var(x, axis=0)
        if self.unbiased:
            var = var * (rows / (rows - 1.0))
        for state, batch in ((self.running_mean, mean), (self.running_var, var)):
            count._apply("assign", (state, state + (batch - state) / count), {"state": state})
        count._apply("assign", (self.num_batches_tracked, count), {"state": self.num_batches_tracked})

    def estimate_population(self, x: Any) -> None:
        """Set the running statistics to those of all rows of `x`, this layer's inputs over a data set.

        Parameters
        ----------
        x : array_like, shape (rows, num_features)
            At least two rows.

        Notes
        -----
        Mean and variance of the population, the latter times rows/(rows - 1) if the layer is `unbiased` (Ioffe &
        Szegedy 2015, algorithm 2). The bits depend on the rows and their order only, not on the number of threads.
        """
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.num_features:
            raise ValueError(f"BatchNorm1d: x has shape {x.shape}: expected (rows, {self.num_features})")
        if len(x) < 2:
            raise ValueError(f"BatchNorm1d: population statistics need at least 2 rows, got {len(x)}")
        rows, mean, square = 0, 0.0, 0.0
        while rows < len(x):
            left = len(x) - rows
            part = x[rows : rows + (left if left < 2 * _CHUNK else _CHUNK)]  # never a single row
            _, part_mean, part_var = kernels.batch_norm(np.asarray(part, np.float64))
            share = len(part) / (rows + len(part))
            square = square + part_var * len(part) + (part_mean - mean) ** 2 * (rows * share)
            mean = mean + (part_mean - mean) * share
            rows += len(part)
        dtype = self.running_mean.dtype
        self.running_mean.assign(mean.astype(dtype))
        self.running_var.assign((square / (rows - 1 if self.unbiased else rows)).astype(dtype))

    def fold(self, linear: Any) -> Any:
        """The layer and the `Linear` before it as one `Linear`, for inference.

        Parameters
        ----------
        linear : Linear
            Its out_features are this layer's features.

        Returns
        -------
        Linear
            A new layer with ``weight * a`` and ``(bias - running_mean) * a + self.bias``, where ``a = self.weight /
            sqrt(running_var + eps)`` for each output; computed in double.
        """
        from .linear import Linear

        if not isinstance(linear, Linear) or linear.out_features != self.num_features:
            raise ValueError(f"BatchNorm1d: fold takes a Linear with {self.num_features} outputs, not {linear!r}")
        dtype = linear.weight.dtype
        wide = {name: getattr(self, name).numpy().astype(np.float64) for name in
                ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
        factor = wide["weight"] / np.sqrt(wide["running_var"] + self.eps)
        bias = 0.0 if linear.bias is None else linear.bias.numpy().astype(np.float64)
        folded = Linear(linear.in_features, linear.out_features)
        if dtype != np.float32:
            folded.to(str(dtype))
        folded.weight.assign((linear.weight.numpy().astype(np.float64) * factor[:, None]).astype(dtype))
        folded.bias.assign(((bias - wide["running_mean"]) * factor + wide["bias"]).astype(dtype))
        return folded

    def _fit_init(self, following):
        return following

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum}"
