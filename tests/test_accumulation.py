"""Several batches share an update: the step of the one large batch, whatever makes the batches."""

import numpy as np
import pytest
from helpers.training import blobs, classifier, weights

import fastnn.functional as F
from fastnn import Trainer, nn, optim
from fastnn.data import iterate_batches
from fastnn.training import Feed


def batches_of(x, y, size, weight=None):
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    return [(x[p], y[p]) if weight is None else (x[p], y[p], weight[p]) for p in parts]


def by_arrays(trainer, x, y, size, weight=None, epochs=1):
    trainer.fit(x, y, epochs=epochs, batch_size=size, shuffle=False, sample_weight=weight, progress=False)


def by_iterable(trainer, x, y, size, weight=None, epochs=1):
    trainer.fit(batches_of(x, y, size, weight), epochs=epochs, progress=False)


def by_steps(trainer, x, y, size, weight=None, epochs=1):
    for _ in range(epochs):
        for batch in batches_of(x, y, size, weight):
            trainer.train_step(*batch)
        trainer.end_epoch()


WAYS = {"arrays": by_arrays, "iterable": by_iterable, "steps": by_steps}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows, updates", [(128, 2), (112, 2), (72, 2), (64, 1), (10, 1)])
def test_accumulate_was_ignored_by_iterables_and_single_steps(way, rows, updates):
    x, y = blobs(rows)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=4)
    WAYS[way](t, x, y, 16)
    assert (t.step, t.epoch) == (updates, 1)
    assert {slots.steps for slots in t.state.optimizer_state.slots.values()} <= {updates}


@pytest.mark.parametrize("hooked", [False, True])
def test_arrays_iterables_and_single_steps_have_the_same_bits(hooked):
    x, y = blobs(150)
    weight = np.random.default_rng(1).random(150).astype("f4")
    found = []
    for way in WAYS.values():
        t = Trainer(classifier(nn.BatchNorm1d(16), nn.Dropout(0.3)), nn.CrossEntropyLoss(), optim.Adam(lr=0.01),
                    accumulate=3, gradient_hook=(lambda g: None) if hooked else None, seed=4)  # fmt: skip
        way(t, x, y, 16, weight, epochs=3)
        found.append(weights(t.model))
    assert found[0] == found[1] == found[2]


def focal(output, target):
    """A loss that states nothing: a mean over rows."""
    return F.mean(F.square(output - target))


LOSSES = {
    "plain": (nn.CrossEntropyLoss, {}),
    "ignored labels": (nn.CrossEntropyLoss, {"ignore_index": 1}),
    "weights of classes": (nn.CrossEntropyLoss, {"weight": [0.2, 1.0, 3.0]}),
    "both, smoothed": (nn.CrossEntropyLoss, {"weight": [0.2, 1.0, 3.0], "ignore_index": 2, "label_smoothing": 0.1}),
    "sum": (nn.CrossEntropyLoss, {"reduction": "sum"}),
    "values": (nn.MSELoss, {}),
    "sum of values": (nn.HuberLoss, {"reduction": "sum"}),
    "function": (lambda: focal, {}),
}


def one_step(loss, size, accumulate, weighted, **options):
    x, labels = blobs(64, seed=5)
    y = labels if getattr(loss, "target", "") == "class" else np.random.default_rng(2).normal(size=(64, 3))
    weight = np.random.default_rng(3).random(64) * (np.arange(64) > 20) if weighted else None
    t = Trainer(classifier(nn.Dropout(0.4)), loss, optim.SGD(lr=0.1), accumulate=accumulate, seed=3, **options)
    t.fit(x, y, epochs=1, batch_size=size, shuffle=False, sample_weight=weight, progress=False)
    assert t.step == 1
    return t


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("options", [{}, {"clip_grad_norm": 0.3}, {"clip_grad_value": 0.02}], ids=["", "norm", "value"])
def test_micro_batches_make_the_step_of_the_whole_batch(kind, weighted, options):
    make, arguments = LOSSES[kind]
    if weighted and kind == "function":
        pytest.skip("the function takes no weights")
    whole = one_step(make(**arguments), 64, 1, weighted, **options)
    for size, accumulate in ((16, 4), (10, 7), (1, 64)):
        parts = one_step(make(**arguments), size, accumulate, weighted, **options)
        for name, value in whole.model.state_dict().items():
            np.testing.assert_allclose(parts.model.state_dict()[name], value, rtol=2e-4, atol=2e-6, err_msg=name)
        assert parts.history["loss"][0] == pytest.approx(whole.history["loss"][0], rel=1e-5)


@pytest.mark.parametrize("optimizer", [
    optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01), optim.Adam(lr=0.01), optim.AdamW(lr=0.01, weight_decay=0.1),
    optim.LARS(lr=0.1), optim.LAMB(lr=0.01), optim.RMSprop(lr=0.01), optim.SGD(lr=0.1, maximize=True),
    optim.SGD(lr=0.1, l1=0.01, max_norm=0.5),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_optimizer_divides_before_its_update(optimizer, dtype):
    x, y = blobs(96)
    trainers = []
    for size, accumulate in ((48, 1), (12, 4)):
        t = Trainer(classifier().to(dtype), nn.CrossEntropyLoss(), optimizer, accumulate=accumulate, ema=0.5)
        t.fit(x, y, epochs=3, batch_size=size, shuffle=False, progress=False)
        assert t.step == 6
        trainers.append(t)
    tolerance = {"rtol": 1e-2, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-10}
    for part in ("averaged_state_dict", "state_dict"):
        whole, parts = ({**getattr(t if part[0] == "a" else t.model, part)()} for t in trainers)
        for name, value in whole.items():
            np.testing.assert_allclose(parts[name], value, err_msg=name, **tolerance)


def test_any_cut_into_native_calls_has_the_same_bits(monkeypatch):
    x, y = blobs(400)
    weight = np.random.default_rng(0).random(400)
    found = []
    for most in (1, 3, 5, 4096):
        monkeypatch.setattr("fastnn.training.lookahead._MOST_BATCHES", most)
        monkeypatch.setattr("fastnn.training.fit.Fit.most_batches", lambda self, wanted, most=most: min(wanted, most))
        t = Trainer(classifier(nn.Dropout(0.2)), nn.CrossEntropyLoss(), optim.Adam(), accumulate=4)
        t.fit(x, y, epochs=5, batch_size=7, sample_weight=weight, progress=False)
        found.append((t.step, weights(t.model), t.history["loss"]))
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0][0] == 5 * 15  # 58 batches an epoch: 14 times 4, and 2


def test_the_hook_sees_means():
    x, y = blobs(64)
    seen = []
    for size, accumulate in ((64, 1), (16, 4)):
        t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=accumulate,
                    gradient_hook=lambda g: seen.append({n: a.copy() for n, a in g.items()}))  # fmt: skip
        t.fit(x, y, epochs=1, batch_size=size, shuffle=False, progress=False)
    whole, parts = seen
    for name, gradient in whole.items():
        np.testing.assert_allclose(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_hook_that_raises_drops_the_update():
    x, y = blobs(64)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=2,
                gradient_hook=lambda g: 1 / 0)  # fmt: skip
    before = weights(t.model)
    with pytest.raises(ZeroDivisionError):
        t.fit(x, y, epochs=1, batch_size=16, progress=False)
    assert weights(t.model) == before and t.step == t.state.open_batches == 0
    t.gradient_hook = None
    t.fit(x, y, epochs=1, batch_size=16, progress=False)
    assert t.step == 2


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_a_checkpoint_between_the_batches_of_an_update(behind, tmp_path):
    x, y = blobs(96)
    batches = batches_of(x, y, 16)

    def make():
        return Trainer(classifier(nn.Dropout(0.3)), nn.CrossEntropyLoss(), optim.Adam(), accumulate=4)

    whole, cut, resumed = make(), make(), make()
    for batch in batches:
        whole.train_step(*batch)
    for batch in batches[:behind]:
        cut.train_step(*batch)
    cut.save_checkpoint(tmp_path / "c")
    resumed.resume(tmp_path / "c")
    for batch in batches[behind:]:
        resumed.train_step(*batch)
    whole.end_epoch(), resumed.end_epoch()
    assert whole.step == resumed.step == 2 and weights(resumed.model) == weights(whole.model)


def test_batches_of_different_specs_share_an_update():
    x, y = blobs(64)
    t, twin = (Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=4) for _ in range(2))
    for i, batch in enumerate(batches_of(x, y, 16)):
        twin.train_step(*batch)
        t.train_step(batch[0].astype("f8") if i % 2 else batch[0], batch[1], np.ones(16) if i > 1 else None)
    assert t.step == twin.step == 1
    for name, value in twin.model.state_dict().items():
        np.testing.assert_allclose(t.model.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_a_number_of_batches_that_changes_on_the_way():
    x, y = blobs(64)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=4)
    t.train_step(x[:16], y[:16])
    t.train_step(x[16:32], y[16:32])
    t.accumulate = 1  # the two make their update first
    t.train_step(x[32:48], y[32:48])
    assert t.step == 2 and t.state.open_batches == 0


def test_schedules_by_the_epoch_advance_in_a_loop_of_single_steps():
    x, y = blobs(32)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=1.0), scheduler=optim.StepLR(1, gamma=0.1))
    rates = []
    for _ in range(3):
        t.train_step(x, y)
        rates.append(t.current_lr())
        t.end_epoch()
    np.testing.assert_allclose(rates, [1.0, 0.1, 0.01])


def test_a_sum_is_reported_per_row_in_training_and_validation():
    x, y = blobs(64)
    mean, total = ({}, {})
    for reduction, found in (("mean", mean), ("sum", total)):
        t = Trainer(classifier(), nn.CrossEntropyLoss(reduction=reduction), optim.SGD(lr=0.0))
        history = t.fit(x, y, epochs=1, batch_size=24, validation_data=(x, y), progress=False)
        found.update(history.last())
        found["iterable"] = t.fit(iterate_batches(x, y, batch_size=24), epochs=1, progress=False)["loss"][-1]
    for name in ("loss", "val_loss", "iterable"):
        assert total[name] == pytest.approx(mean[name], rel=1e-5)


def test_balanced_classes_of_a_fold_are_those_of_its_rows():
    x, y = blobs(90)
    rows = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5], np.flatnonzero(y == 2)[:2]])
    options = {"epochs": 2, "batch_size": 16, "shuffle": False, "progress": False, "class_weight": "balanced"}
    found = []
    for arguments in ({"x": x, "y": y, "feed": Feed(rows=rows)}, {"x": x[rows], "y": y[rows]}):
        t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.Adam())
        t.fit(**arguments, **options)
        found.append(weights(t.model))
    assert found[0] == found[1]
