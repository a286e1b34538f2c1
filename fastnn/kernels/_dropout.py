"""Dropout, alpha dropout and Gaussian noise from counter-based streams: recomputed, never stored."""

import numpy as np

from fastnn import _native

from ._arrays import finish, integer, output, probability, reals, row_stride, rows_of

_run_op = _native.run_op
_CODES = _native.OP_CODES
_ONE = 65536  # a keep threshold on 16 random bits
_ALPHA = -1.7580993408473766  # SELU at minus infinity: -scale * alpha


def keep_threshold(p):
    """How many of the 65536 values of 16 random bits keep an element that is dropped with probability ``p``."""
    return round((1.0 - probability("p", p)) * _ONE)


def alpha_constants(threshold):
    """(scale, shift, fill) of alpha dropout for the rate really kept, which keep mean 0 and variance 1."""
    q = threshold / _ONE
    scale = (q * (1.0 + (1.0 - q) * _ALPHA**2)) ** -0.5
    shift = -scale * (1.0 - q) * _ALPHA
    return scale, shift, scale * _ALPHA + shift


def signed_seed(seed):
    """A seed as the signed integer of the same 64 bits, which native sizes are."""
    seed = integer("seed", seed, 1 << 64)
    return seed - (1 << 64) if seed >> 63 else seed


def run_stream(op, x, seed, offset, out, option, scalars=()):
    """y = op(x) with the numbers offset, offset + 1, ... of a stream, in C order."""
    seed, offset = signed_seed(seed), integer("offset", offset, 1 << 62)
    y = _native.stream(_CODES[op], x, seed, offset, option, scalars, out)
    if y is not None:
        return y
    (x,), dtype, code = reals(("x",), x)
    y = output(out, x.shape, dtype, (x,), same=x)
    if x.size:
        x, x_row = rows_of(x)
        cols = x.shape[-1] if x.ndim else 1
        y_row = row_stride(y)
        rows = x.size // cols
        if x_row == y_row == cols:
            rows, cols, x_row, y_row = 1, x.size, x.size, x.size
        _run_op(op, (x, y), (rows, cols, x_row, y_row, cols, offset, seed, 0, option), (0.0, 0.0, *scalars), code)
    return finish(out, y)


def _constant(x, out, value):
    """x itself (None) or one value everywhere, in a new array or `out`."""
    (x,), dtype, _ = reals(("x",), x)
    y = output(out, x.shape, dtype, (x,), same=x)
    if y is not x:
        np.copyto(y, x)
    if value is not None:
        y.fill(value)
    return finish(out, y)


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
    if threshold in (0, _ONE):
        signed_seed(seed), integer("offset", offset, 1 << 62)
        return _constant(x, out, None if threshold else 0)
    return run_stream("dropout", x, seed, offset, out, threshold)


def dropout_backward(grad, p, *, seed, offset=0, out=None):
    """Gradient of :func:`dropout`: ``grad`` under the same mask and scale, recomputed from ``seed`` and ``offset``."""
    return dropout(grad, p, seed=seed, offset=offset, out=out)


def alpha_dropout(x, p, *, seed, offset=0, out=None):
    """Dropout for SELU networks: dropped elements become SELU's lower limit, then all are scaled and shifted.

    Inputs of mean 0 and variance 1 keep both.

    Parameters
    ----------
    x : array_like, any shape
    p : float in [0, 1]
        Probability of dropping, rounded to a multiple of 1/65536. 0 returns the same bits, 1 returns zeros.
    seed, offset : int
        As in :func:`dropout`: the same decisions.
    out : ndarray, optional
        Where to write; may be ``x`` itself.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Notes
    -----
    ``y = a * (x * keep + alpha' * (1 - keep)) + b`` with ``alpha' = -1.7580993408473766``, q the rate really kept,
    ``a = (q * (1 + (1 - q) * alpha'**2))**-0.5`` and ``b = -a * (1 - q) * alpha'``. Klambauer et al. 2017, section 3.
    """
    threshold = keep_threshold(p)
    if threshold in (0, _ONE):
        return dropout(x, p, seed=seed, offset=offset, out=out)
    return run_stream("dropout_affine", x, seed, offset, out, threshold, alpha_constants(threshold))


def alpha_dropout_backward(grad, p, *, seed, offset=0, out=None):
    """Gradient of :func:`alpha_dropout`: ``a * grad`` where the element was kept, else 0."""
    threshold = keep_threshold(p)
    if threshold in (0, _ONE):
        return dropout(grad, p, seed=seed, offset=offset, out=out)
    return run_stream("dropout_affine", grad, seed, offset, out, threshold, (alpha_constants(threshold)[0], 0.0, 0.0))


def gaussian_noise(x, std, *, seed, offset=0, out=None):
    """Add independent normal noise: ``y = x + std * z``.

    Parameters
    ----------
    x : array_like, any shape
    std : float >= 0
        Deviation of the noise; 0 returns the same bits.
    seed, offset : int
        As in :func:`dropout`.
    out : ndarray, optional
        Where to write; may be ``x`` itself.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Notes
    -----
    z is the normal quantile of a 32-bit word of Philox4x32-10 (keyed by the seed, its counter the element index / 4):
    bit 0 is the sign, the rest w the tail, ``z = +-sqrt(2) erfinv(1 - (w + 1/2) / 2**31)`` with Giles' (2011)
    approximation of erfinv, relative error below 1e-6. The gradient is that of the identity.
    """
    std = float(std)
    if not 0 <= std < float("inf"):
        raise ValueError(f"std is {std}: expected a finite number >= 0")
    if std == 0:
        signed_seed(seed), integer("offset", offset, 1 << 62)
        return _constant(x, out, None)
    return run_stream("noise", x, seed, offset, out, 0, (std,))
