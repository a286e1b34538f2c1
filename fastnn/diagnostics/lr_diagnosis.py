"""The learning rate judged from the loss curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn.losses import meaning_of


class RateJudgement:
    """What the loss curve says of the learning rate.

    Attributes
    ----------
    verdict : {"too low", "good", "too high", "diverging", "no progress", "unclear"}
    reason : str
        With the numbers it rests on.
    """

    def __init__(self, verdict: str, reason: str) -> None:
        self.verdict, self.reason = verdict, reason

    def __str__(self) -> str:
        return f"learning rate {self.verdict}: {self.reason}"

    def __repr__(self) -> str:
        return f"RateJudgement({self.verdict!r}, {self.reason!r})"


def judge_rate(history: Any, *, before: float | None = None, guessing: float | None = None) -> RateJudgement:
    """Judge the learning rate from the training loss of the epochs.

    The rules, in this order, with L the losses of n epochs, B the loss before training, G that of guessing (the best
    constant output), F = L[0] - min(L) and U the sum of all rises:

    * diverging: a loss is not finite, the last is above B, or above the first and more than twice the lowest;
    * too high: the first is above B: the first steps have thrown the weights somewhere worse; or U > F / 2: the loss
      goes up and down more than it goes anywhere;
    * too low: the last third of the epochs still falls at 0.6 or more of the pace of the first third, and the loss is
      above half of where it began: a curve that is nearly straight;
    * no progress: the lowest is above 0.97 G: no better than guessing, which other rates or other data may change;
    * good otherwise.

    Parameters
    ----------
    history : History, or sequence of float
        At least 4 epochs; else "unclear".
    before : float, optional
        Loss before the first step; default: what the history remembers.
    guessing : float, optional
        Loss of the best constant output (`guessing_loss`).

    Returns
    -------
    RateJudgement
    """
    before = getattr(history, "initial_loss", None) if before is None else before
    losses = history["loss"] if hasattr(history, "columns") or isinstance(history, dict) else history
    losses = np.array([np.nan if loss is None else loss for loss in losses], dtype=np.float64)
    if len(losses) and not np.isfinite(losses).all():
        first = int(np.flatnonzero(~np.isfinite(losses))[0])
        return RateJudgement("diverging", f"the loss of epoch {first} is not finite; take a rate ten times lower")
    if len(losses) < 4:
        return RateJudgement("unclear", f"{len(losses)} epochs say too little; 4 are needed")
    return _thrown(losses, before, guessing) or _shape(losses) or _level(losses, guessing)


def _thrown(losses, before, guessing):
    """What the loss before training and guessing tell of a rate that was far too high."""
    first, last, lowest = losses[0], losses[-1], losses.min()
    if before is not None and last > before:
        return RateJudgement(
            "diverging", f"the loss is {last:.4g}, above the {before:.4g} before training; take a rate ten times lower"
        )
    if before is not None and first > before:
        lost = guessing is not None and lowest > 0.9 * guessing
        told = f", and it is no better than guessing since ({guessing:.4g})" if lost else ""
        return RateJudgement(
            "too high", f"the first epoch raised the loss from {before:.4g} to {first:.4g}{told}; take "
            f"{'a rate ten times lower' if lost else 'a third of the rate'}"
        )  # fmt: skip
    if last > first and last > 2 * lowest:
        return RateJudgement("diverging", f"the loss went from {first:.4g} to {last:.4g}; take a rate ten times lower")
    return None


def _shape(losses):
    """What the form of the curve tells."""
    first, last, steps = losses[0], losses[-1], np.diff(losses)
    fall, rises = first - losses.min(), steps[steps > 0].sum()
    if rises > 0.5 * fall:
        return RateJudgement(
            "too high", f"the loss rose by {rises:.4g} in all while it fell by {fall:.4g}; take a third of the rate, "
            "or lower it over time"
        )  # fmt: skip
    third = max(1, len(steps) // 3)
    begin, end = -steps[:third].mean(), -steps[-third:].mean()
    if begin > 0 and end > 0.6 * begin and last > 0.5 * first:
        return RateJudgement(
            "too low", f"the loss still falls by {end:.4g} an epoch ({begin:.4g} at the start) and is at "
            f"{last / first:.0%} of where it began; take three times the rate"
        )  # fmt: skip
    return None


def _level(losses, guessing):
    """What the level that the curve has reached tells."""
    first, last, lowest = losses[0], losses[-1], losses.min()
    if guessing is not None and lowest > 0.97 * guessing:
        return RateJudgement(
            "no progress", f"the loss is at {last:.4g} and never below {lowest:.4g}, where guessing has "
            f"{guessing:.4g}: try rates ten times lower and higher, and look at the data"
        )  # fmt: skip
    steps = np.diff(losses)
    end = -steps[-max(1, len(steps) // 3) :].mean()
    return RateJudgement("good", f"the loss fell from {first:.4g} to {last:.4g} and flattens ({end:.2g} an epoch now)")


def guessing_loss(loss: Any, target: Any, output_shape: tuple[int, ...] | None, dtype: Any) -> float | None:
    """The loss of one constant output for all rows: the one that says the mean of the targets.

    Parameters
    ----------
    loss : loss of `nn`, or callable
    target : array
        Labels (rows,), or targets (rows, ...).
    output_shape : tuple
        Of the model, without rows.
    dtype : numpy.dtype
        Of the model.

    Returns
    -------
    float or None
        Per row; None if the loss does not say what outputs mean.
    """
    meaning = meaning_of(loss)
    if output_shape is None or meaning.link is None:
        return None
    target = np.asarray(target)
    labels = meaning.target == "class" and target.ndim == 1
    if labels:
        target, counted = meaning.truth(target)
        known = target if counted is None else target[counted]
        mean = np.bincount(known, minlength=output_shape[0])[: output_shape[0]] / max(len(known), 1)
    else:
        mean = target.reshape(len(target), -1).astype(np.float64).mean(axis=0)
    output = np.broadcast_to(np.reshape(meaning.outputs(mean), output_shape), (len(target), *output_shape))
    output = np.ascontiguousarray(output, dtype=dtype)
    given = target if labels else np.ascontiguousarray(target.reshape(output.shape), dtype=dtype)
    return float(meaning.per_row(float(loss(output, given)), given))
