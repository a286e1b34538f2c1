"""Displays: what they draw, read back from the axes."""

import subprocess
import sys

import pytest

from fastnn.plot import LearningCurveDisplay

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
    display = LearningCurveDisplay.from_history(HISTORY).plot()
    assert [axis.get_ylabel() for axis in display.axes_] == ["loss", "accuracy"]
    loss, accuracy = display.axes_
    lines = {line.get_label(): line for line in loss.get_lines()}
    assert list(lines["training"].get_ydata()) == [2.0, 0.5, 0.1]
    assert list(lines["validation"].get_xdata()) == [1, 2, 3]
    assert loss.get_yscale() == "log" and accuracy.get_yscale() == "linear"
    assert display.figure_ is loss.figure


def test_own_axes_and_errors():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots(1, 2)
    display = LearningCurveDisplay.from_history(HISTORY).plot(axes, log_loss=False)
    assert display.axes_[0] is axes[0] and axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match="2 quantities .loss, accuracy. need as many axes, not 1"):
        LearningCurveDisplay.from_history(HISTORY).plot(axes[0])
    with pytest.raises(ValueError, match="nothing to draw"):
        LearningCurveDisplay.from_history({"epoch": []})


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, fastnn.plot as p; p.LearningCurveDisplay({'loss': {}}); print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
