"""Layers made of functions: Residual, Highway, Concat, Embedding, Scale, Flatten; and initialisation that fits."""

import json

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, optim

RNG = np.random.default_rng(5)
X = RNG.standard_normal((9, 6))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(model):
    return {name: value.astype(np.float64) for name, value in model.state_dict().items()}


def test_residual_adds_its_input():
    block = nn.Residual(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)).to("float64")
    w = weights(block)
    inner = np.tanh(X @ w["0.weight"].T + w["0.bias"]) @ w["2.weight"].T + w["2.bias"]
    np.testing.assert_allclose(block(X), X + inner, rtol=1e-12)
    wider = nn.Residual(nn.Linear(6, 8), shortcut=nn.Linear(6, 8, bias=False)).to("float64")
    w = weights(wider)
    assert list(w) == ["0.weight", "0.bias", "shortcut.weight"]
    np.testing.assert_allclose(wider(X), X @ w["shortcut.weight"].T + X @ w["0.weight"].T + w["0.bias"], rtol=1e-12)
    with pytest.raises(ValueError, match="give shortcut=nn.Linear"):
        nn.Residual(nn.Linear(6, 8))(X)


@pytest.mark.parametrize("layer", [None, nn.Sequential(nn.Linear(6, 6), nn.Tanh())])
def test_highway_is_the_papers_formula(layer):
    block = nn.Highway(6, layer).to("float64")
    w = weights(block)
    np.testing.assert_array_equal(w["gate.bias"], np.full(6, -2.0))
    t = sigmoid(X @ w["gate.weight"].T - 2)
    h = X @ w["layer.0.weight"].T + w["layer.0.bias"]
    h = np.maximum(h, 0) if layer is None else np.tanh(h)
    np.testing.assert_allclose(block(X), t * h + (1 - t) * X, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Highway\(6\): its layer makes shape"):
        nn.Highway(6, nn.Linear(6, 5))(X)


def test_concat_joins_its_branches():
    block = nn.Concat(nn.Identity(), nn.Linear(6, 2), nn.Sequential(nn.Linear(6, 3), nn.ReLU())).to("float64")
    w = weights(block)
    parts = [X, X @ w["1.weight"].T, np.maximum(X @ w["2.0.weight"].T, 0)]
    np.testing.assert_allclose(block(X), np.concatenate(parts, axis=1), rtol=1e-12)
    with pytest.raises(ValueError, match="at least one branch"):
        nn.Concat()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Residual(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 2)),
        lambda: nn.Sequential(nn.Residual(nn.Linear(6, 4), shortcut=nn.Linear(6, 4)), nn.Linear(4, 2)),
        lambda: nn.Sequential(nn.Highway(6), nn.Highway(6, nn.Sequential(nn.Linear(6, 6), nn.SELU())), nn.Linear(6, 2)),
        lambda: nn.Sequential(nn.Concat(nn.Identity(), nn.Linear(6, 3)), nn.Linear(9, 2)),
        lambda: nn.Sequential(nn.Scale(6).fit(X * 3 + 1), nn.BatchNorm1d(6, momentum=None), nn.Linear(6, 2)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.LogSoftmax()),
        lambda: nn.Sequential(nn.Linear(6, 2), nn.Softmax()),
    ],
)
def test_blocks_check_train_and_survive_saving(make, tmp_path):
    model = make()
    y = RNG.standard_normal((9, 2))
    report = fastnn.gradcheck(make(), X, y, loss=nn.MSELoss())
    assert report, str(report)
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.SGD(lr=0.02))
    first = trainer.train_step(X, y)
    for _ in range(30):
        last = trainer.train_step(X, y)
    assert last < first
    fastnn.save(model, tmp_path / "model.safetensors")
    again = fastnn.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(X), model(X))
    config = json.loads(json.dumps(model.to_config()))
    assert nn.from_config(config).to_config() == model.to_config()


def test_embedding_is_pytorchs():
    torch = pytest.importorskip("torch")
    index = np.array([[0, 3], [4, 4], [2, 0]])
    ours = nn.Sequential(nn.Embedding(5, 3, padding_idx=2), nn.Flatten(), nn.Linear(6, 2)).to("float64")
    theirs = torch.nn.Sequential(torch.nn.Embedding(5, 3, padding_idx=2), torch.nn.Flatten(), torch.nn.Linear(6, 2))
    theirs = theirs.double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    assert not ours.state_dict()["0.weight"][2].any()
    np.testing.assert_allclose(ours(index), theirs(torch.tensor(index)).detach().numpy(), rtol=1e-12)
    seen = {}
    trainer = fastnn.Trainer(
        ours, nn.MSELoss(), optim.SGD(lr=0.0), gradient_hook=lambda g: seen.update({k: v.copy() for k, v in g.items()})
    )
    y = RNG.standard_normal((3, 2))
    trainer.train_step(index, y)
    torch.nn.functional.mse_loss(theirs(torch.tensor(index)), torch.tensor(y)).backward()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(seen[name], parameter.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("wrong", "text"), [(5, "5"), (-1, "-1"), (1.5, "1.5"), (np.nan, "nan")])
def test_embedding_refuses_what_is_no_index(wrong, text):
    model = nn.Embedding(5, 3)
    with pytest.raises(IndexError, match=f"index {text} is not a whole number from 0 to 4"):
        model(np.array([[0, wrong]]))


def test_embedding_learns_and_survives_saving(tmp_path):
    index = RNG.integers(0, 7, (64, 1))
    target = np.arange(7.0)[index]
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(4, 1))
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.05))
    history = trainer.fit(index, target, epochs=60, batch_size=16, progress=False)
    assert history["loss"][-1] < 0.01 < history["loss"][0]
    fastnn.save(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(fastnn.load(tmp_path / "model.safetensors")(index), model(index))


def test_scale_normalises_and_is_saved():
    x = RNG.standard_normal((500, 3)) * [1, 20, 0.5] + [0, 7, -3]
    model = nn.Scale(3).to("float64").fit(x)
    y = model(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(nn.Scale(3, per_feature=False).to("float64").fit(x)(x), (x - x.mean()) / x.std())
    np.testing.assert_array_equal(nn.Scale(3).to("float64")(x), x)
    assert nn.Scale(3).fit(x).reset_parameters().mean.numpy().any(), "the fit is no initial weight"
    with pytest.raises(ValueError, match="expected"):
        nn.Scale(4).fit(x)


def test_hardmax_is_one_at_the_largest():
    logits = np.array([[5.0, 2.0, -1.0, 3.0]])
    np.testing.assert_array_equal(F.hardmax(logits), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(fastnn.compile(lambda x: F.hardmax(x), logits)(logits), [[1, 0, 0, 0]])


# ---- initialisation ------------------------------------------------------------------------------------------------

BOUND = {"xavier": np.sqrt(6 / (400 + 300)), "he": np.sqrt(6 / 400)}


def spread(layer):
    w = layer.weight.numpy().astype(np.float64)
    return np.abs(w).max(), w.std()


@pytest.mark.parametrize(
    ("following", "rule"),
    [
        ([nn.Tanh()], "xavier"),
        ([nn.Sigmoid()], "xavier"),
        ([], "xavier"),
        ([nn.Softmax()], "he"),
        ([nn.ReLU()], "he"),
        ([nn.GELU()], "he"),
        ([nn.LeakyReLU(0.1)], "he"),
        ([nn.PReLU()], "he"),
        ([nn.BatchNorm1d(300), nn.Dropout(0.1), nn.Tanh()], "xavier"),
        ([nn.LayerNorm(300), nn.ReLU()], "he"),
        ([nn.Identity(), nn.Linear(300, 3), nn.ReLU()], "xavier"),
    ],
)
def test_default_fits_what_follows(following, rule):
    largest, std = spread(nn.Sequential(nn.Linear(400, 300), *following)[0])
    assert largest <= BOUND[rule] < largest * 1.001
    assert std == pytest.approx(BOUND[rule] / np.sqrt(3), rel=0.01)


def test_default_before_selu_is_lecun():
    w = nn.Sequential(nn.Linear(400, 300), nn.AlphaDropout(0.1), nn.SELU())[0].weight.numpy()
    assert w.std() == pytest.approx(1 / 20, rel=0.01)
    assert np.abs(w).max() > 3 / 20, "normal, not uniform"


def test_default_reaches_into_blocks_and_follows_changes():
    inner = nn.Sequential(nn.Linear(400, 300))
    assert spread(inner[0])[0] <= BOUND["xavier"]
    model = nn.Sequential(inner, nn.ReLU())
    assert BOUND["xavier"] < spread(inner[0])[0] <= BOUND["he"]
    assert spread(nn.Sequential(nn.Residual(nn.Linear(400, 300)), nn.ReLU())[0][0])[0] > BOUND["xavier"]
    assert spread(nn.Sequential(nn.Concat(nn.Linear(400, 300)), nn.ReLU())[0][0])[0] > BOUND["xavier"]
    fastnn.manual_seed(1)
    grown = nn.Sequential(nn.Linear(400, 300)).append(nn.ReLU())
    fastnn.manual_seed(1)
    np.testing.assert_array_equal(grown[0].weight.numpy(), nn.Sequential(nn.Linear(400, 300), nn.ReLU())[0].weight)
    two = nn.Sequential().append(nn.Linear(4, 4)).append(nn.Linear(4, 4))
    assert not np.array_equal(two[0].weight.numpy(), two[1].weight.numpy())
    assert model.reset_parameters(3) is model
    assert BOUND["xavier"] < spread(inner[0])[0]
    kept = nn.Linear(400, 300, seed=1)
    before = kept.weight.numpy().copy()
    nn.Sequential(kept, nn.Tanh())
    np.testing.assert_array_equal(kept.weight.numpy(), before)


def test_weights_are_settable_before_training():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    parameter = model[0].weight
    model[0].weight = np.arange(6.0).reshape(2, 3)
    assert model[0].weight is parameter
    np.testing.assert_array_equal(model(np.eye(3))[:, 1], [3, 4, 5])
    with pytest.raises(ValueError, match=r"has shape \(2, 3\)"):
        model[0].weight = np.zeros((3, 2))


# ---- batch norm ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbiased", [True, False])
def test_cumulative_running_statistics_are_the_averages(unbiased):
    batches = [RNG.standard_normal((rows, 3)) * 2 + 5 for rows in (8, 5, 9)]
    layer = nn.BatchNorm1d(3, momentum=None, unbiased=unbiased)
    model = nn.Sequential(layer, nn.Linear(3, 1)).to("float64")
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.SGD(lr=0.0))
    for batch in batches:
        trainer.train_step(batch, np.zeros((len(batch), 1)))
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean([b.mean(axis=0) for b in batches], axis=0))
    expected = np.mean([b.var(axis=0, ddof=int(unbiased)) for b in batches], axis=0)
    np.testing.assert_allclose(layer.running_var.numpy(), expected)
    assert layer.num_batches_tracked.numpy() == 3
    layer(batches[0], training=True)
    assert layer.num_batches_tracked.numpy() == 3, "the Monte-Carlo path changes no statistics"


def test_cumulative_statistics_load_from_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm1d(3, momentum=None)
    theirs(torch.randn(5, 3))
    ours = nn.BatchNorm1d(3, momentum=None)
    ours.load_state_dict(theirs.state_dict())
    assert ours.num_batches_tracked.numpy() == 1
    nn.BatchNorm1d(3).load_state_dict(theirs.state_dict())


def test_batch_norm_can_be_the_identity():
    """gamma = sqrt(var + eps), beta = mean undo the normalisation (Ioffe & Szegedy 2015, section 3)."""
    x = RNG.standard_normal((50, 4)) * [1, 2, 3, 4] + [5, 0, -5, 1]
    layer = nn.BatchNorm1d(4).to("float64")
    layer.weight = np.sqrt(x.var(axis=0) + layer.eps)
    layer.bias = x.mean(axis=0)
    np.testing.assert_allclose(layer(x, training=True), x, rtol=1e-12)
