"""Feature normalisation: subtract the mean, divide by the standard deviation, both measured on the training part.

z = (x - mean) / std, with mean = sum x / n and std = sqrt(sum (x - mean)^2 / n), in float64. Columns are shifted by
their first value, so that a large offset costs no digits and a constant column has exactly its own mean; each block is
summed in two passes, and blocks are merged by the pairwise update of Chan, Golub and LeVeque (1983, equation 2.1): the
one-pass formula sum x^2 - n mean^2 loses every digit when the mean is large beside the deviation.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

# Rows handled at a time, so that float64 copies stay small (uint8 images would otherwise grow eightfold).
_BLOCK_ROWS = 2048
_CACHED = 16_384  # numbers of a block that stays in the cache from one pass to the next

# A column whose values all lie within so many roundings of its largest one is constant: dividing by what rounding
# has left would blow up every other value (0.1 + 0.2 differs from 0.3 by one rounding).
_CONSTANT_ROUNDINGS = 4.0


def _rounding(dtype):
    """Relative rounding of values that were computed in `dtype`; integers and float16 hold what was meant."""
    return np.finfo(np.float32 if dtype == np.float32 else np.float64).eps


def _blocks(x):
    for start in range(0, len(x), _BLOCK_ROWS):
        yield start, np.asarray(x[start : start + _BLOCK_ROWS], dtype=np.float64)


def _checked(x):
    if np.ma.is_masked(x) and x.dtype.kind in "fiub":
        x = x.astype(x.dtype if x.dtype.kind == "f" else np.float64).filled(np.nan)  # masked: missing
    x = np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"x must have two axes (rows, features), not shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, not {x.dtype}")
    return x


class _Moments:
    """Mean, sum of squared deviations and range of columns, over blocks."""

    def __init__(self, columns):
        self.count = np.zeros(columns, dtype=np.int64)
        self.shift = np.zeros(columns)  # the column's first value
        self.mean, self.squares, self.low, self.high = (np.zeros(columns) for _ in range(4))  # of x - shift

    def add(self, block, present):
        """Enter the values of a float64 block (rows, columns) where `present` says so."""
        here = present.sum(axis=0)
        fresh = (self.count == 0) & (here > 0)
        self.shift[fresh] = block[present.argmax(axis=0), np.arange(block.shape[1])][fresh]
        with np.errstate(over="ignore", invalid="ignore"):  # `mean_and_std` says so of the whole column
            x = block - self.shift
            if not present.all():
                x[~present] = 0.0  # within the range: the first value itself is 0 here
            safe, both = np.maximum(here, 1), np.maximum(self.count + here, 1)
            mean = x.sum(axis=0) / safe
            squares = np.where(present, (x - mean) ** 2, 0.0).sum(axis=0)
            step = mean - self.mean
            self.squares += squares + step**2 * (self.count * (here / both))
            self.mean += step * (here / both)
        self.low, self.high = np.minimum(self.low, x.min(axis=0)), np.maximum(self.high, x.max(axis=0))
        self.count += here

    def mean_and_std(self, rounding):
        """float64 mean and deviation of each column; deviation 1 where the column is constant."""
        if not np.all(self.count):
            raise ValueError(f"feature {int(np.argmin(self.count))} has no value at all (every row is NaN)")
        mean, std = self.shift + self.mean, np.sqrt(self.squares / self.count)
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            column = int(np.argmin(np.isfinite(mean) & np.isfinite(std)))
            raise ValueError(f"feature {column} holds numbers too large to scale: its deviation overflows")
        largest = np.maximum(np.abs(self.shift + self.low), np.abs(self.shift + self.high))
        constant = self.high - self.low <= _CONSTANT_ROUNDINGS * rounding * largest
        return mean, np.where(constant | (std == 0.0), 1.0, std)


class StandardScale:
    """Bring features to mean 0 and standard deviation 1.

    Parameters
    ----------
    per_feature : bool, default True
        One mean and deviation for each column. False: one pair for the whole array, right for images, where a border
        pixel that is nearly always 0 must not be blown up.
    missing : "error" or "mean", default "error"
        What to do with NaN: refuse, or leave it out of the statistics and replace it by the mean (0 after scaling).

    Attributes
    ----------
    mean, std : float64 arrays of shape (features,), or (1,) with ``per_feature=False``
        Set by `fit`. A column that is constant (its range is within rounding of its values) has std 1, so that it
        becomes 0 and other values keep their size on new data.
    """

    def __init__(self, per_feature: bool = True, missing: str = "error") -> None:
        if missing not in ("error", "mean"):
            raise ValueError(f'missing must be "error" or "mean", not {missing!r}')
        self.per_feature = bool(per_feature)
        self.missing = missing
        self.features: int | None = None
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None

    def __repr__(self) -> str:
        state = "not fitted" if self.mean is None else f"{self.features} features"
        return f"StandardScale(per_feature={self.per_feature}, missing={self.missing!r}; {state})"

    def fit(self, x: ArrayLike, columns: ArrayLike | None = None) -> "StandardScale":
        """Measure mean and deviation. Use the training part only, or the other parts leak into the model.

        Parameters
        ----------
        x : array of shape (rows, features)
            At least one row, finite (or NaN with ``missing="mean"``).
        columns : bool array of shape (features,), optional
            Columns to scale; the others keep mean 0 and std 1. Meant for one-hot columns.

        Returns
        -------
        StandardScale
            Itself.

        Raises
        ------
        ValueError
            If there are no rows, or values that are not finite.
        """
        x = _checked(x)
        if x.shape[0] == 0 or x.shape[1] == 0:
            raise ValueError(f"cannot scale data of shape {x.shape}: there are no values")
        if columns is not None:
            columns = np.asarray(columns, dtype=bool)
            if not self.per_feature or columns.shape != (x.shape[1],):
                raise ValueError("columns needs per_feature=True and one True or False for each feature")
        self.fit_blocks([x])
        if columns is not None:
            self.mean, self.std = np.where(columns, self.mean, 0.0), np.where(columns, self.std, 1.0)
        return self

    def fit_blocks(self, blocks: Iterable) -> "StandardScale":
        """Measure over data that come in blocks, in one pass (Chan, Golub and LeVeque 1983, equation 2.1).

        Parameters
        ----------
        blocks : iterable of arrays (rows, features), or of tuples whose first entry is such an array
            ``stream.blocks()`` of a `CsvStream`, for example.

        Returns
        -------
        StandardScale
            Itself.
        """
        moments, features, start, rounding = None, None, 0, 0.0
        for block in blocks:
            block = _checked(block[0] if isinstance(block, tuple) else block)
            features = block.shape[1] if features is None else features
            if block.shape[1] != features:
                raise ValueError(f"a block has {block.shape[1]} features, the first one {features}")
            rounding = max(rounding, _rounding(block.dtype))
            for offset, part in _blocks(block):
                present = self._present(part, start + offset)
                if not self.per_feature:
                    part, present = part.reshape(-1, 1), present.reshape(-1, 1)
                moments = moments or _Moments(part.shape[1])
                moments.add(part, present)
            start += len(block)
        if moments is None:
            raise ValueError("cannot scale: there are no values")
        self.features, (self.mean, self.std) = features, moments.mean_and_std(rounding)
        return self

    def _present(self, block, start):
        finite = np.isfinite(block)
        if finite.all():
            return finite
        allowed = finite | np.isnan(block) if self.missing == "mean" else finite
        if not allowed.all():
            row, column = (int(i) for i in np.argwhere(~allowed)[0])
            raise ValueError(f"x[{start + row}, {column}] is {block[row, column]}: scaling needs finite numbers")
        return finite

    def _check_fitted(self, x):
        if self.mean is None:
            raise ValueError("this StandardScale has not been fitted: call fit(x_train) first")
        x = _checked(x)
        if x.shape[1] != self.features:
            raise ValueError(f"x has {x.shape[1]} features, but the scale was fitted on {self.features}")
        return x

    def transform(self, x: ArrayLike, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return ``(x - mean) / std``.

        Parameters
        ----------
        x : array of shape (rows, features)
            Any real type; left unchanged. Computed in float64, so that large offsets (dates, say) keep their digits.
        dtype : data type, default float32
            Type of the result.

        Returns
        -------
        ndarray of shape (rows, features)
        """
        x = self._check_fitted(x)
        out = np.empty(x.shape, dtype=dtype)
        rows = max(1, min(_BLOCK_ROWS, _CACHED // max(x.shape[1], 1)))
        buffer = np.empty((min(rows, len(x)), x.shape[1]))
        for start in range(0, len(x), rows):
            block = x[start : start + rows]
            scaled = np.subtract(block, self.mean, out=buffer[: len(block)])
            scaled /= self.std
            if not np.isfinite(scaled.sum()):  # something is missing, or huge
                present = self._present(np.asarray(block, dtype=np.float64), start)
                scaled[~present] = 0.0
            out[start : start + len(block)] = scaled
        return out

    def fit_transform(
        self, x: ArrayLike, columns: ArrayLike | None = None, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """`fit` and `transform` in one call."""
        return self.fit(x, columns).transform(x, dtype)

    def inverse(self, z: ArrayLike, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return ``z * std + mean``: from scaled values back to the units of the data. Shapes as in `transform`."""
        z = self._check_fitted(z)
        out = np.empty(z.shape, dtype=dtype)
        for start, block in _blocks(z):
            out[start : start + len(block)] = block * self.std + self.mean
        return out

    def to_dict(self) -> dict:
        """Everything `from_dict` needs, as plain Python values; JSON keeps every bit of them."""
        if self.mean is None:
            raise ValueError("this StandardScale has not been fitted: there is nothing to save")
        return {
            "kind": "standard",
            "per_feature": self.per_feature,
            "missing": self.missing,
            "features": self.features,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict) -> "StandardScale":
        """Rebuild a scale from `to_dict`; a ValueError says what is wrong with values that are not its output."""
        try:
            scale = cls(values["per_feature"], values["missing"])
            scale.features = int(values["features"])
            scale.mean = np.array(values["mean"], dtype=np.float64)
            scale.std = np.array(values["std"], dtype=np.float64)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the description of a StandardScale: {error}") from None
        expected = (scale.features,) if scale.per_feature else (1,)
        if scale.mean.shape != expected or scale.std.shape != expected:
            raise ValueError(f"a StandardScale of {scale.features} features must have mean and std of shape {expected}")
        if not (np.isfinite(scale.mean).all() and np.isfinite(scale.std).all() and (scale.std > 0).all()):
            raise ValueError("a StandardScale must have finite means and positive deviations")
        return scale
