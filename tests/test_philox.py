"""The random stream of dropout: Philox against its published vectors, the kernel's mask against an independent twin."""

import numpy as np
import pytest
from compare import same_bits
from reference import dropout as twin
from reference.philox import KNOWN_ANSWERS, philox

from fastnn import _native, kernels


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    assert tuple(philox([counter], key)[0]) == answer


def kept(count, p, seed, offset=0):
    return kernels.dropout(np.ones(count, np.float32), p, seed=seed, offset=offset) != 0


@pytest.mark.parametrize("seed", [0, 1, 0xFFFFFFFF, 1 << 32, 0x0123456789ABCDEF, (1 << 64) - 1])
@pytest.mark.parametrize("offset", [0, 1, 7, 8, 509, 8 * 2**32 - 20, 2**62 - 4000])
def test_mask(seed, offset, isa):
    assert np.array_equal(kept(2000, 0.37, seed, offset), twin.keep_mask((2000,), 0.37, seed, offset))


@pytest.mark.parametrize("block", [0, 3, 2**32 - 1, 2**32])
def test_every_lane_of_a_block(block, isa):
    """Comparing with each threshold around a lane's value pins all 16 bits of it."""
    values = twin.lanes(8, seed=99, offset=8 * block)
    x = np.ones(8, np.float32)
    y = np.empty_like(x)
    for value in values:
        for threshold in {max(int(value), 1), min(int(value) + 1, 65535)}:
            dims = (1, 8, 8, 8, 8, 8 * block, 99, 0, threshold)
            _native.run_op("dropout", (x, y), dims, (0.0, 0.0), 0)
            assert np.array_equal(y != 0, values < threshold)


def test_layer_and_step_enter_the_counter(isa):
    x = np.ones((37, 21), np.float32)
    y = np.empty_like(x)
    for layer, step in ((0, 0), (3, 0), (0, 5), (7, 2**31 + 3)):
        dims = (37, 21, 21, 21, 21, 2, 12345, layer, 30000)
        _native.run_op("dropout", (x, y), dims, (float(step), 4.0), 0)
        mask = twin.lanes(37 * 21, 12345, offset=4 * 21 + 2, layer=layer, step=step).reshape(37, 21) < 30000
        assert np.array_equal(y != 0, mask), (layer, step)


def test_values(dtype, isa, rng):
    x = rng.standard_normal((41, 33)).astype(dtype)
    for p in (0.1, 0.5, 0.9):
        got = kernels.dropout(x, p, seed=7, offset=3)
        exact = twin.dropout(x, p, seed=7, offset=3)
        np.testing.assert_allclose(got, exact, rtol=np.finfo(dtype).eps)
        assert abs(np.mean(got == 0) - p) < 0.05
        assert same_bits(kernels.dropout_backward(x, p, seed=7, offset=3), got)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keep_rate(p):
    count = 1_000_000
    deviation = np.sqrt(count * p * (1 - p))
    scores = [(kept(count, p, seed).sum() - count * twin.threshold(p) / 65536) / deviation for seed in range(4)]
    assert np.all(np.abs(scores) < 4)
    assert np.std(scores) > 0.01  # different seeds, different masks


def test_neighbouring_seeds_and_elements_are_uncorrelated():
    a, b = kept(1_000_000, 0.5, 1).astype(float), kept(1_000_000, 0.5, 2).astype(float)
    for first, second in ((a, b), (a[1:], a[:-1]), (a[8:], a[:-8]), (a[4000:], a[:-4000])):
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_stream_is_cut_anywhere(isa, dtype, rng):
    x = rng.standard_normal(3000).astype(dtype)
    whole = kernels.dropout(x, 0.3, seed=5)
    for cut in (1, 7, 8, 9, 511, 512, 513, 1999):
        parts = [kernels.dropout(x[:cut], 0.3, seed=5), kernels.dropout(x[cut:], 0.3, seed=5, offset=cut)]
        assert same_bits(np.concatenate(parts), whole), cut
    matrix = rng.standard_normal((30, 50)).astype(dtype)[:, :29]
    assert same_bits(kernels.dropout(matrix, 0.3, seed=5), kernels.dropout(matrix.copy(), 0.3, seed=5))


def test_edges(dtype):
    x = np.array([1.0, -0.0, np.nan, np.inf, 1e-310, 3.0], dtype)
    assert same_bits(kernels.dropout(x, 0.0, seed=1), x)
    assert same_bits(kernels.dropout(x, 1.0, seed=1), np.zeros(6, dtype))
    assert kernels.dropout(x[:0], 0.5, seed=1).shape == (0,)
    assert kernels.dropout(np.ones((), dtype), 0.5, seed=1).shape == ()
    same = x.copy()
    assert kernels.dropout(same, 0.0, seed=1, out=same) is same
    assert same_bits(same, x)
    dropped = kernels.dropout(np.full(1000, np.nan, dtype), 0.5, seed=1)
    assert 300 < np.count_nonzero(dropped == 0) < 700  # a dropped NaN is gone


def test_errors():
    x = np.ones(3, np.float32)
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="expected a probability between 0 and 1"):
            kernels.dropout(x, p, seed=0)
    for seed in (-1, 1 << 64):
        with pytest.raises(ValueError, match="seed"):
            kernels.dropout(x, 0.5, seed=seed)
    with pytest.raises(TypeError, match="seed is float"):
        kernels.dropout(x, 0.5, seed=1.5)
    with pytest.raises(ValueError, match="offset"):
        kernels.dropout(x, 0.5, seed=1, offset=-1)
    with pytest.raises(TypeError):
        kernels.dropout(x, 0.5)  # a seed is not optional
