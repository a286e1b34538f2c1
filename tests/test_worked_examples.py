"""Worked examples, number by number (each once; those of gradients and losses are elsewhere)."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import kernels, nn, optim

RNG = np.random.default_rng(3)


def test_units_at_worked_points():
    assert F.sigmoid(np.array([3.0, -3.0])) == pytest.approx([0.9526, 0.0474], abs=5e-5)
    slope = fastnn.grad(lambda x: F.sum(F.sigmoid(x)))(np.array([4.0, -4.0]))
    assert slope == pytest.approx([0.0177, 0.0177], abs=5e-5)
    assert fastnn.grad(lambda x: F.sum(F.tanh(x)))(np.array([4.0])) == pytest.approx([0.0013], abs=5e-5)
    np.testing.assert_array_equal(F.shifted_relu(np.array([-3.0, -1.0, -0.5, 2.0])), [-1, -1, -0.5, 2])


def test_selu_keeps_mean_0_and_variance_1():
    """The constants solve the fixed point of Klambauer et al. 2017, equation 14."""
    from scipy import integrate, stats

    def moment(power):
        def integrand(z):
            return float(F.selu(np.array([z]))[0]) ** power * stats.norm.pdf(z)

        return sum(integrate.quad(integrand, *ends, epsabs=1e-12)[0] for ends in ((-12, 0), (0, 12)))

    assert moment(1) == pytest.approx(0, abs=1e-9)
    assert moment(2) == pytest.approx(1, abs=1e-9)
    assert F.selu(np.array([1.0])) == pytest.approx([1.0507009873554805])
    assert F.selu(np.array([-40.0])) == pytest.approx([-1.0507009873554805 * 1.6732632423543772])


def test_softmax_and_hardmax():
    logits = np.array([[5.0, 2.0, -1.0, 3.0]])
    np.testing.assert_allclose(np.exp(logits), [[148.4, 7.389, 0.368, 20.09]], rtol=5e-4)
    np.testing.assert_allclose(F.softmax(logits), [[0.842, 0.042, 0.002, 0.114]], atol=5e-4)
    np.testing.assert_array_equal(F.hardmax(logits), [[1, 0, 0, 0]])


def test_dropout_mask_is_u_below_the_keep_rate():
    """u = (0.476, 0.618, 0.449) at keep 0.6 gives (1, 0, 1): a position's u decides, whatever the rate."""
    x = np.ones((40, 3))
    kept = {p: kernels.dropout(x, p, seed=7) != 0 for p in (0.2, 0.4, 0.7)}
    assert (kept[0.7] <= kept[0.4]).all() and (kept[0.4] <= kept[0.2]).all(), "one u per element, compared with keep"
    for p, mask in kept.items():
        np.testing.assert_allclose(kernels.dropout(x, p, seed=7)[mask], 1 / (1 - p), rtol=1e-4)
    from reference import dropout as twin

    u = twin.lanes(x.size, 7).reshape(x.shape) / 65536
    np.testing.assert_array_equal(kept[0.4], u < twin.threshold(0.4) / 65536)
    assert (np.array([0.476, 0.618, 0.449]) <= 0.6).astype(int).tolist() == [1, 0, 1]


def test_classic_and_inverted_dropout_agree_in_the_mean():
    x = RNG.standard_normal((1, 50))
    for mode, factor in (("inverted", 1.0), ("classic", 0.7)):
        layer = nn.Dropout(0.3, mode=mode)
        mean = np.mean([layer(np.repeat(x, 500, axis=0), training=True).mean(axis=0) for _ in range(20)], axis=0)
        np.testing.assert_allclose(mean, layer(x)[0], atol=6 * np.abs(x).max() / 100)
        np.testing.assert_allclose(layer(x), factor * x, rtol=1e-6)


def trained(optimizer, steps=1):
    x, y = np.array([[1.0, 2.0], [0.5, -1.0], [2.0, 0.0]]), np.array([[1.0], [0.0], [2.0]])
    model = nn.Sequential(nn.Linear(2, 1, seed=1)).to("float64")
    w, b = (model.state_dict()[f"0.{name}"].copy() for name in ("weight", "bias"))
    trainer = fastnn.Trainer(model, nn.MSELoss(), optimizer)
    for _ in range(steps):
        trainer.train_step(x, y)
    gradient = 2 / 3 * (x @ w.T + b - y).T @ x
    return w, gradient, model.state_dict()["0.weight"]


def test_written_forms_of_l2_and_l1():
    lr, lam, m = 0.1, 0.6, 3
    w, g, after = trained(optim.SGD(lr, weight_decay=optim.l2(lam, m=m)))
    np.testing.assert_allclose(after, (1 - lr * lam / m) * w - lr * g, rtol=1e-12)
    w, g, after = trained(optim.SGD(lr, weight_decay=optim.l2(lam)))
    np.testing.assert_allclose(after, w - lr * (g + 2 * lam * w), rtol=1e-12)
    w, g, after = trained(optim.SGD(lr, weight_decay=lam, decoupled_weight_decay=True))
    np.testing.assert_allclose(after, (1 - lr * lam) * w - lr * g, rtol=1e-12)
    w, g, after = trained(optim.SGD(lr, l1=optim.l1(lam, m=m)))
    np.testing.assert_allclose(after, w - lr * (g + lam / (2 * m) * np.sign(w)), rtol=1e-12)
    assert optim.l1(lam) == lam
    with pytest.raises(ValueError, match="the number of rows"):
        optim.l2(0.1, m=0)
    with pytest.raises(ValueError, match="lam must be a finite number >= 0"):
        optim.l1(-1)


def test_classical_and_averaging_momentum_differ_when_the_rate_changes():
    """v = a v - lr g; w += v against v = b v + (1 - b) g; w -= lr v: the same path until lr changes."""

    def path(optimizer, scheduler=None):
        model = nn.Sequential(nn.Linear(1, 1, bias=False)).to("float64")
        model[0].weight = np.array([[2.0]])
        trainer = fastnn.Trainer(model, nn.MSELoss(), optimizer, scheduler=scheduler)
        points = []
        for _ in range(8):
            trainer.train_step(np.ones((1, 1)), np.zeros((1, 1)))
            points.append(model[0].weight.numpy()[0, 0])
        return np.array(points)

    forms = [optim.SGD(0.01, 0.9, form="classical"), optim.SGD(0.1, 0.9, form="averaging"), optim.SGD(0.01, 0.9)]
    paths = [path(form) for form in forms]
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-12)
    np.testing.assert_allclose(paths[2], paths[0], rtol=1e-12)
    change = optim.StepLR(4, 0.1, per="step")
    changed = [path(form, change) for form in forms]
    np.testing.assert_allclose(changed[1], changed[2], rtol=1e-12)
    assert abs(changed[0][4] - changed[2][4]) > 1e-3


def test_adam_windows_of_the_search_section():
    for beta, steps in ((0.9, 10), (0.9005, 10.05), (0.999, 1000), (0.9995, 2000)):
        assert optim.EWMA(beta).window == pytest.approx(steps, rel=1e-3)
