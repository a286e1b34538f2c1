"""The precision that a twin computes in."""

import numpy as np


def wide(array):
    """The array in float64, or as it is when it is longdouble (the reference precision for float64 kernels)."""
    array = np.asarray(array)
    return array if array.dtype == np.longdouble else array.astype(np.float64)


def wider_than(dtype):
    """The dtype that a result of ``dtype`` is judged in."""
    return np.longdouble if np.dtype(dtype) == np.float64 else np.float64
