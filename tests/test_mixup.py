"""Feed(mixup=): batches of means, by the definition; the same bits when resumed; what cannot be mixed."""

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights

from fastnn import LambdaCallback, ModelCheckpoint, Trainer, nn, optim
from fastnn.training import Feed
from fastnn.training.feed.augmentation import epoch_seed
from fastnn.training.feed.mixup import _TAG
from fastnn.training.feed.rows import epoch_order


def mixed_batches(x, y, w, size, epoch, alpha, seed=0):
    """The batches of an epoch by the definition."""
    order = epoch_order(len(x), True, seed, epoch)
    for i, start in enumerate(range(0, len(x), size)):
        rows = order[start : start + size]
        rng = np.random.Generator(np.random.Philox(key=[epoch_seed(seed, epoch), _TAG + (i << 32)]))
        lam, partners = rng.beta(alpha, alpha), rng.permutation(len(rows))
        yield [
            None if a is None else (lam * a[rows] + (1 - lam) * a[rows][partners]).astype(np.float32) for a in (x, y, w)
        ]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss([1, 2, 3]), nn.MSELoss()], ids=repr)
def test_batches_are_means_of_two_rows(loss, weighted):
    x, y = blobs(100)
    w = np.linspace(0.5, 2, 100).astype(np.float32) if weighted else None
    labels = loss.target == "class"
    rows = np.eye(3, dtype=np.float32)[y]
    t, twin = (Trainer(classifier(), loss, optim.SGD(lr=0.05)) for _ in range(2))
    history = t.fit(x, y if labels else rows, epochs=3, batch_size=32, sample_weight=w, feed=Feed(mixup=0.4),
                    progress=False)  # fmt: skip
    for epoch in range(3):
        losses, shares = [], []
        for bx, by, bw in mixed_batches(x, rows, w, 32, epoch, 0.4):
            losses.append(twin.train_step(bx, by, bw))
            shares.append(len(bx) if bw is None else bw.sum(dtype=np.float64))
        assert history["loss"][epoch] == pytest.approx(np.average(losses, weights=shares), rel=1e-5)
    for name, value in t.model.state_dict().items():
        np.testing.assert_allclose(value, twin.model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_mixup_follows_augmentation_and_leaves_validation_alone():
    x, y = blobs(100)

    def halve(images, seed, first):
        return images * np.float32(0.5)

    both, mixed = trainer(), trainer()
    both.fit(x, y, epochs=2, batch_size=32, feed=Feed(augment=halve, mixup=0.4), progress=False)
    mixed.fit(x * np.float32(0.5), y, epochs=2, batch_size=32, feed=Feed(mixup=0.4), progress=False)
    assert weights(both.model) == weights(mixed.model)
    t = trainer(metrics=["accuracy"])
    history = t.fit(x, y, epochs=5, batch_size=32, feed=Feed(mixup=0.2), validation_data=(x, y), progress=False)
    assert history["val_loss"][-1] == t.evaluate(x, y)["loss"]
    assert t.overfit((x[:9], y[:9]))


def test_a_resumed_fit_mixes_the_same_rows(tmp_path):
    x, y = blobs(100)
    options = {"epochs": 3, "batch_size": 16, "feed": Feed(mixup=0.4), "progress": False}
    whole, path = trainer(), tmp_path / "run.ckpt"
    whole.fit(x, y, **options)

    def crash(step, loss):
        if step == 10:
            raise KeyError

    with pytest.raises(KeyError):
        trainer().fit(
            x, y, **options, callbacks=[ModelCheckpoint(path, every_steps=9), LambdaCallback(on_batch_end=crash)]
        )
    t = trainer()
    t.fit(x, y, **options, resume=path, callbacks=[ModelCheckpoint(path, every_steps=9), LambdaCallback()])
    assert weights(t.model) == weights(whole.model) and t.history["loss"] == whole.history["loss"]


@pytest.mark.parametrize(
    ("loss", "alpha", "message"),
    [
        (nn.HingeLoss(), 0.2, "mixup needs targets between others; those of HingeLoss are -1 or 1"),
        (nn.CrossEntropyLoss(ignore_index=0), 0.2, "mixup makes probabilities of labels, but CrossEntropyLoss ignores"),
        (nn.CrossEntropyLoss(), 0, "mixup must be a positive number"),
    ],
)
def test_what_cannot_be_mixed_is_refused(loss, alpha, message):
    x, y = blobs(30)
    t = Trainer(classifier(), loss, optim.SGD())
    target = y if loss.target == "class" else np.ones((30, 3))
    with pytest.raises(ValueError, match=message):
        t.fit(x, target, epochs=1, feed=Feed(mixup=alpha), progress=False)
    with pytest.raises(ValueError, match="mixup needs arrays; x is an iterable of batches"):
        trainer().fit([(x, y)], epochs=1, feed=Feed(mixup=0.2), progress=False)
