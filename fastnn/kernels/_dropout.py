"""Dropout with a counter-based stream: the mask is recomputed, never stored."""

import numpy as np

from fastnn import _native

from ._arrays import finish, integer, output, probability, reals, row_stride, rows_of

_run_op = _native.run_op
_ONE = 65536  # a keep threshold on 16 random bits


def keep_threshold(p):
    """How many of the 65536 values of 16 random bits keep an element that is dropped with probability ``p``."""
    return round((1.0 - probability("p", p)) * _ONE)


def dropout(x, p, *, seed, offset=0, out=None):
    """Drop each element with probability ``p`` and scale the others up: the expectation stays (inverted dropout).

    Parameters
    ----------
    x : array_like, any shape
    p : float in [0, 1]
        Probability of dropping, rounded to a multiple of 1/65536. 0 returns the same bits, 1 returns zeros.
    seed : int, 0 <= seed < 2**64
        Key of the random stream.
    offset : int, default 0, below 2**62
        Index of ``x``'s first element in the stream (C order): equal seeds and indices give equal decisions.
    out : ndarray, optional
        Where to write; may be ``x`` itself.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Notes
    -----
    ``y = x * keep * 65536 / threshold`` with ``keep = u16 < threshold`` and ``threshold = round((1 - p) * 65536)``:
    the scale belongs to the realised rate. u16 is a 16-bit slice of Philox4x32-10 (Salmon et al. 2011) keyed by the
    seed, its counter the element index / 8; so neither threads nor shapes change the mask. Srivastava et al. 2014.
    """
    threshold = keep_threshold(p)
    seed = integer("seed", seed, 1 << 64)
    if seed >> 63:
        seed -= 1 << 64  # dims are signed: the same 64 bits
    offset = integer("offset", offset, 1 << 62)
    (x,), dtype, code = reals(("x",), x)
    y = output(out, x.shape, dtype, (x,), same=x)
    if threshold == _ONE:
        if y is not x:
            np.copyto(y, x)
    elif threshold == 0:
        y.fill(0)
    elif x.size:
        x, x_row = rows_of(x)
        cols = x.shape[-1] if x.ndim else 1
        y_row = row_stride(y)
        rows = x.size // cols
        if x_row == y_row == cols:
            rows, cols, x_row, y_row = 1, x.size, x.size, x.size
        dims = (rows, cols, x_row, y_row, cols, offset, threshold, seed, 0)
        _run_op("dropout", (x, y), dims, (0.0, 0.0), code)
    return finish(out, y)


def dropout_backward(grad, p, *, seed, offset=0, out=None):
    """Gradient of :func:`dropout`: ``grad`` under the same mask and scale, recomputed from ``seed`` and ``offset``."""
    return dropout(grad, p, seed=seed, offset=offset, out=out)
