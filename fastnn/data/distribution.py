"""Whether the parts of a split come from one distribution: if not, the development part measures something else.

For each feature the two-sample Kolmogorov-Smirnov distance D = max_v |F_a(v) - F_b(v)| of a part to the training part,
with the asymptotic bound P(D > d) <= 2 exp(-2 d^2 nm / (n + m)) (Smirnov 1939), and for class labels the difference of
each class' share, with the normal approximation. A feature is reported if its p, times the number of comparisons
(Bonferroni), is below `level`, and D above `distance`: in millions of rows the smallest difference is significant.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_ROWS = 20_000  # of a part; more would not change the verdict


def _some(values, rng):
    values = np.asarray(values)
    if len(values) > _MOST_ROWS:
        values = values[np.sort(rng.choice(len(values), _MOST_ROWS, replace=False))]
    return values


def _ks(a, b):
    """Kolmogorov-Smirnov distance of the columns of two arrays (rows, features)."""
    distances = np.zeros(a.shape[1])
    for j in range(a.shape[1]):
        left, right = np.sort(a[:, j][~np.isnan(a[:, j])]), np.sort(b[:, j][~np.isnan(b[:, j])])
        if not len(left) or not len(right):
            continue
        values = np.concatenate([left, right])
        below = np.searchsorted(left, values, "right") / len(left), np.searchsorted(right, values, "right") / len(right)
        distances[j] = np.abs(below[0] - below[1]).max()
    return distances


def _compare_features(a, b, rng):
    a, b = _some(a, rng), _some(b, rng)
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (a, b))
    distances = _ks(a, b)
    scale = 2.0 * len(a) * len(b) / (len(a) + len(b))
    return distances, np.minimum(1.0, 2.0 * np.exp(-scale * distances**2))


def _compare_classes(a, b):
    classes, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    codes = codes.reshape(-1)
    left = np.bincount(codes[: len(a)], minlength=len(classes)) / len(a)
    right = np.bincount(codes[len(a) :], minlength=len(classes)) / len(b)
    both = (left * len(a) + right * len(b)) / (len(a) + len(b))
    deviation = np.sqrt(np.maximum(both * (1 - both), 1e-300) * (1 / len(a) + 1 / len(b)))
    distances = np.abs(left - right)
    return classes, distances, np.array([math.erfc(z / math.sqrt(2)) for z in distances / deviation])


def compare_parts(
    *parts: Any, names: Sequence[str] | None = None, level: float = 0.001, distance: float = 0.1, warn: bool = True
) -> list[dict[str, Any]]:
    """Find features and classes whose distribution in another part is not that of the training part.

    Parameters
    ----------
    *parts : arrays (rows, features), or (x, y) with class labels y
        Training part first; then development and test part. Parts without rows are passed over.
    names : sequence of str, optional
        Of the features.
    level : float, default 0.001
        Significance, over all comparisons together.
    distance : float, default 0.1
        Smaller differences (0 to 1) are passed over, however significant.
    warn : bool, default True
        Tell what was found in a UserWarning.

    Returns
    -------
    list of dict
        ``part`` (1: the second), ``what`` ("feature" or "class"), ``name``, ``distance``, ``p``; the largest distance
        first.
    """
    if len(parts) < 2:
        raise ValueError("compare_parts needs the training part and at least one more")
    rng, found, comparisons = np.random.default_rng(0), [], 0
    split = [part if isinstance(part, tuple) else (part, None) for part in parts]
    (x0, y0), *others = split
    for number, (x, y) in enumerate(others, 1):
        if len(x) == 0 or len(x0) == 0:
            continue
        distances, p = _compare_features(x0, x, rng)
        labels = range(len(distances)) if names is None else names
        found += [("feature", number, str(n), float(d), float(q)) for n, d, q in zip(labels, distances, p)]
        comparisons += len(distances)
        if y is not None and y0 is not None and np.ndim(y) == 1 and np.asarray(y).dtype.kind in "iubUO":
            classes, distances, p = _compare_classes(np.asarray(y0), np.asarray(y))
            found += [("class", number, str(n), float(d), float(q)) for n, d, q in zip(classes, distances, p)]
            comparisons += len(distances)
    keys = ("what", "part", "name", "distance", "p")
    found = [dict(zip(keys, row)) for row in found if row[3] > distance and row[4] * comparisons < level]
    found.sort(key=lambda row: -row["distance"])
    if found and warn:
        warnings.warn(describe_parts(found), UserWarning, stacklevel=2)
    return found


def describe_parts(found):
    """What `compare_parts` has found, in one line."""
    shown = ", ".join(
        f"{row['what']} {row['name']} of part {row['part']} (distance {row['distance']:.2f})" for row in found[:3]
    )
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"the parts do not come from one distribution: {shown}{more} differ from the training part; what is "
        "measured on such a part says little about the others"
    )
