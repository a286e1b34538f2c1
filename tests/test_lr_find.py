"""The range test: a known optimum is found, and nothing of the trainer changes."""

import numpy as np
import pytest
from helpers.training import blobs, trainer, weights

import fastnn
import fastnn.cli
from fastnn import Trainer, diagnostics, nn, optim
from fastnn.training import Feed
from fastnn.training.feed.rows import epoch_order
from fastnn.training.state import preserved


def everything(t):
    arrays, values = t.state_dict()
    return {name: array.tobytes() for name, array in arrays.items()}, values


def worked(**options):
    """A trainer with a past: moments, averages, statistics, a schedule."""
    t = trainer(nn.BatchNorm1d(16), nn.Dropout(0.2), ema=0.9, **options)
    t.scheduler = optim.StepLR(1)
    x, y = blobs(200)
    t.fit(x, y, epochs=2, progress=False)
    return t, x, y


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}])
def test_nothing_changes_and_training_goes_on_as_if_it_had_not_been(options):
    with_test, x, y = worked(**options)
    without = worked(**options)[0]
    before, scheduler = everything(with_test), with_test.scheduler
    test = diagnostics.lr_find(with_test, x, y, validation_data=(x, y), steps=40, batch_size=32)
    assert everything(with_test) == before
    assert with_test.scheduler is scheduler
    assert test.lr[0] == 1e-6
    for t in (with_test, without):
        t.fit(x, y, epochs=2, progress=False)
    assert weights(with_test.model) == weights(without.model)
    assert with_test.history["loss"] == without.history["loss"]


def test_nothing_changes_in_a_fresh_trainer_either():
    x, y = blobs(200)
    fresh, untouched = trainer(ema=0.9), trainer(ema=0.9)
    diagnostics.lr_find(fresh, x, y)
    assert everything(fresh) == everything(untouched)
    for t in (fresh, untouched):
        t.fit(x, y, epochs=2, progress=False)
    assert everything(fresh)[0] == everything(untouched)[0]


def test_the_losses_are_those_of_steps_at_these_rates():
    x, y = blobs(64)
    t, twin = trainer(), trainer()
    test = diagnostics.lr_find(t, x, y, steps=20, start=1e-4, end=1.0, batch_size="full", divergence=1e9)
    order = np.concatenate([epoch_order(64, True, 0, epoch) for epoch in range(20)]).reshape(20, 64)
    for i, rows in enumerate(order):
        twin.optimizer.lr = test.lr[i]
        assert twin.train_step(x[rows], y[rows]) == test.loss[i]
    np.testing.assert_allclose(test.lr, np.geomspace(1e-4, 1, 20))


def test_the_rate_is_found_on_what_will_be_trained_on():
    """Rows, augmentation and curriculum could not be given."""
    x, y = blobs(200)
    hard = np.abs(x).sum(axis=1)
    seen = []

    def augment(images, seed, first):
        seen.append(len(images))
        return images * np.float32(0.5)

    options = {"steps": 30, "batch_size": 32, "end": 1e-2}
    t = trainer()
    part = diagnostics.lr_find(t, x[:80], y[:80], **options)
    np.testing.assert_array_equal(
        diagnostics.lr_find(t, x, y, feed=Feed(rows=np.arange(80)), **options).loss, part.loss
    )
    halved = diagnostics.lr_find(t, x, y, feed=Feed(augment=augment), **options)
    np.testing.assert_array_equal(halved.loss, diagnostics.lr_find(t, x * np.float32(0.5), y, **options).loss)
    assert sum(seen) >= 30 * 28
    easy_first = diagnostics.lr_find(t, x, y, feed=Feed(curriculum=hard), **options)
    order = np.argsort(hard, kind="stable")[:32]
    assert easy_first.loss[0] == trainer().train_step(x[order], y[order])
    assert t.step == t.epoch == 0


def test_a_quadratic_of_known_limit():
    """SGD on mean(w²)·c/2 diverges beyond 2 / c: the upper bound and the suggestion lie below, near it."""
    curvature = 10.0
    model = nn.Sequential(nn.Linear(4, 1, bias=False, init="ones")).to("float64")

    def loss(output, target):
        return (output * output).mean() * (curvature / 2)

    t = Trainer(model, loss, optim.SGD(lr=0.1))
    # mean of (x w)² = |w|² but for the smaller rows: equal weights could become exactly 0, and then nothing diverges
    x = np.tile(np.diag([2.0, 1.9, 1.8, 1.7]), (8, 1))
    test = diagnostics.lr_find(t, x, np.zeros((32, 1)), batch_size="full", start=1e-5, end=10, steps=100)
    limit = 2 / curvature
    low, high = test.bounds
    assert test.diverged
    assert low < test.suggestion <= high <= limit * 1.7
    assert test.suggestion > limit / 50
    assert test.lr[-1] > limit
    assert repr(test).startswith("RangeTest(")


def test_groups_keep_their_ratio():
    x, y = blobs(64)
    t = Trainer(nn.Sequential(nn.Linear(6, 3), seed=1), nn.CrossEntropyLoss(),
                optim.SGD(lr=0.2, groups=[{"params": "*.bias", "lr": 0.1}]))  # fmt: skip
    seen = []
    t.gradient_hook = lambda gradients: seen.append({k: v.copy() for k, v in t.model.state_dict().items()} | {
        "gradient": gradients["0.bias"].copy()})  # fmt: skip
    diagnostics.lr_find(t, x, y, start=0.01, end=0.1, steps=10)
    moved = seen[1]["0.bias"] - seen[0]["0.bias"]
    np.testing.assert_allclose(moved, -0.005 * seen[0]["gradient"], rtol=1e-3, atol=1e-8)


def test_the_validation_loss_is_watched():
    x, y = blobs(300)
    t = trainer()
    test = diagnostics.lr_find(t, x, y, validation_data=blobs(100, seed=5), steps=80)
    assert 20 <= len(test.validation_lr) == len(test.validation_loss) <= 80
    assert test.bounds[1] <= test.validation_lr[np.argmin(test.validation_loss)]
    assert test.validation_loss[0] == pytest.approx(t.evaluate(*blobs(100, seed=5))["loss"], rel=0.05)


def test_it_says_when_no_rate_helps():
    x, y = blobs(64)
    t = trainer()
    t.optimizer = optim.SGD(lr=0.1, maximize=True)
    test = diagnostics.lr_find(t, x, y, steps=30, batch_size="full")
    with pytest.raises(ValueError, match="the loss fell at no rate between 1e-06 and"):
        assert test.suggestion
    assert "the loss fell at no rate" in repr(test)


@pytest.mark.parametrize("optimizer", [optim.Adam(), optim.SGD(lr=0.1, momentum=0.9)], ids=repr)
@pytest.mark.parametrize("norm", [False, True])
def test_the_suggestion_lies_inside_the_bounds_and_away_from_the_ends(optimizer, norm):
    """The centred mean narrowed to one batch at the ends: every second run suggested the smallest rate, 1e-6."""
    x, y = fastnn.data.load_digits()
    for seed in range(4):
        middle = [nn.BatchNorm1d(32)] if norm else []
        model = nn.Sequential(nn.Linear(64, 32), *middle, nn.ReLU(), nn.Linear(32, 10), seed=seed)
        t = Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=seed)
        test = diagnostics.lr_find(t, x / 16, y, batch_size=32)
        low, high = test.bounds
        assert 10 * test.lr[0] < low < test.suggestion < high
        assert 3e-4 < test.suggestion < 1.0


def curve(losses, validation=None, diverged=False):
    from fastnn.diagnostics.lr_finder import RangeTest

    return RangeTest(np.geomspace(1e-6, 10, len(losses)), np.array(losses), validation, diverged)


def falling(count=100, low=0.45, high=0.75):
    """A loss of 2 that falls to 1 between two shares of the steps."""
    return np.interp(np.arange(count) / count, [low, high], [2.0, 1.0])


@pytest.mark.parametrize("count", [10, 11, 30, 100, 400])
def test_a_clean_fall_is_found_however_many_steps(count):
    test = curve(falling(count))
    low, high = np.geomspace(1e-6, 10, count)[[int(0.4 * count), min(int(0.85 * count), count - 1)]]
    assert low <= test.bounds[0] <= test.suggestion <= test.bounds[1] <= high


def test_noise_at_the_first_batches_is_no_fall(rng):
    for _ in range(20):
        losses = falling() + 0.2 * rng.normal(size=100)
        losses[:2] = 3.0, 1.2  # the steepest fall of all, of two batches
        assert 1e-4 < curve(losses).suggestion < 3e-1


def test_a_fall_no_larger_than_the_noise_is_refused(rng):
    for _ in range(20):
        test = curve(2.0 + 0.3 * rng.normal(size=100))
        for ask in ("suggestion", "bounds"):
            with pytest.raises(ValueError, match="at no rate|no more than its batches differ.*larger batches"):
                getattr(test, ask)


def test_a_fall_at_the_smallest_rate_is_refused():
    x, y = blobs(300)
    test = diagnostics.lr_find(trainer(), x, y, start=0.003, batch_size=32)
    with pytest.raises(ValueError, match="falls already at the smallest rate 0.003: give a smaller start="):
        assert test.suggestion
    assert "already at the smallest rate" in repr(test)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_documented_command_reaches_its_score(seed, tmp_path, monkeypatch, capsys):
    """It trained digits to 11.7 % in every second run."""
    monkeypatch.chdir(tmp_path)
    command = "train digits --lr-find --schedule onecycle --augment shift=1,rotate=8 --ema 0.99 --early-stopping 10"
    assert fastnn.cli.main([*command.split(), "--no-plot", "--seed", str(seed)]) == 0
    test = fastnn.io.load_model_file("digits.safetensors").training["results"]["test"]
    assert test["accuracy"] >= 0.975, capsys.readouterr().out


def test_a_validation_loss_that_never_falls_leaves_no_bounds():
    rates = np.geomspace(1e-6, 10, 100)[::10]
    with pytest.raises(ValueError, match="the validation loss fell at no rate"):
        assert curve(falling(), (rates, np.arange(1.0, 11.0))).suggestion
    bounded = curve(falling(), (rates, np.abs(np.arange(10) - 5.0)))
    assert bounded.suggestion <= bounded.bounds[1] <= rates[5]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 0}, "start and end must be rates with 0 < start < end"),
        ({"start": 2, "end": 1}, "start and end must be rates"),
        ({"steps": 5}, "steps must be an integer >= 10, got 5"),
        ({"divergence": 1}, "divergence must be a number above 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_options(options, message):
    x, y = blobs(64)
    with pytest.raises(ValueError, match=message):
        diagnostics.lr_find(trainer(), x, y, **options)


def test_plot_shows_curve_bounds_and_suggestion(tmp_path):
    pytest.importorskip("matplotlib")
    x, y = blobs(300)
    test = diagnostics.lr_find(trainer(), x, y, validation_data=blobs(100, seed=5))
    display = test.plot()
    labels = [line.get_label() for line in display.axes_.lines]
    assert labels[:3] == ["batch", "smoothed", "validation"]
    assert display.axes_.get_xscale() == "log"
    display.figure_.savefig(tmp_path / "test.png")
    assert isinstance(display, fastnn.plot.RangeTestDisplay)


def test_a_snapshot_survives_an_error_and_a_change_of_optimizer():
    t, x, y = worked()
    before = everything(t)
    optimizer = t.optimizer
    with pytest.raises(KeyError), preserved(t):
        t.train_step(x, y)
        t.optimizer = optim.SGD(lr=1.0)
        t.train_step(x, y)
        t.optimizer = optimizer
        t.optimizer.lr = 7.0
        raise KeyError
    assert everything(t) == before
    t.train_step(x, y)
