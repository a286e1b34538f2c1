"""The fast native paths of where, sums and maxima and of joining: the bits of the slow path, the values of NumPy.

Inputs, outputs and overlaps in every form: test_call_paths.py (where) and below.
"""

import numpy as np
import pytest
from compare import same_bits
from helpers.array_forms import frozen, misaligned

from fastnn import _native, kernels
from fastnn import functional as F

REDUCED = [(1,), (7,), (300,), (1, 1), (3, 5), (17, 33), (257, 3), (600, 130), (2, 9001), (2, 3, 5), (33, 2, 40)]
BLOCKS = [(1,), (65,), (5, 1), (1, 7), (16, 32), (33, 70), (130, 129), (3, 4, 5)]
REDUCTIONS = {"sum": (0, False), "mean": (0, True), "max": (1, False)}


def filled(rng, shape, dtype, hostile):
    x = rng.standard_normal(shape).astype(dtype)
    if hostile:
        some = x.reshape(-1)[:: max(1, x.size // 3)]
        some[:] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e-40], some.size)
    return x


def slow_path(monkeypatch, name, function):
    with monkeypatch.context() as patch:
        patch.setattr(_native, name, lambda *args: None)
        return function()


@pytest.mark.parametrize("hostile", [False, True], ids=["numbers", "NaN and infinity"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_reductions_of_any_size(hostile, isa, threads, dtype, rng, monkeypatch):
    for shape in REDUCED:
        x = filled(rng, shape, dtype, hostile)
        for axis in dict.fromkeys((None, 0, -1, x.ndim - 1)):
            for name, (kind, mean) in REDUCTIONS.items():
                short = _native.reduce(x, axis, kind, mean, None)
                slow = slow_path(monkeypatch, "reduce", lambda f=name, x=x, a=axis: getattr(kernels, f)(x, a))
                assert same_bits(short, slow), (shape, axis, name)
                wide = getattr(np, name)(x.astype(np.float64), axis)
                if name == "max":
                    assert np.array_equal(short, wide, equal_nan=True), (shape, axis)
                else:
                    scale = np.sum(np.abs(x.astype(np.float64)), axis) / (x.size / wide.size if mean else 1)
                    within = np.abs(short - wide) <= 20 * np.finfo(dtype).eps * scale
                    same = (short == wide) | (np.isnan(short) & np.isnan(wide))
                    assert np.all(np.where(np.isfinite(wide), within, same)), (shape, axis, name)


def test_reductions_into_out_and_of_what_is_not_plain(dtype, rng, monkeypatch):
    x = rng.standard_normal((12, 9)).astype(dtype)
    taken = 0
    for axis, shape in ((None, ()), (0, (9,)), (1, (12,)), (-1, (12,)), (-2, (9,))):
        want = slow_path(monkeypatch, "reduce", lambda a=axis: kernels.sum(x, a))
        room = np.zeros((2, 30), dtype)
        targets = [np.zeros(shape, dtype), np.zeros((4, *shape), dtype)[2, ...]]
        targets.append(misaligned(np.zeros((1, *shape), dtype))[0, ...])
        targets += [room[0, : shape[0]], room[0, : 2 * shape[0] : 2], room[:, 0].repeat(6)[: shape[0]]] if shape else []
        for out in targets:
            got = kernels.sum(x, axis, out=out)
            assert got is out
            assert np.array_equal(out, want)
            taken += _native.reduce(x, axis, 0, False, out) is not None
        for same in (np.asfortranarray(x), x[::-1][::-1], frozen(x), misaligned(x), x.astype(x.dtype.newbyteorder())):
            assert same_bits(kernels.sum(same, axis), want)
    assert taken >= 10
    wrong = [np.zeros(8, dtype), np.zeros((1, 9), dtype), frozen(np.zeros(9, dtype)), np.zeros(9, np.int64), [0] * 9]
    for out in wrong:
        assert _native.reduce(x, 0, 0, False, out) is None
        with pytest.raises((TypeError, ValueError), match="out"):
            kernels.sum(x, 0, out=out)
    assert kernels.sum(x, 0, out=x[0]) is not None  # the result that a copy of x would give
    for axis in (2, -3, 1.0, "0", True):
        assert _native.reduce(x, axis, 0, False, None) is None


def test_reductions_of_nothing(dtype):
    for shape in ((0,), (0, 3), (3, 0), (0, 0)):
        x = np.zeros(shape, dtype)
        for axis in (None, 0, -1):
            assert _native.reduce(x, axis, 0, False, None) is None
            assert np.array_equal(kernels.sum(x, axis), np.sum(x, axis))
    with pytest.raises(ValueError, match="of no elements"):
        kernels.max(np.zeros((0, 3), dtype), 0)


def test_where_of_any_size(isa, threads, dtype, rng, monkeypatch):
    for shape in BLOCKS:
        a, b = (filled(rng, shape, dtype, True) for _ in range(2))
        mask = rng.random(shape) > 0.5
        row = filled(rng, shape[-1:], dtype, False)
        for left, right in ((a, b), (a, row), (row, b), (a, 1.5), (-2, b)):
            short = _native.where(mask, left, right, None)
            if short is None:  # a row beside a single row: the slow path alone
                assert row is left or row is right
                continue
            assert same_bits(short, slow_path(monkeypatch, "where", lambda p=(mask, left, right): kernels.where(*p)))
            assert same_bits(short, np.where(mask, left, right).astype(dtype))
        if a.ndim:
            assert same_bits(kernels.where(mask, a, b, out=a.copy()), np.where(mask, a, b))
            assert same_bits(kernels.where(mask[::-1], a, b), np.where(mask[::-1], a, b))


def test_joining_any_sizes(isa, threads, dtype, rng):
    for shape in BLOCKS:
        for axis in range(-len(shape), len(shape)):
            sizes = [list(shape) for _ in range(3)]
            for more, size in enumerate(sizes):
                size[axis] += more
            parts = [filled(rng, size, dtype, True) for size in sizes]
            want = np.concatenate(parts, axis)
            assert same_bits(_native.concatenate(parts, axis, None), want), (shape, axis)
            out = np.zeros_like(want)
            assert kernels.concatenate(tuple(parts), axis, out=out) is out
            assert same_bits(out, want)
            assert same_bits(F.concatenate(parts, axis), want)
            assert same_bits(_native.concatenate(parts[:1], axis, None), parts[0])


def test_joining_what_is_not_plain(dtype, rng):
    x, y = (rng.standard_normal((6, 4)).astype(dtype) for _ in range(2))
    want = np.concatenate([x, y], 1)
    for other in (np.asfortranarray(y), y[::-1][::-1], misaligned(y), y.astype(y.dtype.newbyteorder()), y.tolist()):
        assert np.array_equal(kernels.concatenate([x, other], 1), want if not isinstance(other, list) else want)
    for parts, axis in (([x, y.astype(np.int32)], 0), ([x[:0], y], 0), ([x, y], None), ([x, x[:, :0]], 1)):
        assert _native.concatenate(parts, axis, None) is None
        got = kernels.concatenate(parts, axis)
        assert got.dtype == np.concatenate(parts, axis).dtype
        assert np.array_equal(got, np.concatenate(parts, axis))
    strided = np.zeros((6, 16), dtype)[:, ::2]
    for out in (strided, np.zeros((6, 8), dtype)):
        assert kernels.concatenate([x, y], 1, out=out) is out
        assert np.array_equal(out, want)


def test_joining_what_cannot_be_joined(dtype):
    x = np.zeros((3, 4), dtype)
    for parts, axis in (([x, x[:, :3]], 0), ([], 0), ([x, x[0]], 0), ([x, x], 2), ([x, x], -3)):
        with pytest.raises(ValueError, match=r"dimension|axis|need at least"):
            kernels.concatenate(parts, axis)
    for out in (np.zeros((3, 4), dtype), frozen(np.zeros((6, 4), dtype))):
        before = out.copy()
        with pytest.raises(ValueError, match=r"wrong shape|read-only|not writeable"):
            kernels.concatenate([x + 1, x + 1], out=out)
        assert np.array_equal(out, before)
    memory = np.arange(24, dtype=dtype).reshape(6, 4)
    want = np.concatenate([memory[1:4], memory[:3]])
    got = np.concatenate([memory[1:4].copy(), memory[:3].copy()])
    assert np.array_equal(want, got)
    assert _native.concatenate([memory[1:4], memory[:3]], 0, memory) is None


@pytest.mark.slow
def test_results_beyond_the_caches(rng):
    """They are stored past them on most machines; the bits are those of short calls."""
    n, step = 12_000_017, 1_000_003
    x, other = (rng.standard_normal(n + 3, np.float32) for _ in range(2))
    x[::1001] = np.nan
    room = np.empty(n + 3, np.float32)
    for offset in (0, 3):
        a, b, y = x[offset : offset + n], other[3 - offset : 3 - offset + n], room[offset : offset + n]
        calls = {"relu": (a,), "negative": (a,), "hardtanh": (a,), "add": (a, b), "multiply": (a, 0.5)}
        for name, arrays in calls.items():
            run = getattr(kernels, name)
            run(*arrays, out=y)
            for start in range(0, n, step):
                part = [v[start : start + step] if isinstance(v, np.ndarray) else v for v in arrays]
                assert same_bits(y[start : start + step], run(*part)), (name, start)
    joined = kernels.concatenate([x[:n], other])
    assert same_bits(joined[:n], x[:n])
    assert same_bits(joined[n:], other)
