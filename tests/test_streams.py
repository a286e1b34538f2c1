"""Iterables of batches: functions of counters, resumed, validated, merged and converted as arrays are."""

import numpy as np
import pytest
from helpers.training import blobs, trainer, weights

from fastnn import ModelCheckpoint, nn
from fastnn.data import iterate_batches


def stream(x, y, size=16, **options):
    return iterate_batches(x, y, batch_size=size, seed=3, **options)


class Tensor:
    """What a tensor of another library looks like to us."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)

    def __len__(self):
        return len(self.array)


def test_resuming_a_stream_continues_its_bits(tmp_path):
    x, y = blobs(90)
    whole, resumed = trainer(nn.Dropout(0.2)), trainer(nn.Dropout(0.2))
    whole.fit(stream(x, y), epochs=4, callbacks=ModelCheckpoint(tmp_path / "c{step}", every_steps=1), progress=False)
    for step in (12, 9):  # between two epochs, inside one
        resumed.resume(tmp_path / f"c{step}")
        resumed.fit(stream(x, y), epochs=4 - resumed.epoch, progress=False)
        assert weights(resumed.model) == weights(whole.model)
        assert resumed.history["loss"] == whole.history["loss"]


def test_a_look_at_a_batch_changes_nothing():
    x, y = blobs(90)
    plain, after = trainer(), trainer()
    batches = stream(x, y)
    next(iter(batches))
    list(batches)
    plain.fit(stream(x, y), epochs=2, progress=False)
    after.fit(batches, epochs=2, progress=False)
    assert weights(plain.model) == weights(after.model)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows, steps", [(33, 2), (17, 1), (34, 3)])
def test_a_remainder_of_one_row_joins_its_neighbour(rows, steps, weighted):
    x, y = blobs(rows)
    w = np.linspace(0.5, 2, rows).astype("f4")
    arrays, batches = trainer(nn.BatchNorm1d(16)), trainer(nn.BatchNorm1d(16))
    arrays.fit(x, y, epochs=2, batch_size=16, shuffle=False, sample_weight=w if weighted else None, progress=False)
    parts = (x, y, w) if weighted else (x, y)
    batches.fit(iterate_batches(*parts, batch_size=16, shuffle=False), epochs=2, progress=False)
    assert batches.step == 2 * steps
    assert weights(arrays.model) == weights(batches.model)
    assert batches.history["loss"] == pytest.approx(arrays.history["loss"])


def test_validation_and_evaluation_of_iterables_are_those_of_arrays():
    x, y = blobs(100)
    w = np.linspace(0, 1, 100)
    t = trainer(metrics=["accuracy", "auc"])
    t.fit(x, y, epochs=1, progress=False)
    for parts in ((x, y), (x, y, w)):
        expected = t.evaluate(x, y, sample_weight=w if len(parts) == 3 else None)
        for batches in (iterate_batches(*parts, batch_size=17, shuffle=False),
                        [tuple(p[i : i + 30] for p in parts) for i in range(0, 100, 30)]):  # fmt: skip
            assert t.evaluate(batches) == pytest.approx(expected, rel=1e-6)
    history = t.fit(stream(x, y), epochs=2, validation_data=stream(x, y, 40), progress=False)
    assert history["val_loss"][-1] == pytest.approx(t.evaluate(x, y)["loss"], rel=1e-6)
    assert "val_auc" in history
    with pytest.raises(ValueError, match="yields none"):
        t.evaluate(iter([]))


def test_an_iterable_without_batches_does_not_train_in_silence():
    empty = iterate_batches(np.zeros((3, 6), "f4"), np.zeros(3, int), batch_size=4, drop_last=True)
    with pytest.raises(ValueError, match="no batches"):
        trainer().fit(empty, epochs=3, progress=False)


def test_a_batch_whose_weights_are_zero_adds_nothing():
    x, y = blobs(48)
    w = np.ones(48)
    w[16:32] = 0
    arrays, batches = trainer(), trainer()
    arrays.fit(x, y, epochs=2, batch_size=16, shuffle=False, sample_weight=w, progress=False)
    batches.fit(iterate_batches(x, y, w, batch_size=16, shuffle=False), epochs=2, progress=False)
    assert weights(arrays.model) == weights(batches.model)
    assert arrays.history["loss"] == pytest.approx(batches.history["loss"])


def test_batches_of_tensors_take_the_fast_path(monkeypatch):
    from fastnn.training.runner import StepRunner

    x, y = blobs(64)
    batches = [[Tensor(x[i : i + 16]), Tensor(y[i : i + 16])] for i in range(0, 64, 16)]
    taken, uncached = [], StepRunner._uncached_step
    monkeypatch.setattr(StepRunner, "_uncached_step", lambda self, *a: taken.append(1) or uncached(self, *a))
    arrays, tensors = trainer(), trainer()
    arrays.fit(x, y, epochs=3, batch_size=16, shuffle=False, progress=False)
    tensors.fit(batches, epochs=3, progress=False)
    assert len(taken) == 1 and weights(arrays.model) == weights(tensors.model)


@pytest.mark.parametrize("batch, message", [
    (np.zeros((4, 6)), "must yield"), ((np.zeros((4, 6)),), "must yield"), ({"x": 1}, "must yield"), (3, "must yield"),
])  # fmt: skip
def test_what_is_no_batch_is_refused(batch, message):
    class Source:
        def __iter__(self):
            yield batch

    with pytest.raises(TypeError, match=message):
        trainer().fit(Source(), epochs=1, progress=False)


def test_steps_and_validations_can_be_counted():
    x, y = blobs(100)
    t = trainer()
    history = t.fit(x, y, epochs=50, batch_size=16, max_steps=10, validation_data=(x, y), progress=False)
    assert t.step == 10 and history.stop_reason == "max_steps"
    t = trainer()
    t.fit(stream(x, y), epochs=50, max_steps=10, progress=False)
    assert t.step == 10
    history = trainer().fit(x, y, epochs=5, validation_data=(x, y), validation_every=2, progress=False)
    assert [value is None for value in history["val_loss"]] == [True, False, True, False, False]
