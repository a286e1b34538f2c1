"""Pulling in wild values: a smooth clip at three times the range between the 1 % and the 99 % quantile.

With c the middle of the two quantiles and R their distance, d = x - c stays as it is up to L = 1.5 R; beyond, it is
sign(d) (L + (B - L) tanh((|d| - L) / (B - L))) with B = 3 R: continuous with its derivative, increasing, below B.
So nearly all values keep every bit, and one wild row can neither set the scale of its column nor dominate the loss.
"""

import numpy as np

_LOW, _HIGH = 0.01, 0.99
_RANGES = 3.0
_MOST_ROWS = 200_000  # for quantiles; more would not move them


def _range(values) -> tuple[float, float]:
    """(middle, distance) of the two quantiles; distance 0 if no value differs from another."""
    low, high = np.quantile(values, [_LOW, _HIGH])
    if low == high:  # nearly constant: the quantiles of the values that differ
        others = values[values != low]
        if not len(others):
            return float(low), 0.0
        low, high = (float(f(q, low)) for f, q in zip((min, max), np.quantile(others, [_LOW, _HIGH])))
    return float((low + high) / 2), float(high - low)


class SmoothClip:
    """A clip for each column, fitted on the training part.

    Attributes
    ----------
    center, bound : float64 arrays of shape (features,)
        Values stay within ``center ± bound``; bound is infinite for columns that are not clipped.
    low, high : float64 arrays of shape (features,)
        Smallest and largest value of the training part: `inverse` gives nothing beyond.
    beyond : int64 array of shape (features,)
        Values of the training part outside ``center ± bound``.
    """

    def __init__(self, center, bound, low, high, beyond=None):
        self.center, self.bound, self.low, self.high = (np.asarray(v, np.float64) for v in (center, bound, low, high))
        self.beyond = np.zeros(len(self.center), np.int64) if beyond is None else np.asarray(beyond, np.int64)

    @classmethod
    def fit(cls, x: np.ndarray, columns=None) -> "SmoothClip":
        """Measure quantiles of an array (rows, features), NaN left out; `columns` says which are clipped."""
        features = x.shape[1]
        center, bound, low, high = np.zeros(features), np.full(features, np.inf), np.zeros(features), np.zeros(features)
        step = -(-len(x) // _MOST_ROWS)
        for j in range(features):
            values = x[:, j].astype(np.float64)
            values = values[np.isfinite(values)]
            if not len(values):
                continue
            low[j], high[j] = values.min(), values.max()
            if columns is None or columns[j]:
                center[j], distance = _range(values[::step])
                bound[j] = _RANGES * distance if distance > 0.0 else np.inf
        with np.errstate(invalid="ignore"):
            beyond = (np.abs(x - center) > bound).sum(axis=0)
        return cls(center, bound, low, high, beyond)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Clipped values; `x` itself where none is beyond the linear part."""
        knee = self.bound / 2
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero(np.abs(x - self.center) > knee)
        if not len(rows):
            return x
        x = np.array(x, dtype=np.float64)
        d = x[rows, columns] - self.center[columns]
        room = knee[columns]  # bound - knee
        pulled = room + room * np.tanh((np.abs(d) - room) / room)
        x[rows, columns] = self.center[columns] + np.copysign(pulled, d)
        return x

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Back to the values' own units: beyond the linear part, nothing outside the range of the training part."""
        y = np.array(y, dtype=np.float64)
        knee = self.bound / 2
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero(np.abs(y - self.center) > knee)
        d, room = y[rows, columns] - self.center[columns], knee[columns]
        share = np.minimum((np.abs(d) - room) / room, 1.0 - 1e-12)
        y[rows, columns] = self.center[columns] + np.copysign(room + room * np.arctanh(share), d)
        low, high = np.minimum(self.low, self.center - knee), np.maximum(self.high, self.center + knee)
        y[rows, columns] = np.clip(y[rows, columns], low[columns], high[columns])
        return y

    def to_dict(self) -> dict:
        """Plain values; None stands for a bound that is infinite."""
        bound = [None if value == np.inf else value for value in self.bound.tolist()]
        return {"center": self.center.tolist(), "bound": bound, "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_dict(cls, values: dict) -> "SmoothClip":
        """Rebuild from `to_dict`; a ValueError for anything else."""
        try:
            bound = [np.inf if value is None else float(value) for value in values["bound"]]
            clip = cls(values["center"], bound, values["low"], values["high"])
            lengths = {len(array) for array in (clip.center, clip.bound, clip.low, clip.high)}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the description of a clip: {error}") from None
        finite = all(np.isfinite(array).all() for array in (clip.center, clip.low, clip.high))
        if len(lengths) != 1 or not finite or not (clip.bound > 0).all():
            raise ValueError("not the description of a clip: its bounds make no sense")
        return clip
