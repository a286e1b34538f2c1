"""HealthMonitor: dead and saturated units, vanishing and exploding gradients, updates out of proportion."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..nn.arrays import split_inputs
from ..training.callbacks.base import Callback
from ..validation import count
from .layer_health import health
from .units import unit_drift, unit_inputs


class HealthWarning(UserWarning):
    """Something in the network does not train well; the text has the numbers."""


class HealthMonitor(Callback):
    """Watch units, gradients and updates after epochs, on a probe set of training rows.

    Adds columns to the history: ``dead_units``, ``linear_units`` and ``saturated`` (shares), ``gradient_span`` (largest
    over smallest rms gradient of the weight matrices), ``update_ratio`` (median of ``||update|| / ||w||``),
    ``gradient_norm`` and ``weight_norm`` (of all parameters together), ``trust_ratio`` (median of ``||w|| / ||g||``,
    the factor of LARS) and ``unit_drift`` (how much of what the units' inputs changed since the last look is one shift
    for all rows, |mean Δa| / rms Δa, on the rows of the first look; NaN there). What goes wrong is told once as a
    `HealthWarning`.

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

    _checks = {**Callback._checks, "rows": count(2), "every_epochs": count(1)}

    def __init__(self, rows: int = 256, every_epochs: int = 1, warn: bool = True) -> None:
        self.rows = rows
        self.every_epochs = every_epochs
        self.warn = bool(warn)
        self.on_fit_begin()

    def on_fit_begin(self) -> None:
        self.health = None
        self.problems = {}
        self._told = set()
        self._probe = self._inputs = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if (epoch + 1) % self.every_epochs:
            return
        x, y, weight = self.trainer._fit.feed.sample(self.rows)
        self.health = health(self.trainer, x, y, weight, rows=self.rows)
        logs.update(self.health.summary(), unit_drift=self._drift(x))
        self.problems[epoch] = self.health.problems
        for problem in self.health.problems if self.warn else ():
            kind = problem.split(":")[0]
            if kind not in self._told:
                self._told.add(kind)
                warnings.warn(f"epoch {epoch}: {problem}", HealthWarning, stacklevel=2)

    def _drift(self, x):
        if self._probe is None:
            names, arrays = split_inputs(x)
            self._probe = names, tuple(np.array(array[: self.rows]) for array in arrays)
        before, self._inputs = self._inputs, unit_inputs(self.trainer.model, *self._probe)
        same = before is not None and [a.shape for a in before] == [a.shape for a in self._inputs]
        return unit_drift(before, self._inputs) if same else float("nan")

    def state_dict(self) -> dict[str, Any]:
        state = {"told": sorted(self._told)}
        if self._probe is not None:
            names, arrays = self._probe
            state.update(names=names, probes=len(arrays), layers=len(self._inputs))
            state.update((f"probe/{i}", array) for i, array in enumerate(arrays))
            state.update((f"input/{i}", array) for i, array in enumerate(self._inputs))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._told = set(state["told"])
        if "probes" in state:
            names = None if state["names"] is None else tuple(state["names"])
            self._probe = names, tuple(state[f"probe/{i}"] for i in range(state["probes"]))
            self._inputs = [state[f"input/{i}"] for i in range(state["layers"])]
