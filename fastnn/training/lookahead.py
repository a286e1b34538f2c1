"""How far a native call of a fit goes: many batches, and several short epochs where nothing looks between them.

Returning to Python after every millisecond would cost a tenth of the time, and more where several models are trained at
once and wait for each other at Python's lock. The steps of later epochs are entries of the same list of batches, with
a mark where each epoch ends.
"""

import time

import numpy as np

from .feed.epoch_steps import EpochSteps
from .groups import Batches

_MOST_BATCHES = 4096  # whose scalars are computed for one call
_FIRST_BATCHES = 256  # of the first call; the clock ends it as well
_MOST_ROWS = 1 << 20  # whose order is made for later epochs


class Lookahead:
    """The calls of one fit on arrays.

    Parameters
    ----------
    runner : StepRunner
    feed : ArrayFeed
    """

    def __init__(self, runner, feed):
        self.runner, self.feed = runner, feed
        self._batches = 256  # of the next call
        self._step_time = None  # seconds that a step took in the latest call
        self._call: _Call | None = None  # the latest one

    def advance(self, fit, queue: list[EpochSteps]) -> np.ndarray:
        """Train on the next batches of the first epoch in the queue, and of epochs behind it, which are appended.

        Returns
        -------
        float64 array
            Losses of the batches that were made.
        """
        epoch, began = queue[0], time.perf_counter()
        group = fit.trainer.accumulate
        count = min(epoch.count - epoch.made, fit.most_batches(max(self._batches, group)))
        program, externals, index, offsets = self.feed.next_batches(epoch, count, min(group, count))
        count = len(offsets) - 1
        whole = epoch.made + count == epoch.count
        parts = [epoch]
        if whole and fit.may_lookahead() and len(queue) == 1:
            more = self._epochs(fit.call_seconds(), count, epoch, fit.until - epoch.number - 1)
            parts += self.feed.behind(epoch, more)
        batches = _join(parts, index, offsets, count, whole)
        self._call = call = _Call(fit.trainer.state, queue, parts, batches, count)
        start = time.perf_counter()
        self.runner.run(
            program, externals, batches,
            seconds=fit.call_seconds(), check_nan=fit.check_nan, stop=fit.trainer._stop_flag,
        )  # fmt: skip
        end = time.perf_counter()
        done = self.settle()
        for part, made in call.shares(done):
            part.seconds += (end - began) * made / done
        self._step_time = (end - start) / done if done else None
        self._batches = max(16, min(_MOST_BATCHES, 2 * done))
        return batches.losses[:done]

    def settle(self) -> int:
        """Enter what the latest call has made into its epochs; how many batches. Again changes nothing, so that an
        exception that came between is made good by one more."""
        call = self._call
        return 0 if call is None else call.settle()

    def _epochs(self, seconds, count, epoch, most):
        """How many whole epochs after so many batches will fit into a call, as the latest one has shown."""
        room = min(seconds / self._step_time, _MOST_BATCHES) if self._step_time else _FIRST_BATCHES
        return max(0, min(int((room - count) / epoch.count), _MOST_ROWS // len(epoch.order), most))


def _join(parts, index, offsets, count, whole):
    """The Batches of `count` batches of the first epoch, and of all batches of the others."""
    epoch, *others = parts
    divisors = epoch.divisors[epoch.made : epoch.made + count]
    ends = np.array([count - 1] if whole else [], np.int64)
    if not others:
        return Batches(index, offsets, np.zeros(count), divisors, ends)
    begin, end = int(offsets[0]), int(offsets[-1])
    cuts, rows, number, marks = [offsets - begin], end - begin, count, [count - 1]
    for other in others:
        cuts.append(other.offsets[1:] + rows)
        rows, number = rows + len(other.order), number + other.count
        marks.append(number - 1)
    return Batches(
        np.concatenate([index[begin:end], *(other.order for other in others)]),
        np.concatenate(cuts),
        np.zeros(number),
        np.concatenate([divisors, *(other.divisors for other in others)]),
        np.array(marks),
    )


class _Call:
    """One native call: which epochs its batches belong to, and where they stood before it."""

    def __init__(self, counts, queue, parts, batches, count):
        self.counts, self.queue, self.parts, self.batches = counts, queue, parts, batches
        self.sizes = [count, *(part.count for part in parts[1:])]
        self.before, self.first = counts.batches, parts[0].made

    def shares(self, done):
        """(epoch, batches of it) of the first `done` batches."""
        for part, size in zip(self.parts, self.sizes, strict=True):
            own = min(size, done)
            if own:
                yield part, own
            done -= own

    def settle(self):
        done, at = self.counts.batches - self.before, 0
        for i, (part, made) in enumerate(self.shares(done)):
            if i and not part.made:
                self.queue.append(part)
            part.note(0 if i else self.first, self.batches.losses[at : at + made])
            at += made
        return done
