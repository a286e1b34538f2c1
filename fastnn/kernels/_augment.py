"""Image augmentation on batches (images, height, width[, channels]): one resampling under all of it.

Every function takes floats of either dtype; integer images (uint8) become float32, like everywhere in this package. Row
0 is the top, column 0 the left, angles are counter-clockwise in degrees, as one sees the image. A value that may differ
from image to image is a number for all or an array with one per image.
"""

import math

import numpy as np

from fastnn import _native

from ._arrays import FLOAT32, FLOAT64, SOURCE_CODES, contiguous, finish, integer, output, reals
from ._dropout import run_stream, signed_seed

_run_op = _native.run_op
_MODES = ("bilinear", "nearest")
_TRUNCATE = 4.0  # deviations at which the smoothing window ends, as in SciPy
_LONGEST = 1 << 22  # pixels along a side: the whole parts of places are exact in float32


def _check_images(shape):
    if len(shape) not in (3, 4):
        raise ValueError(f"x has shape {shape}: expected (images, height, width[, channels])")
    if max(shape[1:3]) > _LONGEST:
        raise ValueError(f"x has shape {shape}: images of more than {_LONGEST} pixels along a side are not supported")


def _images(x, rows):
    """(x, code of its dtype, dtype of the result, code of that, rows): what native code reads as it is, else a copy."""
    x = np.asarray(x) if isinstance(x, np.memmap) else x
    if type(x) is np.ndarray and x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        source = SOURCE_CODES.get(x.dtype.str[1:])
        if source is not None:
            _check_images(x.shape)
            return x, source, *((FLOAT64, 1) if source == 1 else (FLOAT32, 0)), rows
    if rows is not None:
        x, rows = x[rows], None
    (x,), dtype, code = reals(("x",), x)
    _check_images(x.shape)
    return contiguous(x), code, dtype, code, rows


def _per_image(name, value, images):
    """The number, or the numbers (images,), in float64."""
    array = np.asarray(value, np.float64)
    if array.ndim and array.shape != (images,):
        raise ValueError(f"{name} has shape {array.shape}: expected a number or one per image, ({images},)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array if array.ndim else float(array)


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
    images = len(x) if hasattr(x, "__len__") else 0
    matrix = np.eye(2, 3) if matrix is None else np.asarray(matrix, np.float64)
    if matrix.shape not in ((2, 3), (images, 2, 3)):
        raise ValueError(f"matrix has shape {matrix.shape}: expected (2, 3) or ({images}, 2, 3)")
    return resample(x, matrix, field=field, interpolation=interpolation, fill=fill, out=out)


def resample(x, matrix, *, rows=None, field=None, waves=None, interpolation="bilinear", fill=0.0, out=None):
    """:func:`remap` of ``x[rows]``, read where they are.

    Parameters
    ----------
    matrix : float64 array, shape (2, 3) or (images, 2, 3)
    rows : int64 array, shape (images,), optional
    waves : (float, float, int, int), optional
        alpha, sigma, seed and first as in :func:`elastic`: pixels are displaced, and the matrix tells where from.
    """
    if interpolation not in _MODES:
        raise ValueError(f"interpolation is {interpolation!r}: expected one of {', '.join(_MODES)}")
    if rows is not None and len(rows) and not (rows.min() >= 0 and rows.max() < len(x)):
        raise IndexError(f"rows lie outside the {len(x)} images")
    x, source, dtype, code, rows = _images(x, rows)
    images, (height, width) = len(x) if rows is None else len(rows), x.shape[1:3]
    if not np.isfinite(matrix).all():
        raise ValueError("matrix must be finite")
    matrix = contiguous(np.broadcast_to(matrix, (images, 2, 3)))
    if field is not None:
        field = contiguous(field, dtype)
        if field.shape != (images, height, width, 2):
            raise ValueError(f"field has shape {field.shape}: expected {(images, height, width, 2)}")
    alpha, weights, seed, first = 0.0, None, 0, 0
    if waves is not None:
        alpha, sigma, seed, first = waves
        weights, seed, first = _window(sigma, dtype), signed_seed(seed), integer("first", first, 1 << 40)
    y = output(out, (images, *x.shape[1:]), dtype, (x, field), contiguous=True)
    if y.size:
        channels = x.shape[3] if x.ndim == 4 else 1
        radius = 0 if weights is None else len(weights) - 1
        dims = (images, height, width, channels, int(interpolation == "nearest"), source, radius, seed, first)
        _run_op("remap", (x, rows, matrix, field, weights, y), dims, (float(fill), float(alpha)), code)
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
    _check_images(shape)
    options = {"degrees": degrees, "rows": rows, "columns": columns, "zoom": zoom, "shear": shear}
    options = {name: _per_image(name, value, shape[0]) for name, value in options.items()}
    for name, value in (("flip_rows", flip_rows), ("flip_columns", flip_columns)):
        options[name] = _per_image(name, value, shape[0]) != 0
    if not np.all(options["zoom"] > 0):
        raise ValueError("zoom must be greater than 0")
    matrix = affine_matrix(shape, **options)
    return resample(x, stacked(matrix, shape[0]), interpolation=interpolation, fill=fill, out=out)


def affine_matrix(shape, *, degrees, rows, columns, zoom, shear, flip_rows, flip_columns):
    """The matrices of :func:`affine` for a batch of this shape, element by element: two rows of three, each a number
    or an array (images,)."""
    height, width = shape[1:3]
    cos, sin = (1.0, 0.0) if _is(degrees, 0) else (np.cos(angle := np.deg2rad(degrees)), np.sin(angle))
    if not _is(zoom, 1):
        cos, sin = cos / zoom, sin / zoom
    up, left = _sign(flip_rows), _sign(flip_columns)
    # output -> input is the inverse of each step, the last one first: rotation, zoom, shear, flip
    turned = (
        (_product(up, cos), _product(up, sin)),
        (_product(left, _product(shear, cos) - sin), _product(left, cos + _product(shear, sin))),
    )
    centre = (height - 1) / 2, (width - 1) / 2
    down, right = centre[0] + rows, centre[1] + columns
    return tuple(
        (a, b, middle - _product(a, down) - _product(b, right)) for (a, b), middle in zip(turned, centre, strict=True)
    )  # fmt: skip


def joined_matrix(outer, inner):
    """Elements of the matrices that resample by `outer` first and by `inner` after it: outer(inner(place))."""
    return tuple(
        tuple(_product(a, inner[0][j]) + _product(b, inner[1][j]) + (shift if j == 2 else 0.0) for j in range(3))
        for a, b, shift in outer
    )  # fmt: skip


def _is(value, number):
    return type(value) is float and value == number


def _sign(flipped):
    return -1.0 if flipped is True else 1.0 if flipped is False else np.where(flipped, -1.0, 1.0)


def _product(a, b):
    """a * b of finite numbers or arrays, where most numbers are 0 or 1."""
    for first, second in ((a, b), (b, a)):
        if type(first) is float and first in (0.0, 1.0):
            return second if first else 0.0
    return a * b


def stacked(matrix, images):
    """The matrices (images, 2, 3) from their elements."""
    result = np.empty((images, 2, 3))
    for i in range(2):
        for j in range(3):
            result[:, i, j] = matrix[i][j]
    return result


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
    weights = _window(sigma, dtype)
    x = contiguous(x)
    y = output(out, x.shape, dtype, (x,), contiguous=True)
    if x.size:
        _run_op("smooth", (x, weights, y), (*x.shape, len(weights) - 1), (), code)
    return finish(out, y)


def _window(sigma, dtype):
    """Weights of a Gaussian window that sums to 1, the middle one and those on one side."""
    sigma = float(sigma)
    if not 0 < sigma <= 1000:
        raise ValueError(f"sigma is {sigma}: expected a number above 0, 1000 at most")
    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return (weights / (weights[0] + 2 * math.fsum(weights[1:]))).astype(dtype)


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
    return resample(
        x, np.eye(2, 3), waves=(alpha, sigma, seed, first), interpolation=interpolation, fill=fill, out=out
    )  # fmt: skip


def uniform(shape, *, seed, row=0):
    """float32 numbers in (-1, 1), a function of (seed, row + index on axis 0, index in the row)."""
    size = int(np.prod(shape[1:], dtype=np.int64))
    row = integer("first", row, 1 << 40)
    return run_stream("noise", np.zeros(shape, np.float32), seed, row * size, None, 1, (1.0,))
