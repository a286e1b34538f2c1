"""The report before training: do signals and gradients keep their size through the layers?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .probing import probe
from .summary import table

_TOO_MUCH = 10.0  # a variance that changes by more than this from the first layer to the last is worth a word


class SignalReport:
    """Mean and variance of activations and gradients, layer by layer, made by `signal_report`.

    Attributes
    ----------
    rows : list of dict
        Per layer ``name, layer, mean, variance, gradient_mean, gradient_variance, zeros`` (share of outputs that are
        exactly 0).
    growth : float
        Variance of the last hidden output over that of the first.
    gradient_growth : float
        Variance of the gradient at the first hidden output over that at the last.
    """

    def __init__(self, signals: Any) -> None:
        self.rows = [_row(signal) for signal in signals]
        hidden = [row for row in self.rows[:-1] if row["variance"] > 0]  # the last is the output
        ends = (hidden[0], hidden[-1]) if len(hidden) > 1 else None
        self.growth = ends[1]["variance"] / ends[0]["variance"] if ends else 1.0
        gradients = (ends[0]["gradient_variance"], ends[1]["gradient_variance"]) if ends else (1.0, 1.0)
        self.gradient_growth = gradients[0] / gradients[1] if gradients[1] else float("nan")

    def advice(self) -> Any:
        """What the numbers say, one line each."""
        lines = []
        for what, growth, way in (
            ("activations", self.growth, "to the last layer"),
            ("gradients", self.gradient_growth, "back to the first layer"),
        ):
            if not 1 / _TOO_MUCH <= growth <= _TOO_MUCH:
                word = "vanish" if growth < 1 else "explode" if growth > 1 else "are not finite"
                lines.append(f"{what} {word}: their variance changes by the factor {growth:.3g} {way}")
        if not lines:
            lines.append("activations and gradients keep their size")
        elif any("vanish" in line or "explode" in line for line in lines):
            lines.append("try init='auto', batch or layer norm, or shortcuts (nn.Residual, nn.Highway)")
        return lines

    def __str__(self):
        header = ["name", "layer", "mean", "variance", "zeros", "gradient mean", "gradient variance"]
        rows = [
            [
                row["name"], row["layer"], f"{row['mean']:.3g}", f"{row['variance']:.3g}", f"{row['zeros']:.0%}",
                f"{row['gradient_mean']:.3g}", f"{row['gradient_variance']:.3g}",
            ]
            for row in self.rows
        ]  # fmt: skip
        return "\n".join([*table(header, rows), *self.advice()])

    __repr__ = __str__

    def plot(self, axes: Any = None) -> Any:
        """Draw the variances through the layers. Returns a `fastnn.plot.SignalDisplay`."""
        from ..plot import SignalDisplay

        return SignalDisplay.from_reports({"": self}).plot(axes)


def _row(signal):
    output, gradient = signal.output.astype(np.float64), signal.gradient.astype(np.float64)
    return {
        "name": signal.path,
        "layer": type(signal.layer).__name__,
        "mean": float(output.mean()),
        "variance": float(output.var()),
        "gradient_mean": float(gradient.mean()),
        "gradient_variance": float(gradient.var()),
        "zeros": float((output == 0).mean()),
    }


def signal_report(
    model: Any, x: Any = None, y: Any = None, loss: Callable[..., Any] | None = None, *, seed: int = 0,
) -> Any:  # fmt: skip
    """Look at a model before it is trained: mean and variance of activations and gradients through its layers.

    Parameters
    ----------
    model : Module
    x : array (rows, ...), or a tuple or dict of arrays, optional
        Some hundred rows of the data as the model will get them. Default: 256 rows of N(0, 1).
    y, loss : array and callable, optional
        Whose gradients; default: N(0, 1) numbers at the output (see `nn.probe`).
    seed : int, default 0

    Returns
    -------
    SignalReport
        ``print`` shows the table and what follows from it, ``plot()`` draws it.

    Notes
    -----
    Weights that keep both variances near 1 let deep nets train: Glorot & Bengio 2010; He, Zhang, Ren & Sun 2015.

    Examples
    --------
    >>> print(nn.signal_report(model, x[:500]))
    """
    if x is None:
        x = np.random.default_rng(seed).standard_normal((256, _features(model)))
    return SignalReport(probe(model, x, y, loss, seed=seed))


def _features(model):
    for module in model.modules():
        for name in ("in_features", "num_features", "features"):
            if hasattr(module, name):
                return getattr(module, name)
    raise ValueError("signal_report: give x, the model does not tell how many features it takes")
