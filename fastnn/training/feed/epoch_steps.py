"""EpochSteps: the batches of one epoch as a list of steps, of which some have been made."""

import numpy as np
from numpy.typing import NDArray


class EpochSteps:
    """The batches of one epoch, and how far training has come in it.

    Attributes
    ----------
    number : int
        Of the epoch.
    order : int64 array
        Rows of the data, in the order in which they are trained on.
    offsets : int64 array (batches + 1,)
    divisors : float64 array (batches,)
        Of each batch's mean loss.
    losses : float64 array (batches,)
        The first `made` are known.
    made : int
    seconds : float
        That their steps took.
    """

    __slots__ = ("divisors", "losses", "made", "number", "offsets", "order", "seconds")

    def __init__(self, number: int, order: NDArray, offsets: NDArray, divisors: NDArray):
        self.number, self.order, self.offsets, self.divisors = number, order, offsets, divisors
        self.losses = np.zeros(len(divisors))
        self.made, self.seconds = 0, 0.0

    @property
    def count(self) -> int:
        """Batches of the epoch."""
        return len(self.divisors)

    @property
    def rows(self) -> int:
        """Rows that have been trained on."""
        return int(self.offsets[self.made])

    def note(self, first: int, losses: NDArray) -> None:
        """Note the losses of the batches from number `first` on, which have been made."""
        self.losses[first : first + len(losses)] = losses
        self.made = first + len(losses)

    def mean_loss(self, sums: bool) -> float:
        """Mean loss per row of the batches made; sums: their losses are sums over rows."""
        return mean_loss(self.losses[: self.made], self.divisors[: self.made], sums)


def mean_loss(losses: NDArray, divisors: NDArray, sums: bool) -> float:
    """Mean over rows of batches' losses: means with these divisors, or sums."""
    total = divisors.sum()
    parts = losses.sum() if sums else np.dot(losses, divisors)
    return float(parts / (total if total > 0 else 1.0))
