"""Image augmentation on batches (images, height, width[, channels]): one resampling under all of it.

Every function takes floats of either dtype; integer images (uint8) become float32, like everywhere in this package. Row
0 is the top, column 0 the left, angles are counter-clockwise in degrees, as one sees the image. A value that may differ
from image to image is a number for all or an array with one per image.
"""

import math

import numpy as np

from fastnn import _native

from ._arrays import finish, integer, output, reals
from ._dropout import run_stream

_run_op = _native.run_op
_MODES = ("bilinear", "nearest")
_TRUNCATE = 4.0  # deviations at which the smoothing window ends, as in SciPy


def _images(x):
    (x,), dtype, code = reals(("x",), x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x has shape {x.shape}: expected (images, height, width[, channels])")
    return np.ascontiguousarray(x), dtype, code


def _per_image(name, value, images):
    value = np.asarray(value, np.float64)
    if value.ndim and value.shape != (images,):
        raise ValueError(f"{name} has shape {value.shape}: expected a number or one per image, ({images},)")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite")
    return np.broadcast_to(value, (images,))


def remap(x, matrix=None, *, field=None, interpolation="bilinear", fill=0.0, out=None):
    """Resample images: pixel (r, c) of the result is the input at ``matrix @ (r, c, 1) + field[r, c]``.

    Parameters
    ----------
    x : array_like, shape (images, height, width) or (images, height, width, channels)
    matrix : array_like, shape (2, 3) or (images, 2, 3), optional
        From the result's (row, column, 1) to the input's (row, column); the identity by default.
    field : array_like, shape (images, height, width, 2), optional
        Displacements (rows, columns) in pixels, added.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0
        Value of all pixels outside the image; bilinear mixes with it at the border.
    out : ndarray, optional

    Returns
    -------
    ndarray of the shape of ``x``

    Raises
    ------
    ValueError
        For wrong shapes, an unknown interpolation, or a matrix that is not finite.
    """
    if interpolation not in _MODES:
        raise ValueError(f"interpolation is {interpolation!r}: expected one of {', '.join(_MODES)}")
    x, dtype, code = _images(x)
    images, height, width = x.shape[:3]
    matrix = np.eye(2, 3) if matrix is None else np.asarray(matrix, np.float64)
    if matrix.shape not in ((2, 3), (images, 2, 3)):
        raise ValueError(f"matrix has shape {matrix.shape}: expected (2, 3) or ({images}, 2, 3)")
    if not np.isfinite(matrix).all():
        raise ValueError("matrix must be finite")
    matrix = np.ascontiguousarray(np.broadcast_to(matrix, (images, 2, 3)))
    if field is not None:
        field = np.ascontiguousarray(field, dtype)
        if field.shape != (images, height, width, 2):
            raise ValueError(f"field has shape {field.shape}: expected {(images, height, width, 2)}")
    y = output(out, x.shape, dtype, (x, field), contiguous=True)
    if x.size:
        channels = x.shape[3] if x.ndim == 4 else 1
        dims = (images, height, width, channels, int(interpolation == "nearest"))
        _run_op("remap", (x, matrix, field, y), dims, (float(fill),), code)
    return finish(out, y)


def affine(
    x, *, degrees=0.0, rows=0.0, columns=0.0, zoom=1.0, shear=0.0, flip_rows=False, flip_columns=False,
    interpolation="bilinear", fill=0.0, out=None,
):  # fmt: skip
    """Flip, shear, zoom, rotate and then shift images, about their centre, in one resampling.

    Parameters
    ----------
    x : array_like, shape (images, height, width[, channels])
    degrees : float or (images,)
        Rotation, counter-clockwise.
    rows, columns : float or (images,)
        Shift down and to the right, in pixels.
    zoom : float or (images,)
        Magnification, > 0.
    shear : float or (images,)
        Columns that a row moves per row above the centre.
    flip_rows, flip_columns : bool or (images,)
        Upside down; left and right exchanged.
    interpolation, fill, out
        As in :func:`remap`.
    """
    shape = np.shape(x)
    if len(shape) not in (3, 4):
        raise ValueError(f"x has shape {shape}: expected (images, height, width[, channels])")
    matrix = affine_matrix(
        shape, degrees=degrees, rows=rows, columns=columns, zoom=zoom, shear=shear, flip_rows=flip_rows,
        flip_columns=flip_columns,
    )  # fmt: skip
    return remap(x, matrix, interpolation=interpolation, fill=fill, out=out)


def affine_matrix(shape, *, degrees, rows, columns, zoom, shear, flip_rows, flip_columns):
    """The matrices (images, 2, 3) of :func:`affine` for a batch of this shape."""
    images, height, width = shape[:3]
    angle = np.deg2rad(_per_image("degrees", degrees, images))
    zoom = _per_image("zoom", zoom, images)
    if not (zoom > 0).all():
        raise ValueError("zoom must be greater than 0")
    shear = _per_image("shear", shear, images)
    row_sign = np.where(_per_image("flip_rows", flip_rows, images) != 0, -1.0, 1.0)
    column_sign = np.where(_per_image("flip_columns", flip_columns, images) != 0, -1.0, 1.0)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    # output -> input is the inverse of each step, the last one first: rotation, zoom, shear, flip
    matrix = np.empty((images, 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = row_sign * cos, row_sign * sin
    matrix[:, 1, 0] = column_sign * (-sin + shear * cos)
    matrix[:, 1, 1] = column_sign * (cos + shear * sin)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    moved = centre + np.stack([_per_image("rows", rows, images), _per_image("columns", columns, images)], axis=1)
    matrix[:, :, 2] = centre - np.einsum("nij,nj->ni", matrix[:, :, :2], moved)
    return matrix


def flip(x, *, rows=False, columns=True, out=None):
    """Mirror images: upside down (`rows`), left to right (`columns`); bools or one per image. The same bits move."""
    return affine(x, flip_rows=rows, flip_columns=columns, interpolation="nearest", out=out)


def shift(x, rows=0.0, columns=0.0, *, interpolation="bilinear", fill=0.0, out=None):
    """Move images down by `rows` and right by `columns` pixels (numbers or one per image)."""
    return affine(x, rows=rows, columns=columns, interpolation=interpolation, fill=fill, out=out)


def rotate(x, degrees, *, interpolation="bilinear", fill=0.0, out=None):
    """Rotate images about their centre, counter-clockwise, by a number of degrees or one per image."""
    return affine(x, degrees=degrees, interpolation=interpolation, fill=fill, out=out)


def zoom(x, factor, *, interpolation="bilinear", fill=0.0, out=None):
    """Magnify images about their centre by a factor > 0 or one per image; the size of the result is that of ``x``."""
    return affine(x, zoom=factor, interpolation=interpolation, fill=fill, out=out)


def smooth(x, sigma, *, out=None):
    """Gaussian smoothing of planes (planes, height, width) of deviation `sigma` pixels; zero outside.

    The window ends at 4 deviations and sums to 1 (``scipy.ndimage.gaussian_filter(mode="constant")``).
    """
    (x,), dtype, code = reals(("x",), x)
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}: expected (planes, height, width)")
    sigma = float(sigma)
    if not 0 < sigma <= 1000:
        raise ValueError(f"sigma is {sigma}: expected a number above 0, 1000 at most")
    x = np.ascontiguousarray(x)
    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = (weights / (weights[0] + 2 * math.fsum(weights[1:]))).astype(dtype)
    y = output(out, x.shape, dtype, (x,), contiguous=True)
    if x.size:
        _run_op("smooth", (x, weights, y), (*x.shape, radius), (), code)
    return finish(out, y)


def elastic(x, *, alpha, sigma, seed, first=0, interpolation="bilinear", fill=0.0, out=None):
    """Elastic distortion: a field of uniform displacements in (-1, 1), smoothed by a Gaussian, times `alpha` pixels.

    Parameters
    ----------
    x : array_like, shape (images, height, width[, channels])
    alpha : float
        Size of the displacements before smoothing, in pixels.
    sigma : float
        Deviation of the Gaussian, in pixels: the field's elasticity.
    seed : int
        Key of the random stream.
    first : int, default 0
        Number of the first image in the stream: image i's field depends on (seed, first + i) and the size only.
    interpolation, fill, out
        As in :func:`remap`.

    Notes
    -----
    Simard, Steinkraus & Platt 2003, section 2.
    """
    shape = np.shape(x)
    if len(shape) not in (3, 4):
        raise ValueError(f"x has shape {shape}: expected (images, height, width[, channels])")
    images, height, width = shape[:3]
    field = uniform((images, 2, height, width), seed=seed, row=first)
    field = smooth(field.reshape(images * 2, height, width), sigma) * np.float32(alpha)
    field = field.reshape(images, 2, height, width).transpose(0, 2, 3, 1)
    return remap(x, field=field, interpolation=interpolation, fill=fill, out=out)


def uniform(shape, *, seed, row=0):
    """float32 numbers in (-1, 1), a function of (seed, row + index on axis 0, index in the row)."""
    size = int(np.prod(shape[1:], dtype=np.int64))
    row = integer("first", row, 1 << 40)
    return run_stream("noise", np.zeros(shape, np.float32), seed, row * size, None, 1, (1.0,))
