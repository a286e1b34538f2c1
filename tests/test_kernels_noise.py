"""Alpha dropout and Gaussian noise against their twins; edges; bits for every number of threads."""

import numpy as np
import pytest
from compare import same_bits
from reference import dropout as mask_twin
from reference import noise as twin

from fastnn import kernels
from fastnn.threads import num_threads

ALPHA = -1.7580993408473766


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (5, 3000), (2**40 + 3, 257)])
def test_gaussian_noise_is_the_normal_quantile_of_the_stream(offset, size, dtype, isa, rng):
    pytest.importorskip("scipy")
    x = rng.standard_normal(size).astype(dtype)
    got = kernels.gaussian_noise(x, 0.5, seed=2**63 + 9, offset=offset)
    exact = x + 0.5 * twin.normal(size, 2**63 + 9, offset)
    np.testing.assert_allclose(got, exact, rtol=0, atol=4e-6 if dtype == np.float32 else 2e-6)


def test_gaussian_noise_is_normal():
    stats = pytest.importorskip("scipy.stats")
    z = kernels.gaussian_noise(np.zeros(200000), 1.0, seed=4)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01
    assert abs(z.var() - 1) < 0.02
    assert abs((z**4).mean() - 3) < 0.1


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_alpha_dropout(p, dtype, isa, rng):
    x = rng.standard_normal(1001).astype(dtype)
    got = kernels.alpha_dropout(x, p, seed=7, offset=3)
    keep = mask_twin.keep_mask(x.shape, p, 7, 3)
    q = mask_twin.threshold(p) / 65536
    a = 1 / np.sqrt(q + ALPHA**2 * q * (1 - q))
    exact = a * np.where(keep, x.astype(np.float64), ALPHA) - a * ALPHA * (1 - q)
    np.testing.assert_allclose(got, exact, rtol=0, atol=16 * np.finfo(dtype).eps)
    grad = kernels.alpha_dropout_backward(x, p, seed=7, offset=3)
    np.testing.assert_allclose(grad, np.where(keep, a * x.astype(np.float64), 0), rtol=4 * np.finfo(dtype).eps)


def test_alpha_dropout_constants_are_torchs():
    torch = pytest.importorskip("torch")
    x = torch.zeros(4000, dtype=torch.float64)
    theirs = set(np.unique(torch.nn.functional.alpha_dropout(x, 0.25, training=True).numpy()).round(12))
    ours = set(np.unique(kernels.alpha_dropout(x.numpy(), 0.25, seed=1)).round(12))
    assert ours == theirs


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(1).standard_normal(400000)
    y = kernels.alpha_dropout(x, 0.3, seed=5)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


def test_edges_are_exact(dtype, rng):
    x = rng.standard_normal((3, 5)).astype(dtype)
    x[1, 1], x[2, 2] = np.nan, np.inf
    for function in (kernels.alpha_dropout, kernels.alpha_dropout_backward):
        assert same_bits(function(x, 0, seed=1), x)
        assert np.all(function(x, 1, seed=1) == 0)
    assert same_bits(kernels.gaussian_noise(x, 0, seed=1), x)
    noisy = kernels.gaussian_noise(x, 1, seed=1)
    assert np.isnan(noisy[1, 1])
    assert noisy[2, 2] == np.inf
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="std is"):
            kernels.gaussian_noise(x, bad, seed=1)
    with pytest.raises(ValueError, match="probability between 0 and 1"):
        kernels.alpha_dropout(x, 1.5, seed=1)


def test_threads_layout_and_offset_change_no_bit(dtype, isa, rng):
    x = rng.standard_normal((97, 131)).astype(dtype)
    for function in (
        lambda x, **options: kernels.gaussian_noise(x, 0.3, seed=11, **options),
        lambda x, **options: kernels.alpha_dropout(x, 0.3, seed=11, **options),
    ):
        results = []
        for n in (1, 2, 3, 4):
            with num_threads(n, force=True):
                results.append(function(x))
        assert all(same_bits(r, results[0]) for r in results)
        assert same_bits(function(np.asfortranarray(x)), results[0])
        assert same_bits(function(x[50:], offset=50 * 131), results[0][50:])
        own = x.copy()
        assert function(own, out=own) is own
        assert same_bits(own, results[0])
