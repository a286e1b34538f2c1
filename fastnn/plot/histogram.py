"""Histograms of weights, gradients and activations, a panel for each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .figure import TRAINING, new_axes, tidy


class HistogramDisplay:
    """Distribution of the values of several arrays.

    Parameters
    ----------
    arrays : dict of str to array
        A panel for each; values that are not finite are counted in the title and left out.
    quantity : str, default "value"
        Label of the horizontal axes.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        One for each array. Set by `plot`, as `figure_`.

    Examples
    --------
    >>> HistogramDisplay.from_weights(model).plot()
    >>> HistogramDisplay.from_activations(model, x[:1000]).plot()
    >>> HistogramDisplay.from_gradients(trainer, x[:128], y[:128]).plot()
    """

    def __init__(self, arrays: Any, quantity: str = "value") -> None:
        if not arrays:
            raise ValueError(f"there is nothing to draw: no {quantity}s")
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self.quantity = quantity

    @classmethod
    def from_weights(cls, model: Any, *, biases: bool = False) -> HistogramDisplay:
        """Make a display from the parameters of a model: those of at least two axes, or all with `biases`."""
        chosen = {name: p.numpy() for name, p in model.named_parameters() if biases or len(p.shape) > 1}
        return cls(chosen, "weight")

    @classmethod
    def from_activations(cls, model: Any, x: Any) -> HistogramDisplay:
        """Make a display from the outputs of a `Sequential`'s layers, in inference mode.

        Parameters
        ----------
        model : nn.Sequential
        x : array (rows, features)
            A few hundred rows tell enough.
        """
        from ..nn import Sequential

        if not isinstance(model, Sequential):
            raise TypeError(f"from_activations walks through the layers of a Sequential, not of {type(model).__name__}")
        outputs, value = {}, x
        for name, layer in model.named_children():
            value = layer.predict(value)
            outputs[f"{name} {type(layer).__name__}"] = value
        return cls(outputs, "activation")

    @classmethod
    def from_gradients(cls, trainer: Any, x: Any, y: ArrayLike) -> HistogramDisplay:
        """Make a display from the gradients of one batch; neither weights nor optimizer nor random streams change.

        Parameters
        ----------
        trainer : Trainer
        x, y : arrays
            The batch.
        """
        import copy

        seen = {}
        probe = copy.deepcopy(trainer)
        probe.accumulate = 1
        probe.gradient_hook = lambda gradients: seen.update((n, np.array(g)) for n, g in gradients.items())
        probe.train_step(x, y)
        return cls({name: gradient for name, gradient in seen.items() if gradient.ndim > 1}, "gradient")

    def plot(self, axes: Any = None, *, bins: int = 50) -> HistogramDisplay:
        """Draw.

        Parameters
        ----------
        axes : list of matplotlib Axes, optional
            One for each array; default: a new figure.
        bins : int, default 50

        Returns
        -------
        HistogramDisplay
            Itself.
        """
        if axes is None:
            columns = min(4, len(self.arrays))
            axes = new_axes(columns, -(-len(self.arrays) // columns), width=2.9, height=2.4)
        axes = list(axes) if hasattr(axes, "__iter__") else [axes]
        if len(axes) < len(self.arrays):
            raise ValueError(f"{len(self.arrays)} arrays need as many axes, not {len(axes)}")
        for axis in axes[len(self.arrays) :]:
            axis.set_visible(False)
        for axis, (name, array) in zip(axes, self.arrays.items(), strict=False):
            self._draw(axis, name, array, bins)
        self.figure_, self.axes_ = axes[0].figure, axes[: len(self.arrays)]
        return self

    def _draw(self, axis, name, array, bins):
        values = array.astype(np.float64).reshape(-1)
        finite = values[np.isfinite(values)]
        lost = len(values) - len(finite)
        title = f"{name}: {finite.mean():.2g} ± {finite.std():.2g}" if len(finite) else name
        axis.set_title(title + (f", {lost} not finite" if lost else ""), fontsize=9)
        if len(finite):
            axis.hist(finite, bins, weights=np.full(len(finite), 100.0 / len(values)), color=TRAINING)
        axis.set_xlabel(self.quantity)
        axis.set_ylabel("%")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3))
        axis.locator_params(axis="x", nbins=5)
        tidy(axis)
