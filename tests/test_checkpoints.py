"""Checkpoints: training goes on with the bits of a run that was never interrupted, wherever it was cut."""

import csv
import os
import shutil
import signal
import sys
import threading

import numpy as np
import pytest
from helpers.killed_training import kill_and_resume
from helpers.training import blobs, weights

from fastnn import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
    Trainer,
    load,
    nn,
    optim,
)

EPOCHS = 5
TIMES = ("seconds", "samples_per_second")


def falling(base, step, epoch):
    return base / (1 + 0.1 * step)


def make(**options):
    """Everything that has a state: batch norm, dropout, moments, a schedule, averaged weights."""
    layers = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    options = {"ema": 0.9, "clip_grad_norm": 5.0, "scheduler": falling, **options}
    optimizer = optim.Adam(lr=0.02, groups=[{"params": "0.*", "lr": 0.01}])
    return Trainer(nn.Sequential(*layers, seed=1), nn.CrossEntropyLoss(), optimizer, seed=4, **options)


def callbacks(folder, name="c-{step}-{epoch}"):
    """The saver stands before others, so that it saves what they have not seen yet."""
    return [
        ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.2),
        ModelCheckpoint(folder / name, every_steps=1),
        EarlyStopping(patience=2, min_delta=0.02),
        LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(twice=np.float32(2 * logs["loss"]))),
        CSVLogger(folder / "log.csv"),
    ]


def everything(trainer):
    """All that has to be equal: weights, moments, averages, counters, rates and the history without its times."""
    arrays, values = trainer.state_dict()
    values["history"] = {k: v for k, v in values["history"].items() if k not in TIMES}
    return {name: array.tobytes() for name, array in arrays.items()}, values


class Batches:
    """A re-iterable of batches, weighted."""

    def __init__(self, x, y, size):
        self.parts = [(x[i : i + size], y[i : i + size], np.ones(len(x[i : i + size]))) for i in range(0, len(x), size)]

    def __iter__(self):
        return iter(self.parts)


@pytest.mark.parametrize("kind", ["arrays", "iterable", "accumulated"])
def test_every_checkpoint_of_a_run_leads_to_its_end(tmp_path, kind):
    x, y = blobs(100)
    held = blobs(60, seed=3)
    options = {"accumulate": 2} if kind == "accumulated" else {}
    data = (Batches(x, y, 30),) if kind == "iterable" else (x, y)

    def fit(trainer, folder, epochs, resume=None):
        hooks = callbacks(folder)
        trainer.fit(*data, epochs=epochs, batch_size=30, validation_data=held, callbacks=hooks, progress=False,
                    resume=resume)  # fmt: skip
        return trainer

    whole = fit(make(**options), tmp_path, EPOCHS)
    rows = list(csv.reader(open(tmp_path / "log.csv")))
    saved = [name for name in os.listdir(tmp_path) if name.startswith("c-")]
    assert len(saved) > 2 * EPOCHS
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(tmp_path / "log.csv", again)  # a log that knows more than the checkpoint is cut back
    for i, name in enumerate(sorted(saved)):
        trainer = make(num_threads=1 + len(name) % 2, **options)
        trainer.resume(tmp_path / name)
        fit(trainer, again, EPOCHS - trainer.epoch)
        assert everything(trainer) == everything(whole), name
        if i % 4 == 0:
            assert fit(make(**options), again, EPOCHS, resume=tmp_path / name).step == whole.step
        mine = list(csv.reader(open(again / "log.csv")))
        assert [row[:3] for row in mine] == [row[:3] for row in rows], name
    assert whole.optimizer.lr < 0.02  # the plateau was met, so that its state mattered


def test_a_second_run_of_a_finished_script_does_nothing(tmp_path):
    x, y = blobs(90)
    path = tmp_path / "run"
    for _ in range(2):
        t = make()
        t.fit(x, y, epochs=2, callbacks=ModelCheckpoint(path), progress=False, resume=path)
        assert (t.epoch, t.step) == (2, 2)
    t.fit(x, y, epochs=1, progress=False)  # a new fit is a new fit
    assert t.epoch == 3


def test_max_time_and_ctrl_c_leave_the_place_where_the_epoch_was_cut(tmp_path):
    x, y = blobs(600)
    whole = make()
    whole.fit(x, y, epochs=3, batch_size=10, progress=False)
    cut = make()

    def interrupt(step, loss):
        if step == 77:
            cut._fit.interrupted = True  # what the handler of Ctrl-C does
            cut._stop_flag[0] = 1

    with pytest.raises(KeyboardInterrupt):
        cut.fit(x, y, epochs=3, batch_size=10, progress=False,
                callbacks=[ModelCheckpoint(tmp_path / "c"), LambdaCallback(on_batch_end=interrupt)])  # fmt: skip
    assert cut.history.stop_reason == "interrupted"
    resumed = make()
    resumed.resume(tmp_path / "c")
    assert (resumed.epoch, resumed.step) == (1, 77)
    resumed.fit(x, y, epochs=2, batch_size=10, progress=False)
    assert everything(resumed) == everything(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_with_early_stopping_restores_the_best_weights(interruptible):
    x, y = blobs(3000)
    t = make()
    best = {}

    def note(epoch, logs):
        logs["score"] = [1.0, 0.5][epoch] if epoch < 2 else 2.0
        if epoch == 1:
            best.update(t.model.state_dict())
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        t.fit(x, y, epochs=10**6, batch_size=10, progress=False,
              callbacks=[LambdaCallback(on_epoch_end=note), EarlyStopping("score", patience=10**7)])  # fmt: skip
    assert weights(t.model) == {name: array.tobytes() for name, array in best.items()}
    assert t.train_step(x, y) > 0


def test_other_data_inside_an_epoch_are_refused(tmp_path):
    x, y = blobs(100)
    t = make()
    t.fit(x, y, epochs=1, batch_size=30, progress=False, callbacks=ModelCheckpoint(tmp_path / "c{step}", every_steps=1))
    changes = ({"batch_size": 20}, "batch_size 30, now 20"), ({"shuffle": False}, "shuffle True, now False")
    for options, told in changes:
        t = make()
        t.resume(tmp_path / "c2")
        before = weights(t.model)
        with pytest.raises(ValueError, match=f"inside an epoch, after 2 of its batches; this fit has others.*{told}"):
            t.fit(x, y, **{"epochs": 1, "batch_size": 30, "progress": False, **options})
        assert weights(t.model) == before


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path):
    x, y = blobs(60)
    t = make()
    t.fit(x, y, epochs=1, progress=False)
    t.save_checkpoint(tmp_path / "c")
    wider = nn.Sequential(nn.Linear(6, 17), nn.Linear(17, 3), seed=1)
    wider = Trainer(wider, nn.CrossEntropyLoss(), optim.Adam(lr=0.5))
    wider.fit(x, y, epochs=1, progress=False)
    before = everything(wider)
    with pytest.raises(ValueError):
        wider.resume(tmp_path / "c")
    assert everything(wider) == before
    with open(tmp_path / "c", "r+b") as file:
        file.seek(-5, 2)
        file.write(b"x")
    with pytest.raises(ValueError, match="SHA-256"):
        t.resume(tmp_path / "c")
    assert t.step == 1


def test_resume_brings_the_rate_that_a_callback_had_set(tmp_path):
    x, y = blobs(60)
    t = make(scheduler=None)
    t.optimizer.lr = 0.125
    t.optimizer.groups[0]["lr"] = 0.25
    t.fit(x, y, epochs=1, progress=False)
    t.save_checkpoint(tmp_path / "c")
    other = make(scheduler=None)
    other.resume(tmp_path / "c")
    assert (other.optimizer.lr, other.optimizer.groups[0]["lr"]) == (0.125, 0.25)
    assert other.optimizer.betas == (0.9, 0.999)


# ---- the callbacks that write and lower ---------------------------------------------------------------------------


def test_model_checkpoint_keeps_the_best_model(tmp_path):
    x, y = blobs(60)
    t = make()
    kept = {}

    def note(epoch, logs):
        logs["score"] = [1.0, 3.0, 2.0][epoch]
        if epoch == 1:
            kept.update(t.model.state_dict())

    save = ModelCheckpoint(tmp_path / "m", monitor="score", mode="max", what="model")
    t.fit(x, y, epochs=3, callbacks=[LambdaCallback(on_epoch_end=note), save], progress=False)
    assert weights(load(tmp_path / "m")) == {name: array.tobytes() for name, array in kept.items()}
    assert save.best_epoch == 1


def test_model_checkpoint_never_keeps_a_state_that_is_not_finite(tmp_path):
    x, y = blobs(90)
    x[45] = np.inf
    t = make()
    hooks = [ModelCheckpoint(tmp_path / "c", every_steps=1), TerminateOnNaN()]
    t.fit(x, y, epochs=2, batch_size=30, shuffle=False, progress=False, callbacks=hooks)
    assert t.history.stop_reason == "nan"
    resumed = make()
    resumed.resume(tmp_path / "c")
    assert resumed.step == 1
    assert all(np.isfinite(array).all() for array in resumed.model.state_dict().values())


def test_plateau_lowers_the_rate_after_patience_and_rests(tmp_path):
    x, y = blobs(60)
    t = make(scheduler=None)
    values = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    hooks = [
        LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(score=values[epoch])),
        ReduceLROnPlateau("score", factor=0.5, patience=2, cooldown=1, min_lr=0.004, mode="min"),
    ]
    history = t.fit(x, y, epochs=9, callbacks=hooks, progress=False)
    # two epochs without improvement, one of rest, the improvement, two more
    assert history["lr"] == [0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005]
    assert t.optimizer.groups[0]["lr"] == 0.004


def test_plateau_may_stand_in_the_place_of_a_schedule():
    x, y = blobs(60)
    assert optim.lr_scheduler.ReduceLROnPlateau is ReduceLROnPlateau
    t = make(scheduler=optim.lr_scheduler.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100))
    history = t.fit(x, y, epochs=4, progress=False)
    assert history["lr"] == [0.02, 0.02, 0.01, 0.005]
    assert t.train_step(x, y) > 0


def test_csv_log_is_the_history(tmp_path):
    x, y = blobs(60)
    t = make()
    log = CSVLogger(tmp_path / "log.csv")
    t.fit(x, y, epochs=2, validation_split=0.2, callbacks=[log], progress=False)
    t.fit(x, y, epochs=1, validation_split=0.2, callbacks=[log], progress=False)
    rows = list(csv.DictReader(open(tmp_path / "log.csv")))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for name in ("loss", "val_loss", "lr"):
        assert [float(row[name]) for row in rows] == t.history[name]
    make().fit(x, y, epochs=1, callbacks=[CSVLogger(tmp_path / "log.csv")], progress=False)
    assert len(list(csv.reader(open(tmp_path / "log.csv")))) == 2  # a new trainer, a new log


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: ModelCheckpoint("p", what="all"), "what must be 'checkpoint' or 'model', got 'all'"),
        (lambda: ModelCheckpoint("p", every_epochs=0), "every_epochs must be an integer >= 1, got 0"),
        (lambda: ModelCheckpoint("p", every_seconds=-1), "every_seconds must be a positive number or None, got -1"),
        (lambda: ModelCheckpoint("p", monitor="loss", every_steps=3), "give no every_steps"),
        (lambda: ModelCheckpoint("p{", monitor="loss"), "no format of names"),
        (lambda: ReduceLROnPlateau(factor=1), "factor must be between 0 and 1, got 1"),
        (lambda: ReduceLROnPlateau(patience=-1), "patience must be an integer >= 0, got -1"),
        (lambda: ReduceLROnPlateau(mode="low"), "mode must be 'auto', 'min' or 'max', got 'low'"),
        (lambda: EarlyStopping(patience=1.5), "patience must be an integer >= 0, got 1.5"),
        (lambda: CSVLogger("p", separator=", "), "separator must be one character"),
    ],
)
def test_callbacks_refuse_what_makes_no_sense(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_every_callback_ends_though_one_fails():
    x, y = blobs(60)
    ended = []

    def fail():
        raise RuntimeError("cannot end")

    hooks = [LambdaCallback(on_fit_end=fail), LambdaCallback(on_fit_end=lambda: ended.append(1))]
    with pytest.raises(RuntimeError, match="cannot end"):
        make().fit(x, y, epochs=1, callbacks=hooks, progress=False)
    assert ended == [1]


# ---- kill -9 ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kill_and_resume(tmp_path):
    report = kill_and_resume(tmp_path, kills=3, seed=int.from_bytes(os.urandom(4), "little"))
    assert report["equal"], report
    assert report["kills"] >= 3
