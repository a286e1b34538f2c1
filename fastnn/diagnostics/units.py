"""What the units of a model do on a probe set: the input and output of every activation, layer by layer."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..graph.build import CompiledModel, _trace
from ..nn.arrays import split_inputs
from ..nn.predict import with_names

# by what happens on the far left and right: zero (dead), a constant (saturated), or a straight line
_BOUNDED = {"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"}
_BOUNDED_LEFT = {"elu", "selu", "celu", "softplus"}
_ZERO_LEFT = {"relu", "hardswish"}
SATURATING = _BOUNDED | _BOUNDED_LEFT
_ACTIVATIONS = {row["name"] for row in _native.list_rows("activations")} - {"identity"} | {"prelu"}

SATURATED = 4.0  # |input| from which sigma' <= 0.0177, tanh' <= 0.0013, selu' <= 0.033
LINEAR_FIT = 0.964  # R² of a straight line: sigma on N(0, 2), tanh on N(0, 0.5), which are one curve in other units


class Layer:
    """The units behind one activation, over the rows of a probe set.

    Attributes
    ----------
    path : str
        Of the module that applied it, such as "1".
    activation : str
    units : int
    mean, std : float
        Of the outputs; 0 and about 1 are best (Klambauer et al. 2017).
    input_variance : ndarray (units,)
        Of the activation's input.
    unit_mean : ndarray (units,)
        Of the output.
    dead : ndarray of bool (units,)
        ReLU: no row of the probe set passes, so that no gradient does either.
    linear_fit : ndarray (units,)
        R² of the straight line through the unit's outputs over its inputs; 1 for a constant unit.
    linear : ndarray of bool (units,)
        The unit is (nearly) a straight line on the probe set: all rows on one side of 0; for sigmoidal units R² of at
        least 0.964, what a sigmoid has on N(0, 2) and tanh on N(0, 0.5).
    saturated : float
        Share of the inputs where the derivative vanishes: |a| >= 4 for sigmoidal units, a <= -4 for ELU, SELU, CELU and
        Softplus.
    active : float
        Share of the outputs that are not 0: of the paths that carry a gradient.
    """

    def __init__(self, path: str | os.PathLike[str], activation: Any, a: Any, h: float) -> None:
        a, h = (value.reshape(len(value), -1).astype(np.float64) for value in (a, h))
        self.path, self.activation, self.units = path, activation, h.shape[1]
        self.mean, self.std = float(h.mean()), float(h.std())
        self.unit_mean, self.input_variance = h.mean(axis=0), a.var(axis=0)
        self.dead = (a <= 0).all(axis=0) if activation in _ZERO_LEFT else np.zeros(self.units, bool)
        flat = np.zeros(a.shape, bool)
        if activation in SATURATING:
            flat = (np.abs(a) if activation in _BOUNDED else -a) >= SATURATED
        self.saturated = float(flat.mean())
        self.linear_fit = _straight(a, h)
        one_side = (a > 0).all(axis=0) | (a < 0).all(axis=0)
        straight = self.linear_fit >= LINEAR_FIT if activation in _BOUNDED else one_side
        self.linear = straight & ~self.dead & ~flat.all(axis=0)
        self.active = float(np.mean(h != 0))

    @property
    def flat_side(self) -> str:
        """Where the derivative vanishes, in words."""
        return f"|a| >= {SATURATED:g}" if self.activation in _BOUNDED else f"a <= -{SATURATED:g}"

    @property
    def dead_share(self) -> float:
        """Share of the units that are dead."""
        return float(self.dead.mean())

    @property
    def linear_share(self) -> float:
        """Share of the units that are linear."""
        return float(self.linear.mean())


def _straight(a, h):
    """R² of the least-squares line h ~ a per column; 1 where h is constant."""
    a, h = a - a.mean(axis=0), h - h.mean(axis=0)
    aa, hh, ah = (a * a).sum(axis=0), (h * h).sum(axis=0), (a * h).sum(axis=0)
    moving = (aa > 0) & (hh > 0)
    return np.where(moving, ah**2 / np.where(moving, aa * hh, 1.0), 1.0)


def unit_statistics(model: Any, x: Any, rows: int = 1024) -> list[Layer]:
    """Run the model in inference mode on (the first rows of) x and look at every activation, also those of functions.

    ``nn.probe`` gives the values behind every layer themselves.

    Returns
    -------
    list of Layer
        In the order of the forward pass.
    """
    names, arrays = split_inputs(x)
    return [Layer(*unit) for unit in _activations(model, names, tuple(array[:rows] for array in arrays))]


def unit_inputs(model: Any, names: Any, arrays: Any) -> list[NDArray[np.float64]]:
    """The input of every activation, float64 (rows, units); names and arrays as `split_inputs` gives them."""
    return [a.reshape(len(a), -1).astype(np.float64) for _, _, a, _ in _activations(model, names, arrays)]


def unit_drift(before: Any, after: Any) -> float:
    """How much of the change of the units' inputs is one shift for all rows: mean over the units of |mean Δa| / rms Δa.

    Between 0, where rows move independently of each other, and 1, where all move alike: units behind outputs of one
    sign drift, because their weights move in one direction (LeCun et al. 1998, section 4.3).

    Parameters
    ----------
    before, after : list of arrays (rows, units)
        `unit_inputs` of the same rows.

    Returns
    -------
    float
        NaN where nothing moved.
    """
    shares = []
    for old, new in zip(before, after, strict=True):
        change = new - old
        rms = np.sqrt((change**2).mean(axis=0))
        shares.append(np.abs(change.mean(axis=0))[rms > 0] / rms[rms > 0])
    shares = np.concatenate(shares) if shares else np.zeros(0)
    return float(shares.mean()) if len(shares) else float("nan")


def _activations(model, names, arrays):
    """[(scope, name, input, output)] of every activation that these rows pass."""
    if len(arrays[0]) == 0:
        raise ValueError("a probe set needs at least one row")
    specs = tuple((array.shape[1:], array.dtype) for array in arrays)
    graph, inputs, _ = _trace(with_names(model, names), specs, model.dtype, False, 0)
    nodes = [node for node in graph.nodes if node.label in _ACTIVATIONS and node.outputs[0].ndim >= 2]
    if not nodes:
        return []
    wanted = [tensor for node in nodes for tensor in (node.inputs[0], node.outputs[0])]
    values = CompiledModel(graph, inputs, wanted).run(arrays)
    return [(node.scope, node.label, *values[2 * i : 2 * i + 2]) for i, node in enumerate(nodes)]
