"""Cutting data into a training, a development (validation) and a test part."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def auto_sizes(rows: int) -> tuple[float, float, float]:
    """Shares of the three parts by the number of rows: 60/20/20 for thousands, 98/1/1 for millions.

    A development or test part has to be large enough to tell models apart, not a fixed share: about 20 % of small
    data, at most 10,000 rows each from 50,000 rows on, and never below 1 %.

    Parameters
    ----------
    rows : int

    Returns
    -------
    tuple of 3 floats
        Training, development and test share; their sum is 1.
    """
    share = max(0.01, min(0.2, 10_000 / max(rows, 1)))
    return (1.0 - 2.0 * share, share, share)


def _checked_sizes(sizes, rows):
    if isinstance(sizes, str):
        if sizes != "auto":
            raise ValueError(f'sizes must be "auto" or shares such as (0.6, 0.2, 0.2) or (0.8, 0.2), not {sizes!r}')
        return auto_sizes(rows)
    shares = tuple(float(s) for s in sizes)
    if len(shares) not in (2, 3) or not all(0.0 <= s <= 1.0 for s in shares) or abs(sum(shares) - 1.0) > 1e-6:
        raise ValueError(f"sizes must be two or three shares from 0 to 1 whose sum is 1, not {sizes!r}")
    if len(shares) == 2:
        shares = (*shares, 0.0)
    if shares[0] == 0.0:
        raise ValueError("the training share is 0: nothing would be left to train on")
    return shares


def _part_of_each(shares, units, rng):
    """A part number (0 train, 1 dev, 2 test) for each of `units` shuffled things.

    Sizes are rounded half up; a part whose share is not 0 gets at least one unit when there are three or more.
    """
    counts = [0, 0, 0]
    for part in (1, 2):
        if shares[part] > 0.0:
            counts[part] = max(int(shares[part] * units + 0.5), 1 if units >= 3 else 0)
    counts[0] = units - counts[1] - counts[2]
    while counts[0] < 1 and max(counts[1:]) > 0:  # rounding never empties the training part
        counts[1 if counts[1] >= counts[2] else 2] -= 1
        counts[0] += 1
    parts = np.repeat(np.arange(3), counts)
    return parts[rng.permutation(units)]


def _stratified(shares, labels, rng):
    """Parts with each class in the shares asked for.

    The rows, shuffled and then grouped by class, are dealt one after the other to the part that is furthest behind its
    share (largest remainder). So each class is cut in proportion to within one row or so, the whole is too, and a class
    of two rows may still have a row in the test part.
    """
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    parts = np.empty(len(codes), dtype=np.int64)
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes.reshape(-1)[order], kind="stable")]
    owed = np.zeros(3)  # rows that rounding still owes to each part, over the classes so far
    start = 0
    for size in sizes:
        owed += np.array(shares) * size
        counts = np.maximum(np.floor(owed), 0.0).astype(np.int64)
        counts = np.minimum(counts, size)
        for _ in range(int(counts.sum() - size)):
            counts[np.argmax(np.where(counts > 0, counts - owed, -np.inf))] -= 1
        for _ in range(int(size - counts.sum())):
            remainder = np.where(np.array(shares) > 0.0, owed - counts, -np.inf)
            counts[np.argmax(remainder)] += 1
        if counts[0] == 0:  # a class that is never trained on could never be predicted
            counts[np.argmax(counts)] -= 1
            counts[0] = 1
        owed -= counts
        parts[order[start : start + size]] = np.repeat(np.arange(3), counts)
        start += size
    return parts


def split_indices(
    rows: int, *, sizes: str | Sequence[float] = "auto", seed: int = 0, stratify: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Row numbers of the training, development and test part.

    Parameters
    ----------
    rows : int
        Number of rows.
    sizes : "auto", (float, float, float) or (float, float), default "auto"
        Shares of training, development and test part; a share may be 0. Two shares: there are two parts only. "auto"
        follows `auto_sizes`.
    seed : int, default 0
        The same seed gives the same parts. NumPy's global state is neither read nor changed.
    stratify : array of shape (rows,), optional
        Class of each row: each part gets the classes in the same proportions, and each class has at least one
        training row.
    groups : array of shape (rows,), optional
        Rows of one group (a patient, a speaker) stay in one part. The shares then count groups. Not together with
        `stratify`.

    Returns
    -------
    train, dev, test : int64 arrays; or two of them
        In ascending order; disjoint; together every row.

    Raises
    ------
    ValueError
        If `rows` is 0, the shares are not valid, the lengths differ, or both `stratify` and `groups` are given.
    """
    if rows < 1:
        raise ValueError("there are no rows to split")
    shares = _checked_sizes(sizes, rows)
    rng = np.random.Generator(np.random.PCG64(seed))
    for name, labels in (("stratify", stratify), ("groups", groups)):
        if labels is not None and np.shape(labels) != (rows,):
            raise ValueError(f"{name} must have shape ({rows},), not {np.shape(labels)}")
    if stratify is not None and groups is not None:
        raise ValueError("choose one of stratify and groups: a group cannot be cut to keep the classes in proportion")
    if stratify is not None:
        parts = _stratified(shares, np.asarray(stratify), rng)
    elif groups is not None:
        _, codes = np.unique(np.asarray(groups), return_inverse=True)
        codes = codes.reshape(-1)
        parts = _part_of_each(shares, int(codes.max()) + 1, rng)[codes]
    else:
        parts = _part_of_each(shares, rows, rng)
    count = 3 if isinstance(sizes, str) else len(tuple(sizes))
    return tuple(np.flatnonzero(parts == part) for part in range(count))


def train_dev_test_split(
    *arrays: ArrayLike, sizes: str | Sequence[float] = "auto", seed: int = 0, stratify: ArrayLike | bool | None = None,
    groups: ArrayLike | None = None,
) -> tuple:  # fmt: skip
    """Cut arrays into a training, a development and a test part, or into two parts.

    With `groups`, which are not drawn row by row, parts whose distributions differ are warned about (see
    `compare_parts`).

    Parameters
    ----------
    *arrays : arrays of equal length
        Usually ``x, y``.
    sizes, seed, stratify, groups
        As in `split_indices`. ``stratify=True`` stands for the last of `arrays`.

    Returns
    -------
    train, dev, test
        Each a tuple with one array for each of `arrays`; or just the array, if one was given::

            (x_train, y_train), (x_dev, y_dev), (x_test, y_test) = train_dev_test_split(x, y, stratify=True)
            (x_train, y_train), (x_dev, y_dev) = train_dev_test_split(x, y, sizes=(0.8, 0.2))

    Raises
    ------
    ValueError
        If no array is given, lengths differ, or `split_indices` refuses.
    """
    if not arrays:
        raise ValueError("train_dev_test_split needs at least one array")
    arrays = [np.asarray(a) for a in arrays]
    lengths = [a.shape[0] if a.ndim else 0 for a in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"the arrays must have equally many rows, not {', '.join(map(str, lengths))}")
    if stratify is True:
        stratify = arrays[-1]
    elif stratify is False:
        stratify = None
    parts = split_indices(lengths[0], sizes=sizes, seed=seed, stratify=stratify, groups=groups)
    cut = tuple(tuple(a[rows] for a in arrays) for rows in parts)
    if groups is not None and arrays[0].dtype.kind in "fiub":
        from .distribution import compare_parts

        compare_parts(*(part[:2] if len(part) > 1 else part[0] for part in cut))
    return tuple(part[0] for part in cut) if len(arrays) == 1 else cut
