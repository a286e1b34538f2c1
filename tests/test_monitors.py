"""Callbacks that watch a column: NaN, columns that are looked at every few epochs, files of earlier fits."""

import math

import numpy as np
import pytest
from helpers.training import blobs, trainer, weights

import fastnn
from fastnn import EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau, StepHistory, TerminateOnNaN
from fastnn.training.feed.rows import epoch_order


def scripted(values, name="val_loss"):
    """A callback that enters these values into a column, one per epoch of the trainer."""
    return LambdaCallback(on_epoch_end=lambda epoch, logs: logs.__setitem__(name, values[epoch]))


def fit(t, epochs, *callbacks):
    x, y = blobs(60)
    t.fit(x, y, epochs=epochs, batch_size=30, callbacks=callbacks, progress=False)
    return t


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_monitor_that_is_never_finite_stops_by_patience(broken, mode):
    """It never stopped: patience counted from a best epoch that did not exist."""
    stop = EarlyStopping(patience=3, mode=mode)
    t = fit(trainer(), 20, scripted([broken] * 20), stop)
    assert (len(t.history), stop.stopped_epoch, stop.best, t.history.stop_reason) == (3, 2, None, "callback")
    fit(t, 20, scripted([broken] * 40), stop)  # a second fit counts its own epochs
    assert (len(t.history), stop.stopped_epoch) == (6, 5)


def test_patience_of_a_resumed_fit_goes_on_counting(tmp_path):
    x, y = blobs(60)
    values = [math.nan] * 20
    path = tmp_path / "run.ckpt"

    class Crash(Exception):
        pass

    def crash(epoch, logs):
        if epoch == 1:
            raise Crash

    first = trainer()
    with pytest.raises(Crash):
        first.fit(
            x,
            y,
            epochs=20,
            progress=False,
            callbacks=[
                scripted(values),
                EarlyStopping(patience=4),
                ModelCheckpoint(path),
                LambdaCallback(on_epoch_end=crash),
            ],
        )
    t = trainer()
    t.fit(x, y, epochs=20, progress=False, resume=path, callbacks=[
        scripted(values), EarlyStopping(patience=4), ModelCheckpoint(path), LambdaCallback()])  # fmt: skip
    assert len(t.history) == 4


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_is_not_finite_is_never_the_best(broken, mode):
    """The weights of an epoch with NaN outputs were restored, because their accuracy had risen."""
    t = trainer()
    kept = []
    stop = EarlyStopping(patience=2, mode=mode)
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(weights(t.model)))
    fit(t, 10, scripted([broken, 1.0, broken, broken, broken]), stop, note)
    assert (stop.best, stop.best_epoch, len(t.history)) == (1.0, 1, 4)
    assert weights(t.model) == kept[1]


def test_a_broken_model_is_not_restored_for_its_accuracy():
    """90 % of class 0: the argmax of NaN is class 0, so that broken weights looked better than any others."""
    x, y = blobs(200)
    y = np.where(np.arange(200) % 10 == 0, y, 0)
    t = trainer(metrics=["accuracy"])

    def break_weights(epoch):
        if epoch == 3:
            t.model[0].weight = np.full((16, 6), np.nan)

    stopping = EarlyStopping("val_accuracy", patience=10)
    callbacks = [LambdaCallback(on_epoch_begin=break_weights), stopping, TerminateOnNaN("never")]
    t.fit(x, y, epochs=6, validation_data=(x, y), progress=False, callbacks=callbacks)
    assert np.isfinite(t.history["val_accuracy"][:3]).all() and np.isnan(t.history["val_accuracy"][3:]).all()
    assert np.isfinite(t.predict(x)).all()


def test_a_rate_falls_while_the_monitor_is_nan():
    t = trainer()
    fit(t, 5, scripted([math.nan] * 5), ReduceLROnPlateau(patience=2, factor=0.5))
    assert t.optimizer.lr == pytest.approx(0.01 / 4)


@pytest.mark.parametrize("what", ["checkpoint", "model"])
def test_every_second_epoch_saves_the_best_of_those(tmp_path, what):
    """Nothing was written if the best epoch of all was not among those that are looked at."""
    path, kept = tmp_path / "best.file", []
    t = trainer()
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(weights(t.model)))
    saved = ModelCheckpoint(path, monitor="val_loss", every_epochs=2, what=what)
    fit(t, 6, scripted([0.1, 3.0, 0.2, 2.0, 0.05, 2.5]), note, saved)
    assert (saved.best, saved.best_epoch) == (2.0, 3)
    assert weights(reloaded(path, what)) == kept[3]


def reloaded(path, what):
    if what == "model":
        return fastnn.load(path)
    t = trainer()
    t.resume(path)
    return t.model


@pytest.mark.parametrize("what", ["checkpoint", "model"])
@pytest.mark.parametrize("new_callback", [False, True])
def test_a_second_fit_does_not_overwrite_a_better_file(tmp_path, what, new_callback):
    path = tmp_path / "best.file"

    def make():
        return ModelCheckpoint(path, monitor="val_loss", what=what)

    t, first = trainer(), make()
    values = [3.0, 1.0, 2.0, 1.5, 1.2, 0.9]
    fit(t, 3, scripted(values), first)
    best = path.read_bytes()
    second = make() if new_callback else first
    fit(t, 2, scripted(values), second)  # 1.5, 1.2
    assert path.read_bytes() == best
    fit(t, 1, scripted(values), second)  # 0.9
    assert path.read_bytes() != best
    path.unlink()
    values += [5.0]
    fit(t, 1, scripted(values), second)  # there is nothing to overwrite any more
    assert path.exists()


def test_another_trainer_begins_anew(tmp_path):
    path = tmp_path / "best.file"
    saved = ModelCheckpoint(path, monitor="val_loss")
    fit(trainer(), 1, scripted([1.0]), saved)
    other = fit(trainer(seed=5), 1, scripted([2.0]), saved)
    assert (saved.best, weights(reloaded(path, "checkpoint"))) == (2.0, weights(other.model))


def test_epochs_without_a_measurement_are_left_out_of_patience():
    """With validation_every=2 the column is empty in every second epoch; patience counts where it was measured."""
    x, y = blobs(60)
    t, stop, plateau = trainer(), EarlyStopping(patience=1), ReduceLROnPlateau(patience=2, factor=0.5)
    values = [None, 1.0, None, 0.9, None, 0.8, None, 0.9]
    t.fit(x, y, epochs=8, progress=False, callbacks=[scripted(values), stop, plateau])
    assert (stop.best_epoch, stop.stopped_epoch, len(t.history)) == (5, 7, 8)
    assert t.optimizer.lr == 0.01  # one measurement without improvement, not three epochs


def test_the_loss_of_every_batch_is_kept_on_request(tmp_path):
    """There was no cost per mini-batch in the history."""
    x, y = blobs(60)
    seen, t, steps = [], trainer(), StepHistory()
    t.fit(x, y, epochs=30, batch_size=20, progress=False, callbacks=steps)  # several epochs are one native call
    twin = trainer()
    twin.fit(x, y, epochs=30, batch_size=20, progress=False,
             callbacks=LambdaCallback(on_batch_end=lambda step, loss: seen.append(loss)))  # fmt: skip
    assert len(steps) == 90 and steps.loss.tolist() == seen
    np.testing.assert_allclose(steps.loss.reshape(30, 3).mean(axis=1), t.history["loss"], rtol=1e-12)
    np.testing.assert_array_equal(steps.smooth(0.9), fastnn.optim.EWMA(0.9).smooth(seen))
    assert t.history.initial_loss == seen[0] == trainer().train_step(*first_batch(x, y))
    t.save_checkpoint(tmp_path / "run.ckpt")
    other = trainer()
    other.resume(tmp_path / "run.ckpt")
    assert other.history.initial_loss == seen[0]
    t.fit(x, y, epochs=1, batch_size=20, progress=False, callbacks=steps)
    assert len(steps) == 93 and t.history.initial_loss == seen[0]
    streamed = StepHistory()
    trainer().fit([(x[:20], y[:20]), (x[20:], y[20:])], epochs=2, progress=False, callbacks=streamed)
    assert len(streamed) == 4


def first_batch(x, y):
    rows = epoch_order(60, True, 0, 0)[:20]
    return x[rows], y[rows]


def test_the_losses_of_a_resumed_fit_go_on(tmp_path):
    x, y = blobs(60)
    whole, path = StepHistory(), tmp_path / "run.ckpt"
    trainer().fit(x, y, epochs=4, batch_size=20, progress=False, callbacks=whole)

    def crash(epoch, logs):
        if epoch == 1:
            raise KeyError

    with pytest.raises(KeyError):
        trainer().fit(x, y, epochs=4, batch_size=20, progress=False, callbacks=[
            StepHistory(), ModelCheckpoint(path), LambdaCallback(on_epoch_end=crash)])  # fmt: skip
    resumed = StepHistory()
    trainer().fit(x, y, epochs=4, batch_size=20, progress=False, resume=path, callbacks=[
        resumed, ModelCheckpoint(path), LambdaCallback()])  # fmt: skip
    np.testing.assert_array_equal(resumed.loss, whole.loss)
