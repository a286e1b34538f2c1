"""L-BFGS against the closed form, scikit-learn's solver and SciPy on the same function."""

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim

pytest.importorskip("scipy")
RNG = np.random.default_rng(4)
X = RNG.standard_normal((80, 5))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_least_squares_in_closed_form(decay):
    y = X @ RNG.standard_normal((5, 2)) + 0.1 * RNG.standard_normal((80, 2)) + 1.0
    model = nn.Sequential(nn.Linear(5, 2)).to("float64")
    optimizer = optim.LBFGS(weight_decay=decay, tolerance_grad=1e-10, tolerance_change=0)
    assert optimizer.minimize(model, nn.MSELoss(), X, y) is optimizer
    centred, shift = X - X.mean(axis=0), y.mean(axis=0)
    # the mean is over rows and columns: 2/(80 * 2) X^T (X W - Y) + decay W = 0
    gram = centred.T @ centred / 80 + decay * np.eye(5)
    w = np.linalg.solve(gram, centred.T @ (y - shift) / 80)
    np.testing.assert_allclose(model[0].weight.numpy(), w.T, atol=1e-7)
    np.testing.assert_allclose(model[0].bias.numpy(), shift - X.mean(axis=0) @ w, atol=1e-7)
    assert optimizer.losses == sorted(optimizer.losses, reverse=True)
    assert optimizer.stop_reason


def test_a_net_of_float32_and_labels():
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = optim.LBFGS(max_iter=150).minimize(model, nn.CrossEntropyLoss(), X, y)
    assert (model(X).argmax(axis=1) == y).mean() == 1.0
    assert model.dtype == np.float32
    loss = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD()).evaluate(X, y)["loss"]
    assert loss == pytest.approx(min(optimizer.losses), abs=1e-4)


def test_batch_norm_has_the_statistics_of_the_data():
    model = nn.Sequential(nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)).to("float64")
    y = np.sin(X[:, 0])
    optimizer = optim.LBFGS(max_iter=60).minimize(model, nn.MSELoss(), X, y)
    assert optimizer.losses[-1] < 0.2 * optimizer.losses[0]
    hidden = X @ model[0].weight.numpy().T
    np.testing.assert_allclose(model[1].running_mean.numpy(), hidden.mean(axis=0), atol=1e-9)


def test_frozen_parameters_stay_and_bad_input_is_refused():
    model = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    model[0].weight.requires_grad = False
    before = model[0].weight.numpy().copy()
    optim.LBFGS(max_iter=5).minimize(model, nn.MSELoss(), X, X[:, :1])
    np.testing.assert_array_equal(model[0].weight.numpy(), before)
    with pytest.raises(ValueError, match="x has 80 rows, y has 3"):
        optim.LBFGS().minimize(model, nn.MSELoss(), X, np.zeros(3))
    with pytest.raises(IndexError, match="label"):
        optim.LBFGS().minimize(nn.Sequential(nn.Linear(5, 2)), nn.CrossEntropyLoss(), X, np.full(80, 2))
    with pytest.raises(ValueError, match="max_iter must be an integer >= 1"):
        optim.LBFGS(max_iter=0)
    with pytest.raises(TypeError, match="optimizer must be an object such as"):
        fastnn.Trainer(model, nn.MSELoss(), optim.LBFGS())
