"""One batch of an iterable: (x, y[, weight]) of arrays, tensors or frames, as arrays."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...nn.arrays import plain_array, refuse_sparse, split_inputs
from ...nn.losses import meaning_of


class Batch(NamedTuple):
    """x (an array, or a tuple or dict of them), y and weight as arrays; weight may be None."""

    x: Any
    y: Any
    weight: Any = None


def is_batches(x: Any) -> bool:
    """True for an iterable of batches: it iterates, but is no array and no sample set."""
    if isinstance(x, (np.ndarray, tuple, dict)) or hasattr(x, "__array__"):
        return False
    refuse_sparse(x)
    if isinstance(x, list):
        return bool(x) and all(isinstance(item, (tuple, list)) and len(item) in (2, 3) for item in x) and (
            np.ndim(x[0][0]) > 0 if hasattr(x[0][0], "__array__") else isinstance(x[0][0], (tuple, dict))
        )
    return hasattr(x, "__iter__") or hasattr(x, "__getitem__") and hasattr(x, "__len__")


def _as_array(value):
    """A tensor or frame as an array that shares its memory where it can; anything else as it is."""
    return plain_array(value, "a batch") if hasattr(value, "__array__") else value


def _as_inputs(x):
    if isinstance(x, dict):
        return {name: _as_array(value) for name, value in x.items()}
    if isinstance(x, (tuple, list)) and x and all(hasattr(value, "__array__") for value in x):
        return tuple(_as_array(value) for value in x)
    return _as_array(x)


def as_batch(item: Any) -> Batch:
    """What an iterable yields, as a Batch; TypeError if it is none."""
    if type(item) is tuple and len(item) == 2 and type(item[0]) is np.ndarray is type(item[1]):
        return Batch(*item)
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        raise TypeError(
            f"an iterable of batches must yield (x, y) or (x, y, sample_weight), not {type(item).__name__}"
            + (f" of {len(item)}" if isinstance(item, (tuple, list)) else "")
        )
    return Batch(_as_inputs(item[0]), _as_array(item[1]), _as_array(item[2]) if len(item) == 3 else None)


def rows_of(batch: Batch) -> int:
    """Rows of a batch."""
    x = batch[0]
    if type(x) is not np.ndarray:
        x = next(iter(x.values())) if isinstance(x, dict) else x[0] if isinstance(x, tuple) else x
    return len(x)


def divisor_of(loss: Any, batch: Batch) -> float:
    """Divisor of the batch's mean loss: its rows, or the sum of their weights."""
    weights = meaning_of(loss).row_weights(batch[1], batch[2])
    return float(rows_of(batch) if weights is None else np.sum(weights))


def join(first: Batch, second: Batch) -> Batch:
    """The rows of both."""
    names, arrays = split_inputs(first.x)
    others = split_inputs(second.x)[1]
    joined = tuple(np.concatenate(pair) for pair in zip(arrays, others, strict=True))
    x = dict(zip(names, joined, strict=True)) if names else joined if isinstance(first.x, tuple) else joined[0]
    y = np.concatenate([np.asarray(first.y), np.asarray(second.y)])
    if first.weight is None and second.weight is None:
        return Batch(x, y)
    weights = [np.ones(rows_of(b)) if b.weight is None else np.asarray(b.weight) for b in (first, second)]
    return Batch(x, y, np.concatenate(weights))


def batches_of(batches: Iterable, epoch: int, start: int = 0) -> Iterator[Batch]:
    """The batches of an epoch from number `start` on.

    An object with a method ``epoch(number, start)``, such as those of `fastnn.data`, is a function of these numbers:
    what has been read from it before changes nothing. Any other iterable is read from its beginning.
    """
    at_epoch = getattr(batches, "epoch", None)
    if callable(at_epoch):
        yield from map(as_batch, at_epoch(epoch, start))
        return
    for number, item in enumerate(batches):
        if number >= start:
            yield as_batch(item)
