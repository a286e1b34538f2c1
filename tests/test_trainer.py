"""Trainer: fit, train_step, evaluate, history, validation, callbacks, weights, every way to end, and every error."""

import copy
import math
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest
from reference.cross_entropy import softmax_cross_entropy

import fastnn.functional as F
from fastnn import Callback, EarlyStopping, LambdaCallback, TerminateOnNaN, Trainer, nn, optim


def blobs(rows=600, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, 6)) * 3
    return (centres[labels] + rng.normal(size=(rows, 6))).astype(np.float32), labels


def classifier(*middle, seed=1):
    return nn.Sequential(nn.Linear(6, 16), *middle, nn.ReLU(), nn.Linear(16, 3), seed=seed)


def trainer(*middle, **options):
    return Trainer(classifier(*middle), nn.CrossEntropyLoss(), optim.Adam(lr=0.01), **options)


def weights(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


# ---- fit --------------------------------------------------------------------------------------------------------


def test_fit_learns_and_reports():
    x, y = blobs()
    t = trainer(nn.BatchNorm1d(16), nn.Dropout(0.1), metrics=("accuracy",))
    history = t.fit(x, y, epochs=8, batch_size=32, validation_split=0.2, progress=False)
    assert history is t.history
    assert len(history) == 8
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.95
    assert history.stop_reason == "epochs"
    assert set(history.keys()) == {"loss", "val_loss", "val_accuracy", "lr", "seconds", "samples_per_second"}
    assert t.epoch == 8
    assert t.step == 8 * 15
    assert t.evaluate(x, y)["accuracy"] > 0.95


def test_second_fit_continues_with_the_same_bits():
    x, y = blobs()
    together, apart = trainer(nn.Dropout(0.2)), trainer(nn.Dropout(0.2))
    together.fit(x, y, epochs=4, progress=False)
    for epochs in (1, 3):
        apart.fit(x, y, epochs=epochs, progress=False)
    assert weights(together.model) == weights(apart.model)
    assert apart.history.epoch == [0, 1, 2, 3]
    assert together.history["loss"] == apart.history["loss"]


def test_seed_decides_order_and_dropout():
    x, y = blobs()
    runs = []
    for seed in (0, 0, 1):
        t = trainer(nn.Dropout(0.2), seed=seed)
        t.fit(x, y, epochs=1, progress=False)
        runs.append(weights(t.model))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_loss_in_history_is_the_row_weighted_mean_of_the_batches():
    x, y = blobs(50)
    t = trainer()
    t.optimizer.lr = 0.0  # the weights stay, so that the mean over batches of 16, 16, 16, 2 is the loss of all rows
    history = t.fit(x, y, epochs=1, batch_size=16, progress=False, eval_train=True)
    exact = softmax_cross_entropy(t.model.predict(x), y)[0]
    assert history["loss"][0] == pytest.approx(exact, rel=1e-5)
    assert history["train_loss"][0] == pytest.approx(exact, rel=1e-5)
    assert t.evaluate(x, y)["loss"] == pytest.approx(exact, rel=1e-5)


def test_batch_sizes():
    x, y = blobs(50)
    for size, steps in ((16, 4), ("full", 1), (1, 50), (500, 1), (25, 2)):
        t = trainer()
        t.fit(x, y, epochs=2, batch_size=size, progress=False)
        assert t.step == 2 * steps, size


def test_a_remainder_of_one_row_joins_only_where_batch_norm_needs_it():
    x, y = blobs(33)
    plain, normed = trainer(), trainer(nn.BatchNorm1d(16))
    for t in (plain, normed):
        t.fit(x, y, epochs=1, batch_size=16, progress=False)
    assert plain.step == 3
    assert normed.step == 2
    with pytest.raises(ValueError, match="at least 2 rows"):
        normed.fit(x, y, epochs=1, batch_size=1, progress=False)
    with pytest.raises(ValueError, match="at least 2 rows"):
        normed.train_step(x[:1], y[:1])


def test_inputs_are_converted_in_the_gather():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (100, 6), dtype=np.uint8), rng.integers(0, 3, 100)
    wide = np.zeros((100, 9))
    wide[:, 2:8] = x
    results = []
    for data, labels in ((x, y), (x.astype(np.float32), y.astype(np.uint8)), (wide[:, 2:8], y[:, None])):
        t = trainer()
        t.optimizer.lr = 1e-4
        t.fit(data, labels, epochs=2, batch_size=32, progress=False)
        results.append(weights(t.model))
    assert results[0] == results[1] == results[2]


def test_memmap(tmp_path):
    x, y = blobs(200)
    stored = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    stored[...] = x
    stored.flush()
    a, b = trainer(), trainer()
    a.fit(x, y, epochs=1, progress=False)
    b.fit(np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape), y, epochs=1, progress=False)
    assert weights(a.model) == weights(b.model)


def test_iterable_of_batches():
    x, y = blobs(96)
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 96, 32)]

    class Loader:
        def __iter__(self):
            return iter(batches)

    a, b = trainer(), trainer()
    a.fit(x, y, epochs=2, batch_size=32, shuffle=False, progress=False)
    history = b.fit(Loader(), epochs=2, progress=False, validation_data=(x, y))
    assert weights(a.model) == weights(b.model)
    assert history["loss"] == pytest.approx(a.history["loss"], rel=1e-6)
    assert len(history["val_loss"]) == 2
    with pytest.raises(ValueError, match="iterated only once"):
        b.fit((batch for batch in batches), epochs=2, progress=False)
    with pytest.raises(ValueError, match="class_weight needs arrays"):
        b.fit(Loader(), epochs=1, class_weight="balanced", progress=False)


def test_shuffle_modes():
    from fastnn.training.batches import epoch_order

    orders = [epoch_order(1000, True, 3, epoch) for epoch in (0, 1, 0)]
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    assert sorted(orders[0]) == list(range(1000))
    once = [epoch_order(1000, "once", 3, epoch) for epoch in (0, 5)]
    assert np.array_equal(once[0], once[1])
    assert np.array_equal(epoch_order(9, False, 3, 1), np.arange(9))
    # rows would repeat or correlate if the key were used badly
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 0.1


def test_validation_split_is_stratified_and_disjoint():
    from fastnn.training.batches import split_rows

    labels = np.repeat([0, 1, 2], [700, 200, 100])
    train, held = split_rows(1000, 0.2, 5, labels)
    assert len(held) == 200
    assert sorted([*train, *held]) == list(range(1000))
    assert list(np.bincount(labels[held])) == [140, 40, 20]
    again = split_rows(1000, 0.2, 5, labels)
    assert np.array_equal(held, again[1])
    assert not np.array_equal(held, split_rows(1000, 0.2, 6, labels)[1])


# ---- weights ----------------------------------------------------------------------------------------------------


def test_integer_sample_weights_are_repetitions():
    """A batch's mean divides by the sum of its weights: weight 2 is the row twice."""
    x, y = blobs(40)
    repeat = np.random.default_rng(0).integers(0, 3, 40)
    a = Trainer(classifier().to("float64"), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    b = Trainer(classifier().to("float64"), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    for _ in range(3):
        loss = a.train_step(x, y, repeat)
        assert b.train_step(np.repeat(x, repeat, axis=0), np.repeat(y, repeat)) == pytest.approx(loss, rel=1e-12)
    for name, value in a.model.state_dict().items():
        np.testing.assert_allclose(b.model.state_dict()[name], value, rtol=1e-10, atol=1e-14)
    assert a.evaluate(x, y, sample_weight=repeat)["loss"] == pytest.approx(
        b.evaluate(np.repeat(x, repeat, axis=0), np.repeat(y, repeat))["loss"], rel=1e-10
    )


def test_weighted_loss_in_history():
    x, y = blobs(50)
    weight = np.random.default_rng(2).uniform(0, 3, 50)
    t = trainer()
    t.optimizer.lr = 0.0
    history = t.fit(x, y, epochs=1, batch_size=16, sample_weight=weight, progress=False)
    exact = softmax_cross_entropy(t.model.predict(x), y, sample_weight=weight)[0]
    assert history["loss"][0] == pytest.approx(exact, rel=1e-5)
    assert t.evaluate(x, y, sample_weight=weight)["loss"] == pytest.approx(exact, rel=1e-5)


def test_batch_without_any_weight_changes_nothing():
    x, y = blobs(40)
    weight = np.repeat([1.0, 0.0], 20)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    history = t.fit(x, y, epochs=2, batch_size=20, shuffle=False, sample_weight=weight, progress=False)
    half = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    expected = half.fit(x[:20], y[:20], epochs=2, batch_size=20, shuffle=False, progress=False)
    for name, value in t.model.state_dict().items():
        np.testing.assert_allclose(value, half.model.state_dict()[name], rtol=1e-5, atol=1e-7)
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_class_weight_equals_the_losss_own():
    x, y = blobs(64)
    per_class = [0.5, 2.0, 1.0]
    a = Trainer(classifier(), nn.CrossEntropyLoss(per_class), optim.SGD(lr=0.1))
    b = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    a.fit(x, y, epochs=2, batch_size=16, progress=False)
    b.fit(x, y, epochs=2, batch_size=16, progress=False, class_weight=dict(enumerate(per_class)))
    for name, value in a.model.state_dict().items():
        np.testing.assert_allclose(b.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_balanced_class_weights_follow_scikit_learns_rule():
    from fastnn.training.targets import class_weights

    labels = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(class_weights("balanced", labels, 3), [4 / 6] * 3 + [2.0])


# ---- gradients in sight -----------------------------------------------------------------------------------------


def test_accumulated_batches_equal_one_large_batch():
    x, y = blobs(80)
    whole = Trainer(classifier().to("float64"), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    parts = Trainer(classifier().to("float64"), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=4)
    whole.fit(x, y, epochs=2, batch_size=80, shuffle=False, progress=False)
    parts.fit(x, y, epochs=2, batch_size=24, shuffle=False, progress=False)  # 24, 24, 24, 8: weighted by rows
    assert parts.step == whole.step == 2
    for name, value in whole.model.state_dict().items():
        np.testing.assert_allclose(parts.model.state_dict()[name], value, rtol=1e-10, atol=1e-14)


def test_parts_of_a_batch_draw_the_masks_of_the_whole():
    x, y = blobs(50)

    def trained(batch_size, accumulate):
        model = nn.Sequential(nn.Linear(x.shape[1], 21), nn.Dropout(0.4), nn.Tanh(), nn.Linear(21, 3), seed=1)
        t = Trainer(model.to("float64"), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), accumulate=accumulate, seed=2)
        t.fit(x, y, epochs=3, batch_size=batch_size, shuffle=False, progress=False)
        return t.model.state_dict()

    whole, parts, other = trained(50, 1), trained(13, 4), trained(13, 1)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-10, atol=1e-14)
    assert not np.allclose(other["0.weight"], whole["0.weight"])


def test_clipping_and_hook():
    x, y = blobs(32)
    seen = []

    def hook(gradients):
        seen.append({name: g.copy() for name, g in gradients.items()})

    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=1.0), gradient_hook=hook, clip_grad_norm=0.01)
    before = t.model.state_dict()
    t.train_step(x, y)
    step = {name: before[name] - value for name, value in t.model.state_dict().items()}
    norm = math.sqrt(sum((g.astype(float) ** 2).sum() for g in seen[0].values()))
    assert norm > 0.01
    assert math.sqrt(sum((s.astype(float) ** 2).sum() for s in step.values())) == pytest.approx(0.01, rel=1e-3)
    np.testing.assert_allclose(step["0.weight"], seen[0]["0.weight"] * 0.01 / norm, rtol=1e-2, atol=1e-6)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=1.0), clip_grad_value=1e-3)
    before = t.model.state_dict()
    t.train_step(x, y)
    assert max(np.abs(before[n] - v).max() for n, v in t.model.state_dict().items()) == pytest.approx(1e-3, rel=1e-2)


def test_visible_gradients_train_the_same_bits():
    x, y = blobs(100)
    a, b = trainer(nn.Dropout(0.2)), trainer(nn.Dropout(0.2), gradient_hook=lambda gradients: None)
    for t in (a, b):
        t.fit(x, y, epochs=2, batch_size=32, progress=False)
    assert weights(a.model) == weights(b.model)


# ---- losses and targets -----------------------------------------------------------------------------------------


def test_any_function_is_a_loss():
    x, y = blobs(64)
    target = y.astype(np.float32)

    def absolute(output, target, sample_weight=None):
        return F.absolute(output - target).mean()

    t = Trainer(nn.Sequential(nn.Linear(6, 1), seed=1), absolute, optim.Adam(lr=0.05))
    history = t.fit(x, target, epochs=60, batch_size="full", progress=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    exact = np.abs(t.predict(x)[:, 0] - target).mean()
    assert t.evaluate(x, target)["loss"] == pytest.approx(float(exact), rel=1e-5)


def test_changed_loss_is_seen():
    x, y = blobs(32)
    t = trainer()
    t.optimizer.lr = 0.0
    exact = {s: softmax_cross_entropy(t.model.predict(x), y, label_smoothing=s)[0] for s in (0.0, 0.3)}
    assert t.train_step(x, y) == pytest.approx(exact[0.0], rel=1e-5)
    t.loss.label_smoothing = 0.3
    assert t.train_step(x, y) == pytest.approx(exact[0.3], rel=1e-5)
    t.loss = nn.CrossEntropyLoss()
    assert t.train_step(x, y) == pytest.approx(exact[0.0], rel=1e-5)
    t.loss = lambda output, target: 2.0 * F.cross_entropy(output, target)
    t.loss.target = "class"
    assert t.train_step(x, y) == pytest.approx(2 * exact[0.0], rel=1e-5)


def test_loss_without_weights_says_so():
    x, y = blobs(20)
    t = Trainer(nn.Sequential(nn.Linear(6, 1)), lambda output, target: (output - target).sum(), optim.SGD())
    with pytest.raises(TypeError, match="the loss takes no sample weights"):
        t.train_step(x, y, np.ones(20))


def test_column_targets_match_flat_ones():
    x, y = blobs(64)
    results = []
    for target in (y, y.astype(np.float32), y[:, None].astype(np.int32), y.astype(np.float64)[:, None]):
        t = Trainer(nn.Sequential(nn.Linear(6, 1), seed=1), nn.MSELoss(), optim.SGD(lr=0.01), metrics=["rmse", "r2"])
        t.fit(x, target, epochs=3, batch_size=16, progress=False)
        results.append(weights(t.model))
        scores = t.evaluate(x, target)
        assert scores["rmse"] == pytest.approx(math.sqrt(scores["loss"]), rel=1e-5)
        assert scores["r2"] == pytest.approx(1 - scores["loss"] / y.var(), rel=1e-5)
    assert all(result == results[0] for result in results)


def test_probabilities_as_targets():
    x, y = blobs(64)
    a, b = trainer(), trainer()
    losses = a.train_step(x, y), b.train_step(x, np.eye(3, dtype=np.float32)[y])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "target, error, message",
    [
        (
            lambda y: np.where(np.arange(len(y)) == 7, 3, y),
            IndexError,
            "label 3 of row 7 is out of range for 3 classes",
        ),
        (lambda y: np.where(np.arange(len(y)) >= 5, -1, y), IndexError, "label -1 of row 5 is out of range"),
        (lambda y: y.astype(float), TypeError, "class labels must be integers, got float64"),
        (lambda y: y.astype(str), TypeError, "class labels must be integers 0 .. 2"),
        (lambda y: y[:-1], ValueError, r"y has shape \(59,\), but x has 60 rows"),
        (lambda y: np.zeros((60, 3), int), ValueError, r"must have shape \(rows,\), got \(60, 3\)"),
    ],
)
def test_bad_labels_are_refused_before_the_first_write(target, error, message):
    x, y = blobs(60)
    t = trainer()
    before = weights(t.model)
    t.train_step(x, y)
    after_one = weights(t.model)
    bad = target(y)
    for call in (
        lambda: t.fit(x, bad, epochs=1, progress=False),
        lambda: t.train_step(x, bad),
        lambda: t.evaluate(x, bad),
        lambda: t.fit(x, y, epochs=1, validation_data=(x, bad), progress=False),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert weights(t.model) == after_one != before


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": -1}, ValueError, "epochs must be an integer >= 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1 or 'full', got 0"),
        ({"batch_size": "all"}, TypeError, "batch_size must be an integer or 'full'"),
        ({"validation_split": 1.0}, ValueError, "share between 0 and 1"),
        ({"validation_split": 0.5, "validation_data": blobs(9)}, ValueError, "not both"),
        ({"validation_data": blobs(9)[0]}, TypeError, r"must be \(x, y\)"),
        ({"shuffle": "often"}, ValueError, "shuffle must be True, 'once' or False"),
        ({"callbacks": [print]}, TypeError, "must be fastnn.Callback objects"),
        ({"max_time": 0}, ValueError, "max_time must be a positive number"),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has shape \(3,\), expected \(600,\)"),
        ({"sample_weight": np.where(np.arange(600) == 4, np.nan, 1)}, ValueError, "sample_weight nan of row 4"),
        ({"sample_weight": np.zeros(600)}, ValueError, "all sample weights are zero"),
        ({"class_weight": "equal"}, ValueError, "class_weight must be 'balanced'"),
        ({"class_weight": {5: 1.0}}, ValueError, "5 is not a class"),
    ],
)
def test_bad_options(options, error, message):
    x, y = blobs()
    t = trainer()
    before = weights(t.model)
    with pytest.raises(error, match=message):
        t.fit(x, y, **{"epochs": 1, "progress": False, **options})
    assert weights(t.model) == before


def test_bad_data():
    x, y = blobs(60)
    t = trainer()
    with pytest.raises(ValueError, match="no rows"):
        t.fit(x[:0], y[:0], epochs=1, progress=False)
    broken = x.copy()
    broken[17, 2] = np.nan
    with pytest.raises(ValueError, match="x holds nan in row 17, column 2"):
        t.fit(broken, y, epochs=1, progress=False, check_finite=True)
    with pytest.raises(ValueError, match="5"):
        t.fit(x[:, :5], y, epochs=1, progress=False)
    regression = Trainer(nn.Sequential(nn.Linear(6, 2)), nn.MSELoss(), optim.SGD())
    with pytest.raises(ValueError, match=r"y has shape \(60,\), the model's output is \(rows, 2\).*CrossEntropyLoss"):
        regression.fit(x, y, epochs=1, progress=False)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda m: Trainer(m, nn.CrossEntropyLoss, optim.Adam()), TypeError, "loss must be an object"),
        (lambda m: Trainer(m, nn.CrossEntropyLoss(), optim.Adam), TypeError, "optimizer must be an object"),
        (lambda m: Trainer(print, nn.CrossEntropyLoss(), optim.Adam()), TypeError, "model must be an nn.Module"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), seed=-1), ValueError, "seed must be an integer"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), accumulate=0), ValueError, "accumulate must be"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), clip_grad_norm=0), ValueError, "clip_grad_norm must be"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), metrics="auc2"), ValueError, "unknown metric 'auc2'; known"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), ema=1.0), ValueError, "ema must be a decay"),
    ],
)
def test_bad_trainers(make, error, message):
    with pytest.raises(error, match=message):
        make(classifier())


# ---- train_step -------------------------------------------------------------------------------------------------


def test_train_step_returns_the_loss_before_the_update():
    x, y = blobs(32)
    t = trainer()
    expected = softmax_cross_entropy(t.model.predict(x), y)[0]
    assert t.train_step(x, y) == pytest.approx(expected, rel=1e-5)
    assert t.train_step(x, y) < expected


def test_train_step_takes_batches_of_any_form():
    """The remembered plan of one form must not be used for another."""
    rng = np.random.default_rng(0)
    forms = [
        (np.float32, np.int64, 32), (np.float64, np.int64, 32), (np.uint8, np.int32, 32), (np.float32, np.int64, 7),
        (np.float32, np.int64, 200), (np.float16, np.uint8, 32), (np.float32, bool, 32), (np.float32, np.int64, 32),
    ]  # fmt: skip
    fresh, planned = [], trainer()
    planned.optimizer.lr = 0.0
    for _ in range(2):
        for x_type, y_type, rows in forms:
            x = rng.integers(0, 5, (rows, 6)).astype(x_type)
            y = rng.integers(0, 2, rows).astype(y_type)
            for layout in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
                start = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.0))
                start.model.load_state_dict(planned.model.state_dict())
                fresh.append(start.train_step(x.astype(np.float32), y.astype(np.int64)))
                for labels in (y, np.repeat(y, 2)[::2], y[:, None]):
                    for _ in range(2):  # the second time by the plan
                        assert planned.train_step(layout, labels) == fresh[-1]


def test_train_step_follows_changes_of_the_model():
    x, y = blobs(32)
    t = trainer()
    t.train_step(x, y)
    t.model[0].weight.requires_grad = False
    before = t.model.state_dict()
    t.train_step(x, y)
    after = t.model.state_dict()
    assert np.array_equal(before["0.weight"], after["0.weight"])
    assert not np.array_equal(before["2.weight"], after["2.weight"])
    t.model[1] = nn.Tanh()
    loss = softmax_cross_entropy(t.model.predict(x), y)[0]
    assert t.train_step(x, y) == pytest.approx(loss, rel=1e-5)
    for parameter in t.model.parameters():
        parameter.requires_grad = False
    with pytest.raises(ValueError, match="nothing to train"):
        t.train_step(x, y)


def test_copies_and_pickles_go_on_alone():
    x, y = blobs(64)
    t = trainer(nn.Dropout(0.2))
    t.fit(x, y, epochs=2, batch_size=16, progress=False)
    others = copy.deepcopy(t), pickle.loads(pickle.dumps(t))
    before = weights(t.model)
    for other in others:
        other.fit(x, y, epochs=1, batch_size=16, progress=False)
    assert weights(t.model) == before
    t.fit(x, y, epochs=1, batch_size=16, progress=False)
    assert all(weights(other.model) == weights(t.model) != before for other in others)


# ---- callbacks and ends -----------------------------------------------------------------------------------------


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
    t = trainer()
    t.fit(x, y, epochs=1, batch_size=20, shuffle=False, progress=False)
    assert t.step == 20


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
def test_ctrl_c_leaves_a_usable_trainer():
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
    assert {slots.steps for slots in t._optimizer_state.slots.values()} == {t.step}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    t.fit(x, y, epochs=1, progress=False)
    assert model[0].weight.numpy()[0, 0] == t.step


# ---- progress ---------------------------------------------------------------------------------------------------


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
