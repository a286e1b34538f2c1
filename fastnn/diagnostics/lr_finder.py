"""The range test: raise the learning rate exponentially from batch to batch and watch the loss (Smith 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..threads import num_threads
from ..training.evaluation import evaluation_of
from ..training.feed.arrays import ArrayFeed
from ..training.feed.epoch_steps import mean_loss
from ..training.feed.options import Feed, as_feed
from ..training.groups import Batches
from ..training.state import preserved
from ..validation import check_count

if TYPE_CHECKING:
    from ..training.trainer import Trainer

_PART = 8  # batches between two looks at the loss
_VALIDATIONS = 40  # about so many measurements of the validation loss
_SURE = 4.0  # standard errors that a fall of the loss has to exceed


class RangeTest:
    """What `lr_find` measured.

    Attributes
    ----------
    lr : ndarray (n,)
        Rates, ascending; the last one is where the test ended.
    loss : ndarray (n,)
        Training loss of each batch, before its update.
    smoothed : ndarray (n,)
        Its mean over a tenth of the steps; the windows at the ends are as long as the others.
    validation_lr, validation_loss : ndarray or None
        The validation loss after some of the steps.
    diverged : bool
        The loss ran away before the last rate.
    suggestion : float
        The rate at which the loss falls fastest (in log rate): inside the bounds, and away from the ends of the test.
    bounds : (float, float)
        The rates at which the loss begins to fall (a tenth of its whole fall) and stops falling: Smith's limits for
        ``CyclicLR(base_lr, max_lr)``.

    Raises
    ------
    ValueError
        By `suggestion` and `bounds`, with the reason: the loss fell at no rate, not beyond its noise, or already at the
        smallest rate.
    """

    def __init__(self, lr: NDArray[np.float64], loss: NDArray[np.float64], validation: Any, diverged: bool) -> None:
        self.lr, self.loss, self.diverged = lr, loss, diverged
        self.smoothed, self._slope = _smooth(loss, np.log(lr))
        self.validation_lr, self.validation_loss = (None, None) if validation is None else validation

    def _fall(self):
        """(index where the loss begins to fall, index where it stops)."""
        smoothed = self.smoothed
        lowest = int(np.argmin(smoothed))
        start, least = smoothed[0], smoothed[lowest]
        tried = f"between {self.lr[0]:.2g} and {self.lr[-1]:.2g}"
        told = f"(from {start:.4g} to {least:.4g})"
        if not start - least > 1e-3 * abs(start):
            raise ValueError(
                f"lr_find: the loss fell at no rate {tried} {told}: look at plot(), at the scale of the data, or at "
                "start="
            )
        if not start - least > _SURE * self._noise():
            raise ValueError(
                f"lr_find: the loss fell {tried} by no more than its batches differ {told}: take larger batches or "
                "more steps"
            )
        begin = int(np.flatnonzero(smoothed[: lowest + 1] > start - 0.1 * (start - least))[-1])
        if begin < _window(len(smoothed)):
            raise ValueError(
                f"lr_find: the loss falls already at the smallest rate {self.lr[0]:.2g}: give a smaller start="
            )
        if self.validation_loss is not None:
            best = self.validation_lr[int(np.argmin(self.validation_loss))]
            lowest = min(lowest, int(np.searchsorted(self.lr, best)))
            if lowest <= begin:
                raise ValueError(
                    f"lr_find: the validation loss fell at no rate {tried} at which the training loss fell"
                )
        return begin, lowest

    def _noise(self):
        """Standard error of the difference of two smoothed losses."""
        batches = np.diff(self.loss[np.isfinite(self.loss)][: int(np.argmin(self.smoothed)) + 1])
        deviation = np.median(np.abs(batches)) / 0.6745 / np.sqrt(2.0) if len(batches) else 0.0
        return deviation * np.sqrt(2.0 / _window(len(self.loss)))

    @property
    def suggestion(self) -> float:
        """See the class."""
        begin, lowest = self._fall()
        return float(self.lr[begin + int(np.argmin(self._slope[begin : lowest + 1]))])

    @property
    def bounds(self) -> tuple[float, float]:
        """See the class."""
        begin, lowest = self._fall()
        return float(self.lr[begin]), float(self.lr[lowest])

    def plot(self, axes: Any = None) -> Any:
        """Draw loss over rate; returns a fastnn.plot.RangeTestDisplay."""
        from ..plot import RangeTestDisplay

        return RangeTestDisplay.from_test(self).plot(axes)

    def __repr__(self) -> str:
        try:
            low, high = self.bounds
            told = f"suggestion={self.suggestion:.3g}, bounds=({low:.3g}, {high:.3g})"
        except ValueError as error:
            told = str(error).removeprefix("lr_find: ")
        return f"RangeTest({len(self.lr)} rates from {self.lr[0]:.3g} to {self.lr[-1]:.3g}; {told})"


def _window(count):
    """Batches that a smoothed loss is the mean of: an odd number, about a tenth."""
    return min(2 * max(1, count // 20) + 1, count)


def _smooth(values, places):
    """(mean, slope of the straight line) over a window that is moved inside where it would reach beyond an end.

    A window that became shorter at the ends would leave single batches there, whose noise passes for the steepest fall.
    What is not finite counts as the largest.
    """
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite].max() if finite.any() else 0.0)
    size = _window(len(values))
    parts = np.lib.stride_tricks.sliding_window_view(values, size)
    steps = np.lib.stride_tricks.sliding_window_view(places, size)
    steps = steps - steps.mean(axis=1, keepdims=True)
    means, slopes = parts.mean(axis=1), (parts * steps).sum(axis=1) / (steps**2).sum(axis=1)
    own = np.clip(np.arange(len(values)) - size // 2, 0, len(parts) - 1)
    return means[own], slopes[own]


def lr_find(
    trainer: Trainer,
    x: Any,
    y: ArrayLike,
    validation_data: Any = None,
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    batch_size: int | str = 128,
    sample_weight: ArrayLike | None = None,
    feed: Feed | None = None,
    divergence: float = 4.0,
) -> RangeTest:
    """Find a learning rate: train on batches with rates from `start` to `end`, each a constant factor above the last.

    Model, optimizer and counters are restored bit for bit.

    Parameters
    ----------
    trainer : Trainer
        Its scheduler is left aside. Groups with rates of their own keep their ratio to ``optimizer.lr``.
    x, y, sample_weight : arrays
        As in `Trainer.fit`; as many epochs of shuffled rows as the steps need.
    validation_data : (x, y[, sample_weight]), optional
        The validation loss is watched as well, after about every fortieth of the steps; it can only lower the upper
        bound.
    start, end : float, default 1e-6 and 10
    steps : int, default 100
    batch_size : int or "full", default 128
    feed : training.Feed, optional
        As in `Trainer.fit`: rows, augmentation and curriculum of the epochs to come, so that the rate is found on what
        will be trained on.
    divergence : float, default 4
        The test ends when the loss is not finite or above ``lowest + divergence * (first - lowest)`` and above
        ``divergence * first``.

    Returns
    -------
    RangeTest
        With ``.suggestion``, ``.bounds`` and ``.plot()``.

    Notes
    -----
    Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.

    Examples
    --------
    >>> test = diagnostics.lr_find(trainer, x, y)
    >>> trainer.optimizer.lr = test.suggestion
    >>> trainer.scheduler = optim.CyclicLR(*test.bounds, step_size_up=500)
    """
    rates = _rates(start, end, steps)
    if isinstance(divergence, str) or not divergence > 1:
        raise ValueError(f"lr_find: divergence must be a number above 1, got {divergence!r}")
    validation = evaluation_of(trainer, validation_data)
    with trainer.model._guard.writing(), preserved(trainer), num_threads(trainer.num_threads):
        source = ArrayFeed(
            trainer, x, y, as_feed(feed), batch_size=batch_size, validation_split=None, sample_weight=sample_weight,
            class_weight=None, shuffle=True,
        )  # fmt: skip
        return _Run(trainer, source, rates).test(validation, divergence)


def _rates(start, end, steps):
    count = check_count("lr_find", "steps", steps, 10)
    if isinstance(start, str) or isinstance(end, str) or not 0 < start < end < np.inf:
        raise ValueError(f"lr_find: start and end must be rates with 0 < start < end, got {start!r} and {end!r}")
    return np.geomspace(start, end, count)


class _Run:
    """The steps of a range test, and their losses so far."""

    def __init__(self, trainer, feed, rates):
        self.trainer, self.feed, self.rates = trainer, feed, rates
        self.losses, self.divisors = [], []  # of batches; a step of accumulated gradients has several
        first, own = trainer.step, trainer.optimizer.lr

        def raised(base, step, epoch):
            now = rates[np.minimum(np.asarray(step) - first, len(rates) - 1)]
            return now * (base / own) if own > 0 else now

        trainer.scheduler = raised
        self.epoch = feed.epoch(trainer.epoch)

    def test(self, validation, divergence):
        """Train until the rates are used up or the loss has run away; returns the RangeTest."""
        every = max(1, len(self.rates) // _VALIDATIONS)
        part, measured, losses, diverged = _PART if validation is None else every, [], np.zeros(0), False
        while len(losses) < len(self.rates) and not diverged:
            wanted = min(len(losses) + part, len(self.rates))
            diverged = not self._train(wanted)
            losses = self._step_losses()
            if validation is not None and not diverged:
                measured.append((self.rates[len(losses) - 1], validation.measure(self.trainer)["loss"]))
            diverged = diverged or _ran_away(losses, divergence)
        measured = [m for m in measured if np.isfinite(m[1])]
        curve = tuple(np.array(column) for column in zip(*measured, strict=True)) if measured else None
        return RangeTest(self.rates[: len(losses)], losses, curve, diverged)

    def _train(self, steps):
        """Train up to so many steps in all; False if the loss or a flag has ended it before."""
        trainer, runner = self.trainer, self.trainer._runner
        while len(self.losses) < steps * trainer.accumulate:
            epoch = self.epoch
            if epoch.made == epoch.count:
                epoch = self.epoch = self.feed.epoch(epoch.number + 1)
            left = min(steps * trainer.accumulate - len(self.losses), epoch.count - epoch.made)
            program, externals, index, offsets = self.feed.next_batches(epoch, left, min(trainer.accumulate, left))
            count = len(offsets) - 1
            part = slice(epoch.made, epoch.made + count)
            batches = Batches(index, offsets, np.zeros(count), epoch.divisors[part], np.zeros(0, np.int64))
            made = runner.run(program, externals, batches, check_nan=True, stop=trainer._stop_flag)
            epoch.note(epoch.made, batches.losses[:made])
            self.losses.extend(batches.losses[:made])
            self.divisors.extend(batches.divisors[:made])
            self.sums = program.sums
            if made < count:
                return False
        return True

    def _step_losses(self):
        """The loss of each whole step."""
        group = self.trainer.accumulate
        losses, divisors = np.array(self.losses), np.array(self.divisors)
        parts = [slice(i, i + group) for i in range(0, len(losses) - group + 1, group)]
        return np.array([mean_loss(losses[part], divisors[part], self.sums) for part in parts])


def _ran_away(losses, divergence):
    """Whether the latest losses are beyond repair."""
    if not len(losses):
        return True
    if not np.isfinite(losses).all():
        return True
    recent, first, lowest = losses[-3:].mean(), losses[:3].mean(), losses.min()
    return recent > max(lowest + divergence * (first - lowest), divergence * abs(first))
