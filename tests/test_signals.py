"""What is known of a model before it is trained, and how sure it is afterwards."""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, optim

RNG = np.random.default_rng(11)


def test_probe_shows_outputs_and_gradients_of_pytorch():
    torch = pytest.importorskip("torch")
    x, y = RNG.standard_normal((12, 5)), RNG.integers(0, 3, 12)
    ours = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3)).to("float64")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
    ).double()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()}, strict=False)
    before = ours.state_dict()
    signals = nn.probe(ours, x, y, nn.CrossEntropyLoss())
    assert [s.path for s in signals] == ["0", "1", "2", "3"]
    values, value = [], torch.tensor(x)
    for layer in theirs:
        value = layer(value)
        value.retain_grad()
        values.append(value)
    torch.nn.functional.cross_entropy(value, torch.tensor(y)).backward()
    for signal, peer in zip(signals, values, strict=True):
        np.testing.assert_allclose(signal.output, peer.detach().numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(signal.gradient, peer.grad.numpy(), rtol=1e-8, atol=1e-12)
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError, match="together"):
        nn.probe(ours, x, y)


def test_probe_goes_through_blocks_and_shared_layers():
    shared = nn.Linear(4, 4)
    branches = nn.Concat(nn.Identity(), nn.Linear(4, 2))
    model = nn.Sequential(nn.Residual(shared, nn.ReLU()), shared, nn.Highway(4), branches)
    signals = nn.probe(model, RNG.standard_normal((6, 4)))
    paths = [s.path for s in signals]
    assert paths == ["1", "0.1", "0", "1", "2.layer.0", "2.layer.1", "2.gate", "2", "3.0", "3.1", "3"]
    assert signals[-1].output.shape == (6, 6)
    assert all(np.isfinite(s.gradient).all() and s.gradient.shape == s.output.shape for s in signals)


def deep(activation, init, width=64, depth=20):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, init=init), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def test_report_tells_good_initialisation_from_bad():
    good = nn.signal_report(deep(nn.ReLU, "auto"))
    assert good.advice() == ["activations and gradients keep their size"]
    small = nn.signal_report(deep(nn.Tanh, lambda shape, rng: rng.normal(0, 0.01, shape)))
    assert small.growth < 1e-10
    assert "activations vanish" in str(small)
    assert "gradients vanish" in str(small)
    assert "init='auto'" in str(small)
    large = nn.signal_report(deep(nn.ReLU, lambda shape, rng: rng.normal(0, 0.5, shape)))
    assert "explode" in str(large)
    assert large.gradient_growth > 1e3
    lecun = nn.signal_report(deep(nn.SELU, "auto"))
    late = [row for row in lecun.rows if row["layer"] == "SELU"][-5:]
    for row in late:
        assert row["mean"] == pytest.approx(0, abs=0.2)
        assert row["variance"] == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="give x"):
        nn.signal_report(nn.Sequential(nn.ReLU()))


def test_report_draws_itself(tmp_path):
    pytest.importorskip("matplotlib")
    display = nn.signal_report(deep(nn.ReLU, "auto", depth=3)).plot()
    assert len(display.axes_) == 2
    assert len(display.axes_[0].get_lines()[0].get_ydata()) == 7
    display.figure_.savefig(tmp_path / "signals.png")


def test_linear_net_with_one_shared_matrix_vanishes_or_explodes():
    """y = sum of h_n, h_n = W^n (1, 1): dy/dW_ii = n w_ii^(n-1) for W = diag(a, b)."""

    def derivative(w, n):
        layer = nn.Linear(2, 2, bias=False)
        model = nn.Sequential(*[layer] * n).to("float64")
        layer.weight = np.diag(w)
        seen = {}
        trainer = fastnn.Trainer(
            model,
            lambda output, target: F.sum(output),
            optim.SGD(lr=0.0),
            gradient_hook=lambda g: seen.update({k: v.copy() for k, v in g.items()}),
        )
        trainer.train_step(np.ones((1, 2)), np.zeros((1, 2)))
        return np.diag(seen["0.weight"])

    np.testing.assert_allclose(derivative((1, 2), 12), [12, 12 * 2**11], rtol=1e-12)
    np.testing.assert_allclose(derivative((0.5, 0.9), 10), [10 * 0.5**9, 3.87], rtol=2e-3)
    np.testing.assert_allclose(derivative((0.5, 0.9), 100)[1], 0.00295, rtol=2e-3)
    layer = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(*[layer] * 30).to("float64")
    layer.weight = np.diag([1.5, 1.5])
    outputs = [s.output[0, 0] for s in nn.probe(model, np.ones((2, 2)))]
    np.testing.assert_allclose(outputs, 1.5 ** np.arange(1, 31), rtol=1e-12)


def test_equal_units_are_warned_of():
    x, y = RNG.standard_normal((8, 3)), RNG.standard_normal((8, 2))

    def train(model):
        fastnn.Trainer(model, nn.MSELoss(), optim.SGD(0.1)).train_step(x, y)

    with pytest.warns(UserWarning, match="layer '0': all units have the same weights"):
        train(nn.Sequential(nn.Linear(3, 4, init="ones"), nn.ReLU(), nn.Linear(4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, init="zeros")))
        train(nn.Sequential(nn.Linear(3, 2, init="zeros")))


def test_summary_has_the_shapes():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    text = model.summary(np.zeros((1, 5)))
    assert "(rows, 7)" in text
    assert "(rows, 3)" in text
    assert text.splitlines()[-1] == "66 trainable parameters"


# ---- Monte-Carlo prediction ----------------------------------------------------------------------------------------


def test_monte_carlo_has_the_moments_of_dropout():
    model = nn.Sequential(nn.Dropout(0.25), nn.Linear(400, 1, bias=False)).to("float64")
    x = RNG.standard_normal((3, 400))
    w = model[1].weight.numpy()[0]
    mean, std, samples = nn.predict_mc(model, x, 4000, keep=True)
    assert samples.shape == (4000, 3, 1)
    np.testing.assert_allclose(mean, samples.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(std, samples.std(axis=0), rtol=1e-8)
    expected = np.sqrt((0.25 / 0.75) * ((x * w) ** 2).sum(axis=1))  # variance of mask/q is p/q
    np.testing.assert_allclose(std[:, 0], expected, rtol=0.05)
    np.testing.assert_allclose(mean, model(x), atol=5 * expected.max() / np.sqrt(4000))


def test_monte_carlo_uses_running_statistics_and_seeds():
    x = (RNG.standard_normal((6, 4)) * 3 + 2).astype(np.float32)
    norm = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    mean, std, _ = nn.predict_mc(norm, x, 5)
    np.testing.assert_allclose(mean, norm(x), rtol=1e-6)
    np.testing.assert_allclose(std, 0, atol=1e-6)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam())
    first = trainer.predict_mc(x, 20, function=F.softmax)
    np.testing.assert_allclose(first.mean.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(first.mean, trainer.predict_mc(x, 20, function=F.softmax).mean)
    for seed in (1, 2**12, 2**63 - 1):
        assert not np.array_equal(first.mean, trainer.predict_mc(x, 20, function=F.softmax, seed=seed).mean)
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        trainer.predict_mc(x, 0)
    with pytest.raises(ValueError, match="seed must be"):
        trainer.predict_mc(x, 3, seed=-1)


def test_population_statistics_of_a_whole_model():
    x = RNG.standard_normal((700, 5)) * 2 + 1
    first = (nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU())
    model = nn.Sequential(*first, nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to("float64")
    assert nn.estimate_population(model, x) is model
    w = model.state_dict()
    z = x @ w["0.weight"].T + w["0.bias"]
    np.testing.assert_allclose(w["1.running_mean"], z.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(w["1.running_var"], z.var(axis=0, ddof=1), rtol=1e-9)
    a = np.maximum((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0, ddof=1) + 1e-5), 0)
    z = a @ w["3.weight"].T + w["3.bias"]
    np.testing.assert_allclose(w["4.running_mean"], z.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(w["4.running_var"], z.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(nn.probe(model, x, training=False)[4].output.mean(axis=0), 0, atol=1e-9)
