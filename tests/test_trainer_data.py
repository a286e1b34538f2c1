"""What a fit trains on: augmentation inside the batch pipeline, curricula, weights of the validation part."""

import numpy as np
import pytest
from helpers.training import blobs, trainer, weights
from reference.cross_entropy import softmax_cross_entropy

from fastnn import LambdaCallback, ModelCheckpoint, Trainer, nn, optim
from fastnn.data.augment import Compose, Flip, Noise, Rotate, Shift
from fastnn.threads import num_threads
from fastnn.training import Curriculum, Feed

SHAPE = (5, 4)


def images(rows=90, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    x = rng.integers(0, 255, (3, 20))[labels] // 2 + rng.integers(0, 120, (rows, 20))
    return (x / (255 if dtype is np.float32 else 1)).astype(dtype), labels


def network(augment_seed=2, **options):
    model = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3), seed=1)
    return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.05), seed=augment_seed, **options)


def augmentation():
    return Compose([Flip(), Shift(1, 1), Noise(0.05)], shape=SHAPE)


class Recording:
    """An augmentation that keeps what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, batch, *, seed, first):
        self.calls.append((batch.copy(), seed, first))
        return np.asarray(batch, np.float32) + 1.0


# ---- augmentation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}])
def test_augmented_training_is_training_on_the_augmented_rows(options):
    """Row i of an epoch's order is changed as (epoch's seed, i) says, whatever batch it sits in."""
    from fastnn.training.feed.augmentation import epoch_seed
    from fastnn.training.feed.rows import epoch_order

    x, y = images()
    auto, by_hand = network(**options), network(**options)
    auto.fit(x, y, epochs=3, batch_size=32, feed=Feed(augment=augmentation()), progress=False)
    for epoch in range(3):
        order = epoch_order(90, True, 2, epoch)
        changed = augmentation()(x[order], seed=epoch_seed(2, epoch))
        by_hand.fit(changed, y[order], epochs=1, batch_size=32, shuffle=False, progress=False)
    assert weights(auto.model) == weights(by_hand.model)
    assert auto.history["loss"] == by_hand.history["loss"]
    plain = network(**options)
    plain.fit(x, y, epochs=3, batch_size=32, progress=False)
    assert weights(plain.model) != weights(auto.model)


def test_augmented_bits_depend_on_neither_threads_nor_windows_nor_callbacks(monkeypatch, tmp_path):
    x, y = images(rows=200)
    results = []
    for threads, window, callbacks in ((1, 1 << 22, ()), (3, 1, ()), (2, 9000, LambdaCallback(on_batch_end=print))):
        monkeypatch.setattr("fastnn.training.feed.augmentation._BYTES", window)
        t = network()
        with num_threads(threads, force=True):
            t.fit(x, y, epochs=2, batch_size=17, sample_weight=np.linspace(0, 1, 200), callbacks=callbacks,
                  feed=Feed(augment=augmentation()), progress=False)  # fmt: skip
        results.append((weights(t.model), t.history["loss"]))
    assert results[0] == results[1] == results[2]


def test_augmented_training_resumes_inside_an_epoch(tmp_path):
    x, y = images()
    options = {"batch_size": 16, "feed": Feed(augment=augmentation()), "progress": False}
    whole, resumed = network(), network()
    whole.fit(x, y, epochs=2, callbacks=ModelCheckpoint(tmp_path / "c{step}", every_steps=1), **options)
    resumed.resume(tmp_path / "c8")
    resumed.fit(x, y, epochs=2 - resumed.epoch, **options)
    assert weights(resumed.model) == weights(whole.model)


def test_every_row_is_changed_once_an_epoch_with_its_own_number():
    x, y = images(rows=50, dtype=np.uint8)
    record = Recording()
    t = network()
    t.fit(x, y, epochs=2, batch_size=16, feed=Feed(augment=record), progress=False)
    seeds = list(dict.fromkeys(seed for _, seed, _ in record.calls))
    assert len(seeds) == 2
    for seed in seeds:
        numbers = {first + i for batch, its, first in record.calls if its == seed for i in range(len(batch))}
        assert numbers == set(range(50))


def test_validation_data_are_not_augmented():
    x, y = images()
    t = network()
    feed = Feed(augment=Recording())
    history = t.fit(x, y, epochs=1, validation_data=(x, y), eval_train=True, feed=feed, progress=False)
    assert history["val_loss"] == history["train_loss"] == [t.evaluate(x, y)["loss"]]


def test_iterables_are_augmented_as_arrays_are():
    x, y = images()

    class Batches:
        def __iter__(self):
            return iter([(x[i : i + 32], y[i : i + 32]) for i in range(0, 90, 32)])

    a, b = network(), network()
    a.fit(x, y, epochs=2, batch_size=32, shuffle=False, feed=Feed(augment=augmentation()), progress=False)
    b.fit(Batches(), epochs=2, feed=Feed(augment=augmentation()), progress=False)
    assert weights(a.model) == weights(b.model)


@pytest.mark.parametrize(
    "augment, error, message",
    [
        (3, TypeError, "augment must be like data.augment.Compose"),
        (Compose(Flip()), ValueError, r"flat rows need Compose\(..., shape="),
        (Compose(Flip(), shape=(4, 4)), ValueError, r"rows of 20 numbers are no images of shape \(4, 4\)"),
        (lambda batch, seed, first: batch[:1], ValueError, "augment made float32"),
        (lambda batch, seed, first: batch.astype(int), ValueError, "not floats"),
    ],
)
def test_augmentations_that_make_no_sense(augment, error, message):
    x, y = images()
    t = network()
    before = weights(t.model)
    with pytest.raises(error, match=message) as caught:
        t.fit(x, y, epochs=1, feed=Feed(augment=augment), progress=False)
    assert "\n" not in str(caught.value)
    assert weights(t.model) == before


def test_compose_takes_a_list_and_refuses_classes():
    x, _ = images()
    flat, listed = Compose(Shift(1, 1), Rotate(5), shape=SHAPE), Compose([Shift(1, 1), Rotate(5)], shape=SHAPE)
    np.testing.assert_array_equal(flat(x, seed=3, first=7), listed(x, seed=3, first=7))
    pictures = x.reshape(-1, *SHAPE)
    np.testing.assert_array_equal(flat(x, seed=3).reshape(pictures.shape), listed(pictures, seed=3))
    with pytest.raises(TypeError, match="Compose takes steps such as"):
        Compose(Flip)


# ---- curriculum -------------------------------------------------------------------------------------------------


def rows_of_epochs(epochs, curriculum):
    """Which rows each epoch trained on: x holds its own row numbers, and the augmentation sees them."""
    x = np.repeat(np.arange(40, dtype=np.float32)[:, None], 6, axis=1)
    record = Recording()
    t = trainer()
    t.optimizer.lr = 0.0
    t.fit(x, np.arange(40) % 3, epochs=epochs, batch_size=4, feed=Feed(augment=record, curriculum=curriculum),
          progress=False)  # fmt: skip
    seen = {}
    for batch, seed, first in record.calls:
        seen.setdefault(seed, {}).update({first + i: int(row[0]) for i, row in enumerate(batch)})
    return [[by_place[i] for i in range(len(by_place))] for by_place in seen.values()]


@pytest.mark.parametrize("pace, shares", [("linear", [0.2, 0.6, 1.0]), ("root", [0.2, np.sqrt(0.04 + 0.96 / 2), 1.0])])
def test_curriculum_grows_to_all_rows(pace, shares):
    difficulty = np.random.default_rng(0).permutation(40)
    epochs = rows_of_epochs(3, Curriculum(difficulty, epochs=2, start=0.2, pace=pace))
    for rows, share in zip(epochs, shares, strict=True):
        count = int(np.ceil(share * 40))
        assert sorted(difficulty[rows]) == list(range(count))
        assert list(difficulty[rows]) != sorted(difficulty[rows])  # shuffled


def test_curriculum_by_order_and_by_function():
    difficulty = np.random.default_rng(0).permutation(40)
    for rows in rows_of_epochs(2, difficulty):
        assert list(difficulty[rows]) == list(range(40))
    chosen = rows_of_epochs(2, lambda epoch: np.arange(8)[::-1] + 8 * epoch)
    assert chosen == [list(range(7, -1, -1)), list(range(15, 7, -1))]


def test_curriculum_resumes_inside_an_epoch(tmp_path):
    x, y = blobs(100)
    course = Curriculum(np.abs(x).sum(axis=1), epochs=3)
    options = {"batch_size": 8, "feed": Feed(curriculum=course), "progress": False}
    whole, resumed = trainer(), trainer()
    whole.fit(x, y, epochs=4, callbacks=ModelCheckpoint(tmp_path / "c{step}", every_steps=1), **options)
    assert whole.step < 4 * 13
    resumed.resume(tmp_path / "c12")
    resumed.fit(x, y, epochs=4 - resumed.epoch, **options)
    assert weights(resumed.model) == weights(whole.model)
    assert resumed.history["loss"] == whole.history["loss"]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Curriculum(np.ones(9), epochs=0), ValueError, "epochs must be an integer >= 1"),
        (lambda: Curriculum(np.ones(9), epochs=1, start=0), ValueError, r"start must be a share in \(0, 1\]"),
        (lambda: Curriculum(np.ones(9), epochs=1, pace="fast"), ValueError, "pace must be 'linear' or 'root'"),
        (lambda: Curriculum([np.nan], epochs=1), ValueError, "one number per row, no NaN"),
        (lambda: Curriculum(np.ones(59), epochs=1), ValueError, "difficulty has 59 entries, x has more rows"),
        (lambda: lambda epoch: np.array([60]), ValueError, "gives row 60, which is not a row to train on"),
        (lambda: lambda epoch: [0.5], TypeError, "must give an array of row numbers"),
    ],
)
def test_curricula_that_make_no_sense(make, error, message):
    x, y = blobs(60)
    with pytest.raises(error, match=message):
        trainer().fit(x, y, epochs=1, feed=Feed(curriculum=make()), progress=False)


# ---- class weights of the validation part -------------------------------------------------------------------------


def test_class_weights_hold_for_both_losses():
    x, y = blobs(90)
    per_class = np.array([0.5, 2.0, 1.0])
    t = trainer()
    t.optimizer.lr = 0.0
    history = t.fit(x[:60], y[:60], epochs=1, class_weight=per_class, validation_data=(x[60:], y[60:]), progress=False)
    for column, part in (("loss", slice(60)), ("val_loss", slice(60, 90))):
        exact = softmax_cross_entropy(t.model.predict(x[part]), y[part], sample_weight=per_class[y[part]])[0]
        assert history[column][0] == pytest.approx(exact, rel=1e-5)
