"""Health of units, gradients and updates; bias and variance; the rate; learning curves."""

import warnings

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights

from fastnn import LambdaCallback, ModelCheckpoint, Trainer, diagnostics, nn, optim
from fastnn.data import load_digits
from fastnn.diagnostics import bias_variance, guessing_loss, health, judge_rate, learning_curve, unit_statistics
from fastnn.diagnostics.layer_health import Weight
from fastnn.diagnostics.units import Layer, unit_drift

# ---- bias and variance: the syllabus's examples -----------------------------------------------------------------


@pytest.mark.parametrize(
    "train, dev, optimal, verdict",
    [
        (0.01, 0.11, 0.0, "high variance"),
        (0.15, 0.16, 0.0, "high bias"),
        (0.15, 0.30, 0.0, "high bias and high variance"),
        (0.005, 0.01, 0.0, "good"),
        (0.15, 0.16, 0.15, "good"),
    ],
)
def test_bias_and_variance(train, dev, optimal, verdict):
    judged = bias_variance(train, dev, optimal)
    assert judged.verdict == verdict
    assert judged.avoidable_bias == pytest.approx(train - optimal)
    assert judged.variance == pytest.approx(dev - train)
    text = str(judged)
    assert f"{train:.2%}" in text  # the numbers that it rests on
    assert ("larger network" in text) == ("bias" in verdict and verdict != "good")
    assert ("more data" in text) == ("variance" in verdict)


def test_a_small_gap_at_poor_accuracy_means_a_larger_model():
    assert "larger network" in bias_variance(0.40, 0.41).advice[0]
    assert "small gap" in bias_variance(0.40, 0.41).advice[0]


def test_a_train_dev_part_tells_variance_from_mismatch():
    judged = bias_variance(0.01, 0.10, train_dev_error=0.015)
    assert judged.verdict == "data mismatch"
    assert judged.mismatch == pytest.approx(0.085)
    assert bias_variance(0.01, 0.10, train_dev_error=0.09).verdict == "high variance"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((15, 16, 15), "optimal_error must be a share below 1"),
        ((-0.1, 0.2), "train_error must be a share >= 0"),
        ((0.1, float("nan")), "dev_error must be a share >= 0"),
    ],
)
def test_errors_are_shares(arguments, message):
    with pytest.raises(ValueError, match=message):
        bias_variance(*arguments)


# ---- the rate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lr, verdict", [(3e-4, "too low"), (0.02, "good"), (0.19, "too high"), (0.25, "diverging"), (40.0, "diverging")]
)
def test_the_rate_of_gradient_descent_on_a_quadratic(lr, verdict):
    """J = c/2 w², c = 10, with noisy gradients: below 2 / c it settles at a level that grows with the rate."""
    rng = np.random.default_rng(0)
    w, losses = 1.0, []
    for _ in range(12):
        loss = 0.0
        for _ in range(5):
            loss += w * w
            w -= lr * (10 * w + 1.5 * rng.normal())
        losses.append(loss)
    judged = judge_rate(losses)
    assert judged.verdict == verdict, str(judged)


@pytest.mark.filterwarnings("ignore:epoch 0. the training loss")
def test_the_rate_of_real_trainings():
    x, y = blobs(400, seed=2)
    found = {}
    for lr in (1e-5, 0.1, 3e5):
        t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=lr))
        found[lr] = judge_rate(t.fit(x, y, epochs=8, batch_size=32, progress=False)).verdict
    assert found[1e-5] == "too low"
    assert found[0.1] == "good"
    assert found[3e5] in ("too high", "diverging")
    assert judge_rate([1.0, 0.5]).verdict == "unclear"
    assert judge_rate([1.0, float("inf"), 0.1]).verdict == "diverging"


@pytest.mark.parametrize("lr", [3.0, 30.0])
@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_a_rate_that_learns_nothing_is_not_good(optimizer, lr):
    """Rates of 3 to 30 with 10 % accuracy were good, because the loss fell from where they had thrown it."""
    x, y = load_digits()
    t = Trainer(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), seed=1), nn.CrossEntropyLoss(),
                optimizer(lr=lr), metrics=["accuracy"])  # fmt: skip
    before = t.evaluate(x / 16, y)["loss"]
    history = t.fit(x / 16, y, epochs=6, batch_size=64, progress=False)
    assert t.evaluate(x / 16, y)["accuracy"] < 0.3
    guessing = guessing_loss(t.loss, y, (10,), np.float32)
    assert guessing == pytest.approx(np.log(10), rel=1e-3)
    assert judge_rate(history, before=before, guessing=guessing).verdict in ("too high", "diverging")
    assert judge_rate(history, guessing=guessing).verdict != "good"
    found = diagnostics.diagnose(t, (x / 16, y), (x / 16, y), check_health=False)
    if found.rate.verdict in ("too high", "diverging"):
        assert "larger network" not in " ".join(found.advice)


def test_a_curve_at_the_level_of_guessing_is_no_progress():
    losses = [2.5, 2.33, 2.31, 2.305, 2.303]
    assert judge_rate(losses).verdict == "good"
    judged = judge_rate(losses, before=2.6, guessing=2.303)
    assert judged.verdict == "no progress" and "where guessing has 2.303" in judged.reason
    assert judge_rate(losses, before=2.4, guessing=1.0).verdict == "too high"
    assert judge_rate([2.5, 2.3, 2.3, 2.7], before=2.6).verdict == "diverging"


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        (nn.CrossEntropyLoss(), np.array([0, 0, 0, 1]), 0.5623351),
        (nn.CrossEntropyLoss(ignore_index=-1), np.array([0, 0, 0, 1, -1]), 0.5623351),
        (nn.CrossEntropyLoss(), np.array([[0.5, 0.5], [0.5, 0.5]]), np.log(2)),
        (nn.BCEWithLogitsLoss(), np.array([[1.0], [0.0]]), np.log(2)),
        (nn.BCELoss(), np.array([[1.0], [0.0]]), np.log(2)),
        (nn.MSELoss(), np.array([[1.0], [3.0]]), 1.0),
        (nn.MSELoss(reduction="sum"), np.array([[1.0], [3.0]]), 1.0),
        (nn.PoissonNLLLoss(), np.array([[1.0], [3.0]]), 2 - 2 * np.log(2)),
    ],
)  # fmt: skip
def test_guessing_is_the_loss_of_the_mean(loss, target, expected):
    shape = (2,) if type(loss) is nn.CrossEntropyLoss else (1,)
    assert guessing_loss(loss, target, shape, np.float64) == pytest.approx(expected)


# ---- units ------------------------------------------------------------------------------------------------------


def test_unit_statistics_counts_dead_linear_and_saturated_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 1), seed=0)
    first = np.zeros((4, 3), np.float32)
    first[2:] = rng.normal(size=(2, 3))
    model[0].weight.assign(first)
    model[0].bias.assign([-1.0, 1.0, 0.0, 0.0])  # dead, linear (all rows pass), two that work
    model[2].weight.assign(np.diag([0, 0, 1.0, 0])[[1, 2, 3]] * np.array([[1.0], [0.1], [1]]))
    model[2].bias.assign([9.0, 0.0, -5.0])  # saturated above, nearly linear, saturated below
    relu, sigmoid = unit_statistics(model, x)
    assert (relu.path, relu.activation, relu.units) == ("1", "relu", 4)
    np.testing.assert_array_equal(relu.dead, [True, False, False, False])
    np.testing.assert_array_equal(relu.linear, [False, True, False, False])
    a = x @ first.T + [-1, 1, 0, 0]
    h = np.maximum(a, 0)
    assert relu.mean == pytest.approx(h.mean(), rel=1e-5)
    assert relu.std == pytest.approx(h.std(), rel=1e-5)
    assert relu.active == pytest.approx((a > 0).mean(), abs=1e-9)
    assert sigmoid.saturated == pytest.approx(2 / 3)
    np.testing.assert_array_equal(sigmoid.linear, [False, True, False])
    np.testing.assert_allclose(sigmoid.input_variance, [0, (0.1 * h[:, 2]).var(), 0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("activation", "limit"), [("sigmoid", 2.0), ("tanh", 0.5)])
def test_linear_is_the_same_curve_in_other_units(activation, limit, rng):
    """The logistic's limit of variance 2 was applied to tanh, whose equivalent is 0.5: sound nets looked linear."""
    function = {"sigmoid": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh}[activation]
    a = rng.normal(size=(20000, 1))
    a = (a - a.mean()) / a.std()
    for variance, linear in ((0.8 * limit, True), (1.3 * limit, False)):
        layer = Layer("1", activation, np.sqrt(variance) * a, function(np.sqrt(variance) * a))
        assert layer.linear[0] == linear
    at_limit = Layer("1", activation, np.sqrt(limit) * a, function(np.sqrt(limit) * a))
    assert at_limit.linear_fit[0] == pytest.approx(0.964, abs=0.005)


@pytest.mark.parametrize("activation", [nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.ReLU])
def test_saturation_is_where_the_derivative_vanishes(activation):
    """It was 0 for SELU at -4, where the derivative is 0.03."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False, init="ones"), activation(), nn.Linear(1, 1))
    (layer,) = unit_statistics(model, np.array([[-5.0], [-4.0], [0.0], [5.0]], np.float32))
    assert layer.saturated == {nn.ReLU: 0.0, nn.Tanh: 0.75, nn.Sigmoid: 0.75}.get(activation, 0.5)


def test_unit_statistics_follows_any_module():
    class Net(nn.Module):
        def __init__(self):
            self.inner = nn.Residual(nn.Linear(6, 6), nn.Tanh())
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.inner(x))

    layers = unit_statistics(Net(), blobs(50)[0])
    assert [layer.activation for layer in layers] == ["tanh"]
    assert layers[0].path.startswith("inner")


# ---- gradients and updates --------------------------------------------------------------------------------------


def test_health_measures_the_step_and_changes_nothing():
    x, y = blobs(100)
    t = trainer(nn.BatchNorm1d(16), nn.Dropout(0.2), ema=0.9, clip_grad_norm=1.0)
    t.fit(x, y, epochs=1, progress=False)
    arrays, values = t.state_dict()
    before = {name: array.tobytes() for name, array in arrays.items()}
    found = health(t, x, y, rows=64)
    arrays, again = t.state_dict()
    assert {name: array.tobytes() for name, array in arrays.items()} == before
    assert again == values
    assert t.gradient_hook is None
    start = t.model.state_dict()
    assert t.train_step(x[:64], y[:64]) == found.loss
    after = t.model.state_dict()
    for weight in found.weights:
        change = np.linalg.norm(after[weight.name].astype(float) - start[weight.name])
        assert weight.update_norm == pytest.approx(change, rel=1e-6)
        assert weight.norm == pytest.approx(np.linalg.norm(start[weight.name].astype(float)), rel=1e-6)
    assert "one-sided" in str(found)
    summary = found.summary()
    assert summary["weight_norm"] == pytest.approx(
        np.linalg.norm(np.concatenate([a.ravel() for n, a in start.items() if n in dict(t.model.named_parameters())])),
        rel=1e-5,
    )
    ratios = [weight.norm / weight.gradient_norm for weight in found.matrices]
    assert summary["trust_ratio"] == pytest.approx(np.median(ratios))


def deep(width, depth, scale, activation=nn.Tanh):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 3), seed=0)
    rng = np.random.default_rng(0)
    for i in range(0, 2 * depth, 2):
        model[i].weight.assign(scale * rng.normal(size=(width, width)) / np.sqrt(width))
    return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.01))


@pytest.mark.parametrize(
    "activation, scale, word",
    [(nn.Sigmoid, 1.0, "gradients vanish"), (nn.Identity, 1.0, None), (nn.Identity, 4.0, "gradients explode")],
)
def test_vanishing_and_exploding_gradients(activation, scale, word):
    """Ten layers with weights of deviation s / sqrt(n): each multiplies the gradient by s and the derivative <= 1/4."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(128, 32)).astype(np.float32), rng.integers(0, 3, 128)
    found = health(deep(32, 10, scale, activation), x, y)
    told = " ".join(found.problems)
    assert ("gradients vanish" in told) == (word == "gradients vanish")
    assert ("gradients explode" in told) == (word == "gradients explode")
    if word == "gradients vanish":
        assert found.summary()["gradient_span"] > 1e3


def test_saturation_and_rates_are_told():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(128, 32)).astype(np.float32), rng.integers(0, 3, 128)
    assert any("|a| >= 4" in problem for problem in health(deep(32, 2, 8.0), x, y).problems)
    fast, slow = deep(32, 2, 1.0), deep(32, 2, 1.0)
    fast.optimizer.lr, slow.optimizer.lr = 300.0, 1e-6
    assert any("the rate is too high" in problem for problem in health(fast, x, y).problems)
    assert any("the rate is too low" in problem for problem in health(slow, x, y).problems)
    assert deep(32, 2, 1.0).optimizer.lr == 0.01


def test_positive_inputs_make_one_sided_updates():
    """With inputs of one sign all weights of a unit move in one direction: LeCun et al. 1998, section 4.3."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 128)
    x = rng.normal(size=(128, 6)).astype(np.float32)
    for data, low, high in ((np.abs(x) + 1, 0.9, 1.0), (x, 0.5, 0.85)):
        t = Trainer(nn.Sequential(nn.Linear(6, 3), seed=0), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
        (weight,) = health(t, data, y).matrices
        assert low <= weight.one_sided <= high


def test_units_that_do_not_move_are_not_counted_as_balanced(rng):
    """They counted as 0, though one-sided cannot be below 0.5; biases always showed 100 %."""
    before, moved = np.zeros((4, 6)), rng.normal(size=6)
    after = before.copy()
    after[1], after[2] = np.abs(moved), [1, 1, -1, 1, -1, -1]
    assert Weight("w", before, before, after).one_sided == pytest.approx((1.0 + 0.5) / 2)
    assert np.isnan(Weight("w", before, before, before).one_sided)
    assert np.isnan(Weight("b", np.zeros(4), np.zeros(4), np.ones(4)).one_sided)
    x, y = blobs(64)
    t = trainer()
    t.model[0].bias.assign(np.full(16, -1e3))  # dead: nothing of the layer moves
    found = health(t, x, y)
    assert np.isnan(found.weights[0].one_sided)
    lines = {line.split()[0]: line.split()[-1] for line in str(found).splitlines() if line.startswith(("0.", "2."))}
    assert lines["0.weight"] == lines["0.bias"] == lines["2.bias"] == "-"
    assert lines["2.weight"].endswith("%") or lines["2.weight"] == "-"


def test_drift_is_the_share_of_a_change_that_all_rows_have_in_common(rng):
    """Drift in deviations of the outputs ranked SELU above ReLU."""
    a = rng.normal(size=(1000, 3))
    noise = rng.normal(size=(1000, 3))
    noise -= noise.mean(axis=0)
    assert unit_drift([a], [a + [1.0, -2.0, 3.0]]) == pytest.approx(1.0)
    assert unit_drift([a], [a + noise]) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(unit_drift([a], [a])) and np.isnan(unit_drift([], []))
    x, y = blobs(400)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found = {}
    for activation in (nn.ReLU, nn.SELU):
        layers = [layer for i in range(4) for layer in (nn.Linear(6 if i == 0 else 32, 32), activation())]
        t = Trainer(nn.Sequential(*layers, nn.Linear(32, 3), seed=0), nn.CrossEntropyLoss(), optim.SGD(lr=0.02))
        history = t.fit(x, y, epochs=4, progress=False, callbacks=diagnostics.HealthMonitor(warn=False))
        assert np.isnan(history["unit_drift"][0])
        found[activation] = np.mean(history["unit_drift"][1:])
    assert found[nn.SELU] < 0.7 * found[nn.ReLU]


def test_drift_goes_on_in_a_resumed_fit(tmp_path):
    x, y = blobs(200)
    whole, first, second = trainer(), trainer(), trainer()
    monitor = lambda: diagnostics.HealthMonitor(warn=False, rows=32)  # noqa: E731
    whole.fit(x, y, epochs=4, progress=False, callbacks=monitor())
    path = tmp_path / "run.ckpt"

    def crash(epoch, logs):
        if epoch == 1:
            raise KeyError

    with pytest.raises(KeyError):
        first.fit(x, y, epochs=4, progress=False, callbacks=[
            monitor(), ModelCheckpoint(path), LambdaCallback(on_epoch_end=crash)])  # fmt: skip
    second.fit(x, y, epochs=4, progress=False, resume=path, callbacks=[
        monitor(), ModelCheckpoint(path), LambdaCallback()])  # fmt: skip
    np.testing.assert_array_equal(second.history["unit_drift"], whole.history["unit_drift"])


def test_monitor_fills_the_history_and_warns_once():
    x, y = blobs(200)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.01))
    t.model[0].bias.assign(np.full(16, -1e3))  # all units dead
    plain = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.01))
    plain.model[0].bias.assign(np.full(16, -1e3))
    monitor = diagnostics.HealthMonitor(rows=64)
    with pytest.warns(diagnostics.HealthWarning) as caught:
        history = t.fit(x, y, epochs=3, callbacks=[monitor], progress=False)
    told = [str(warning.message) for warning in caught]
    assert sum("dead" in text for text in told) == 1
    assert told[0].startswith("epoch 0: layer 1 (relu, 16 units): 100% of the units are dead")
    assert history["dead_units"] == [1.0, 1.0, 1.0]
    assert {"saturated", "linear_units", "gradient_span", "update_ratio", "unit_drift"} <= set(history.keys())
    assert {"gradient_norm", "weight_norm", "trust_ratio"} <= set(history.keys())
    assert len(monitor.problems) == 3
    plain.fit(x, y, epochs=3, progress=False)
    assert weights(plain.model) == weights(t.model)  # watching changes nothing
    assert plain.history["loss"] == history["loss"]


def test_monitor_watches_iterables():
    x, y = blobs(64)
    t = trainer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", diagnostics.HealthWarning)
        history = t.fit(iter([(x, y)]), epochs=1, callbacks=diagnostics.HealthMonitor(), progress=False)
    assert history["update_ratio"][0] > 0


# ---- diagnose ---------------------------------------------------------------------------------------------------


def test_diagnose_puts_it_together():
    x, y = blobs(400)
    t = trainer(metrics="accuracy")
    t.fit(x[:300], y[:300], epochs=6, batch_size=32, progress=False)
    before = weights(t.model)
    found = diagnostics.diagnose(t, (x[:300], y[:300]), (x[300:], y[300:]))
    assert weights(t.model) == before
    assert found.errors["training"] == pytest.approx(1 - t.evaluate(x[:300], y[:300])["accuracy"])
    assert found.errors["development"] == pytest.approx(1 - t.evaluate(x[300:], y[300:])["accuracy"])
    assert found.bias_variance.verdict == "good"
    assert found.shifted == []
    assert "verdict: good" in str(found)
    moved = x[300:].copy()
    moved[:, 2] += 5 * x[:, 2].std()
    found = diagnostics.diagnose(t, (x[:300], y[:300]), (moved, y[300:]), train_dev=(x[300:], y[300:]), test=(x, y))
    assert [feature for feature, _ in found.shifted] == [2]
    assert found.shifted[0][1] == pytest.approx(5, rel=0.1)
    assert any("1 of 6 features differ in mean" in line for line in found.advice)
    assert set(found.errors) == {"training", "train-dev", "development", "test"}


def test_diagnose_of_a_regression_counts_unexplained_variance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = x @ [1.0, -2.0, 0.5, 0.0] + rng.normal(size=300)  # 1 of 6.25 cannot be explained
    t = Trainer(nn.Sequential(nn.Linear(4, 1), seed=1), nn.MSELoss(), optim.Adam(lr=0.05))
    t.fit(x[:200], y[:200], epochs=40, progress=False)
    found = diagnostics.diagnose(t, (x[:200], y[:200]), (x[200:], y[200:]), optimal_error=1 / 6.25, tolerance=0.08)
    assert found.errors["training"] == pytest.approx(1 / 6.25, abs=0.05)
    assert found.bias_variance.verdict == "good"
    assert "high bias" in diagnostics.diagnose(t, (x, y), (x, y), check_health=False).bias_variance.verdict
    with pytest.raises(TypeError, match=r"the development part must be \(x, y\)"):
        diagnostics.diagnose(t, (x, y), x)


# ---- learning curve ---------------------------------------------------------------------------------------------


def test_learning_curve_trains_on_nested_parts(tmp_path):
    x, y = blobs(300)
    seen = []

    def factory():
        t = trainer(metrics="accuracy")
        seen.append(t)
        return t

    curve = learning_curve(factory, x, y, validation_data=blobs(200, seed=9), sizes=(0.1, 90, 1.0), epochs=3)
    assert curve.rows == [30, 90, 300]
    assert [t.step for t in seen] == [3, 3, 9]
    train, validation = curve.column("accuracy")
    assert len(train) == len(validation) == 3
    assert validation[-1] == seen[-1].evaluate(*blobs(200, seed=9))["accuracy"]
    assert any("from 90 to 300 rows the validation accuracy changed by" in line for line in curve.advise())
    for size in (0, 301, 1.5):
        with pytest.raises(ValueError, match="a size is a share"):
            learning_curve(factory, x, y, validation_data=(x, y), sizes=[size], epochs=1)
    pytest.importorskip("matplotlib")
    display = curve.plot("accuracy")
    np.testing.assert_array_equal(display.axes_.lines[1].get_ydata(), validation)
    display.figure_.savefig(tmp_path / "curve.png")


def test_diagnostics_read_trainers_and_are_read_by_none():
    """No package below imports them, not inside functions either."""
    import re
    from pathlib import Path

    import fastnn

    root = Path(fastnn.__file__).parent
    below = ("kernels", "graph", "nn", "optim", "training", "data", "io", "plot")
    for folder in below:
        for path in (root / folder).rglob("*.py"):
            code = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(from|import) .*\bdiagnostics\b", code, re.MULTILINE), path
