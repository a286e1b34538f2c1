"""RMSNorm, GLU, logsumexp and one_hot: PyTorch's values and gradients, their twins, and what they refuse."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn


def twin(x, axes, weight=1.0, eps=None):
    eps = np.finfo(x.dtype).eps if eps is None else eps
    return x / np.sqrt(np.mean(np.square(x), axes, keepdims=True) + eps) * weight


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [6, (3, 2)])
def test_rms_norm_is_its_twin(rng, dtype, shape):
    x = rng.standard_normal((5, *np.atleast_1d(shape))).astype(dtype)
    layer = nn.RMSNorm(shape).to(dtype)
    weight = rng.standard_normal(layer.weight.shape).astype(dtype)
    layer.load_state_dict({"weight": weight})
    axes = tuple(range(1, x.ndim))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(layer(x), twin(x, axes, weight), rtol=tolerance)
    plain = nn.RMSNorm(shape, eps=0.5, elementwise_affine=False)
    assert plain.state_dict() == {}
    np.testing.assert_allclose(fastnn.compile(lambda v: plain(v), x)(x), twin(x, axes, eps=0.5), rtol=tolerance)


def test_they_are_pytorchs_with_gradients(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((7, 6))
    for ours, theirs in (
        (nn.RMSNorm(6).to("float64"), torch.nn.RMSNorm(6).double()),
        (nn.GLU(), torch.nn.GLU()),
        (F.logsumexp, lambda v: torch.logsumexp(v, -1)),
    ):
        given = torch.tensor(x, requires_grad=True)
        expected = theirs(given)
        np.testing.assert_allclose(fastnn.compile(lambda v, f=ours: f(v), x)(x), expected.detach().numpy(), rtol=1e-10)
        (expected**2).sum().backward()
        gradient = fastnn.grad(lambda v, f=ours: F.sum(F.square(f(v))))(x)
        np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_models_with_them_are_saved_and_trained(tmp_path, rng):
    model = nn.Sequential(nn.Linear(4, 8), nn.RMSNorm(8), nn.GLU(), nn.Linear(4, 2))
    x, y = rng.standard_normal((32, 4)).astype(np.float32), rng.integers(0, 2, 32)
    history = fastnn.Trainer(model, nn.CrossEntropyLoss(), fastnn.optim.Adam(0.05)).fit(x, y, epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    fastnn.save(model, tmp_path / "model.safetensors")
    again = fastnn.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(x), model(x))


def test_what_does_not_fit_is_refused(rng):
    x = rng.standard_normal((3, 5)).astype(np.float32)
    with pytest.raises(ValueError, match="must be even, got 5"):
        nn.GLU()(x)
    with pytest.raises(ValueError, match="does not fit x"):
        nn.RMSNorm(4)(x)
    for wrong in ({"normalized_shape": ()}, {"normalized_shape": 0}, {"normalized_shape": 4, "eps": -1}):
        with pytest.raises(ValueError, match="RMSNorm"):
            nn.RMSNorm(**wrong)


def test_logsumexp_of_the_ends_of_the_range():
    x = np.array([[1000, 1000], [-np.inf, -np.inf], [np.inf, 0], [-np.inf, 3], [-1000, -1000]], np.float32)
    expected = [1000 + np.log(2), -np.inf, np.inf, 3, -1000 + np.log(2)]
    np.testing.assert_allclose(F.logsumexp(x), expected, rtol=1e-6)
    np.testing.assert_allclose(fastnn.compile(F.logsumexp, x)(x), expected, rtol=1e-6)
    assert F.logsumexp(x, keepdims=True).shape == (5, 1)
    assert F.logsumexp(x[:2], axis=0).shape == (2,)
    np.testing.assert_array_equal(F.abs(np.array([-2.0, 3.0])), [2, 3])
    with pytest.raises(TypeError, match="axis="):
        F.logsumexp(x, dim=1)


@pytest.mark.parametrize("dtype", ["int64", "int8", "float32", "float64"])
def test_one_hot_of_arrays_and_symbols(dtype):
    labels = np.array([0, 2, -1, 1, 3], dtype)
    expected = np.eye(5)[[0, 2, 4, 1, 3]] * np.array([[1], [1], [0], [1], [0]])
    for rows in (F.one_hot(labels, 3), fastnn.compile(lambda v: F.one_hot(v, 3), labels)(labels)):
        np.testing.assert_array_equal(rows, expected[:, :3])
    assert F.one_hot(labels.reshape(5, 1), 3).shape == (5, 1, 3)
    with pytest.raises(ValueError, match="num_classes"):
        F.one_hot(labels, 0)
