"""Augmentation inside a fit: the batches to come are drawn, changed by the whole team, and trained on from there."""

import numpy as np

from ...data.augment import Compose, Step

_DRAWN = 16384  # rows that a Compose draws for at once: calls for few take longer than the drawing
_BYTES = 1 << 22  # of rows changed at once: enough to share among threads, little enough to stay in a cache


def epoch_seed(seed, epoch):
    """Key of an epoch's random stream; the number of a row in it is its place in the epoch's order."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


def check_augment(augment, arrays):
    """Raise unless `augment` can be called on the one input there is."""
    if augment is None:
        return
    if not callable(augment):
        raise TypeError(f"augment must be like data.augment.Compose(...), called (x, seed=, first=); got {augment!r}")
    if arrays is not None and len(arrays) != 1:
        raise ValueError(f"augment changes one input; the model has {len(arrays)}")


def change(augment, images, seed, first, rows=None, **options):
    """The changed batch ``images[rows]``; the same shape, floats. options: what a `Step` takes besides."""
    if isinstance(augment, Step):
        result = augment(images, seed=seed, first=first, rows=rows, **options)
    else:
        result = augment(images if rows is None else images[rows], seed=seed, first=first)
    result, shape = np.asarray(result), images.shape if rows is None else (len(rows), *images.shape[1:])
    if result.shape != shape or result.dtype.kind != "f":
        raise ValueError(f"augment made {result.dtype} {result.shape} of {images.dtype} {shape}, not floats")
    return np.ascontiguousarray(result)


class AugmentBuffer:
    """The next batches of an epoch, changed: arrays of their own, in which row i is the i-th in the epoch's order.

    What happens to a row depends on (seed, epoch, its place in the order), neither on threads nor on which batches are
    changed together; so training may be resumed at any batch.
    """

    def __init__(self, augment, data, mixup=None):
        if isinstance(augment, Step) and not isinstance(augment, Compose):
            augment = Compose(augment)  # the same results
        self.augment, self.data, self.mixup = augment, data, mixup
        self.buffer = self.epoch = None

    def begin(self, order, seed, epoch):
        """Start an epoch; `x` and `y` then show what is made of them."""
        self.epoch, self.seed = epoch, epoch_seed(seed, epoch)
        self.drawn, self.drawn_rows = None, (0, 0)
        self.rows = len(order)
        self.make(order, np.array([0, min(2, len(order))]), 0)
        self.last = 0

    def covers(self, at):
        """Whether batch `at` has been made."""
        return self.first <= at < self.last

    def make(self, order, offsets, at, least=1):
        """Draw and change batches from `at` on, at least so many."""
        images, target, weight = self.data.arrays[0], self.data.target, self.data.weight
        size = max(1, int(np.prod(images.shape[1:], dtype=np.int64)) * 4)
        self.first, self.last = at, min(at + least, len(offsets) - 1)
        while self.last < len(offsets) - 1 and (offsets[self.last + 1] - offsets[at]) * size <= _BYTES:
            self.last += 1
        rows = order[offsets[at] : offsets[self.last]]
        self.x = self._change(images, rows, int(offsets[at]))
        self.y = np.ascontiguousarray(target[rows])
        self.w = None if weight is None else np.ascontiguousarray(weight[rows])
        if self.mixup is not None:
            self.y = self.mixup.targets(self.y)
            mixed = [self.x, self.y, *(() if self.w is None else (self.w,))]
            self.mixup.mix(mixed, offsets[at : self.last + 1] - offsets[at], at, self.seed)
        self.index = np.arange(len(rows), dtype=np.int64)

    def _change(self, images, rows, first):
        """The changed rows, in an array that is used again: new memory would cost a page fault for every 4 KB."""
        if self.augment is None:
            return np.array(images[rows], self.mixup.dtype, order="C")
        if not isinstance(self.augment, Step):
            return change(self.augment, images, self.seed, first, rows)
        out = None if self.buffer is None or len(self.buffer) < len(rows) else self.buffer[: len(rows)]
        drawn = self._draw(images, first, len(rows))
        result = change(self.augment, images, self.seed, first, rows, out=out, drawn=drawn)
        if out is None and len(rows) > 2:
            self.buffer = result
        return result

    def _draw(self, images, first, count):
        """What a `Compose` needs for rows first .. first + count of the epoch's order."""
        begin, end = self.drawn_rows
        if first < begin or first + count > end:
            most = max(count, min(_DRAWN, self.rows - first))
            self.drawn = self.augment.draw((most, *images.shape[1:]), seed=self.seed, first=first)
            begin, self.drawn_rows = first, (first, first + most)
        return [None if part is None else part[first - begin : first - begin + count] for part in self.drawn]

    def part(self, offsets, at, count):
        """(index, offsets) of up to `count` batches from `at` on, inside these arrays."""
        last = min(at + count, self.last)
        return self.index, offsets[at : last + 1] - offsets[self.first]
