"""Search: the score of every trial over each parameter, on the scale that it was drawn on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .figure import NEUTRAL, TRAINING, VALIDATION, new_axes, tidy

_ROUNDS = ("#9ecae1", "#4292c6", "#084594", "#08306b")  # later rounds are darker


class SearchDisplay:
    """Score over each parameter of a search, a panel for each, and the score of the best so far over the trials.

    Parameters
    ----------
    trials : list of dict
        With ``number, params, score`` and perhaps ``round, status``.
    space : dict of str to distribution
    monitor : str
    larger : bool, default False
        Whether a larger score is better.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        One for each parameter that takes more than one value, then that of the progress. Set by `plot`, as `figure_`.

    Examples
    --------
    >>> SearchDisplay.from_search(search).plot()
    """

    def __init__(self, trials: list[dict[str, Any]], space: Any, monitor: str, larger: bool = False) -> None:
        self.trials = [trial for trial in trials if trial["score"] is not None]
        if not self.trials:
            raise ValueError("there is nothing to draw: the search has no trial with a score")
        self.space, self.monitor, self.larger = space, monitor, larger

    @classmethod
    def from_search(cls, search: Any) -> SearchDisplay:
        """Make a display from a fitted `RandomSearch`."""
        return cls(search.trials, search.space, search.monitor, search.larger)

    def plot(self, axes: Any = None) -> SearchDisplay:
        """Draw.

        Parameters
        ----------
        axes : list of matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        SearchDisplay
            Itself.
        """
        names = [name for name, values in self.space.items() if values.high - values.low > 1 or values.name != "choice"]
        if axes is None:
            columns = min(3, len(names) + 1)
            axes = new_axes(columns, -(-(len(names) + 1) // columns), width=3.5, height=2.9)
        axes = list(axes) if hasattr(axes, "__iter__") else [axes]
        if len(axes) < len(names) + 1:
            raise ValueError(f"{len(names)} parameters and the progress need {len(names) + 1} axes, not {len(axes)}")
        for axis in axes[len(names) + 1 :]:
            axis.set_visible(False)
        for axis, name in zip(axes, names, strict=False):
            self._draw_parameter(axis, name)
        self._draw_progress(axes[len(names)])
        self.figure_, self.axes_ = axes[0].figure, axes[: len(names) + 1]
        return self

    def _draw_parameter(self, axis, name):
        values = self.space[name]
        best = min(self.trials, key=self._rank)
        scores = [trial["score"] for trial in self.trials]
        colours = [_ROUNDS[min(trial.get("round", 0), 3)] if self._rounds() > 1 else TRAINING for trial in self.trials]
        if values.name == "choice":
            places = [values.coordinate(trial["params"][name]) for trial in self.trials]
            spots = dict(zip(map(id, self.trials), places))
            axis.set_xticks([i + 0.5 for i in range(len(values.values))], [_short(v) for v in values.values])
            axis.set_xlim(0, len(values.values))
        else:
            places = [trial["params"][name] for trial in self.trials]
            spots = dict(zip(map(id, self.trials), places))
        if values.name == "log_uniform":
            axis.set_xscale("log")
        if values.name == "one_minus_log_uniform":
            spots = {key: 1.0 - place for key, place in spots.items()}
            places = [1.0 - place for place in places]
            axis.set_xscale("log")
            axis.invert_xaxis()
        axis.scatter(places, scores, c=colours, s=22, alpha=0.85, linewidths=0)
        axis.scatter([spots[id(best)]], [best["score"]], s=90, facecolors="none", edgecolors=VALIDATION, linewidths=1.8)
        self._scale_scores(axis, scores)
        axis.set_xlabel(f"1 - {name}" if values.name == "one_minus_log_uniform" else name)
        axis.set_ylabel(self.monitor)
        tidy(axis)

    def _draw_progress(self, axis):
        ordered = sorted(self.trials, key=lambda trial: trial["number"])
        numbers, scores = [t["number"] + 1 for t in ordered], [t["score"] for t in ordered]
        running = (np.maximum if self.larger else np.minimum).accumulate(scores)
        axis.scatter(numbers, scores, s=14, color=NEUTRAL, alpha=0.6, linewidths=0, label="trial")
        axis.step(numbers, running, where="post", color=VALIDATION, linewidth=1.8, label="best so far")
        self._scale_scores(axis, scores)
        axis.set_xlabel("trial")
        axis.legend(frameon=False)
        tidy(axis)

    def _scale_scores(self, axis, scores):
        """Losses over more than a decade on a logarithmic axis: one that ran away would flatten all others."""
        if not self.larger and min(scores) > 0 and max(scores) > 10 * min(scores):
            axis.set_yscale("log")

    def _rank(self, trial):
        ended = trial.get("status") in ("halved", "time")
        return ended, -trial["score"] if self.larger else trial["score"]

    def _rounds(self):
        return 1 + max(trial.get("round", 0) for trial in self.trials)


def _short(value):
    text = getattr(value, "__name__", None) or str(value)
    return text if len(text) <= 14 else text[:13] + "…"
