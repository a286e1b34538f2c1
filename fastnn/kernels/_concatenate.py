"""Joining arrays."""

import numpy as np

from fastnn import _native


def concatenate(arrays, axis=0, *, out=None):
    """Join arrays along an existing axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Of one shape but for `axis`.
    axis : int or None, default 0
        None joins them flattened.
    out : ndarray, optional
        Where to write, of the shape of the result; may overlap the arrays.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        Where shapes differ off `axis`, or there is nothing to join.

    Notes
    -----
    Contiguous float32 or float64 arrays of one dtype are copied by as many threads as the amount is worth; whatever
    else :func:`numpy.concatenate` takes is joined by that function, with its rules of dtypes.
    """
    if out is not None and any(np.may_share_memory(out, array) for array in arrays):
        return np.concatenate([concatenate(arrays, axis)], 0, out)
    y = _native.concatenate(arrays, axis, out)
    return np.concatenate(arrays, axis, out) if y is None else y
