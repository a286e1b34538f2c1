"""Trainer.train_step: batches of any form, models that change, copies."""

import copy
import pickle

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights
from reference.cross_entropy import softmax_cross_entropy

from fastnn import Trainer, nn, optim


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
