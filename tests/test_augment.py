"""Image augmentation against SciPy; exact moves; reproducibility; hostile input and errors."""

import numpy as np
import pytest
from compare import same_bits
from reference import noise as noise_twin

from fastnn import kernels
from fastnn.data import augment
from fastnn.kernels._augment import resample
from fastnn.threads import num_threads

STEPS = [
    augment.Flip(0.5, 0.5),
    augment.Shift(2, 3),
    augment.Rotate(20),
    augment.Zoom(0.8, 1.3),
    augment.Affine(degrees=10, rows=2, columns=2, zoom=(0.9, 1.1), shear=0.2, horizontal=0.5, interpolation="nearest"),
    augment.Elastic(8, 2),
    augment.Noise(0.2),
    augment.Compose(augment.Rotate(10), augment.Elastic(6, 2), augment.Noise(0.1)),
]


def images(rng, dtype, *channels):
    return rng.standard_normal((5, 9, 12, *channels)).astype(dtype)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("with_field", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_remap_is_scipys(interpolation, with_field, channels, dtype, isa, rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = images(rng, dtype, *channels)
    matrix = np.eye(2, 3) + 0.2 * rng.standard_normal((5, 2, 3)) + [[0, 0, 0.7], [0, 0, -1.3]]
    field = (2 * rng.standard_normal((5, 9, 12, 2))).astype(dtype) if with_field else None
    got = kernels.remap(x, matrix, field=field, interpolation=interpolation, fill=0.25)
    grid = np.stack([*np.indices((9, 12)), np.ones((9, 12))])
    for i in range(5):
        where = np.einsum("ij,jrc->irc", matrix[i], grid)
        if with_field:
            where += field[i].astype(np.float64).transpose(2, 0, 1)
        for k in range(channels[0] if channels else 1):
            plane, result = (x[i, ..., k], got[i, ..., k]) if channels else (x[i], got[i])
            exact = ndimage.map_coordinates(
                plane.astype(np.float64), where, order=int(interpolation == "bilinear"), mode="grid-constant", cval=0.25
            )
            np.testing.assert_allclose(result, exact, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((28, 28), [[0.98, 0.17], [-0.17, 0.98]]),  # two vectors wide, some rows
        ((33, 45), [[1.0, 0.0], [0.0, -1.0]]),  # flipped
        ((17, 70), [[0.3137, -0.9271], [0.8219, 0.4123]]),  # many rows under a vector
        ((40, 36), [[3.0, 0.0], [0.0, 4.0]]),  # columns farther apart than two vectors
        ((21, 19), [[1e-3, 0.0], [0.0, 1e-3]]),
        ((21, 19), [[2e3, 0.0], [0.0, 1.0]]),  # a step that is not split
        ((21, 19), [[1.0, 0.0], [0.0, 1e300]]),
    ],
)
def test_remap_of_any_step(shape, steps, interpolation, dtype, isa, rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    height, width = shape
    x = rng.standard_normal((3, *shape)).astype(dtype)
    steps = np.array(steps)
    field = (5 * rng.standard_normal((3, *shape, 2))).astype(dtype)
    field[:, ::3] = 0
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    matrix = np.concatenate([steps, (centre + [0.3, -0.6] - steps @ np.floor(centre))[:, None]], axis=1)
    rows, columns = np.indices(shape, dtype=np.float64)
    for fields in (None, field):
        got = kernels.remap(x, matrix, field=fields, interpolation=interpolation, fill=-0.5)
        for i in range(3):
            where = np.stack([row[0] * rows + row[1] * columns + row[2] for row in matrix])
            if fields is not None:
                where += fields[i].astype(np.float64).transpose(2, 0, 1)
            where = np.clip(where, -1e6, 1e6)
            if interpolation == "nearest":  # SciPy's spline of order 0 shares out ties otherwise
                near = np.floor(where + 0.5).astype(int)
                inside = ((near >= 0) & (near < np.array(shape)[:, None, None])).all(axis=0)
                exact = np.where(inside, x[i][tuple(np.where(inside, near, 0))], dtype.type(-0.5))
                assert (got[i] != exact).mean() < 0.01  # a place within float32's rounding of a tie
                continue
            exact = ndimage.map_coordinates(x[i].astype(np.float64), where, order=1, mode="grid-constant", cval=-0.5)
            np.testing.assert_allclose(got[i], exact, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("shape", [(5, 9, 12), (3, 30, 28, 3)])
def test_rows_and_small_types_are_read_on_the_way(shape, isa, rng):
    """Numbers of rows and any dtype of a data set give the bits of the converted, picked batch."""
    matrix = np.eye(2, 3) + 0.1 * rng.standard_normal((7, 2, 3))
    rows = rng.integers(0, shape[0], 7)
    for kind in ("u1", "i2", "?", "f4", "f8", "f2", ">f4"):
        x = (40 * rng.standard_normal(shape)).astype(kind)
        whole = np.ascontiguousarray(x[rows].astype(np.float64 if kind == "f8" else np.float32))
        expected = kernels.remap(whole, matrix)
        assert same_bits(resample(x, matrix, rows=rows), expected)
        assert same_bits(resample(np.asfortranarray(x), matrix, rows=rows), expected)
        read_only = x.copy()
        read_only.flags.writeable = False
        assert same_bits(resample(read_only, matrix, rows=rows), expected)
    with pytest.raises(IndexError, match="rows lie outside the"):
        resample(x, matrix, rows=rows + shape[0])


def test_an_image_larger_than_the_scratch(isa, rng):
    """Images above half a million values are read in place, pixel by pixel: the same bits."""
    x = rng.standard_normal((1, 740, 720)).astype(np.float32)
    matrix = np.array([[0.99, 0.1, -20.3], [-0.1, 0.98, 40.9]])
    moved = kernels.remap(x, matrix)
    for row, column in ((0, 0), (300, 336), (650, 600)):
        exact = [matrix @ (row + i, column + j, 1) for i in range(30) for j in range(30)]
        places = np.array(exact).T
        inside = ((places >= 0) & (places < [[739], [719]])).all(axis=0)
        low = np.floor(places).astype(int)
        share = places - low
        low = np.where(inside, low, 0)
        p = [x[0][low[0] + a, low[1] + b].astype(np.float64) for a in (0, 1) for b in (0, 1)]
        upper, lower = p[0] + (p[1] - p[0]) * share[1], p[2] + (p[3] - p[2]) * share[1]
        expected = upper + (lower - upper) * share[0]
        got = moved[0, row : row + 30, column : column + 30].ravel()
        np.testing.assert_allclose(got[inside], expected[inside], atol=5e-6)
        assert inside.all() or row == 0
    assert same_bits(kernels.remap(x), x)
    assert same_bits(kernels.flip(x), np.ascontiguousarray(x[:, :, ::-1]))


def test_nothing_outside_a_window_reaches_a_smoothed_value(dtype, isa):
    x = np.ones((1, 40, 50), dtype)
    x[0, 20, 25] = np.nan
    spoilt = np.isnan(kernels.smooth(x, 1.0))
    expected = np.zeros_like(spoilt)
    expected[0, 16:25, 21:30] = True  # the window ends at 4 deviations
    assert np.array_equal(spoilt, expected)


@pytest.mark.parametrize("fill", [np.inf, np.nan])
def test_a_fill_that_is_not_finite(fill, isa, rng):
    x = rng.standard_normal((2, 20, 40)).astype(np.float32)
    moved = kernels.shift(x, 3.5, 0, fill=fill)
    assert np.isfinite(moved[:, 4:]).all()
    assert same_bits(moved[:, :3], np.full((2, 3, 40), fill, np.float32))


def test_affine_is_scipys(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = images(rng, np.float64)
    angle = np.deg2rad(25)
    inverse = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / 1.2
    centre = np.array([4.0, 5.5])
    exact = ndimage.affine_transform(
        x[2], inverse, centre - inverse @ (centre + [1.5, -0.5]), order=1, mode="grid-constant"
    )
    got = kernels.affine(x, degrees=25, zoom=1.2, rows=1.5, columns=-0.5)[2]
    np.testing.assert_allclose(got, exact, atol=1e-12)


def test_exact_moves(dtype, isa, rng):
    x = images(rng, dtype, 2)
    x[0, 3, 3] = np.nan
    x[1, 4, 4] = np.inf
    assert same_bits(kernels.remap(x), x)
    assert same_bits(kernels.flip(x), np.ascontiguousarray(x[:, :, ::-1]))
    assert same_bits(kernels.flip(x, rows=True, columns=False), np.ascontiguousarray(x[:, ::-1]))
    assert same_bits(kernels.flip(x, columns=np.arange(5) == 1)[[0, 1]], np.stack([x[0], x[1, :, ::-1]]))
    moved = kernels.shift(x, 2, -3, fill=7)
    assert same_bits(moved[:, 2:, :-3], x[:, :-2, 3:])
    assert np.all(moved[:, :2] == 7)
    assert np.all(moved[:, :, -3:] == 7)
    square = x[2:, :9, :9]
    np.testing.assert_allclose(
        kernels.rotate(square, 90, interpolation="nearest"), np.rot90(square, axes=(1, 2)), rtol=0
    )


def test_smooth_is_scipys(dtype, isa, rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = rng.standard_normal((3, 11, 37)).astype(dtype)
    for sigma in (0.6, 2.0, 9.0):
        exact = [ndimage.gaussian_filter(plane.astype(np.float64), sigma, mode="constant") for plane in x]
        np.testing.assert_allclose(kernels.smooth(x, sigma), exact, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_elastic_is_simards(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = rng.standard_normal((2, 16, 20)).astype(np.float32)
    got = kernels.elastic(x, alpha=20, sigma=3, seed=5, first=7)
    for i in range(2):
        noise = noise_twin.uniform((2, 16, 20), 5, (7 + i) * 2 * 16 * 20)
        field = [20 * ndimage.gaussian_filter(plane, 3, mode="constant") for plane in noise]
        exact = ndimage.map_coordinates(x[i].astype(float), np.indices((16, 20)) + field, order=1, mode="grid-constant")
        np.testing.assert_allclose(got[i], exact, atol=5e-5)
    assert np.abs(got - x).max() > 0.1


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_an_image_depends_on_seed_and_number_only(step, dtype, rng):
    x = images(rng, dtype)
    results = []
    for n in (1, 2, 3, 4):
        with num_threads(n, force=True):
            results.append(step(x, seed=3, first=10))
    assert all(same_bits(r, results[0]) for r in results)
    assert results[0].dtype == dtype
    assert results[0].shape == x.shape
    assert same_bits(step(x[2:4], seed=3, first=12), results[0][2:4])
    assert not same_bits(step(x, seed=4, first=10), results[0])
    assert not same_bits(results[0], x)


def test_flip_probabilities():
    x = np.arange(2000 * 2, dtype=np.float32).reshape(2000, 1, 2)
    flipped = augment.Flip(0.3)(x, seed=1)[:, 0, 0] != x[:, 0, 0]
    assert 0.25 < flipped.mean() < 0.35
    assert same_bits(augment.Flip(0, 0)(x, seed=1), x)
    assert same_bits(augment.Flip(1, 0)(x, seed=1), np.ascontiguousarray(x[:, :, ::-1]))


def test_integers_layouts_and_hostile_values(isa, rng):
    x = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    got = kernels.rotate(x, 30)
    assert got.dtype == np.float32
    assert same_bits(got, kernels.rotate(x.astype(np.float32), 30))
    assert same_bits(kernels.rotate(np.asfortranarray(x.astype(np.float32)), 30), got)
    out = np.empty((3, 8, 16), np.float32)[:, :, ::2]
    assert kernels.rotate(x, 30, out=out) is out
    assert same_bits(np.ascontiguousarray(out), got)
    own = x.astype(np.float32)
    kernels.rotate(own, 30, out=own)
    assert same_bits(own, got)
    field = np.zeros((3, 8, 8, 2), np.float32)
    field[0, 1, 2] = np.nan, 0
    field[0, 3, 4] = 0, np.inf
    field[0, 5, 6] = -1e30, 1e30
    moved = kernels.remap(own, field=field, fill=-1)
    assert np.all(moved[0, [1, 3, 5], [2, 4, 6]] == -1)
    assert kernels.rotate(x[:0], 30).shape == (0, 8, 8)
    assert kernels.remap(np.ones((2, 0, 4))).shape == (2, 0, 4)


def test_errors():
    x = np.ones((2, 4, 4), np.float32)
    with pytest.raises(ValueError, match="expected \\(images, height, width"):
        kernels.rotate(x[0], 3)
    with pytest.raises(ValueError, match="interpolation is 'cubic'"):
        kernels.remap(x, interpolation="cubic")
    with pytest.raises(ValueError, match=r"matrix has shape \(3, 2, 3\)"):
        kernels.remap(x, np.ones((3, 2, 3)))
    with pytest.raises(ValueError, match="matrix must be finite"):
        kernels.remap(x, np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"degrees has shape \(3,\)"):
        kernels.rotate(x, [1, 2, 3])
    with pytest.raises(ValueError, match="zoom must be greater than 0"):
        kernels.zoom(x, 0)
    with pytest.raises(ValueError, match="sigma is 0"):
        kernels.elastic(x, alpha=1, sigma=0, seed=1)
    with pytest.raises(ValueError, match="probability"):
        augment.Flip(2)


def test_compose_resamples_affine_steps_once(rng):
    """Multiplied matrices move pixels as the steps one after another do; far from the border smooth images agree."""
    rows, columns = np.mgrid[0:40, 0:36]
    smooth = np.stack([np.sin(rows / 9 + i) * np.cos(columns / 7 - i) for i in range(6)])
    steps = [augment.Flip(0.5, 0.5), augment.Rotate(8), augment.Shift(2, 2), augment.Zoom(0.95, 1.05)]
    one = augment.Compose(*steps)(smooth, seed=5, first=3)
    many = smooth
    for k, step in enumerate(steps):
        many = step(many, seed=(5 + k * augment._GOLDEN) % 2**64, first=3)
    np.testing.assert_allclose(one[:, 8:-8, 8:-8], many[:, 8:-8, 8:-8], atol=0.03)
    assert np.abs(one - smooth)[:, 8:-8, 8:-8].max() > 0.3
    flips = augment.Compose(augment.Flip(0.5, 0.0), augment.Flip(0.0, 0.5))
    x = rng.standard_normal((8, 5, 7))
    expected = augment.Flip(0.0, 0.5)(augment.Flip(0.5, 0.0)(x, seed=1), seed=(1 + augment._GOLDEN) % 2**64)
    np.testing.assert_array_equal(flips(x, seed=1), expected)


def test_compose_bends_what_an_affine_step_has_turned(dtype, rng):
    """An elastic step after affine ones resamples together with them: pixel p is the image at matrix(p + field(p))."""
    ndimage = pytest.importorskip("scipy.ndimage")
    x = rng.standard_normal((3, 30, 25)).astype(dtype)
    turn, bend = augment.Affine(degrees=20, rows=2, horizontal=0.5), augment.Elastic(20, 3)
    got = augment.Compose(turn, bend)(x, seed=4, first=6)
    matrices = turn.matrices(x.shape, seed=4, first=6)
    for i in range(3):
        seed = (4 + augment._GOLDEN) % 2**64
        noise = noise_twin.uniform((2, 30, 25), seed, (6 + i) * 2 * 30 * 25)
        field = [20 * ndimage.gaussian_filter(plane, 3, mode="constant") for plane in noise]
        places = np.concatenate([np.indices((30, 25)) + field, np.ones((1, 30, 25))])
        where = np.einsum("ij,jrc->irc", matrices[i], places)
        exact = ndimage.map_coordinates(x[i].astype(float), where, order=1, mode="grid-constant")
        np.testing.assert_allclose(got[i], exact, atol=1e-4 if dtype == np.float32 else 1e-5)


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_rows_and_out_change_nothing(step, rng):
    x = rng.integers(0, 256, (9, 12, 11), dtype=np.uint8)
    rows = np.array([7, 0, 0, 8, 3])
    expected = step(x[rows], seed=2, first=5)
    out = np.empty((5, 12, 11), np.float32)
    assert same_bits(step(x, seed=2, first=5, rows=rows), expected)
    step(x, seed=2, first=5, rows=rows, out=out)
    assert same_bits(out, expected)
    flat = augment.Compose(step, shape=(12, 11))
    assert same_bits(flat(x.reshape(9, -1), seed=2, first=5, rows=rows), expected.reshape(5, -1))


def test_compose_keeps_steps_apart_that_differ(rng):
    x = rng.standard_normal((4, 9, 9))
    steps = [augment.Shift(2, 2, fill=1.0), augment.Rotate(20), augment.Noise(0.1), augment.Flip()]
    expected = x
    for k, step in enumerate(steps):
        expected = step(expected, seed=(9 + k * augment._GOLDEN) % 2**64)
    np.testing.assert_array_equal(augment.Compose(*steps)(x, seed=9), expected)
