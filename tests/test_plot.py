"""Displays: what they draw, read back from the axes."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from fastnn import Trainer, nn, optim
from fastnn.ensemble import Bagging
from fastnn.plot import (
    BaggingDisplay,
    ConfusionMatrixDisplay,
    HistogramDisplay,
    HistoryDisplay,
    SearchDisplay,
)
from fastnn.search import choice, log_uniform, one_minus_log_uniform
from fastnn.search.space import check_space
from fastnn.training.history import History

HISTORY = {
    "epoch": [0, 1, 2],
    "loss": [2.0, 0.5, 0.1],
    "val_loss": [1.5, 0.6, 0.2],
    "val_accuracy": [0.5, 0.8, None],
    "lr": [1e-3] * 3,
    "seconds": [1.0] * 3,
}


def test_curves_of_a_history():
    pytest.importorskip("matplotlib")
    display = HistoryDisplay.from_history(HISTORY).plot()
    assert [axis.get_ylabel() for axis in display.axes_] == ["loss", "accuracy"]
    loss, accuracy = display.axes_
    lines = {line.get_label(): line for line in loss.get_lines()}
    assert list(lines["training"].get_ydata()) == [2.0, 0.5, 0.1]
    assert list(lines["validation"].get_xdata()) == [1, 2, 3]
    assert loss.get_yscale() == "log" and accuracy.get_yscale() == "linear"
    assert display.figure_ is loss.figure


def test_a_history_keeps_both_training_losses_and_few_panels():
    """`train_loss` was dropped with eval_train=True; the columns of HealthMonitor were nine panels in one strip."""
    pytest.importorskip("matplotlib")
    columns = {**HISTORY, "train_loss": [1.0, 0.4, 0.05], "train_accuracy": [0.6, 0.9, 1.0]}
    columns |= dict.fromkeys(["dead_units", "linear_units", "saturated", "unit_drift"], [0.0, 0.1, 0.2])
    columns |= {"gradient_span": [1.0, 30.0, 900.0], "update_ratio": [1e-3] * 3, "penalty": [1.0] * 3}
    display = HistoryDisplay.from_history(columns).plot()
    labels = [axis.get_ylabel() for axis in display.axes_]
    assert labels == ["loss", "accuracy", "penalty", "units (shares)", "largest / smallest gradient", "update / weight"]
    lines = {line.get_label(): list(line.get_ydata()) for line in display.axes_[0].get_lines()}
    assert lines["training, inference mode"] == [1.0, 0.4, 0.05] and lines["training"] == HISTORY["loss"]
    assert [line.get_label() for line in display.axes_[3].get_lines()] == [
        "dead",
        "linear",
        "saturated inputs",
        "drift",
    ]
    assert display.axes_[4].get_yscale() == "log"
    boxes = [axis.get_subplotspec() for axis in display.axes_]
    assert {(box.rowspan.start, box.colspan.start) for box in boxes} == {(r, c) for r in range(2) for c in range(3)}


def test_several_histories_side_by_side():
    pytest.importorskip("matplotlib")
    other = {**HISTORY, "loss": [3.0, 2.0, 1.0]}
    display = HistoryDisplay.from_histories({"Adam": HISTORY, "SGD": other}, ("loss", "val_f1", "val_loss")).plot()
    assert [axis.get_ylabel() for axis in display.axes_] == ["loss", "validation loss"]
    assert [list(line.get_ydata()) for line in display.axes_[0].get_lines()] == [HISTORY["loss"], other["loss"]]


def a_history():
    history = History()
    for i in range(100):
        history.add(i, {"loss": 2.0 * 0.95**i, "val_loss": None if i == 0 else 2.1 * 0.95**i})
    return history


def test_a_history_draws_itself():
    pytest.importorskip("matplotlib")
    assert isinstance(a_history().plot(), HistoryDisplay)


def test_a_history_without_matplotlib_is_drawn_in_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert a_history().plot() is None
    loss, validation = capsys.readouterr().out.splitlines()
    assert loss.startswith("loss              2 ████") and loss.endswith("▁ 0.01246")
    assert validation.split()[:2] == ["val_loss", "-"] and validation.split()[2].startswith("×")
    assert len(loss.split()[2]) == len(validation.split()[2]) == 60
    assert History().text() == "no epochs yet"


def test_own_axes_and_errors():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots(1, 2)
    display = HistoryDisplay.from_history(HISTORY).plot(axes, log_loss=False)
    assert display.axes_[0] is axes[0] and axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match="2 quantities .loss, accuracy. need as many axes, not 1"):
        HistoryDisplay.from_history(HISTORY).plot(axes[0])
    with pytest.raises(ValueError, match="nothing to draw"):
        HistoryDisplay.from_history({"epoch": []})


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, fastnn.plot as p; p.HistoryDisplay({'loss': {}}); print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_confusion_matrix_against_counting():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    true, guess = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    display = ConfusionMatrixDisplay.from_predictions(true, guess, display_labels=list("abcd")).plot()
    counts = [[sum((true == i) & (guess == j)) for j in range(4)] for i in range(4)]
    np.testing.assert_array_equal(display.confusion_matrix, counts)
    texts = [t.get_text() for t in display.ax_.texts]
    assert texts == [str(c) if c else "·" for row in counts for c in row]
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list("abcd")
    display.plot(normalize="true")
    image = display.ax_.get_images()[0].get_array()
    np.testing.assert_allclose(image.sum(axis=1), 100.0)
    words = ConfusionMatrixDisplay.from_predictions(["b", "a"], ["b", "b"], labels=["b", "a"])
    np.testing.assert_array_equal(words.confusion_matrix, [[1, 0], [1, 0]])
    with pytest.raises(ValueError, match="y_pred holds .*3.*not among the labels"):
        ConfusionMatrixDisplay.from_predictions([0, 1], [0, 3], labels=[0, 1])
    with pytest.raises(ValueError, match="normalize must be None, 'true', 'pred' or 'all'"):
        display.plot(normalize="rows")


def test_search_display_shows_every_trial_and_the_best():
    pytest.importorskip("matplotlib")
    space = {"lr": log_uniform(1e-4, 1), "beta": one_minus_log_uniform(0.9, 0.999), "act": choice("relu", "tanh")}
    space["n"] = 3
    trials = [
        {"number": i, "score": s, "params": {"lr": 10.0**-i, "beta": 1 - 10.0**-(i + 1), "act": a, "n": 3}}
        for i, (s, a) in enumerate([(0.5, "relu"), (0.2, "tanh"), (0.9, "relu"), (None, "tanh")])
    ]  # fmt: skip
    display = SearchDisplay(trials, check_space(space), "val_loss").plot()
    lr, beta, act, progress = display.axes_  # n has one value: no panel
    assert lr.get_xscale() == beta.get_xscale() == "log" and beta.xaxis_inverted()
    dots, best = lr.collections
    np.testing.assert_allclose(dots.get_offsets(), [[1, 0.5], [0.1, 0.2], [0.01, 0.9]])
    np.testing.assert_allclose(best.get_offsets(), [[0.1, 0.2]])
    np.testing.assert_allclose(beta.collections[0].get_offsets()[:, 0], [0.1, 0.01, 0.001])
    assert [t.get_text() for t in act.get_xticklabels()] == ["relu", "tanh"]
    np.testing.assert_allclose(progress.get_lines()[0].get_ydata(), [0.5, 0.2, 0.2])
    with pytest.raises(ValueError, match="no trial with a score"):
        SearchDisplay(trials[3:], check_space(space), "val_loss")


def tiny(seed):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3), seed=seed)
    return Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.01), seed=seed)


def test_bagging_display_is_the_mean_over_all_choices_of_k_models():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    bag = Bagging(tiny, 5).fit(x, y, epochs=3)
    display = BaggingDisplay.from_bagging(bag, x, y).plot()
    low, high = display.axes_[0].get_ylim()
    assert low < display.floor < display.errors.max() < high  # the first point was cut off
    each, target = bag.predict_each(x), np.eye(3)[y]
    for k in range(1, 6):
        chosen = itertools.combinations(range(5), k)
        error = np.mean([((each[list(c)].mean(axis=0) - target) ** 2).mean() for c in chosen])
        assert display.errors[k - 1] == pytest.approx(error, rel=1e-10)
    assert display.floor < display.errors[-1]


def test_histograms_of_weights_gradients_and_activations():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 3, 40)
    trainer = tiny(0)
    trainer.fit(x, y, epochs=1, progress=False)
    before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    weights = HistogramDisplay.from_weights(trainer.model).plot()
    assert list(weights.arrays) == ["0.weight", "3.weight"] and len(weights.axes_) == 2
    assert sum(patch.get_height() for patch in weights.axes_[0].patches) == pytest.approx(100.0)
    activations = HistogramDisplay.from_activations(trainer.model, x)
    np.testing.assert_allclose(activations.arrays["3 Linear"], trainer.predict(x), rtol=1e-5, atol=1e-6)
    assert len(activations.arrays) == 4
    gradients = HistogramDisplay.from_gradients(trainer, x, y)
    seen = {}
    trainer.gradient_hook = lambda g: seen.update((n, a.copy()) for n, a in g.items())
    trainer.train_step(x, y)
    np.testing.assert_array_equal(gradients.arrays["3.weight"], seen["3.weight"])  # so nothing had been changed before
    assert all((trainer.model.state_dict()[name] != before[name]).any() for name in before)
    array = np.array([0.0, 1.0, np.nan])
    assert "1 not finite" in HistogramDisplay({"a": array}).plot().axes_[0].get_title()
