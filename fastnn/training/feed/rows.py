"""Which rows make which step: an order of row numbers per epoch and the offsets of its batches."""

import numpy as np


def epoch_order(rows, shuffle, seed, epoch):
    """Row positions of one epoch, int64.

    Parameters
    ----------
    rows : int or int64 array
        Number of rows, or the row numbers to put in order (the training part of a split).
    shuffle : {True, "once", False}
        A new order per epoch, one order for all, or the order given.
    seed, epoch : int
        Key of the Philox stream: the order of an epoch does not depend on the epochs before it.
    """
    base = np.arange(rows, dtype=np.int64) if isinstance(rows, int) else rows
    if shuffle is False:
        return base
    if shuffle == "once":
        epoch = 0
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    return rng.permutation(base)


def batch_offsets(rows, batch_size, merge_single):
    """Offsets of the batches in the epoch's order, int64 (steps + 1,).

    The last batch takes what remains. With merge_single, a remainder of one row joins the batch before it, because
    batch statistics of one row do not exist.
    """
    offsets = np.arange(0, rows, batch_size, dtype=np.int64)
    if merge_single and len(offsets) > 1 and rows - offsets[-1] == 1:
        offsets = offsets[:-1]
    return np.append(offsets, rows)


def check_batch_size(batch_size, rows):
    """The batch size as an int; "full" is all rows."""
    import operator

    if batch_size == "full":
        return rows
    try:
        size = operator.index("" if isinstance(batch_size, bool) else batch_size)
    except TypeError:
        raise TypeError(f"batch_size must be an integer or 'full', got {batch_size!r}") from None
    if size < 1:
        raise ValueError(f"batch_size must be at least 1 or 'full', got {size}")
    return min(size, rows)


def check_shuffle(shuffle):
    """Raise unless shuffle is True, False or "once"."""
    if shuffle not in (True, False, "once"):
        raise ValueError(f"shuffle must be True, 'once' or False, got {shuffle!r}")
    return bool(shuffle) if shuffle != "once" else "once"


def check_rows(rows, count):
    """Row numbers to train on as a contiguous int64 array; IndexError names the first that does not exist."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0:
        raise ValueError(f"rows must be row numbers of shape (n,), not {rows.dtype} of shape {rows.shape}")
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    bad = (rows < 0) | (rows >= count)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise IndexError(f"rows[{first}] is {rows[first]}, but x has rows 0 to {count - 1}")
    return rows


def split_rows(rows, share, seed, labels):
    """Row numbers (training, validation), each int64 and ascending; stratified by labels if given."""
    if isinstance(share, (bool, str)) or not 0 < share < 1:
        raise ValueError(f"validation_split must be a share between 0 and 1, got {share!r}")
    from ...data.split import split_indices

    train, held, _ = split_indices(rows, sizes=(1.0 - share, share, 0.0), seed=seed, stratify=labels)
    if len(train) == 0 or len(held) == 0:
        raise ValueError(f"validation_split={share:g} of {rows} rows leaves a part without rows")
    return train.astype(np.int64, copy=False), held.astype(np.int64, copy=False)
