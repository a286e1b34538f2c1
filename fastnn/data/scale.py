"""Feature normalisation: subtract the mean, divide by the standard deviation, both measured on the training part.

z = (x - mean) / std, with mean = sum x / n and std = sqrt(sum (x - mean)^2 / n), in float64 and in two passes: the
one-pass formula sum x^2 - n mean^2 loses every digit when the mean is large beside the deviation (Chan, Golub and
LeVeque 1983).
"""

import numpy as np

# Rows handled at a time, so that float64 copies stay small (uint8 images would otherwise grow eightfold).
_BLOCK_ROWS = 2048


def _blocks(x):
    for start in range(0, len(x), _BLOCK_ROWS):
        yield start, np.asarray(x[start : start + _BLOCK_ROWS], dtype=np.float64)


def _checked(x):
    x = np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"x must have two axes (rows, features), not shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, not {x.dtype}")
    return x


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
        Set by `fit`. A column that is constant has std 1, so that it becomes 0 and stays finite on new data.
    """

    def __init__(self, per_feature=True, missing="error"):
        if missing not in ("error", "mean"):
            raise ValueError(f'missing must be "error" or "mean", not {missing!r}')
        self.per_feature = bool(per_feature)
        self.missing = missing
        self.features = None
        self.mean = None
        self.std = None

    def __repr__(self):
        state = "not fitted" if self.mean is None else f"{self.features} features"
        return f"StandardScale(per_feature={self.per_feature}, missing={self.missing!r}; {state})"

    def fit(self, x, columns=None):
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
        mean, std = self._measure(x)
        if columns is not None:
            columns = np.asarray(columns, dtype=bool)
            if not self.per_feature or columns.shape != (x.shape[1],):
                raise ValueError("columns needs per_feature=True and one True or False for each feature")
            mean, std = np.where(columns, mean, 0.0), np.where(columns, std, 1.0)
        self.features, self.mean, self.std = x.shape[1], mean, std
        return self

    def fit_blocks(self, blocks):
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
        count = mean = squares = 0.0
        features = None
        for block in blocks:
            block = _checked(block[0] if isinstance(block, tuple) else block)
            features = block.shape[1] if features is None else features
            if block.shape[1] != features:
                raise ValueError(f"a block has {block.shape[1]} features, the first one {features}")
            for start, part in _blocks(block):
                present = self._present(part, start)
                here = self._sum(present)
                safe = np.maximum(here, 1)
                own = self._sum(np.where(present, part, 0.0)) / safe
                own_squares = self._sum(np.where(present, (part - own) ** 2, 0.0))
                both = np.maximum(count + here, 1)
                squares = squares + own_squares + (own - mean) ** 2 * count * here / both
                mean = mean + (own - mean) * here / both
                count = count + here
        if features is None or not np.all(count):
            raise ValueError("cannot scale: there are no values" + (" in some feature" if features else ""))
        std = np.atleast_1d(np.sqrt(squares / count))
        mean = np.atleast_1d(mean)
        constant = std <= 10.0 * np.finfo(np.float64).eps * np.abs(mean)
        self.features, self.mean, self.std = features, mean, np.where(constant, 1.0, std)
        return self

    def _measure(self, x):
        total, count = 0.0, 0
        for start, block in _blocks(x):
            present = self._present(block, start)
            total = total + self._sum(np.where(present, block, 0.0))
            count = count + self._sum(present)
        if not np.all(count):
            column = int(np.flatnonzero(np.asarray(count) == 0)[0])
            raise ValueError(f"feature {column} has no value at all (every row is NaN)")
        mean = np.atleast_1d(total / count)
        squares = 0.0
        for _, block in _blocks(x):
            squares = squares + self._sum(np.where(np.isnan(block), 0.0, (block - mean) ** 2))
        std = np.atleast_1d(np.sqrt(squares / count))
        # Rounding leaves a constant column such as 0.1 a deviation of about eps * |mean| instead of 0.
        constant = std <= 10.0 * np.finfo(np.float64).eps * np.abs(mean)
        return mean, np.where(constant, 1.0, std)

    def _sum(self, values):
        return values.sum(axis=0 if self.per_feature else None)

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

    def transform(self, x, dtype=np.float32):
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
        for start, block in _blocks(x):
            present = self._present(block, start)
            scaled = (block - self.mean) / self.std
            if not present.all():
                scaled[~present] = 0.0
            out[start : start + len(block)] = scaled
        return out

    def fit_transform(self, x, columns=None, dtype=np.float32):
        """`fit` and `transform` in one call."""
        return self.fit(x, columns).transform(x, dtype)

    def inverse(self, z, dtype=np.float32):
        """Return ``z * std + mean``: from scaled values back to the units of the data. Shapes as in `transform`."""
        z = self._check_fitted(z)
        out = np.empty(z.shape, dtype=dtype)
        for start, block in _blocks(z):
            out[start : start + len(block)] = block * self.std + self.mean
        return out

    def to_dict(self):
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
    def from_dict(cls, values):
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
