"""trainer.overfit: the sanity check before a fit."""

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights

import fastnn.functional as F
from fastnn import Trainer, nn, optim


def test_a_sound_network_learns_a_few_rows_and_nothing_changes():
    x, y = blobs(300)
    t = trainer(nn.BatchNorm1d(16), metrics=["accuracy"], ema=0.9)
    t.fit(x, y, epochs=1, progress=False)
    before, state = weights(t.model), t.state_dict()[1]
    rng = np.random.default_rng(0)
    found = t.overfit((x[:16], rng.integers(0, 3, 16)))
    assert found and found.ok and found.learned == 1.0 and len(found.losses) == 200
    assert found.after["accuracy"] == 1.0 and found.after["loss"] < found.before["loss"]
    assert str(found).startswith("the network learns these rows by heart: 200 steps on 16 rows took the loss from")
    assert weights(t.model) == before and t.state_dict()[1] == state


@pytest.mark.parametrize(
    ("loss", "target", "end"),
    [
        (nn.MSELoss(), lambda y: y[:, None].astype(float), nn.Linear(16, 1)),
        (nn.BCEWithLogitsLoss(), lambda y: (y[:, None] > 0).astype(float), nn.Linear(16, 1)),
        (nn.PoissonNLLLoss(), lambda y: y[:, None] * 10.0, nn.Linear(16, 1)),
        (lambda out, t: F.mean(F.absolute(out - t)), lambda y: y[:, None].astype(float), nn.Linear(16, 1)),
    ],
    ids=["values", "answers", "counts", "function"],
)
def test_every_kind_of_loss(loss, target, end):
    x, y = blobs(12)
    t = Trainer(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), end, seed=1), loss, optim.Adam(lr=0.02))
    assert t.overfit((x / 3, target(y)), steps=500), t.overfit((x / 3, target(y)), steps=500)


def test_it_says_what_is_wrong():
    x, y = blobs(12)
    slow = Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=1e-6))
    found = slow.overfit((x, y))
    assert not found and "does not learn these rows by heart" in str(found) and "look at the rate" in str(found)
    assert "lower the rate" in str(trainer().overfit((x * np.nan, y)))
    with pytest.raises(TypeError, match=r"the batch must be \(x, y\)"):
        slow.overfit(x)
    with pytest.raises(ValueError, match="steps must be an integer >= 1"):
        slow.overfit((x, y), steps=0)
