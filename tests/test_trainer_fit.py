"""Trainer.fit: data, batches, order, validation, weights, gradients in sight."""

import math

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights
from reference.cross_entropy import softmax_cross_entropy

from fastnn import Trainer, nn, optim


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
    from fastnn.training.feed.rows import epoch_order

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
    from fastnn.training.feed.rows import split_rows

    labels = np.repeat([0, 1, 2], [700, 200, 100])
    train, held = split_rows(1000, 0.2, 5, labels)
    assert len(held) == 200
    assert sorted([*train, *held]) == list(range(1000))
    assert list(np.bincount(labels[held])) == [140, 40, 20]
    again = split_rows(1000, 0.2, 5, labels)
    assert np.array_equal(held, again[1])
    assert not np.array_equal(held, split_rows(1000, 0.2, 6, labels)[1])



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
    np.testing.assert_allclose(class_weights("balanced", labels, 3), [4 / 6, 2.0, 0.0])



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
