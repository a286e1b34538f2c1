"""Callbacks, early stopping, every way to end a fit, progress."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from helpers.training import blobs, trainer, weights

from fastnn import Callback, EarlyStopping, LambdaCallback, ModelCheckpoint, TerminateOnNaN, Trainer, nn, optim


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self):
        self.calls.append("fit begins")

    def on_epoch_begin(self, epoch):
        self.calls.append(f"epoch {epoch} begins")

    def on_batch_end(self, step, loss):
        assert isinstance(loss, float)
        self.calls.append(f"step {step}")

    def on_epoch_end(self, epoch, logs):
        assert "loss" in logs
        self.calls.append(f"epoch {epoch} ends")

    def on_fit_end(self):
        self.calls.append("fit ends")


def test_hooks_come_in_order():
    x, y = blobs(40)
    recorder = Recorder()
    trainer().fit(x, y, epochs=2, batch_size=20, callbacks=[recorder], progress=False)
    assert recorder.calls == [
        "fit begins",
        "epoch 0 begins", "step 1", "step 2", "epoch 0 ends",
        "epoch 1 begins", "step 3", "step 4", "epoch 1 ends",
        "fit ends",
    ]  # fmt: skip


def test_batch_hooks_do_not_change_the_bits():
    x, y = blobs(200)
    a, b = trainer(nn.Dropout(0.2)), trainer(nn.Dropout(0.2))
    a.fit(x, y, epochs=2, batch_size=32, progress=False)
    b.fit(x, y, epochs=2, batch_size=32, progress=False, callbacks=[Recorder()])
    assert weights(a.model) == weights(b.model)


def test_rate_changed_by_a_callback_acts_at_the_next_step():
    x, y = blobs(100)
    t = trainer()
    snapshots = []

    def change(step, loss):
        snapshots.append(weights(t.model))
        t.optimizer.lr = 0.0 if step == 2 else 0.01

    t.fit(x, y, epochs=1, batch_size=20, callbacks=[LambdaCallback(on_batch_end=change)], progress=False)
    same = [a == b for a, b in zip(snapshots, snapshots[1:], strict=False)]
    assert same == [False, True, False, False]


def test_scheduler_is_a_pure_function_of_step_and_epoch():
    x, y = blobs(60)
    t = trainer(scheduler=lambda base, step, epoch: base * 0.5**epoch)
    history = t.fit(x, y, epochs=3, batch_size=20, progress=False)
    assert history["lr"] == pytest.approx([0.01, 0.005, 0.0025])
    a = trainer(scheduler=lambda base, step, epoch: np.where(step < 3, base, 0.0))
    a.fit(x, y, epochs=1, batch_size=20, progress=False)
    after_three = weights(a.model)
    a.fit(x, y, epochs=1, batch_size=20, progress=False)
    assert weights(a.model) == after_three


def test_early_stopping_restores_the_best_weights():
    x, y = blobs(100)
    t = trainer()
    best = {}

    def spoil(epoch, logs):
        logs["val_loss"] = [3.0, 2.0, 1.0, 1.5, 1.2, 1.1, 0.1][epoch]
        if epoch == 2:
            best.update(t.model.state_dict())

    stopping = EarlyStopping(patience=3)
    history = t.fit(
        x, y, epochs=7, validation_data=(x, y), callbacks=[LambdaCallback(on_epoch_end=spoil), stopping], progress=False
    )
    assert len(history) == 6
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1.0, 2, 5)
    assert history.stop_reason == "callback"
    assert all(np.array_equal(best[name], value) for name, value in t.model.state_dict().items())


def test_early_stopping_restores_after_an_error_too():
    x, y = blobs(100)
    t = trainer()
    best = {}

    def fail(epoch, logs):
        if epoch == 0:
            best.update(t.model.state_dict())
        logs["score"] = -epoch
        if epoch == 2:
            raise KeyError("stop here")

    callbacks = [LambdaCallback(on_epoch_end=fail), EarlyStopping("score", mode="max")]
    with pytest.raises(KeyError, match="stop here"):
        t.fit(x, y, epochs=5, callbacks=callbacks, progress=False)
    assert t.history.stop_reason == "error"
    assert all(np.array_equal(best[name], value) for name, value in t.model.state_dict().items())
    assert t.train_step(x, y) > 0  # the trainer is usable


def test_early_stopping_says_what_is_missing():
    x, y = blobs(100)
    with pytest.raises(ValueError, match="monitors 'val_loss'.*give validation_data"):
        trainer().fit(x, y, epochs=1, callbacks=[EarlyStopping()], progress=False)


def test_nan_ends_the_fit_if_asked():
    x, y = blobs(400)
    x[210] = np.inf
    t = trainer()
    t.fit(x, y, epochs=3, batch_size=20, shuffle=False, callbacks=[TerminateOnNaN()], progress=False)
    assert t.history.stop_reason == "nan"
    assert t.step == 11


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("data", ["arrays", "one batch", "stream", "accumulated", "hooked", "validated"])
def test_nan_ends_the_fit_after_its_epoch_unless_told_otherwise(value, data):
    """NaN in the data gave NaN weights, no warning and the stop reason "epochs"."""
    x, y = blobs(400)
    x[210] = value
    options = {"accumulated": {"accumulate": 2}, "hooked": {"gradient_hook": lambda g: None}}.get(data, {})
    fit = {"batch_size": 400 if data == "one batch" else 20, "epochs": 50, "progress": False, "shuffle": False}
    given = ([(x[:20], y[:20]), (x[200:220], y[200:220]), (x[:20], y[:20])],) if data == "stream" else (x, y)
    fit |= {"validation_data": (x[:20], y[:20])} if data == "validated" else {}
    t = trainer(**options)
    with pytest.warns(RuntimeWarning, match=r"epoch 0: the training loss is (nan|inf).*check_finite=True.*'never'"):
        t.fit(*given, **fit)
    assert (len(t.history), t.epoch, t.history.stop_reason) == (1, 1, "nan")
    assert not np.isfinite(t.history["loss"][0])
    t = trainer(**options)
    t.fit(*given, **{**fit, "epochs": 3}, callbacks=TerminateOnNaN("never"))
    assert (len(t.history), t.history.stop_reason) == (3, "epochs")
    if data not in ("stream", "one batch"):
        assert t.step == 3 * 20 // t.accumulate


@pytest.mark.filterwarnings("error")
def test_nan_in_a_later_epoch_of_many_short_ones_ends_that_epoch():
    """Several epochs are one native call: it ends where the loss breaks, and no later epoch is entered."""
    x, y = blobs(40)
    t = trainer()
    rates = lambda base, step, epoch: np.where(np.asarray(step) < 30, base, 1e30)  # noqa: E731
    t.scheduler = rates
    with pytest.warns(RuntimeWarning, match="epoch .*so training has ended"):
        t.fit(x, y, epochs=500, batch_size=20, progress=False)
    broken = [i for i, loss in enumerate(t.history["loss"]) if not np.isfinite(loss)]
    assert broken == [len(t.history) - 1] and t.step == 2 * len(t.history)
    t = trainer(num_threads=1)
    t.optimizer = optim.SGD(lr=1e3)  # diverges by itself, in a call of many epochs
    x[:, 0] *= 1e3
    with pytest.warns(RuntimeWarning, match="so training has ended"):
        t.fit(x, y, epochs=5000, batch_size=20, progress=False)
    broken = [i for i, loss in enumerate(t.history["loss"]) if not np.isfinite(loss)]
    assert broken == [len(t.history) - 1] and t.step == 2 * len(t.history)


def test_a_checkpoint_is_not_overwritten_by_weights_that_are_nan(tmp_path):
    x, y = blobs(40)
    t, path = trainer(), tmp_path / "run.ckpt"
    t.fit(x, y, epochs=1, progress=False, callbacks=ModelCheckpoint(path))
    good = path.read_bytes()
    with pytest.warns(RuntimeWarning):
        t.fit(x * np.nan, y, epochs=5, progress=False, callbacks=ModelCheckpoint(path))
    assert path.read_bytes() == good


def test_terminate_on_nan_refuses_other_times():
    with pytest.raises(ValueError, match="when must be 'step', 'epoch' or 'never', got 'always'"):
        TerminateOnNaN("always")


def test_stop_from_another_thread():
    x, y = blobs(5000)
    t = trainer()
    timer = threading.Timer(0.05, t.stop)
    start = LambdaCallback(on_epoch_begin=lambda epoch: timer.start() if epoch == 0 else None)
    t.fit(x, y, epochs=100_000, callbacks=[start], progress=False)
    timer.join()
    assert t.history.stop_reason == "callback"


def test_stop_while_the_fit_is_prepared():
    x, y = blobs(60)
    t = trainer()
    t.stop()  # no fit runs: nothing to stop

    class Slow(list):
        def __array__(self, dtype=None, copy=None):
            t.stop()
            return y

    assert t.fit(x, Slow(), epochs=5, progress=False).stop_reason == "callback"
    assert t.step == 0
    t.fit(x, y, epochs=1, progress=False)
    assert t.step == 1


def test_max_time():
    x, y = blobs(5000)
    t = trainer()
    began = time.monotonic()
    t.fit(x, y, epochs=100_000, max_time=0.3, progress=False)
    assert 0.25 < time.monotonic() - began < 3
    assert t.history.stop_reason == "max_time"
    assert len(t.history["loss"]) == t.epoch


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_a_usable_trainer(interruptible):
    """One step adds exactly 1 to the weight, so that the weight counts the steps that were really made."""
    x, y = np.ones((3000, 1)), np.zeros((3000, 1))
    model = nn.Sequential(nn.Linear(1, 1, bias=False, init="zeros")).to("float64")
    t = Trainer(model, lambda output, target: -output.mean(), optim.SGD(lr=1.0))
    ended = []
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    recorder = LambdaCallback(
        on_epoch_begin=lambda epoch: timer.start() if epoch == 0 else None, on_fit_end=lambda: ended.append(True)
    )
    with pytest.raises(KeyboardInterrupt):
        t.fit(x, y, epochs=1_000_000, batch_size=1, callbacks=[recorder], progress=False)
    timer.join()
    assert ended == [True]
    assert t.history.stop_reason == "interrupted"
    assert model[0].weight.numpy()[0, 0] == t.step > 0
    assert {slots.steps for slots in t.state.optimizer_state.slots.values()} == {t.step}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    t.fit(x, y, epochs=1, progress=False)
    assert model[0].weight.numpy()[0, 0] == t.step



def test_progress_is_silent_when_not_a_terminal(capsys):
    x, y = blobs(100)
    trainer().fit(x, y, epochs=2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_progress_is_one_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    x, y = blobs(100)
    trainer().fit(x, y, epochs=3, batch_size=10, validation_data=(x, y))
    text = capsys.readouterr().err
    assert "30/30" in text
    assert "val_loss=" in text
    assert text.count("\n") <= 1
