"""Batches of rows, for loops written by hand (Trainer.fit cuts its own, natively)."""

from collections.abc import Iterator
from typing import Any

import numpy as np


class _Batches:
    """What `iterate_batches` returns: iterable again and again, one epoch each time."""

    def __init__(self, arrays, batch_size, shuffle, seed, drop_last):
        self._arrays = arrays
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._drop_last = drop_last
        self._loops = 0

    def __len__(self):
        rows = len(self._arrays[0])
        return rows // self._batch_size if self._drop_last else -(-rows // self._batch_size)

    def __iter__(self):
        """The batches of the next loop, counted from 0; `Trainer.fit` asks for epochs by number instead."""
        number, self._loops = self._loops, self._loops + 1
        return self.epoch(number)

    def epoch(self, number: int, start: int = 0) -> Iterator:
        """The batches of an epoch from batch `start` on: a function of the seed and these two numbers."""
        rows, size = len(self._arrays[0]), self._batch_size
        order = None
        if self._shuffle:
            order = np.random.Generator(np.random.PCG64([self._seed, number])).permutation(rows)
        for step in range(start, len(self)):
            part = slice(step * size, (step + 1) * size)
            batch = tuple(a[part if order is None else order[part]] for a in self._arrays)
            yield batch if len(batch) > 1 else batch[0]


def iterate_batches(
    *arrays: Any, batch_size: int = 128, shuffle: bool = True, seed: int = 0, drop_last: bool = False
) -> _Batches:
    """Cut arrays into batches of rows.

    Parameters
    ----------
    *arrays : arrays of equal length
        Usually ``x, y``.
    batch_size : int, default 128
        Rows of a batch; the last one may be smaller.
    shuffle : bool, default True
        A new order in every epoch, drawn from (`seed`, number of the epoch).
    seed : int, default 0
    drop_last : bool, default False
        Leave out a last batch that is smaller than the others.

    Returns
    -------
    iterable with ``len``
        Yields a tuple with one part of each array (or the part itself, for one array). Each loop over it is one epoch;
        ``batches.epoch(n)`` is epoch n, whatever was read before.

    Raises
    ------
    ValueError
        If no array is given, lengths differ, or `batch_size` is below 1.
    """
    if not arrays:
        raise ValueError("iterate_batches needs at least one array")
    arrays = tuple(np.asarray(a) for a in arrays)
    lengths = {a.shape[0] if a.ndim else 0 for a in arrays}
    if len(lengths) != 1:
        raise ValueError(f"the arrays must have equally many rows, not {', '.join(map(str, sorted(lengths)))}")
    if int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
    return _Batches(arrays, int(batch_size), bool(shuffle), int(seed), bool(drop_last))
