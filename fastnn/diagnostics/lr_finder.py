"""The range test: raise the learning rate exponentially from batch to batch and watch the loss (Smith 2017)."""

import numpy as np

from ..threads import num_threads
from ..training.evaluation import evaluation_of
from ..training.feed.dataset import Data
from ..training.feed.epoch_steps import mean_loss
from ..training.feed.rows import batch_offsets, check_batch_size, epoch_order
from ..training.groups import Batches
from ..training.state import preserved
from ..validation import check_count

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

    def __init__(self, lr, loss, validation, diverged):
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
    def suggestion(self):
        """See the class."""
        begin, lowest = self._fall()
        return float(self.lr[begin + int(np.argmin(self._slope[begin : lowest + 1]))])

    @property
    def bounds(self):
        """See the class."""
        begin, lowest = self._fall()
        return float(self.lr[begin]), float(self.lr[lowest])

    def plot(self, axes=None):
        """Draw loss over rate; returns a fastnn.plot.RangeTestDisplay."""
        from ..plot import RangeTestDisplay

        return RangeTestDisplay.from_test(self).plot(axes)

    def __repr__(self):
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
    trainer, x, y, validation_data=None, *, start=1e-6, end=10.0, steps=100, batch_size=128, sample_weight=None,
    divergence=4.0,
):  # fmt: skip
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
    data = Data(trainer, x, y, sample_weight)
    validation = evaluation_of(trainer, validation_data)
    size = check_batch_size(batch_size, data.rows)
    with trainer.model._guard.writing(), preserved(trainer), num_threads(trainer.num_threads):
        return _run(trainer, data, validation, rates, size, divergence)


def _rates(start, end, steps):
    count = check_count("lr_find", "steps", steps, 10)
    if isinstance(start, str) or isinstance(end, str) or not 0 < start < end < np.inf:
        raise ValueError(f"lr_find: start and end must be rates with 0 < start < end, got {start!r} and {end!r}")
    return np.geomspace(start, end, count)


def _order(trainer, data, size, count, merge):
    """Row numbers and offsets of `count` batches from as many shuffled epochs as it takes."""
    orders, offsets, rows = [], [np.zeros(1, np.int64)], 0
    batches = epoch = 0
    while batches < count:
        orders.append(epoch_order(data.rows, True, trainer.seed, epoch))
        ends = batch_offsets(data.rows, size, merge)[1:]
        offsets.append(rows + ends)
        rows, batches, epoch = rows + data.rows, batches + len(ends), epoch + 1
    return np.concatenate(orders), np.concatenate(offsets)[: count + 1]


def _run(trainer, data, validation, rates, size, divergence):
    first_step, own = trainer.step, trainer.optimizer.lr

    def raised(base, step, epoch):
        now = rates[np.minimum(np.asarray(step) - first_step, len(rates) - 1)]
        return now * (base / own) if own > 0 else now

    trainer.scheduler = raised
    runner, per_step = trainer._runner, trainer.accumulate
    program = runner.program(
        data.names, data.arrays, data.target, data.spec, data.weight is not None, min(size + 1, data.rows)
    )
    program.check_rows(size)
    order, offsets = _order(trainer, data, size, len(rates) * per_step, program.training.needs_two_rows)
    divisors = data.divisors(order, offsets)
    externals = program.externals(data.arrays, data.target, data.weight)
    losses, measured, at, diverged = np.zeros(len(rates)), [], 0, False
    every = max(1, len(rates) // _VALIDATIONS)
    while at < len(rates) and not diverged:
        count = min(_PART if validation is None else every, len(rates) - at)
        part = slice(at * per_step, (at + count) * per_step)
        window, no_ends = offsets[part.start : part.stop + 1], np.zeros(0, np.int64)
        batches = Batches(order, window, np.zeros(count * per_step), divisors[part], no_ends)
        made = runner.run(program, externals, batches, check_nan=True, stop=trainer._stop_flag) // per_step
        for i in range(made):
            group = slice(i * per_step, (i + 1) * per_step)
            losses[at + i] = mean_loss(batches.losses[group], batches.divisors[group], program.sums)
        diverged = made < count
        at += made
        if validation is not None and at % every == 0:
            measured.append((rates[at - 1], validation.measure(trainer)["loss"]))
        diverged = diverged or _ran_away(losses[:at], divergence)
    curve = None
    if measured:
        curve = tuple(np.array(column) for column in zip(*[m for m in measured if np.isfinite(m[1])], strict=True))
    return RangeTest(rates[:at], losses[:at], curve, diverged)


def _ran_away(losses, divergence):
    """Whether the latest losses are beyond repair."""
    if not np.isfinite(losses).all():
        return True
    recent, first, lowest = losses[-3:].mean(), losses[:3].mean(), losses.min()
    return recent > max(lowest + divergence * (first - lowest), divergence * abs(first))
