"""What forward and the loss read: each change is seen by the next call, or refused by name; others cost nothing.

Every case trains or predicts, changes one thing, and compares with what a model that always had it gives.
"""

import copy
import functools
import pickle
import types

import numpy as np
import pytest

import fastnn
from fastnn import Trainer, nn, optim
from fastnn import functional as F

F4 = np.float32
X = np.random.default_rng(0).standard_normal((16, 4)).astype(F4)
Y = np.random.default_rng(1).standard_normal((16, 4)).astype(F4)
GLOBAL = 2.0


class Config:
    def __init__(self, **values):
        self.__dict__.update(values)


class Net(nn.Module):
    """y = layer(x) * whatever `factor` says."""

    def __init__(self, factor, **attributes):
        self.layer = nn.Linear(4, 4, seed=1)
        self.factor = factor
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.layer(x) * self.factor(self)


def setter(name, value):
    return lambda net: setattr(net, name, value)


def through(change, *path):
    """Apply `change` to what the path of attributes leads to."""
    return lambda net: change(functools.reduce(getattr, path, net))


# name: (attributes of the net, its factor, the change, the factor as a number before and after)
SEEN = {
    "an attribute": ({"a": 2.0}, lambda net: net.a, setter("a", 3.0)),
    "an underscore attribute": ({"_a": 2.0}, lambda net: net._a, setter("_a", 3.0)),
    "an attribute with two underscores": ({"__a": 2.0}, lambda net: getattr(net, "__a"), setter("__a", 3.0)),
    "an attribute that another object shadowed": ({"a": {}}, lambda net: net.a if net.a else 2.0, setter("a", 3.0)),
    "an array": ({"a": np.full(4, 2, F4)}, lambda net: net.a, setter("a", np.full(4, 3, F4))),
    "a tuple of arrays": ({"a": (np.full(4, 2, F4),)}, lambda net: net.a[0], setter("a", (np.full(4, 3, F4),))),
    "a tuple": ({"a": (1.0, 2.0)}, lambda net: net.a[1], setter("a", (1.0, 3.0))),
    "a plain object": ({"c": Config(a=2.0)}, lambda net: net.c.a, through(lambda c: setattr(c, "a", 3.0), "c")),
    "a plain object's own": (
        {"c": Config(d=Config(a=2.0))}, lambda net: net.c.d.a, through(lambda c: setattr(c, "a", 3.0), "c", "d")),
    "a plain object that is replaced": ({"c": Config(a=2.0)}, lambda net: net.c.a, setter("c", Config(a=3.0))),
    "an attribute added to a plain object": (
        {"c": Config(b=0)}, lambda net: getattr(net.c, "a", 2.0), through(lambda c: setattr(c, "a", 3.0), "c")),
    "a namespace": ({"c": Config(a=2.0)}, lambda net: net.c.a, through(lambda c: c.__dict__.update(a=3.0), "c")),
    "a partial": ({"f": functools.partial(max, 2.0)}, lambda net: net.f(0.0), setter("f", functools.partial(max, 3.0))),
    "a list of parameters": (
        {"p": [nn.Parameter(np.full(4, 2, F4))]}, lambda net: net.p[0],
        through(lambda p: p.__setitem__(0, nn.Parameter(np.full(4, 3, F4))), "p")),
    "a list of modules": ({"m": []}, lambda net: 2.0 + len(net.m), through(lambda m: m.append(nn.ReLU()), "m")),
    "a dict of modules": (
        {"m": {}}, lambda net: 2.0 + len(net.m), through(lambda m: m.update(a=nn.ReLU()), "m")),
    "a nested list of modules": (
        {"m": {"a": [nn.ReLU()]}}, lambda net: 1.0 + len(net.m["a"]), through(lambda m: m["a"].append(nn.ELU()), "m")),
    "an attribute of a sub-module": ({}, lambda net: getattr(net.layer, "a", 2.0), through(setter("a", 3.0), "layer")),
    "a parameter that is replaced": (
        {"p": nn.Parameter(np.full(4, 2, F4))}, lambda net: net.p, setter("p", nn.Parameter(np.full(4, 3, F4)))),
}  # fmt: skip


def step(net, loss=None):
    """The weights after one step of a trainer of its own."""
    trainer = Trainer(net, nn.MSELoss() if loss is None else loss, optim.SGD(lr=0.1))
    trainer.train_step(X, Y)
    return net.layer.weight.numpy().copy()


@pytest.mark.parametrize("what", SEEN)
def test_a_change_is_seen_by_predictions(what):
    attributes, factor, change = SEEN[what]
    net = Net(factor, **copy.deepcopy(attributes))
    plain = nn.Linear(4, 4, seed=1)
    program = fastnn.compile(net, X)
    for _ in range(3):
        np.testing.assert_allclose(net(X), plain(X) * 2, rtol=1e-6)
        np.testing.assert_allclose(program(X), plain(X) * 2, rtol=1e-6)
    change(net)
    for _ in range(3):
        np.testing.assert_allclose(net(X), plain(X) * 3, rtol=1e-6)
        np.testing.assert_allclose(program(X), plain(X) * 3, rtol=1e-6)


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize("way", ["train_step", "fit", "grad"])
def test_a_change_is_seen_by_training(what, way):
    attributes, factor, change = SEEN[what]
    net = Net(factor, **copy.deepcopy(attributes))
    trainer = Trainer(net, nn.MSELoss(), optim.SGD(lr=1e-9))
    gradient = fastnn.grad(lambda x: (net(x) ** 2).sum())

    def measured():
        if way == "grad":
            return float(np.abs(gradient(X)).sum())
        if way == "train_step":
            return [trainer.train_step(X, Y) for _ in range(3)][-1]
        return trainer.fit(X, Y, epochs=1, batch_size=16, shuffle=False, progress=False)["loss"][-1]

    def expected(number):
        if way == "grad":
            return float(np.abs(2 * (plain(X) * number) * number @ plain.weight.numpy()).sum())
        return float(np.mean((plain(X) * number - Y) ** 2))

    plain = nn.Linear(4, 4, seed=1)
    np.testing.assert_allclose(measured(), expected(2.0), rtol=1e-4)
    change(net)
    np.testing.assert_allclose(measured(), expected(3.0), rtol=1e-4)


REFUSED = {
    "a list": ([2.0], lambda net: net.a[0]),
    "a dict": ({"b": 2.0}, lambda net: net.a["b"]),
    "a set": ({2.0}, lambda net: sum(net.a)),
    "a list inside a tuple": (([2.0],), lambda net: net.a[0][0]),
    "a list of a plain object": (Config(b=[2.0]), lambda net: net.a.b[0]),
    "a list that held modules": ([nn.ReLU()], lambda net: net.a[1]),
    "a list that began empty": ([], lambda net: net.a[0]),
    "a dict that began empty": ({}, lambda net: net.a["b"]),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("way", ["predict", "train"])
def test_what_could_change_unseen_is_refused_by_name(what, way):
    value, factor = REFUSED[what]
    value = copy.deepcopy(value)
    net = Net(factor, a=value)
    if what == "a list that held modules" or what == "a list that began empty":
        net.a.append(2.0)
    if what == "a dict that began empty":
        net.a["b"] = 2.0
    with pytest.raises(TypeError, match=r"(list|dict|set).*a change inside it could not be seen: use a tuple"):
        net(X) if way == "predict" else step(net)
    assert net.a == value or isinstance(net.a, (nn.ModuleList, nn.ModuleDict))  # an attribute as ever


def test_records_that_a_forward_keeps_are_no_reason_to_compile_again():
    class Logging(nn.Module):
        def __init__(self):
            self.layer, self.traces, self.by_shape, self.kept = nn.Linear(4, 4), [], {}, None

        def forward(self, x):
            self.traces.append(1)
            self.by_shape[str(x.shape)] = 1
            self.kept = self.layer(x)
            return self.kept

    net = Logging()
    for _ in range(5):
        net(X)
    assert len(net.traces) == len(net.by_shape) == 1


def test_arrays_are_read_only_copies():
    mine = np.full(4, 2, F4)
    net = Net(lambda net: net.a, a=mine)
    before = net(X)
    mine[:] = 7
    assert np.array_equal(net(X), before)
    for other in (net, copy.deepcopy(net)):
        with pytest.raises(ValueError, match="read-only"):
            other.a[0] = 5
    loss = nn.CrossEntropyLoss(weight=np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        loss.weight[0] = 5
    assert not pickle.loads(pickle.dumps(loss)).weight.flags.writeable


# ---- losses ---------------------------------------------------------------------------------------------------------


class OwnLoss(nn.Loss):
    def __init__(self, a, _b=0.0):
        self.a, self._b = a, _b

    def __call__(self, output, target, sample_weight=None):
        return F.mse_loss(output, target) * (self.a + self._b)


class PlainLoss:
    def __init__(self, a):
        self.a = a

    def __call__(self, output, target):
        return F.mse_loss(output, target) * self.a


def over_a_variable():
    a = 2.0

    def loss(output, target):
        return F.mse_loss(output, target) * a

    def change():
        nonlocal a
        a = 3.0

    return loss, change


def over_a_global():
    global GLOBAL
    GLOBAL = 2.0

    def loss(output, target):
        return F.mse_loss(output, target) * GLOBAL

    def change():
        global GLOBAL
        GLOBAL = 3.0

    return loss, change


def own(name, before, after):
    loss = OwnLoss(**{"a": 2.0, name: before})
    return loss, lambda: setattr(loss, name, after)


def plain(before, after):
    loss = PlainLoss(before)
    return loss, lambda: setattr(loss, "a", after)


def method_of_an_object():
    loss = PlainLoss(2.0)
    return loss.__call__, lambda: setattr(loss, "a", 3.0)


LOSSES = {
    "a variable of a function": over_a_variable,
    "a global of a function": over_a_global,
    "an attribute": lambda: own("a", 2.0, 3.0),
    "an underscore attribute": lambda: own("_b", 0.0, 1.0),
    "an array": lambda: own("a", np.array(2.0), np.array(3.0)),
    "an attribute of a plain object": lambda: plain(2.0, 3.0),
    "an array of a plain object": lambda: plain(np.array(2.0, F4), np.array(3.0, F4)),
    "a method": method_of_an_object,
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_changed_loss_is_seen(what):
    loss, change = LOSSES[what]()
    net = nn.Linear(4, 4, seed=1)
    trainer = Trainer(net, loss, optim.SGD(lr=1e-9))
    expected = float(np.mean((net(X) - Y) ** 2))
    for _ in range(3):
        np.testing.assert_allclose(trainer.train_step(X, Y), 2 * expected, rtol=1e-5)
    change()
    for _ in range(3):
        np.testing.assert_allclose(trainer.train_step(X, Y), 3 * expected, rtol=1e-5)
    trainer.loss = nn.MSELoss()
    np.testing.assert_allclose(trainer.train_step(X, Y), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [[2.0], {"a": 2.0}, {2.0}])
@pytest.mark.parametrize("cls", [OwnLoss, PlainLoss])
def test_a_loss_that_reads_what_changes_unseen_is_refused(value, cls):
    class Reading(cls):
        def __call__(self, output, target, sample_weight=None):
            return F.mse_loss(output, target) * next(iter(self.a))

    with pytest.raises(TypeError, match="a change inside it could not be seen"):
        Trainer(nn.Linear(4, 4), Reading(value), optim.SGD()).train_step(X, Y)


def test_an_array_of_a_plain_loss_cannot_be_changed_in_place():
    loss = PlainLoss(np.array(2.0, F4))
    Trainer(nn.Linear(4, 4), loss, optim.SGD()).train_step(X, Y)
    with pytest.raises(ValueError, match="read-only"):
        loss.a[...] = 3.0


# ---- whom a change concerns -----------------------------------------------------------------------------------------


def test_making_other_objects_makes_nothing_stale():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    function = fastnn.grad(lambda w: (w * w).sum())
    trainer = Trainer(net, nn.MSELoss(), optim.Adam())
    other = nn.Sequential(nn.Linear(4, 4))
    for _ in range(5):
        net(X), trainer.train_step(X, Y), function(X[0])
    runner, calls = trainer._runner, function._fast
    programs, cached = list(runner._programs.values()), list(runner._cached_steps)
    nn.Linear(3, 3), nn.CrossEntropyLoss(), nn.Parameter(np.ones(3)).to(np.float64)
    other[0].weight.requires_grad = False
    other.append(nn.ReLU())
    other.to("float64")
    Trainer(other, nn.MSELoss(), optim.Adam()).loss = nn.L1Loss()
    assert net._forward.run(X, None) is not None
    assert cached[0].run(trainer, X, Y) is not None and cached[0].at > 0
    assert calls[0].run((X[0],)) is not None
    assert list(trainer._runner._programs.values()) == programs


def test_a_layer_of_two_models_counts_in_both():
    shared = nn.Linear(4, 4)
    models = [nn.Sequential(shared, nn.ReLU()), nn.Sequential(nn.Tanh(), nn.Sequential(shared))]
    for model in models:
        model(X)
    shared.bias = None
    for model in models:
        assert model._forward.run(X, None) is None
        model(X)
        assert model._forward.run(X, None) is not None
    shared.weight.requires_grad = False
    trainers = [Trainer(nn.Sequential(model, nn.Linear(4, 4)), nn.MSELoss(), optim.SGD()) for model in models]
    for trainer in trainers:
        trainer.train_step(X, Y)
    shared.weight.requires_grad = True
    before = shared.weight.numpy().copy()
    for trainer in trainers:
        trainer.train_step(X, Y)
        assert not np.array_equal(shared.weight.numpy(), before)
        before = shared.weight.numpy().copy()


def test_another_model_drops_the_old_moments():
    def fresh():
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), seed=3)

    trainer = Trainer(fresh(), nn.MSELoss(), optim.Adam(lr=0.1), ema=0.9)
    for _ in range(5):
        trainer.train_step(X, Y)
    trainer.model = fresh()
    expected = Trainer(fresh(), nn.MSELoss(), optim.Adam(lr=0.1), ema=0.9)
    for _ in range(3):
        assert trainer.train_step(X, Y) == expected.train_step(X, Y)
    for name, value in expected.averaged_state_dict().items():
        assert np.array_equal(value, trainer.averaged_state_dict()[name])


def test_a_program_of_functions_follows_modules_that_are_globals():
    names = {"F": F, "layer": nn.Linear(4, 4, seed=1)}
    exec("def f(x):\n    return F.linear(x, layer.weight)", names)
    f = fastnn.compile(names["f"])
    assert isinstance(names["f"], types.FunctionType)
    x = X[:2]
    np.testing.assert_allclose(f(x), x @ names["layer"].weight.numpy().T, rtol=1e-5)
    names["layer"].weight = nn.Parameter(np.ones((4, 4), F4))
    np.testing.assert_allclose(f(x), x @ np.ones((4, 4), F4), rtol=1e-5)
    names["layer"] = nn.Linear(4, 4, seed=2)
    np.testing.assert_allclose(f(x), x @ names["layer"].weight.numpy().T, rtol=1e-5)
