"""Cached steps of `Trainer.train_step`: bit for bit the uncached ones, and left wherever anything is unusual.

A twin trainer that forgets its cached steps before each step never takes one.
"""

import copy
import math
import os
import sys
import threading

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights
from reference.cross_entropy import softmax_cross_entropy

import fastnn
from fastnn import Trainer, nn, optim
from fastnn.training.runner import StepRunner


class Pair:
    """Two equal trainers: one caches its steps, the other never does."""

    def __init__(self, *middle, **options):
        self.cached, self.uncached = trainer(*middle, **options), trainer(*copy.deepcopy(middle), **options)

    def both(self, change):
        change(self.cached)
        change(self.uncached)

    def step(self, x, y, weight=None):
        self.uncached._runner._cached_steps = []
        expected = self.uncached.train_step(x, y, weight)
        assert self.cached.train_step(x, y, weight) == expected
        return expected

    def check(self):
        assert weights(self.cached.model) == weights(self.uncached.model)
        ours, theirs = self.cached.state_dict(), self.uncached.state_dict()
        for name in ("seconds", "samples_per_second"):
            ours[1]["history"].pop(name, None), theirs[1]["history"].pop(name, None)
        assert ours[1] == theirs[1]  # counters of steps among them
        assert all(np.array_equal(ours[0][name], theirs[0][name]) for name in theirs[0])


def warmed(*middle, **options):
    """(trainer, x, y) behind three steps: the next one takes the fast path if nothing stands in it."""
    (x, y), t = blobs(32), trainer(*middle, **options)
    for _ in range(3):
        t.train_step(x, y)
    return t, x, y


@pytest.fixture
def uncached_steps(monkeypatch):
    """The list of batches that took the slow path."""
    taken, uncached = [], StepRunner._uncached_step

    def counted(self, x, y, sample_weight):
        taken.append(np.shape(x))
        return uncached(self, x, y, sample_weight)

    monkeypatch.setattr(StepRunner, "_uncached_step", counted)
    return taken


def test_one_step_takes_the_slow_path_and_the_others_the_fast_one(uncached_steps):
    x, y = blobs(32)
    t = trainer(nn.BatchNorm1d(16), nn.Dropout(0.2))
    for _ in range(200):
        t.train_step(x, y)
    assert len(uncached_steps) == 1
    assert t.step == t.state.micro_step == 200
    assert all(slots.steps == 200 for slots in t.state.optimizer_state.slots.values())


def test_cached_steps_have_the_bits_of_uncached_ones():
    x, y = blobs(640)
    pair = Pair(nn.BatchNorm1d(16), nn.Dropout(0.2))
    for i in range(150):  # past the end of every table of scalars
        part = slice(32 * (i % 20), 32 * (i % 20) + 32)
        pair.step(x[part], y[part])
    pair.check()


def test_single_steps_have_the_bits_of_fit():
    x, y = blobs(320)
    single, fit = trainer(nn.Dropout(0.2)), trainer(nn.Dropout(0.2))
    for _ in range(4):
        for at in range(0, 320, 32):
            single.train_step(x[at : at + 32], y[at : at + 32])
        fit.fit(x, y, epochs=1, batch_size=32, shuffle=False, progress=False)
    assert weights(single.model) == weights(fit.model)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint16", "uint64", "bool", ">i4"])
def test_labels_of_any_integer_type(dtype, uncached_steps):
    x, y = blobs(32, classes=2)
    pair = Pair()
    y = y.astype(dtype)
    for labels in (y, y, y[:, None], np.repeat(y, 3)[::3], y[::-1][::-1]):
        pair.step(x, labels)
    pair.check()
    assert len(uncached_steps) == 5 + 1


BAD_LABELS = [3, -1, 2**40, -(2**63)]


@pytest.mark.parametrize("bad", BAD_LABELS)
@pytest.mark.parametrize("place", [0, 16, 31])
def test_a_bad_label_is_refused_and_nothing_is_written(bad, place):
    t, x, y = warmed()
    before = weights(t.model)
    wrong = y.copy()
    wrong[place] = bad
    with pytest.raises(IndexError, match=f"label {bad} of row {place} "):
        t.train_step(x, wrong)
    assert weights(t.model) == before and t.step == 3
    t.train_step(x, y)
    assert t.step == 4


def test_other_targets_are_refused_as_ever():
    t, x, y = warmed()
    with pytest.raises(TypeError, match="class labels must be integers"):
        t.train_step(x, y.astype(float))
    with pytest.raises(ValueError, match="y has shape"):
        t.train_step(x, y[:-1])
    with pytest.raises(TypeError, match="integers"):
        t.train_step(x, np.array(["a"] * 32))
    with pytest.raises(ValueError, match="shape"):
        t.train_step(x[:, :5], y)
    assert t.step == 3
    assert t.train_step(x, y.tolist()) > 0  # a list is converted
    assert t.train_step(x.tolist(), y) > 0


def test_the_ignored_label():
    x, y = blobs(32)
    y[::5] = -100
    short = Trainer(classifier(), nn.CrossEntropyLoss(ignore_index=-100), optim.Adam())
    for _ in range(3):
        loss = softmax_cross_entropy(short.model.predict(x)[y >= 0], y[y >= 0])[0]
        assert short.train_step(x, y) == pytest.approx(loss, rel=1e-5)
    y[0] = -99
    with pytest.raises(IndexError, match="label -99"):
        short.train_step(x, y)


def test_inputs_of_any_form():
    rng = np.random.default_rng(0)
    pair = Pair()
    y = rng.integers(0, 3, 32)
    base = rng.integers(0, 9, (64, 12))
    for _ in range(2):
        for dtype in ("f4", "f8", "u1", "i8", "f2", ">f4", "bool"):
            x = base.astype(dtype)
            misaligned = np.frombuffer(b"\0" + x[:32, :6].tobytes(), x.dtype, offset=1).reshape(32, 6)
            views = [x[:32, :6].copy(), x[::2, :6], x[:32, ::2], x[31::-1, :6], x[:32, :6].copy(order="F"), misaligned]
            for view in views:
                pair.step(view, y)
                pair.step(view, y)
    pair.check()


def test_array_subclasses_and_rows_that_differ():
    class Mine(np.ndarray):
        pass

    x, y = blobs(64)
    pair = Pair()
    for rows in (32, 32, 7, 64, 1, 32):
        pair.step(x[:rows], y[:rows])
        pair.step(x[:rows].view(Mine), y[:rows].view(Mine))
    pair.check()


def test_targets_of_a_regression_are_read_where_they_lie(uncached_steps):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)).astype("f4"), rng.normal(size=32).astype("f4")
    t = Trainer(nn.Sequential(nn.Linear(6, 1)), nn.MSELoss(), optim.SGD(lr=0.0))
    for target in (y, y, 2 * y, y[:, None], y[:, None], y.astype("f8"), np.repeat(y, 2)[::2], y):
        expected = np.mean((t.model.predict(x)[:, 0] - target.reshape(-1).astype("f4")) ** 2)
        assert t.train_step(x, target) == pytest.approx(expected, rel=1e-5)
    assert len(uncached_steps) == 4
    with pytest.raises(ValueError, match="never broadcast"):
        t.train_step(x, np.zeros((32, 2), "f4"))


def test_a_target_outside_its_domain_is_refused():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)).astype("f4"), rng.integers(0, 2, (32, 1)).astype("f4")
    t = Trainer(nn.Sequential(nn.Linear(6, 1)), nn.BCEWithLogitsLoss(), optim.Adam())
    for _ in range(3):
        t.train_step(x, y)
    for bad in (1.5, -0.25, math.nan, math.inf):
        wrong = y.copy()
        wrong[7, 0] = bad
        with pytest.raises(ValueError, match=r"y\[7, 0\] is .*expected in \[0, 1\]"):
            t.train_step(x, wrong)
    signs = Trainer(nn.Sequential(nn.Linear(6, 1)), nn.HingeLoss(), optim.Adam())
    for _ in range(3):
        signs.train_step(x, 2 * y - 1)
    with pytest.raises(ValueError, match="expected -1 or 1"):
        signs.train_step(x, y)
    assert t.step == signs.step == 3


def set_options(**values):
    return lambda t: [setattr(t.optimizer, name, value) for name, value in values.items()]


def set_attributes(**values):
    return lambda t: [setattr(t, name, value) for name, value in values.items()]


CHANGES = {
    "rate": set_options(lr=0.1),
    "betas": set_options(betas=(0.5, 0.9)),
    "decay": set_options(weight_decay=0.1),
    "amsgrad": set_options(amsgrad=True),
    "max norm": set_options(max_norm=0.5),
    "group": lambda t: t.optimizer.groups.append({"params": ["3.*"], "lr": 0.5}),
    "other optimizer": set_attributes(optimizer=optim.SGD(lr=0.1, momentum=0.9)),
    "equal optimizer": set_attributes(optimizer=optim.Adam(lr=0.3)),
    "clip by norm": set_attributes(clip_grad_norm=1e-3),
    "clip by value": set_attributes(clip_grad_value=1e-4),
    "average": set_attributes(ema=0.9),
    "hook": set_attributes(gradient_hook=lambda gradients: [g.fill(0.5) for g in gradients.values()]),
    "accumulate": set_attributes(accumulate=2),
    "seed": set_attributes(seed=5),
    "schedule": set_attributes(scheduler=optim.lr_scheduler.StepLR(3, per="step")),
    "function": set_attributes(scheduler=lambda base, step, epoch: base / (1 + step)),
    "loss": set_attributes(loss=nn.CrossEntropyLoss(label_smoothing=0.2)),
    "one thread": set_attributes(num_threads=1),
    "three threads": set_attributes(num_threads=3),
    "frozen": lambda t: setattr(t.model[0].weight, "requires_grad", False),
    "layer": lambda t: t.model.__setitem__(2, nn.Tanh()),
    "model": lambda t: setattr(t, "model", classifier(nn.Dropout(0.3), seed=9)),
    "assigned weight": lambda t: t.model[0].weight.assign(np.ones((16, 6))),
    "loaded": lambda t: t.load_state_dict(*trainer(nn.Dropout(0.3)).state_dict()),
    "fit": lambda t: t.fit(*blobs(96), epochs=2, batch_size=20, progress=False),
    "micro-step": lambda t: setattr(t.state, "micro_step", 50),
}
SAME_BITS = ("one thread", "three threads", "average")


@pytest.mark.parametrize("change", CHANGES)
def test_changes_act_at_the_next_step(change):
    x, y = blobs(32)
    pair, same = Pair(nn.Dropout(0.3)), Pair(nn.Dropout(0.3))
    for _ in range(12):  # in the midst of a table of scalars
        pair.step(x, y)
        same.step(x, y)
    pair.both(CHANGES[change])
    for _ in range(5):
        pair.step(x, y)
        same.step(x, y)
    pair.check()
    assert (weights(pair.cached.model) == weights(same.cached.model)) == (change in SAME_BITS)


def test_another_model_is_the_one_that_is_trained():
    x, y = blobs(32)
    t, other = trainer(), classifier(seed=9)
    for _ in range(3):
        t.train_step(x, y)
    first, second = weights(t.model), weights(other)
    t.model, mine = other, t.model
    loss = softmax_cross_entropy(other.predict(x), y)[0]
    assert t.train_step(x, y) == pytest.approx(loss, rel=1e-5)
    assert weights(other) != second and weights(mine) == first


def test_a_schedule_is_followed_step_by_step():
    x, y = blobs(32)
    schedules = [optim.lr_scheduler.StepLR(4, per="step"), optim.lr_scheduler.StepLR(4, per="step")]
    pair = Pair()
    pair.cached.scheduler, pair.uncached.scheduler = schedules
    for _ in range(20):
        pair.step(x, y)
    for schedule in schedules:
        schedule.gamma = 0.9
    pair.step(x, y)
    pair.both(lambda t: setattr(t.state, "epoch", 3))
    pair.step(x, y)
    pair.check()
    rate = [0.1]
    pair.both(lambda t: setattr(t, "scheduler", lambda base, step, epoch: rate[0]))  # not even a pure one is missed
    for i in range(6):
        rate[0] = 0.1 / (i + 1)
        pair.step(x, y)
    pair.check()


def test_batches_of_other_forms_in_between_keep_the_counts():
    x, y = blobs(64)
    pair = Pair(clip_grad_norm=1.0, ema=0.9)
    weight = np.linspace(0.1, 1, 32)
    for _ in range(6):
        pair.step(x[:32], y[:32])
        pair.step(x[:32], y[:32], weight)
        pair.step(x[:7], y[:7])
        pair.step((x[:32],), y[:32])
    pair.check()
    assert pair.cached.step == 24


def test_several_inputs_take_the_slow_path():
    class Two(nn.Module):
        def __init__(self):
            self.left, self.right = nn.Linear(6, 3, seed=1), nn.Linear(6, 3, seed=2)

        def forward(self, a, b):
            return self.left(a) + self.right(b)

    x, y = blobs(32)
    t = Trainer(Two(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    for form in ((x, x), {"a": x, "b": x}) * 2:
        loss = softmax_cross_entropy(t.model.predict(form), y)[0]
        assert t.train_step(form, y) == pytest.approx(loss, rel=1e-5)


def test_one_row_needs_no_batch_norm():
    x, y = blobs(32)
    t = trainer(nn.BatchNorm1d(16))
    t.train_step(x, y)
    with pytest.raises(ValueError, match="at least 2 rows"):
        t.train_step(x[:1], y[:1])
    with pytest.raises(ValueError, match="no rows"):
        t.train_step(x[:0], y[:0])


def test_instruction_sets_alternate():
    x, y = blobs(32)
    pair = Pair()
    for _ in range(2):
        for name in fastnn.available_isas():
            with fastnn.isa(name):
                for _ in range(3):
                    pair.step(x, y)
    pair.check()


def test_any_number_of_threads_has_the_same_bits():
    x, y = blobs(64)
    results = []
    for count, force in ((1, False), (2, True), (3, True), (2, False)):
        t = trainer(nn.BatchNorm1d(16), nn.Dropout(0.2))
        with fastnn.num_threads(count, force=force):
            losses = [t.train_step(x, y) for _ in range(20)]
        results.append((losses, weights(t.model)))
    assert all(result == results[0] for result in results)


def test_the_trainers_own_threads_do_not_stay():
    x, y = blobs(32)
    t = trainer(num_threads=3)
    with fastnn.num_threads(2, force=True):
        for _ in range(3):
            t.train_step(x, y)
            assert fastnn.get_num_threads() == 2 and fastnn._native.threads_forced()
    with pytest.raises(ValueError, match="between 1 and 1024"):
        t.num_threads = 0
    t.train_step(x, y)


def test_averaged_weights_are_not_trained():
    t, x, y = warmed(ema=0.9)
    with t.averaged(), pytest.raises(RuntimeError, match="averaged"):
        t.train_step(x, y)
    t.train_step(x, y)
    assert t.step == 4


def test_training_while_another_thread_uses_the_model_raises():
    t, x, y = warmed()
    reading, leave = threading.Event(), threading.Event()

    def read():
        with t.model._guard.reading():
            reading.set()
            leave.wait(20)

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(20)
    try:
        with pytest.raises(RuntimeError, match="predicting on this model"):
            t.train_step(x, y)
    finally:
        leave.set()
        reader.join(20)
    t.train_step(x, y)
    assert t.step == 4


def test_versions_rise_with_every_step():
    x, y = blobs(32)
    t = trainer(nn.BatchNorm1d(16))
    tensors = [*t.model.parameters(), *[buffer for _, buffer in t.model.named_buffers()]]
    before = [tensor.version for tensor in tensors]
    for _ in range(5):
        t.train_step(x, y)
    assert [tensor.version for tensor in tensors] == [version + 5 for version in before]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on():
    x, y = blobs(32)
    t, twin = trainer(), trainer()
    for _ in range(3):
        t.train_step(x, y)
        twin.train_step(x, y)
    expected = twin.train_step(x, y)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(0 if t.train_step(x, y) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert t.train_step(x, y) == expected


def test_copies_have_cached_steps_of_their_own():
    x, y = blobs(32)
    t = trainer(nn.Dropout(0.2), ema=0.9)
    for _ in range(5):
        t.train_step(x, y)
    other = copy.deepcopy(t)
    assert other._runner._cached_steps == []
    assert [other.train_step(x, y) for _ in range(5)] == [t.train_step(x, y) for _ in range(5)]
    assert weights(other.model) == weights(t.model)


def test_a_frozen_or_forgotten_step_is_dropped():
    x, y = blobs(32)
    t = trainer()
    for i in range(40):
        t.train_step(x, y)
        t.model[0].weight.requires_grad = bool(i % 2)
    assert len(t._runner._cached_steps) == 1
    for rows in range(2, 32):
        t.train_step(x[:rows], y[:rows])
    assert len(t._runner._cached_steps) <= 16
