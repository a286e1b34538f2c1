"""HealthMonitor: dead and saturated units, vanishing and exploding gradients, updates out of proportion."""

import warnings

import numpy as np

from ..checks import check_count
from .base import Callback


class HealthWarning(UserWarning):
    """Something in the network does not train well; the text has the numbers."""


class HealthMonitor(Callback):
    """Watch units, gradients and updates after epochs, on a probe set of training rows.

    Adds columns to the history: ``dead_units``, ``linear_units`` and ``saturated`` (shares), ``gradient_span`` (largest
    over smallest rms gradient of the weight matrices), ``update_ratio`` (median of ``||update|| / ||w||``) and
    ``unit_drift`` (how far the units' means have moved since the last look, in deviations of their layer). What goes
    wrong is told once as a `HealthWarning`.

    Parameters
    ----------
    rows : int, default 256
        Of the probe set: the first rows of the epoch's order (of an iterable, the last batch).
    every_epochs : int, default 1
    warn : bool, default True

    Attributes
    ----------
    health : Health
        The latest look: ``print(monitor.health)``.
    problems : dict of int to list of str
        By epoch.
    """

    def __init__(self, rows=256, every_epochs=1, warn=True):
        self.rows = check_count("HealthMonitor", "rows", rows, 2)
        self.every_epochs = check_count("HealthMonitor", "every_epochs", every_epochs, 1)
        self.warn = bool(warn)
        self.on_fit_begin()

    def on_fit_begin(self):
        self.health = None
        self.problems = {}
        self._told = set()
        self._means = None

    def on_epoch_end(self, epoch, logs):
        if (epoch + 1) % self.every_epochs:
            return
        from ..layer_health import health

        x, y, weight = self.trainer._fit.source.sample(self.rows)
        self.health = health(self.trainer, x, y, weight, rows=self.rows)
        logs.update(self.health.summary(), unit_drift=self._drift(self.health.layers))
        self.problems[epoch] = self.health.problems
        for problem in self.health.problems if self.warn else ():
            kind = problem.split(":")[0]
            if kind not in self._told:
                self._told.add(kind)
                warnings.warn(f"epoch {epoch}: {problem}", HealthWarning, stacklevel=2)

    def _drift(self, layers):
        means = [layer.unit_mean / (layer.std or 1.0) for layer in layers]
        means = np.concatenate(means) if means else np.zeros(0)
        before, self._means = self._means, means
        if before is None or before.shape != means.shape or not means.size:
            return 0.0
        return float(np.mean(np.abs(means - before)))

    def state_dict(self):
        return {"told": sorted(self._told), **({} if self._means is None else {"means": self._means})}

    def load_state_dict(self, state):
        self._told, self._means = set(state["told"]), state.get("means")
