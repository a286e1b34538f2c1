"""L-BFGS through SciPy: the whole data at once, no rate to choose (Liu & Nocedal 1989)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..validation import check_not_negative, check_whole

if TYPE_CHECKING:
    from typing_extensions import Self


class LBFGS:
    """Limited-memory BFGS over all rows at once, by SciPy's L-BFGS-B; for small data sets and smooth models.

    It is no step of a `Trainer`: ``optim.LBFGS().minimize(model, loss, x, y)`` trains a model in one call. Values and
    gradients are computed in float64 from a compiled program, whatever the model's dtype.

    Parameters
    ----------
    max_iter : int, default 200
    history_size : int, default 10
        Pairs of steps and gradient changes that the curvature is estimated from.
    tolerance_grad : float, default 1e-5
        Ends when no gradient is larger.
    tolerance_change : float, default 1e-9
        Ends when the objective falls by less than this share in an iteration.
    weight_decay : float, default 0
        Coupled L2, ``weight_decay / 2 * ||W||^2`` in the objective.
    decay_bias : bool, default False
        True also decays biases and norm parameters.

    Attributes
    ----------
    losses : list of float
        The objective before the first iteration and after each, of the latest `minimize`.
    stop_reason : str
        SciPy's message.

    Notes
    -----
    Needs SciPy. Dropout keeps one mask throughout. Batch norm's running statistics are set to those of the data when
    it is done (`nn.estimate_population`).

    Examples
    --------
    >>> optim.LBFGS(max_iter=100).minimize(model, nn.MSELoss(), x, y)
    """

    def __init__(
        self, max_iter: int = 200, history_size: int = 10, tolerance_grad: float = 1e-5,
        tolerance_change: float = 1e-9, weight_decay: float = 0.0, decay_bias: bool = False,
    ) -> None:  # fmt: skip
        for name, value in (("max_iter", max_iter), ("history_size", history_size)):
            check_whole("LBFGS", name, value, 1)
        for name, value in (
            ("tolerance_grad", tolerance_grad),
            ("tolerance_change", tolerance_change),
            ("weight_decay", weight_decay),
        ):
            check_not_negative("LBFGS", name, value)
        self.max_iter = int(max_iter)
        self.history_size = int(history_size)
        self.tolerance_grad = float(tolerance_grad)
        self.tolerance_change = float(tolerance_change)
        self.weight_decay = float(weight_decay)
        self.decay_bias = bool(decay_bias)
        self.losses = []
        self.stop_reason = ""

    def minimize(self, model: Any, loss: Callable[..., Any], x: Any, y: Any, *, seed: int = 0) -> Self:
        """Train the model's parameters on all rows of x.

        Parameters
        ----------
        model : nn.Module
        loss : nn loss, or callable (output, target) -> scalar
        x : array (rows, ...), or a tuple or dict of arrays
        y : array
            Class labels (rows,), or targets of the output's shape; (rows,) against (rows, 1) is reshaped.
        seed : int, default 0
            Of dropout's mask.

        Returns
        -------
        LBFGS
            Itself. After Ctrl-C the model has the best weights so far.
        """
        try:
            from scipy.optimize import minimize
        except ImportError:
            raise ImportError("LBFGS needs SciPy: pip install scipy") from None
        from ..nn import BatchNorm1d, estimate_population

        objective, parameters = self._objective(model, loss, x, y, seed)
        problem = _Problem(objective.with_slopes(), objective.arrays, parameters)
        self.losses = [problem(problem.start)[0]]
        with model._guard.writing():
            try:
                result = minimize(
                    problem,
                    problem.start,
                    jac=True,
                    method="L-BFGS-B",
                    callback=lambda _: self.losses.append(problem.latest),
                    options={
                        "maxiter": self.max_iter,
                        "maxcor": self.history_size,
                        "gtol": self.tolerance_grad,
                        "ftol": self.tolerance_change,
                        "maxfun": 50 * self.max_iter,
                    },
                )
                self.stop_reason = str(result.message)
            finally:
                problem.write_best()
        if any(isinstance(module, BatchNorm1d) for module in model.modules()):
            estimate_population(model, x)
        return self

    def _objective(self, model, loss, x, y, seed):
        from .. import functional as F
        from ..graph.objective import Objective
        from ..nn.arrays import split_inputs
        from ..nn.losses import meaning_of
        from ..nn.predict import with_names

        names, arrays = split_inputs(x)
        y = np.asarray(y)
        output = model.predict(arrays[0][:1] if names is None and len(arrays) == 1 else _first(names, arrays))
        if len(y) != len(arrays[0]):
            raise ValueError(f"LBFGS: x has {len(arrays[0])} rows, y has {len(y)}")
        if meaning_of(loss).target == "class" and y.dtype.kind in "iub":
            y = y.astype(np.int64)
        else:
            y = y.astype(np.float64)
            if y.ndim == 1 and output.ndim == 2 and output.shape[1] == 1:
                y = y[:, None]
        decayed = {
            name for name, parameter in model.named_parameters() if self.decay_bias or len(parameter.shape) >= 2
        }

        def penalty(tensors):
            parts = [F.sum(F.square(tensor)) for name, tensor in tensors.items() if name in decayed]
            return (0.5 * self.weight_decay) * sum(parts[1:], parts[0]) if self.weight_decay and parts else None

        inputs = (*[np.asarray(array, np.float64) for array in arrays], y)
        objective = Objective(with_names(model, names), inputs, loss, seed=seed, penalty=penalty, module=model)
        by_name = dict(model.named_parameters())
        return objective, [by_name[name] for name in objective.names]

    def __repr__(self) -> str:
        options = ("max_iter", "history_size", "tolerance_grad", "tolerance_change", "weight_decay", "decay_bias")
        return f"LBFGS({', '.join(f'{name}={getattr(self, name)!r}' for name in options)})"


def _first(names, arrays):
    rows = tuple(array[:1] for array in arrays)
    return rows if names is None else dict(zip(names, rows, strict=True))


class _Problem:
    """The objective as SciPy wants it: one flat vector in, (value, flat gradient) out; remembers the best point."""

    def __init__(self, program, arrays, parameters):
        self.program, self.arrays, self.parameters = program, arrays, parameters
        self.start = np.concatenate([array.ravel() for array in arrays])
        self.best, self.latest = (np.inf, self.start), np.inf

    def _arrays(self, point):
        ends = np.cumsum([array.size for array in self.arrays])[:-1]
        parts = np.split(point, ends)
        return [np.ascontiguousarray(part.reshape(a.shape)) for part, a in zip(parts, self.arrays, strict=True)]

    def __call__(self, point):
        value, *slopes = self.program(self._arrays(point))
        value = float(value)
        self.latest = value
        if value < self.best[0]:
            self.best = value, point.copy()
        return value, np.concatenate([slope.ravel() for slope in slopes])

    def write_best(self):
        """Put the best point into the model."""
        for parameter, array in zip(self.parameters, self._arrays(self.best[1]), strict=True):
            parameter.assign(array)
