"""What is seen of a running fit: a bar on a terminal, else lines through the logger; one bar for many jobs."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from helpers.training import blobs, trainer

from fastnn.ensemble import Bagging
from fastnn.search import RandomSearch, log_uniform
from fastnn.training import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def messages(caplog):
    return [record.message for record in caplog.records if record.name == "fastnn"]


def test_a_fit_without_a_terminal_writes_now_and_then(clock, caplog):
    """nohup, CI and clusters saw nothing at all."""
    caplog.set_level(logging.INFO, "fastnn")
    lines = progress.make_progress(True, 5, 100)
    for second in range(1, 101):
        clock[0] = float(second)
        lines.advance(5, 0.5)
        if second % 20 == 0:
            lines.epoch(second // 20, {"loss": 1.0 / second, "val_loss": 0.25, "val_accuracy": None, "lr": 0.1})
    lines.close()
    assert messages(caplog) == [
        "epoch 1/5, step 50 of 500, loss=0.5000, 10 s, about 90 s left",
        "epoch 2/5, step 200 of 500, loss=0.0500, val_loss=0.2500, 40 s, about 60 s left",
        "epoch 4/5, step 350 of 500, loss=0.0167, val_loss=0.2500, 70 s, about 30 s left",
        "epoch 5/5, step 500 of 500, loss=0.0125, val_loss=0.2500, 2 min",
        "epoch 5/5, step 500 of 500, loss=0.0100, val_loss=0.2500, 2 min",
    ]


def test_a_short_fit_and_one_without_progress_write_nothing(clock, caplog):
    caplog.set_level(logging.INFO, "fastnn")
    x, y = blobs(60)
    trainer().fit(x, y, epochs=2)
    silent = progress.make_progress(False, 5, 100)
    clock[0] = 1000.0
    silent.advance(5, 0.5)
    silent.close()
    assert messages(caplog) == []


def test_without_logging_set_up_lines_go_to_standard_error():
    code = """
import logging, fastnn
from fastnn.training import progress
progress._FIRST = 0.0
lines = progress.make_progress(True, 1, 0)
lines.advance(3, 0.5)
assert not logging.getLogger().handlers and not logging.getLogger("fastnn").handlers
logging.basicConfig(level=logging.WARNING)
lines.close()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "fastnn: epoch 1/1, step 3, loss=0.5000, 0 s\n" and run.stdout == ""


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (99, "99 s"), (240, "4 min"), (12000, "3 h 20 min")])
def test_durations(seconds, text):
    assert progress._duration(seconds) == text


class Terminal:
    """Standard error that is a terminal."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_the_second_fit_counts_its_own_epochs(monkeypatch):
    """Its bar said "epoch 5/5" throughout."""
    t, (x, y), seen = trainer(), blobs(60), []
    monkeypatch.setattr(sys, "stderr", Terminal())
    t.fit(x, y, epochs=3)
    bar = progress.Bar
    monkeypatch.setattr(bar, "close", lambda self: (seen.append(self._bar.desc), self._bar.close()))
    monkeypatch.setattr(bar, "epoch", watched(bar.epoch, seen))
    t.fit(x, y, epochs=3)
    assert [text.rstrip(": ") for text in seen] == ["epoch 1/3", "epoch 2/3", "epoch 3/3", "epoch 3/3"]


def watched(method, seen):
    def epoch(self, *arguments):
        seen.append(self._bar.desc)
        method(self, *arguments)

    return epoch


def test_one_bar_for_all_models_and_all_trials(monkeypatch):
    x, y = blobs(60)
    made = []

    class Counter(progress.Silent):
        def __init__(self, total, unit):
            self.total, self.unit, self.counted, self.closed = total, unit, 0, False
            made.append(self)

        def count(self, text=""):
            self.counted += 1

        def close(self):
            self.closed = True

    def make(wanted, total, unit):
        return Counter(total, unit) if wanted else progress.Silent()

    for module in ("fastnn.ensemble", "fastnn.search.random_search"):
        monkeypatch.setattr(sys.modules[module], "make_counter", make)
    Bagging(lambda seed: trainer(seed=seed), 3).fit(x, y, epochs=1)
    Bagging(lambda seed: trainer(seed=seed), 3).fit(x, y, epochs=1, progress=False)

    def factory(lr, seed):
        t = trainer(seed=seed)
        t.optimizer.lr = lr
        return t

    space = {"lr": log_uniform(1e-4, 1e-1)}
    RandomSearch(factory, space, 4).fit(x, y, epochs=1)
    RandomSearch(factory, space, 9, halving=3).fit(x, y, epochs=9)
    assert [(c.total, c.unit, c.counted, c.closed) for c in made] == [
        (3, "model", 3, True), (4, "trial", 4, True), (13, "trial", 13, True),
    ]  # fmt: skip


def test_a_bar_is_taken_away_when_a_job_fails(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(ValueError, match="broken"):
        Bagging(lambda seed: (_ for _ in ()).throw(ValueError("broken")), 3).fit(
            np.zeros((9, 2)), np.zeros(9), epochs=1
        )
    assert "0/3" in terminal.text and terminal.text.endswith("\n")
