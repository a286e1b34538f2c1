"""Random augmentation of image batches (images, height, width[, channels]).

A step is called as ``step(images, seed=..., first=...)`` and returns a new batch. What happens to an image depends on
the seed and on its number ``first + i`` only: neither on the batch that it sits in nor on the threads. Give every epoch
a seed of its own. Integer images become float32. With ``rows`` the batch is ``images[rows]``, picked on the way; with
``out`` it is written there.
"""

import math

import numpy as np

from ..kernels._augment import affine_matrix, joined_matrix, resample, stacked, uniform
from ..kernels._dropout import run_stream
from ..threads import num_threads

_GOLDEN = 0x9E3779B97F4A7C15  # seeds of the steps of a Compose lie this far apart

__all__ = ["Flip", "Shift", "Rotate", "Zoom", "Affine", "Elastic", "Noise", "Compose"]


class Step:
    """Base of the steps: what a call does is in its attributes."""

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class Affine(Step):
    """Random rotation, shift, magnification, shear and mirroring in one resampling.

    Parameters
    ----------
    degrees : float, default 0
        Rotation between -degrees and degrees, uniform; the others likewise.
    rows, columns : float, default 0
        Largest shift in pixels.
    zoom : (float, float), default (1, 1)
        Smallest and largest magnification.
    shear : float, default 0
        Largest shear, in columns per row.
    horizontal, vertical : float, default 0
        Probability that left and right, or top and bottom, are exchanged.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0
        Value outside the image.
    """

    def __init__(
        self, degrees=0.0, rows=0.0, columns=0.0, zoom=(1.0, 1.0), shear=0.0, horizontal=0.0, vertical=0.0,
        interpolation="bilinear", fill=0.0,
    ):  # fmt: skip
        low, high = zoom
        if not 0 < low <= high:
            raise ValueError(f"zoom is {zoom}: expected 0 < smallest <= largest")
        for name, value in (("horizontal", horizontal), ("vertical", vertical)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: expected a probability between 0 and 1")
        self.degrees, self.rows, self.columns = float(degrees), float(rows), float(columns)
        self.zoom, self.shear = (float(low), float(high)), float(shear)
        self.horizontal, self.vertical = float(horizontal), float(vertical)
        self.interpolation, self.fill = interpolation, float(fill)

    def elements(self, shape, *, seed, first=0):
        """The matrices of a batch of this shape, element by element: two rows of three numbers or arrays (images,)."""
        middle, half = (self.zoom[0] + self.zoom[1]) / 2, (self.zoom[1] - self.zoom[0]) / 2
        with num_threads(1):  # too little for waking others
            drawn = uniform((shape[0], 8), seed=seed, row=first)

        def between(column, most, about=0.0):
            if not most:
                return about
            moved = np.multiply(drawn[:, column], most, dtype=np.float64)
            return moved + about if about else moved

        def happens(column, chance):
            return drawn[:, column] < 2 * chance - 1 if chance else False

        return affine_matrix(
            shape, degrees=between(0, self.degrees), rows=between(1, self.rows), columns=between(2, self.columns),
            zoom=between(3, half, middle), shear=between(4, self.shear), flip_columns=happens(5, self.horizontal),
            flip_rows=happens(6, self.vertical),
        )  # fmt: skip

    def matrices(self, shape, *, seed, first=0):
        """The matrices (images, 2, 3), for :func:`fastnn.kernels.remap`, of a batch of this shape."""
        return stacked(self.elements(shape, seed=seed, first=first), shape[0])

    @property
    def moves_pixels(self):
        """True if every pixel lands on a pixel: the resampling is exact, whatever the interpolation."""
        return (self.degrees, self.rows, self.columns, self.zoom, self.shear) == (0, 0, 0, (1, 1), 0)

    def __call__(self, images, *, seed, first=0, rows=None, out=None):
        shape = _batch_shape(images, rows)
        matrix = self.matrices(shape, seed=seed, first=first)
        return resample(images, matrix, rows=rows, interpolation=self.interpolation, fill=self.fill, out=out)


def _batch_shape(images, rows):
    shape = np.shape(images)
    return shape if rows is None else (len(rows), *shape[1:])


def _joined(first, second):
    """A step whose interpolation and fill serve both, or None if they differ."""
    if isinstance(first, Affine) and first.moves_pixels:
        return second
    same = (first.interpolation, first.fill) == (second.interpolation, second.fill)
    return first if same or (isinstance(second, Affine) and second.moves_pixels) else None


class Flip(Affine):
    """Exchange left and right with probability `horizontal`, top and bottom with probability `vertical`."""

    def __init__(self, horizontal=0.5, vertical=0.0):
        super().__init__(horizontal=horizontal, vertical=vertical, interpolation="nearest")


class Shift(Affine):
    """Shift by up to `rows` and `columns` pixels."""

    def __init__(self, rows=2.0, columns=2.0, *, interpolation="bilinear", fill=0.0):
        super().__init__(rows=rows, columns=columns, interpolation=interpolation, fill=fill)


class Rotate(Affine):
    """Rotate about the centre by up to `degrees` either way."""

    def __init__(self, degrees=10.0, *, interpolation="bilinear", fill=0.0):
        super().__init__(degrees=degrees, interpolation=interpolation, fill=fill)


class Zoom(Affine):
    """Magnify about the centre by a factor between `low` and `high`."""

    def __init__(self, low=0.9, high=1.1, *, interpolation="bilinear", fill=0.0):
        super().__init__(zoom=(low, high), interpolation=interpolation, fill=fill)


class Elastic(Step):
    """Elastic distortion (Simard et al. 2003); see :func:`fastnn.kernels.elastic`.

    Parameters
    ----------
    alpha : float, default 34
        Size of the displacements before smoothing, in pixels.
    sigma : float, default 4
        Deviation of the Gaussian that smooths them, in pixels.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0
    """

    def __init__(self, alpha=34.0, sigma=4.0, *, interpolation="bilinear", fill=0.0):
        self.alpha, self.sigma = float(alpha), float(sigma)
        self.interpolation, self.fill = interpolation, float(fill)

    def __call__(self, images, *, seed, first=0, rows=None, out=None):
        return resample(
            images, np.eye(2, 3), rows=rows, waves=self.waves(seed, first), interpolation=self.interpolation,
            fill=self.fill, out=out,
        )  # fmt: skip

    def waves(self, seed, first):
        """What draws the field of a batch."""
        return self.alpha, self.sigma, seed, first


class Noise(Step):
    """Add normal noise of deviation `std`."""

    def __init__(self, std=0.1):
        if not 0 <= std < float("inf"):
            raise ValueError(f"std is {std}: expected a finite number >= 0")
        self.std = float(std)

    def __call__(self, images, *, seed, first=0, rows=None, out=None):
        size = int(np.prod(np.shape(images)[1:], dtype=np.int64))
        images = images if rows is None else images[rows]
        return run_stream("noise", images, seed, first * size, out, 0, (self.std,))


class Compose(Step):
    """Steps one after another; step k draws with the seed ``seed + k * 0x9E3779B97F4A7C15``.

    Affine steps that follow each other (flips, shifts, rotations, ...) with one interpolation and fill are multiplied
    and resample once, together with an elastic distortion after them: sharper, and in a part of the time. Nothing is
    lost at the border in between.

    Parameters
    ----------
    *steps : Step, or one list of them
    shape : (height, width) or (height, width, channels), optional
        The rows of flat data (images, height * width) are seen as images of this shape, and come back flat.
    """

    def __init__(self, *steps, shape=None):
        if len(steps) == 1 and isinstance(steps[0], (list, tuple)):
            steps = tuple(steps[0])
        for step in steps:
            if isinstance(step, type) or not callable(step):
                raise TypeError(f"Compose takes steps such as Flip(), Shift(2, 2), got {step!r}")
        if shape is not None and (len(shape) not in (2, 3) or min(shape) < 1):
            raise ValueError(f"shape must be (height, width) or (height, width, channels), got {shape!r}")
        self.steps = steps
        self.shape = None if shape is None else tuple(shape)

    def __repr__(self):
        shape = "" if self.shape is None else f", shape={self.shape}"
        return f"Compose({', '.join(map(repr, self.steps))}{shape})"

    def __call__(self, images, *, seed, first=0, rows=None, out=None, drawn=None):
        given = _batch_shape(images, rows)
        shape = self._image_shape(given)
        if len(given) == 2:
            images, out = np.reshape(images, (-1, *shape[1:])), _reshaped(out, shape)
        passes = self._passes()
        drawn = self.draw(given, seed=seed, first=first) if drawn is None else drawn
        for number, steps in enumerate(passes):
            to = out if number == len(passes) - 1 else None
            images, rows = _carry_out(steps, drawn[number], images, seed, first, rows, to), None
        return np.reshape(images if rows is None else images[rows], given)

    def _image_shape(self, given):
        if len(given) != 2:
            return given
        if self.shape is None:
            raise ValueError(f"x has shape {given}: flat rows need Compose(..., shape=(height, width))")
        if given[1] != math.prod(self.shape):
            raise ValueError(f"rows of {given[1]} numbers are no images of shape {self.shape}")
        return (given[0], *self.shape)

    def draw(self, shape, *, seed, first=0):
        """What is drawn for a batch of this shape: for each resampling the matrices (images, 2, 3), or None.

        Slices of it may be passed as ``drawn`` with parts of that batch: drawing for many at once costs less.
        """
        shape, drawn = self._image_shape(shape), []
        for steps in self._passes():
            matrix = None
            for k, step in steps:
                if isinstance(step, Affine):
                    elements = step.elements(shape, seed=_key(seed, k), first=first)
                    matrix = elements if matrix is None else joined_matrix(matrix, elements)
            drawn.append(None if matrix is None else stacked(matrix, shape[0]))
        return drawn

    def _passes(self):
        """Lists of (number, step) that are carried out at once."""
        passes, leader = [], None
        for numbered in enumerate(self.steps):
            step = numbered[1]
            joined = _joined(leader, step) if leader is not None and isinstance(step, (Affine, Elastic)) else None
            if joined is None:
                passes.append([numbered])
            else:
                passes[-1].append(numbered)
            leader = joined or step
            if not isinstance(step, Affine):
                leader = None
        return passes


def _reshaped(out, shape):
    """`out` as an array of this shape, or None if that would be a copy."""
    return out.reshape(shape) if out is not None and out.flags.c_contiguous else None


def _key(seed, k):
    return (seed + k * _GOLDEN) % 2**64


def _carry_out(steps, matrix, images, seed, first, rows, out):
    """One pass of a `Compose`: any step, or affine steps and perhaps an elastic one, which resample once."""
    if matrix is None:
        (k, step), *_ = steps
        if isinstance(step, Step):
            return step(images, seed=_key(seed, k), first=first, rows=rows, out=out)
        return step(images if rows is None else images[rows], seed=_key(seed, k), first=first)
    waves, leader = None, steps[0][1]
    for k, step in steps:
        leader = _joined(leader, step)
        if isinstance(step, Elastic):
            waves = step.waves(_key(seed, k), first)
    return resample(
        images, matrix, rows=rows, waves=waves, interpolation=leader.interpolation, fill=leader.fill, out=out
    )  # fmt: skip
