"""FocalLoss, KLDivLoss, GaussianNLLLoss; losses whose targets have a shape of their own."""

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import Trainer, gradcheck, nn, optim

ROWS = 12


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"weight": [1.0, 2.0, 0.5]}, {"ignore_index": 1}, {"gamma": 0.5}], ids=str)
def test_focal_loss_by_its_formula(options, weighted, reduction, rng):
    z, y = rng.normal(size=(ROWS, 3)), rng.integers(0, 3, ROWS)
    sample = rng.random(ROWS) if weighted else None
    loss = nn.FocalLoss(**options, reduction=reduction)
    log_p = log_softmax(z)[np.arange(ROWS), y]
    share = np.asarray(options.get("weight", np.ones(3)))[y] * (y != options.get("ignore_index"))
    share = share if sample is None else share * sample
    total = (share * -((1 - np.exp(log_p)) ** options.get("gamma", 2.0)) * log_p).sum()
    exact = total / share.sum() if reduction == "mean" else total
    assert loss(z, y, sample_weight=sample) == pytest.approx(exact, rel=1e-10)
    assert loss(z.astype(np.float32), y) == pytest.approx(loss(z, y), rel=1e-5)
    weights = loss.row_weights(y, sample)
    np.testing.assert_allclose(np.ones(ROWS) if weights is None else weights, share)
    gradcheck(lambda z: loss(z, y, sample_weight=sample), z)


def test_focal_loss_without_focus_is_cross_entropy(rng):
    z, y = rng.normal(size=(ROWS, 3)), rng.integers(0, 3, ROWS)
    assert nn.FocalLoss(0)(z, y) == pytest.approx(nn.CrossEntropyLoss()(z, y))
    assert (nn.FocalLoss().target, nn.FocalLoss().link) == ("class", "softmax")
    with pytest.raises(ValueError, match="gamma must be a finite number >= 0"):
        nn.FocalLoss(-1)


@pytest.mark.parametrize("weighted", [False, True])
def test_divergence(weighted, rng):
    x, t = log_softmax(rng.normal(size=(ROWS, 4))), rng.dirichlet(np.ones(4), ROWS)
    t[0] = [1, 0, 0, 0]  # 0 log 0 = 0
    sample = rng.random(ROWS) if weighted else np.ones(ROWS)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.where(t > 0, t * (np.log(t) - x), 0).sum(axis=1)
    loss = nn.KLDivLoss()
    assert loss(x, t, sample_weight=sample) == pytest.approx(np.average(rows, weights=sample))
    assert nn.KLDivLoss(reduction="sum")(x, t) == pytest.approx(rows.sum())
    np.testing.assert_allclose(loss.probabilities(x), np.exp(x))
    np.testing.assert_array_equal(loss.decision(x), x.argmax(axis=1))
    np.testing.assert_array_equal(loss.truth(t)[0], t.argmax(axis=1))
    gradcheck(lambda x: loss(x, t), x)


def test_divergence_and_gaussian_likelihood_are_pytorchs(rng):
    torch = pytest.importorskip("torch")
    x, t = log_softmax(rng.normal(size=(ROWS, 4))), rng.dirichlet(np.ones(4), ROWS)
    mean, variance = rng.normal(size=(ROWS, 4)), rng.random((ROWS, 4))
    theirs = torch.nn.KLDivLoss(reduction="batchmean")(torch.tensor(x), torch.tensor(t))
    assert nn.KLDivLoss()(x, t) == pytest.approx(theirs.item())
    for full in (False, True):
        theirs = torch.nn.GaussianNLLLoss(full=full, reduction="sum")(*map(torch.tensor, (mean, t, variance)))
        assert nn.GaussianNLLLoss(full=full, reduction="sum")((mean, variance), t) == pytest.approx(theirs.item())


class MeanAndVariance(nn.Module):
    def __init__(self):
        self.mean, self.variance = nn.Linear(3, 1, seed=1), nn.Linear(3, 1, seed=2)

    def forward(self, x):
        return self.mean(x), F.softplus(self.variance(x))


def test_a_network_learns_mean_and_variance(rng):
    x = rng.normal(size=(500, 3)).astype(np.float32)
    y = x[:, 0] + np.where(x[:, 1] > 0, 1.0, 0.1) * rng.normal(size=500)
    t = Trainer(MeanAndVariance(), nn.GaussianNLLLoss(), optim.Adam(lr=0.05), metrics=["mse"])
    t.fit(x, y, epochs=30, progress=False)
    mean, variance = t.predict(x)
    assert t.evaluate(x, y)["mse"] == pytest.approx(np.mean((mean[:, 0] - y) ** 2), rel=1e-4)
    assert variance[x[:, 1] > 0.5].mean() > 2 * variance[x[:, 1] < -0.5].mean()
    with pytest.raises(ValueError, match="have no probabilities"):
        t.predict_proba(x)


def test_targets_of_another_shape_than_the_output(rng):
    """They were refused: "targets are never broadcast", though the loss knows what it does with them."""

    def gaussian(output, target):
        mean, log_variance = output[:, :1], output[:, 1:]
        return F.mean(log_variance + F.square(mean - target) * F.exp(-log_variance))

    x = rng.normal(size=(60, 3)).astype(np.float32)
    t = Trainer(nn.Sequential(nn.Linear(3, 2), seed=0), gaussian, optim.SGD(lr=0.01))
    with pytest.raises(ValueError, match=r'targets are never broadcast; a loss that takes other rows .* "any"'):
        t.train_step(x, x[:, :1])
    gaussian.target = "any"
    t = Trainer(t.model, gaussian, optim.SGD(lr=0.01))
    loss = t.evaluate(x, x[:, :1])["loss"]
    assert t.train_step(x, x[:, :1]) == pytest.approx(loss, rel=1e-5)
    history = t.fit(x, x[:, :1], epochs=5, progress=False)
    assert history["loss"][-1] < loss
