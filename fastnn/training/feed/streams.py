"""StreamFeed: epochs over an iterable of (x, y[, weight]) batches, one step per batch."""

import time
from collections.abc import Iterator

import numpy as np

from ...nn.arrays import split_inputs
from ..targets import check_finite
from .augmentation import change, check_augment, epoch_seed
from .batch import Batch, batches_of, divisor_of, join, rows_of
from .epoch_steps import mean_loss
from .options import Feed

_ARRAYS_ONLY = ("rows", "curriculum", "mixup")


class StreamEpoch:
    """An epoch over a stream, and how far training has come in it.

    Attributes
    ----------
    number, made, rows : int
        Of the epoch; batches and rows trained on.
    complete : bool
        The stream has ended.
    seconds : float
    """

    def __init__(self, number: int):
        self.number, self.made, self.rows, self.seconds = number, 0, 0, 0.0
        self.losses: list[float] = []
        self.divisors: list[float] = []
        self.complete = False

    @property
    def count(self) -> int:
        """Batches of the epoch, as far as is known: one more than were made until it is complete."""
        return self.made + (not self.complete)

    def take(self, loss: float, divisor: float, rows: int, seconds: float) -> None:
        """Note a step."""
        self.losses.append(loss)
        self.divisors.append(divisor)
        self.made, self.rows, self.seconds = self.made + 1, self.rows + rows, self.seconds + seconds

    def mean_loss(self, sums: bool) -> float:
        """Mean loss per row of the batches made; sums: their losses are sums over rows."""
        return mean_loss(np.array(self.losses), np.array(self.divisors), sums)


class StreamFeed:
    """The batches of a fit on an iterable."""

    allows_lookahead = False
    steps_per_epoch = 0
    held = None

    def __init__(self, trainer, batches, feed: Feed, *, epochs: int, **arrays_only):
        for name, value in {**arrays_only, **{name: getattr(feed, name) for name in _ARRAYS_ONLY}}.items():
            if value is not None and value is not False:
                raise ValueError(f"{name} needs arrays; x is an iterable of batches")
        if epochs > 1 and iter(batches) is batches:
            raise ValueError("x can be iterated only once, but epochs > 1 needs a re-iterable object")
        self.trainer, self.batches = trainer, batches
        self._finite, self._augment = feed.check_finite, feed.augment
        check_augment(feed.augment, None)
        self._source: Iterator[Batch] | None = None  # of the running epoch
        self._next: Batch | None = None  # held back, as the batch behind it may have one row
        self._merges: bool | None = None  # whether a remainder of one row joins its neighbour

    def epoch(self, number: int) -> StreamEpoch:
        """An epoch that begins, or goes on where `made` says."""
        self._source = self._next = None
        return StreamEpoch(number)

    def advance(self, fit, queue) -> list[float]:
        """Make the next step; its loss, or nothing at the end of the epoch."""
        epoch, began = queue[0], time.perf_counter()
        if self._source is None:
            self._source = batches_of(self.batches, epoch.number, epoch.made)
        batch = self._take(epoch)
        if batch is None:
            epoch.complete = True
            self._source = None
            if epoch.made == 0:
                raise ValueError(f"x yields no batches in epoch {epoch.number}: there is nothing to train on")
            self.trainer._runner.close_update()
            return []
        self._latest = batch
        loss = self.trainer._runner.step(*batch)
        divisor = divisor_of(self.trainer.loss, batch)
        epoch.take(loss, divisor, rows_of(batch), time.perf_counter() - began)
        return [loss]

    def _take(self, epoch):
        """The next batch to train on, or None."""
        batch = self._next
        if batch is None:
            batch = self._read(epoch, epoch.rows)
        if self._merges is None and batch is not None:
            self._merges = self.trainer._runner.prepare(*batch).program.training.needs_two_rows
        if not self._merges or batch is None:
            return batch
        self._next = self._read(epoch, epoch.rows + rows_of(batch))
        if self._next is not None and rows_of(self._next) == 1:
            batch, self._next = join(batch, self._next), None
        return batch

    def _read(self, epoch, first_row):
        """The next batch of the iterable, checked and changed, or None."""
        batch = next(self._source, None)
        if batch is None or (not self._finite and self._augment is None):
            return batch
        arrays = split_inputs(batch.x)[1]
        if self._finite:
            for array in (*arrays, np.asarray(batch.y)):
                check_finite(array, "a batch")
        if self._augment is None:
            return batch
        check_augment(self._augment, arrays)
        x = change(self._augment, arrays[0], epoch_seed(self.trainer.seed, epoch.number), first_row)
        return Batch(x, batch.y, batch.weight)

    def settle(self) -> None:
        """After an error: nothing; each step was noted."""

    def batch_spec(self) -> dict:
        """What the batches of an epoch depend on."""
        return {"kind": "iterable"}

    def progress(self, epoch: StreamEpoch) -> dict:
        """Arrays that the rest of the epoch needs."""
        return {
            "losses": np.array(epoch.losses), "divisors": np.array(epoch.divisors), "rows": np.array(epoch.rows)
        }  # fmt: skip

    def go_to(self, epoch: StreamEpoch, place) -> None:
        """Stand where a checkpoint was written: batches behind are passed over."""
        place.check(self.batch_spec())
        epoch.made = place.batch_index
        if epoch.made:
            kept = place.progress
            epoch.losses, epoch.divisors = kept["losses"].tolist(), kept["divisors"].tolist()
            epoch.rows = int(kept["rows"])

    def sample(self, rows: int):
        """(x, y, weight) of the batch that came last."""
        return self._latest
