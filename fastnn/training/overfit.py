"""overfit: whether a network can learn a few rows by heart, which a sound one can."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..nn.losses import meaning_of
from ..validation import check_count
from .metrics import METRICS
from .state import preserved

_FIT = 0.99  # R² that counts as learned by heart
_LEFT = 0.05  # of the first loss, where the loss says neither what is decided nor what is compared


class Overfit(NamedTuple):
    """What `Trainer.overfit` found; true in a condition if the rows were learned.

    Attributes
    ----------
    losses : float64 array (steps,)
        Of the batch in training mode, before each update.
    before, after : dict
        What `Trainer.evaluate` says of the batch, before and afterwards.
    learned : float
        Share of right decisions, or R²; NaN where the loss says neither.
    ok : bool
    text : str
    """

    losses: NDArray[np.float64]
    before: dict[str, float]
    after: dict[str, float]
    learned: float
    ok: bool
    text: str

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.text


def overfit(trainer: Any, batch: Any, steps: int) -> Overfit:
    """See `Trainer.overfit`."""
    steps = check_count("overfit", "steps", steps, 1)
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise TypeError("overfit: the batch must be (x, y) or (x, y, sample_weight)")
    x, y, *weight = batch
    weight = weight[0] if weight else None
    with trainer.model._guard.writing(), preserved(trainer):
        before = trainer.evaluate(x, y, sample_weight=weight)
        losses = np.array([trainer.train_step(x, y, weight) for _ in range(steps)])
        after = trainer.evaluate(x, y, sample_weight=weight)
        learned = _learned(trainer, x, y)
    if np.isnan(learned):
        ok = bool(after["loss"] <= _LEFT * before["loss"]) if before["loss"] > 0 else False
    else:
        ok = learned >= (1.0 if meaning_of(trainer.loss).decides_classes else _FIT)
    return Overfit(losses, before, after, learned, ok, _text(trainer, len(y), losses, before, after, learned, ok))


def _learned(trainer, x, y):
    meaning = meaning_of(trainer.loss)
    if meaning.target == "any":
        return float("nan")
    metric = METRICS["accuracy" if meaning.decides_classes else "r2"]
    output = trainer.predict(x)
    if not isinstance(output, np.ndarray):
        return float("nan")
    return metric(np.asarray(y), output, trainer.loss)


def _text(trainer, rows, losses, before, after, learned, ok):
    told = f"{len(losses)} steps on {rows} rows took the loss from {before['loss']:.4g} to {after['loss']:.4g}"
    if not np.isnan(learned):
        decides = meaning_of(trainer.loss).decides_classes
        what = f"{learned:.0%} of the decisions right" if decides else f"R² {learned:.3f}"
        told = f"{told}, {what}"
    if ok:
        return f"the network learns these rows by heart: {told}"
    if not np.isfinite(losses).all():
        return f"training breaks down: {told}: look for NaN in the rows, lower the rate, clip gradients"
    return (
        f"the network does not learn these rows by heart: {told}: look at the rate, at the scale of inputs and "
        "targets, whether loss and targets fit, and leave dropout and penalties out while you look"
    )
