"""SciPy's ndimage, image by image: augmentation only. It runs on one thread."""

import numpy as np
import scipy
from scipy import ndimage

from . import inputs

NAME = "SciPy"


def version():
    return scipy.__version__


def setup(threads):
    pass  # ndimage has no threads


def affine(x, y, degrees, rows, columns, zoom):
    """y[i]: x[i] magnified and rotated about its centre, then shifted."""
    centre, angle = (np.array(x.shape[1:]) - 1) / 2, np.deg2rad(degrees)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    for i in range(len(x)):
        matrix = np.array([[cos[i], sin[i]], [-sin[i], cos[i]]])
        offset = centre - matrix @ (centre + [rows[i], columns[i]])
        ndimage.affine_transform(x[i], matrix, offset, output=y[i], order=1, mode="grid-constant")


def elastic(x, y, rng, alpha=34.0, sigma=4.0):
    """y[i]: x[i] under a smoothed field of uniform displacements."""
    grid = np.indices(x.shape[1:], dtype=np.float32)
    for i in range(len(x)):
        noise = rng.uniform(-1, 1, grid.shape).astype(np.float32)
        field = np.stack([ndimage.gaussian_filter(plane, sigma, mode="constant") for plane in noise])
        ndimage.map_coordinates(x[i], grid + np.float32(alpha) * field, output=y[i], order=1, mode="grid-constant")


def augment(case):
    x, *moves = inputs.images_and_moves(case)
    y, rng = np.empty_like(x), np.random.default_rng(0)
    if case["name"] == "elastic":
        return lambda: elastic(x, y, rng)
    return lambda: affine(x, y, *moves)


FACTORIES = {"augment": augment}
