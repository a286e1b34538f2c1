"""What is given no seed differs from call to call, and manual_seed makes all of it repeatable."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn
from fastnn import Trainer, nn, optim
from fastnn import functional as F
from fastnn.ensemble import Bagging
from fastnn.graph.parameter import Parameter
from fastnn.search import RandomSearch, choice

F4 = np.float32
X = np.random.default_rng(0).standard_normal((32, 6)).astype(F4)
Y = np.random.default_rng(1).integers(0, 3, 32)


class Own(nn.Module):
    def __init__(self):
        self.first, self.rest = nn.Linear(6, 6), []
        for _ in range(3):
            self.rest.append(nn.Linear(6, 6))
        self.by_name = {"a": nn.Linear(6, 6), "b": [nn.Linear(6, 6)]}

    def forward(self, x):
        for layer in (self.first, *self.rest, self.by_name["a"], *self.by_name["b"]):
            x = layer(x)
        return x


MADE = {
    "Linear": lambda: nn.Linear(6, 6).weight.numpy().copy(),
    "Linear, torch": lambda: nn.Linear(6, 6, init="torch").bias.numpy().copy(),
    "Embedding": lambda: nn.Embedding(6, 6).weight.numpy().copy(),
    "Highway": lambda: nn.Highway(6).gate.weight.numpy().copy(),
    "Sequential": lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU()).state_dict()["0.weight"],
    "Residual": lambda: nn.Residual(nn.Linear(6, 6)).state_dict()["0.weight"],
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 6)), nn.ReLU()).state_dict()["0.0.weight"],
    "of one's own": lambda: Own().state_dict()["by_name.b.0.weight"],
    "reset_parameters": lambda: nn.Sequential(nn.Linear(6, 6)).reset_parameters().state_dict()["0.weight"],
    "from_config": lambda: nn.from_config(nn.Sequential(nn.Linear(6, 6)).to_config()).state_dict()["0.weight"],
    "xavier_normal_": lambda: nn.init.xavier_normal_(Parameter(np.zeros((6, 6)))).numpy().copy(),
    "uniform_ of an array": lambda: nn.init.uniform_(np.zeros((6, 6))),
    "dropout": lambda: F.dropout(np.ones((20, 20), F4), 0.5),
    "shared dropout": lambda: F.dropout(np.ones((20, 20), F4), 0.5, shared=True),
    "alpha_dropout": lambda: F.alpha_dropout(np.ones((20, 20), F4), 0.5),
    "gaussian_noise": lambda: F.gaussian_noise(np.ones((20, 20), F4), 0.5),
}


@pytest.mark.parametrize("what", MADE)
def test_unseeded_things_differ_and_manual_seed_repeats_them(what):
    make = MADE[what]
    fastnn.manual_seed(7)
    first, second = make(), make()
    assert not np.array_equal(first, second)
    fastnn.manual_seed(7)
    assert np.array_equal(make(), first) and np.array_equal(make(), second)
    fastnn.manual_seed(8)
    assert not np.array_equal(make(), first)


def test_layers_of_one_model_differ():
    state = Own().state_dict()
    weights = [value for name, value in state.items() if name.endswith("weight")]
    assert len(weights) == 6
    assert all(not np.array_equal(a, b) for i, a in enumerate(weights) for b in weights[:i])


def test_what_has_a_seed_keeps_it():
    def seeded():
        return nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 2, seed=9), seed=3)

    first = seeded().state_dict()
    fastnn.manual_seed(5)
    assert all(np.array_equal(value, first[name]) for name, value in seeded().state_dict().items())
    a, b = nn.Sequential(nn.Linear(6, 4)).reset_parameters(1), nn.Sequential(nn.Linear(6, 4)).reset_parameters(1)
    assert np.array_equal(a.state_dict()["0.weight"], b.state_dict()["0.weight"])
    assert np.array_equal(F.dropout(X, 0.5, seed=1), F.dropout(X, 0.5, seed=1))
    assert np.array_equal(nn.init.normal_(np.zeros((3, 3)), seed=1), nn.init.normal_(np.zeros((3, 3)), seed=1))


def test_five_unseeded_models_train_differently():
    losses = set()
    for _ in range(5):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam())
        losses.add(trainer.fit(X, Y, epochs=1, progress=False)["loss"][-1])
    assert len(losses) == 5


def test_processes_differ_unless_they_are_told():
    code = "import fastnn; from fastnn import nn; {}print(float(nn.Linear(3, 3).weight.numpy().sum()))"

    def run(told):
        command = [sys.executable, "-c", code.format(told)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("") != run("")
    assert run("fastnn.manual_seed(1); ") == run("fastnn.manual_seed(1); ")


@pytest.mark.parametrize("bad", [-1, 2**63, 1.5, "1", None, True])
def test_manual_seed_takes_seeds(bad):
    with pytest.raises(ValueError, match="manual_seed: seed must be an integer from 0 to"):
        fastnn.manual_seed(bad)


def test_numpy_s_global_state_is_not_touched():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    fastnn.manual_seed(1)
    nn.Linear(4, 4), F.dropout(X)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_unseeded_factories_are_repeatable_whatever_the_threads(jobs):
    """A factory that ignores its seed: the members differ, and do not depend on which thread made them."""

    def factory(seed):
        return Trainer(nn.Sequential(nn.Linear(6, 3)), nn.CrossEntropyLoss(), optim.SGD(), seed=seed)

    options = {"epochs": 1, "batch_size": 16}
    bags = [Bagging(factory, 3, n_jobs=n, seed=1).fit(X, Y, **options) for n in (1, jobs)]
    weights = [[t.model.state_dict()["0.weight"] for t in bag.models] for bag in bags]
    for a, b in zip(*weights, strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(weights[0][0], weights[0][1])


def test_trials_of_a_search_differ_by_their_parameters_only():
    made = []

    def factory(lr):
        model = nn.Sequential(nn.Linear(6, 3))
        made.append(model.state_dict()["0.weight"])
        return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr))

    RandomSearch(factory, {"lr": choice([0.1, 0.2])}, 3, seed=1).fit(X, Y, epochs=1, validation_split=0.25)
    assert len(made) >= 3 and all(np.array_equal(weight, made[0]) for weight in made)


def test_threads_share_the_sequence_without_repeating_it():
    found = []

    def draw():
        found.extend(float(nn.Linear(3, 3).weight.numpy().sum()) for _ in range(50))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 200
