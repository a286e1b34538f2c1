"""Health of a network while it trains: its units, gradients and updates, and in words what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..training.state import preserved
from ..validation import check_count
from .units import SATURATING, unit_statistics

if TYPE_CHECKING:
    from ..training.trainer import Trainer

_GOOD_RATIO = (1e-4, 1e-2)  # of ||update|| / ||w||
_GRADIENT_SPAN = 1e3  # between the rms gradients of two weight matrices
_HUGE_NORM = 1e3


class Weight:
    """One parameter in one training step.

    Attributes
    ----------
    name : str
    norm, gradient_norm, update_norm : float
        Euclidean norms of the weights before the step, of their gradient, and of what the step changed.
    gradient_rms : float
        Root of the mean squared gradient.
    ratio : float
        ``update_norm / norm``; about 0.001 is usual.
    one_sided : float
        Mean over the units (rows) that moved of the share of their moved weights that go in the more frequent
        direction: 0.5 is balanced; near 1 the inputs of the layer have one sign, and its units can only drift. NaN
        where no unit moved, and for parameters with one number per unit (biases), which have one direction only.
    """

    def __init__(self, name: str, before: Any, gradient: Any, after: Any) -> None:
        before, gradient = before.astype(np.float64), gradient.astype(np.float64)
        update = after.astype(np.float64) - before
        self.name, self.size, self.ndim = name, before.size, before.ndim
        self.norm, self.gradient_norm, self.update_norm = (float(np.linalg.norm(v)) for v in (before, gradient, update))
        self.gradient_rms = self.gradient_norm / np.sqrt(max(self.size, 1))
        self.ratio = self.update_norm / self.norm if self.norm > 0 else np.inf
        self.one_sided = _one_sided(update)


def _one_sided(update):
    rows = update.reshape(len(update), -1) if update.ndim else update.reshape(1, 1)
    up, down = (rows > 0).sum(axis=1), (rows < 0).sum(axis=1)
    moved = up + down
    if rows.shape[1] < 2 or not moved.any():
        return float("nan")
    return float(np.mean(np.maximum(up, down)[moved > 0] / moved[moved > 0]))


class Health:
    """What `health` found.

    Attributes
    ----------
    layers : list of Layer
        The units behind each activation, see `fastnn.diagnostics.unit_statistics`.
    weights : list of Weight
        Every trained parameter in one step.
    loss : float
        Of that step.
    problems : list of str
        One sentence each, with the numbers it rests on; empty if nothing is wrong.
    """

    def __init__(self, layers: Any, weights: Any, loss: Any) -> None:
        self.layers, self.weights, self.loss = layers, weights, loss
        self.problems = [*_unit_problems(layers), *_gradient_problems(self.matrices), *_update_problems(self.matrices)]

    @property
    def matrices(self) -> list[Weight]:
        """The weights that are matrices, in the order of the model."""
        return [weight for weight in self.weights if weight.ndim == 2]

    def summary(self) -> dict[str, float]:
        """Shares, ratios and norms by the names of `HealthMonitor`'s columns."""
        units = sum(layer.units for layer in self.layers)
        bounded = [layer for layer in self.layers if layer.activation in SATURATING]
        rms = [weight.gradient_rms for weight in self.matrices]
        ratios = [weight.ratio for weight in self.matrices if np.isfinite(weight.ratio)]
        trust = [weight.norm / weight.gradient_norm for weight in self.matrices if weight.gradient_norm > 0]
        return {
            "dead_units": sum(int(layer.dead.sum()) for layer in self.layers) / units if units else 0.0,
            "linear_units": sum(int(layer.linear.sum()) for layer in self.layers) / units if units else 0.0,
            "saturated": float(np.mean([layer.saturated for layer in bounded])) if bounded else 0.0,
            "gradient_span": max(rms) / min(rms) if rms and min(rms) > 0 else float("inf" if rms else 1.0),
            "update_ratio": float(np.median(ratios)) if ratios else 0.0,
            "gradient_norm": float(np.linalg.norm([weight.gradient_norm for weight in self.weights])),
            "weight_norm": float(np.linalg.norm([weight.norm for weight in self.weights])),
            "trust_ratio": float(np.median(trust)) if trust else 0.0,
        }

    def __str__(self) -> str:
        lines = ["layer        activation    units    mean     std    dead  linear  saturated  active"]
        for layer in self.layers:
            lines.append(
                f"{layer.path or '-':<12} {layer.activation:<12} {layer.units:>6} {layer.mean:>7.3f} {layer.std:>7.3f} "
                f"{layer.dead_share:>7.1%} {layer.linear_share:>7.1%} {layer.saturated:>9.1%} {layer.active:>8.1%}"
            )
        lines.append("weight               norm    gradient (rms)   update / weight   one-sided")
        for weight in self.weights:
            lines.append(
                f"{weight.name:<16} {weight.norm:>8.3g}    {weight.gradient_rms:>14.3g}   {weight.ratio:>15.3g}   "
                + (f"{weight.one_sided:>9.1%}" if weight.one_sided == weight.one_sided else f"{'-':>9}")
            )
        return "\n".join([*lines, *(self.problems or ["nothing is wrong"])])


def _unit_problems(layers):
    for layer in layers:
        where = f"layer {layer.path or 'of the model'} ({layer.activation}, {layer.units} units)"
        if layer.dead_share > 0.2:
            yield (
                f"{where}: {layer.dead_share:.0%} of the units are dead (no row passes them): lower the rate, use "
                "batch norm or a leaky ReLU, or look at the initial weights and the scale of the data"
            )
        if layer.linear_share > 0.5:
            yield (
                f"{where}: {layer.linear_share:.0%} of the units are linear on these rows, so the layer adds little: "
                "normalise its input (batch norm)"
            )
        if layer.saturated > 0.25:
            yield (
                f"{where}: {layer.saturated:.0%} of the inputs lie at {layer.flat_side}, where the derivative "
                "vanishes: use smaller initial weights, batch norm, or ReLU units"
            )
    if len(layers) > 1 and layers[-1].std < layers[0].std / _GRADIENT_SPAN:
        yield (
            f"signals vanish: the outputs have deviation {layers[0].std:.2g} in layer {layers[0].path}, "
            f"{layers[-1].std:.2g} in layer {layers[-1].path}: use batch norm, or initial weights that fit"
        )


def _gradient_problems(weights):
    broken = [weight.name for weight in weights if not np.isfinite(weight.gradient_norm)]
    if broken:
        yield f"gradients of {', '.join(broken)} are not finite: lower the rate, clip gradients (clip_grad_norm=1)"
        return
    if len(weights) < 2:
        return
    first, last = weights[0], weights[-1]
    if last.gradient_rms > 0 and first.gradient_rms < last.gradient_rms / _GRADIENT_SPAN:
        yield (
            f"gradients vanish: rms {first.gradient_rms:.2g} in {first.name}, {last.gradient_rms:.2g} in {last.name}: "
            "use ReLU-like units, batch norm, shortcuts (Residual), or initial weights that fit the activation"
        )
    worst = max(weights, key=lambda weight: weight.gradient_norm)
    if first.gradient_rms > _GRADIENT_SPAN * last.gradient_rms > 0 or worst.gradient_norm > _HUGE_NORM:
        yield (
            f"gradients explode: norm {worst.gradient_norm:.2g} in {worst.name} (rms {first.gradient_rms:.2g} in "
            f"{first.name}, {last.gradient_rms:.2g} in {last.name}): clip them (clip_grad_norm=1), draw "
            "smaller initial weights, use batch norm"
        )


def _update_problems(weights):
    low, high = _GOOD_RATIO
    ratios = {weight.name: weight.ratio for weight in weights if np.isfinite(weight.ratio)}
    if not ratios:
        return
    for name, ratio in ratios.items():
        if ratio > 10 * high:
            yield f"a step changes {name} by {ratio:.1%} of its norm (about 0.1 % is usual): the rate is too high"
    if max(ratios.values()) < low:
        name = max(ratios, key=ratios.get)
        yield (
            f"a step changes no weight by more than {ratios[name]:.2g} of its norm ({name}; about 0.001 is usual): the "
            "rate is too low, or training is over"
        )


def first_rows(x: Any, rows: int) -> Any:
    """The first rows of an array, or of each array of a tuple or dict."""
    if isinstance(x, dict):
        return {name: np.asarray(array)[:rows] for name, array in x.items()}
    return tuple(np.asarray(array)[:rows] for array in x) if isinstance(x, tuple) else np.asarray(x)[:rows]


def health(
    trainer: Trainer, x: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, rows: int = 256
) -> Health:
    """Look at every unit on a probe set, and at the gradients and changes that one training step on it would make.

    The trainer, its model and its optimizer are left as they were, bit for bit.

    Parameters
    ----------
    trainer : Trainer
    x, y, sample_weight : arrays
        The first `rows` rows are used.
    rows : int, default 256

    Returns
    -------
    Health
        Prints as a table with a sentence for each problem.
    """
    rows = check_count("health", "rows", rows, 2)
    x, y = first_rows(x, rows), first_rows(y, rows)
    weight = None if sample_weight is None else first_rows(sample_weight, rows)
    layers, kept, hook = unit_statistics(trainer.model, x, int(rows)), {}, trainer.gradient_hook

    def keep(gradients):
        if hook is not None:
            hook(gradients)
        kept.update((name, gradient.copy()) for name, gradient in gradients.items())

    with preserved(trainer):
        before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
        trainer.gradient_hook = keep
        try:
            loss = trainer.train_step(x, y, weight)
        finally:
            trainer.gradient_hook = hook
        after = trainer.model.state_dict()
    return Health(layers, [Weight(name, before[name], kept[name], after[name]) for name in kept], loss)
