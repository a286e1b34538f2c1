"""Signals before training: variance of activations and of gradients through the layers."""

from __future__ import annotations

from typing import Any

from .figure import as_list, new_axes, tidy


class SignalDisplay:
    """Variance of activations and of gradients, layer by layer, of one model or of several side by side.

    Parameters
    ----------
    curves : dict of str to dict
        Name of the model -> {"name": layers' names, "variance": ..., "gradient_variance": ...}.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of two matplotlib Axes
        Activations, gradients. Set by `plot`, as `figure_`.

    Examples
    --------
    >>> SignalDisplay.from_reports({"He": nn.signal_report(a), "Xavier": nn.signal_report(b)}).plot()
    """

    def __init__(self, curves: Any) -> None:
        if not curves:
            raise ValueError("there is nothing to draw: no report")
        self.curves = curves

    @classmethod
    def from_reports(cls, reports: Any) -> SignalDisplay:
        """Make a display from {name: what `nn.signal_report` returns}."""
        keys = ("name", "variance", "gradient_variance")
        return cls({name: {key: [row[key] for row in report.rows] for key in keys} for name, report in reports.items()})

    def plot(self, axes: Any = None) -> SignalDisplay:
        """Draw.

        Parameters
        ----------
        axes : list of two matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        SignalDisplay
            Itself.
        """
        axes = new_axes(2) if axes is None else as_list(axes, 2, "SignalDisplay")
        titles = (("variance", "variance of activations"), ("gradient_variance", "variance of gradients"))
        for axis, (key, title) in zip(axes, titles, strict=True):
            for name, curve in self.curves.items():
                places = range(len(curve[key]))
                axis.plot(places, curve[key], marker="o", markersize=3, linewidth=1.4, label=name)
            axis.set_yscale("log")
            axis.set_ylabel(title)
            axis.set_xlabel("layer")
            tidy(axis)
            names = next(iter(self.curves.values()))["name"]
            if len(names) <= 12:
                axis.set_xticks(range(len(names)), names)
            if len(self.curves) > 1:
                axis.legend(frameon=False)
        self.figure_, self.axes_ = axes[0].figure, axes
        return self
