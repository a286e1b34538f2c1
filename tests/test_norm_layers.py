"""LayerNorm, Dropout's modes, AlphaDropout, GaussianNoise, folding and population statistics as layers."""

import numpy as np
import pytest
from reference import dropout as mask_twin

import fastnn
from fastnn import functional as F
from fastnn import kernels, nn


def test_layer_norm_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    for shape, x in ((6, rng.standard_normal((7, 6))), ((3, 2), rng.standard_normal((4, 3, 2)))):
        ours, theirs = nn.LayerNorm(shape).to("float64"), torch.nn.LayerNorm(shape).double()
        state = {k: rng.standard_normal(v.shape) for k, v in ours.state_dict().items()}
        assert list(state) == list(theirs.state_dict())
        ours.load_state_dict(state)
        theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-10, atol=1e-12)
        axes = (shape,) if isinstance(shape, int) else shape
        np.testing.assert_allclose(F.layer_norm(x, axes, state["weight"], state["bias"]), ours(x), rtol=1e-12)
    assert nn.LayerNorm(4, elementwise_affine=False).state_dict() == {}
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]


def test_layers_survive_saving(tmp_path, rng):
    model = nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.AlphaDropout(0.2), nn.GaussianNoise(0.3),
        nn.Dropout(0.1, mode="classic", shared=True), nn.Linear(6, 2),
    )  # fmt: skip
    x = rng.standard_normal((5, 4)).astype(np.float32)
    fastnn.save(model, tmp_path / "model.safetensors")
    again = fastnn.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(x), model(x))


def test_training_draws_what_the_kernels_draw(rng):
    x = rng.standard_normal((9, 8)).astype(np.float32)
    y = fastnn.compile(lambda v: F.gaussian_noise(v, 0.5, seed=3, layer=0), x)(x)
    np.testing.assert_array_equal(y, kernels.gaussian_noise(x, 0.5, seed=3))
    y = fastnn.compile(lambda v: F.alpha_dropout(v, 0.5, seed=3, layer=0), x)(x)
    np.testing.assert_array_equal(y, kernels.alpha_dropout(x, 0.5, seed=3))


def test_inference_is_the_identity_and_classic_scales(rng):
    x = rng.standard_normal((9, 8)).astype(np.float32)
    for layer in (nn.AlphaDropout(0.4), nn.GaussianNoise(0.4), nn.Dropout(0.4), nn.GaussianNoise(0)):
        np.testing.assert_array_equal(layer(x), x)
    classic = nn.Dropout(0.25, mode="classic")
    np.testing.assert_allclose(classic(x), 0.75 * x, rtol=1e-6)
    drawn = classic(x, training=True)
    assert set(np.unique((drawn / x).round(4))) == {0.0, 1.0}
    shared = nn.Dropout(0.5, shared=True)(np.ones((20, 30), np.float32), training=True)
    assert np.all(shared == shared[0])
    assert 0 < (shared[0] > 0).mean() < 1
    assert mask_twin.threshold(0.5) == 32768


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="AlphaDropout: p is the probability"):
        nn.AlphaDropout(1.1)
    with pytest.raises(ValueError, match="GaussianNoise: std"):
        nn.GaussianNoise(-1)
    with pytest.raises(ValueError, match="mode must be"):
        nn.Dropout(0.5, mode="other")
    with pytest.raises(ValueError, match="does not fit"):
        nn.LayerNorm(5)(np.ones((3, 4), np.float32))


def test_fold_is_the_two_layers(dtype, rng):
    model = nn.Sequential(nn.Linear(5, 4, seed=1), nn.BatchNorm1d(4)).to(str(dtype))
    linear, norm = list(model)
    norm.load_state_dict({k: rng.uniform(0.5, 2, 4).astype(dtype) for k in norm.state_dict()})
    x = rng.standard_normal((7, 5)).astype(dtype)
    np.testing.assert_allclose(norm.fold(linear)(x), model(x), atol=20 * np.finfo(dtype).eps)
    with pytest.raises(ValueError, match="4 outputs"):
        norm.fold(nn.Linear(4, 5))


@pytest.mark.parametrize("rows", [2, 1000, 16385, 40000])
def test_population_statistics(rows, rng):
    x = rng.standard_normal((rows, 3)) * [1, 10, 0.1] + [0, 1000, -5]
    for unbiased in (True, False):
        norm = nn.BatchNorm1d(3, unbiased=unbiased).to("float64")
        norm.estimate_population(x)
        np.testing.assert_allclose(norm.running_mean.numpy(), x.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(norm.running_var.numpy(), x.var(axis=0, ddof=int(unbiased)), rtol=1e-10)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        norm.estimate_population(x[:1])
