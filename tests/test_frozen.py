"""A frozen set per trainer: parameters that one trainer leaves alone and another trains."""

import numpy as np
import pytest
from helpers.training import blobs, classifier

from fastnn import Trainer, nn, optim
from fastnn.data import iterate_batches


def changed(model, before):
    return {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}


@pytest.mark.parametrize("patterns, left", [("0.*", {"0.weight", "0.bias"}), (("*.bias",), {"0.bias", "2.bias"})])
def test_only_the_others_are_trained(patterns, left):
    x, y = blobs(64)
    for train in (
        lambda t: t.fit(x, y, epochs=2, batch_size=16, progress=False),
        lambda t: t.fit(iterate_batches(x, y, batch_size=16), epochs=2, progress=False),
        lambda t: [t.train_step(x, y) for _ in range(5)],
    ):
        model = classifier()
        before = model.state_dict()
        t = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(), frozen=patterns)
        train(t)
        assert changed(model, before) == set(before) - left
        assert set(t.state.optimizer_state.slots) == set(before) - left
        t.frozen = ()  # acts at the next step
        before = model.state_dict()
        train(t)
        assert changed(model, before) == set(before)


def test_two_trainers_of_one_model_train_its_parts_in_turn():
    class Pair(nn.Module):
        def __init__(self):
            self.generator, self.critic = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.critic(self.generator(x))

    x, y = blobs(32)
    pair = Pair()
    first = Trainer(pair, nn.CrossEntropyLoss(), optim.SGD(lr=0.1), frozen="critic.*")
    second = Trainer(pair, nn.CrossEntropyLoss(), optim.SGD(lr=0.1), frozen="generator.*")
    for trainer, part in ((first, "generator"), (second, "critic")) * 3:
        before = pair.state_dict()
        trainer.train_step(x, y)
        assert changed(pair, before) == {f"{part}.weight", f"{part}.bias"}


@pytest.mark.parametrize("frozen, error, message", [
    ("head.*", ValueError, "matches no parameter"), ("*", ValueError, "nothing to train"),
    ((1,), TypeError, "names of parameters"),
])  # fmt: skip
def test_what_cannot_be_frozen(frozen, error, message):
    x, y = blobs(16)
    with pytest.raises(error, match=message):
        Trainer(classifier(), nn.CrossEntropyLoss(), optim.SGD(lr=0.1), frozen=frozen).train_step(x, y)
