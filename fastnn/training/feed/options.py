"""Feed: how the rows of a fit are chosen and changed, besides their batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How `Trainer.fit` reads its rows: ``fit(x, y, epochs=10, feed=Feed(augment=Compose(...)))``.

    Parameters
    ----------
    rows : integer array (n,), optional
        Train on these rows of x and y alone, on each as often as it is named: a bootstrap sample, a fold. Nothing is
        copied, so that many trainers share one data set. Not together with ``validation_split``.
    augment : callable (images, seed=, first=) -> images, optional
        Such as ``data.augment.Compose(...)``: changes every batch before it is trained on, by all threads. What
        happens to a row depends on the trainer's seed, the epoch, and the row's place in the epoch's order only.
    curriculum : training.Curriculum, array (rows,), or callable epoch -> row numbers, optional
        Which rows an epoch trains on: the easiest share, all of them in order of difficulty (array), or what the
        function says.
    mixup : float, optional
        Alpha of mixup, after `augment`: the rows of a batch and their targets become means of two with shares lam and
        1 - lam, lam drawn from Beta(alpha, alpha) per batch; 0.2 is usual. Labels become rows of probabilities.
    check_finite : bool, default False
        Refuse NaN and infinity in x, y before the first step.

    Examples
    --------
    >>> trainer.fit(x, y, epochs=5, feed=training.Feed(rows=fold, check_finite=True))
    """

    rows: ArrayLike | None = None
    augment: Callable[..., Any] | None = None
    curriculum: Any = None
    mixup: float | None = None
    check_finite: bool = False

    def with_rows(self, rows: ArrayLike | None) -> "Feed":
        """The same for these rows."""
        return replace(self, rows=rows)


def as_feed(feed: Feed | None) -> Feed:
    """The description of the feed, or the default; TypeError for anything else."""
    if feed is None:
        return Feed()
    if not isinstance(feed, Feed):
        raise TypeError(f"fit: feed must be like training.Feed(rows=..., augment=...), got {feed!r}")
    return feed
