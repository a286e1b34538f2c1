"""The learning rate judged from the loss curve."""

import numpy as np


class RateJudgement:
    """What the loss curve says of the learning rate.

    Attributes
    ----------
    verdict : {"too low", "good", "too high", "diverging", "unclear"}
    reason : str
        With the numbers it rests on.
    """

    def __init__(self, verdict, reason):
        self.verdict, self.reason = verdict, reason

    def __str__(self):
        return f"learning rate {self.verdict}: {self.reason}"

    def __repr__(self):
        return f"RateJudgement({self.verdict!r}, {self.reason!r})"


def judge_rate(history):
    """Judge the learning rate from the training loss of the epochs.

    The rules, in this order, with L the losses of n epochs, F = L[0] - min(L) and U the sum of all rises:

    * diverging: a loss is not finite, or the last is above the first and more than twice the lowest;
    * too high: U > F / 2: the loss goes up and down more than it goes anywhere;
    * too low: the last third of the epochs still falls at 0.6 or more of the pace of the first third, and the loss is
      above half of where it began: a curve that is nearly straight;
    * good otherwise.

    Parameters
    ----------
    history : History, or sequence of float
        At least 4 epochs; else "unclear".

    Returns
    -------
    RateJudgement
    """
    losses = history["loss"] if hasattr(history, "columns") or isinstance(history, dict) else history
    losses = np.array([np.nan if loss is None else loss for loss in losses], dtype=np.float64)
    if len(losses) and not np.isfinite(losses).all():
        first = int(np.flatnonzero(~np.isfinite(losses))[0])
        return RateJudgement("diverging", f"the loss of epoch {first} is not finite; take a rate ten times lower")
    if len(losses) < 4:
        return RateJudgement("unclear", f"{len(losses)} epochs say too little; 4 are needed")
    first, last, lowest = losses[0], losses[-1], losses.min()
    steps = np.diff(losses)
    fall, rises = first - lowest, steps[steps > 0].sum()
    if last > first and last > 2 * lowest:
        return RateJudgement("diverging", f"the loss went from {first:.4g} to {last:.4g}; take a rate ten times lower")
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
    return RateJudgement("good", f"the loss fell from {first:.4g} to {last:.4g} and flattens ({end:.2g} an epoch now)")
