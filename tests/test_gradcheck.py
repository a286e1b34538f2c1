"""The gradient checker itself: that it passes what is right, and finds and names what is wrong."""

import numpy as np
import pytest

import fastnn
from fastnn import diagnostics, nn, optim
from fastnn import functional as F


def test_central_and_forward_differences():
    """f = x^3 at 1, h = 0.01: 3.0001 by central differences (error O(h^2)), 3.0301 by forward ones."""
    f = fastnn.compile(lambda x: x**3)
    h = 0.01
    assert abs((f(1 + h) - f(1 - h)) / (2 * h) - 3.0001) < 1e-10
    assert abs((f(1 + h) - f(1.0)) / h - 3.0301) < 1e-10
    report = fastnn.gradcheck(lambda x: x**3, 1.0, h=h, tolerance=1e-3)
    (check,) = report.parameters
    assert abs(check.approx[0] - 3.0001) < 1e-10 and abs(check.exact[0] - 3.0) < 1e-14
    assert abs(report.score - 1e-4 / 6.0001) < 1e-9 and report.verdict == "look again"


def wrong(x, factor, where=slice(None)):
    """y = x^2 whose gradient is wrong by a factor at some elements."""

    def vjp(g, a):
        gradient = 2 * a * g
        gradient[where] *= factor
        return gradient

    return F.python_op(np.square, x, vjp=vjp)


@pytest.mark.parametrize(
    "factor, verdict", [(1.0, "great"), (1 + 2e-6, "fine"), (1 + 2e-4, "look again"), (1.1, "wrong"), (-1.0, "wrong")]
)
def test_verdicts(rng, factor, verdict):
    x = rng.normal(size=(4, 3))
    report = fastnn.gradcheck(lambda x: wrong(x, factor).sum(), x)
    assert report.verdict == verdict and bool(report) == (verdict == "great")
    expected = abs(factor - 1) / (abs(factor) + 1)
    assert abs(report.score - expected) < 1e-8 + 1e-6 * expected


def test_the_wrong_component_is_found(rng):
    arrays = [rng.normal(size=s) for s in ((3, 4), (5,), (2, 2))]

    def function(a, b, c):
        return F.tanh(a).sum() + wrong(b, 1.5, 3).sum() + F.exp(c).sum()

    report = fastnn.gradcheck(function, *arrays)
    assert not report and report.parameters[0].name == "argument 1" and report.parameters[0].worst == (3,)
    assert all(p.score < 1e-8 for p in report.parameters[1:])
    assert "argument 1: worst at (3,)" in str(report).splitlines()[1]


def test_kinks_are_left_out():
    h = 1e-5
    x = np.array([-1.0, -0.5 * h, 0.0, 0.5 * h, 1.0, 2.0])
    for function in (F.relu, F.absolute, lambda x: F.maximum(x, 0.0), lambda x: F.where(x > 0.0, x, 0.0 * x)):
        report = fastnn.gradcheck(lambda x, f=function: (f(x) * np.arange(1.0, 7.0)).sum(), x, h=h)
        assert report.excluded == 3 and report.checked == 3 and report, report
    smooth = fastnn.gradcheck(lambda x: F.sigmoid(x), x, h=h)
    assert smooth.excluded == 0 and smooth
    ties = fastnn.gradcheck(lambda x: F.max(x, axis=1), np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 1.0]]))
    assert ties.excluded == 2 and ties


def test_round_off_floor():
    """At h = 1e-7 round-off alone gives about 1e-7; at 1e-5 about 1e-9: the report says so beforehand."""
    x = np.linspace(0.5, 2, 20)
    floors = [fastnn.gradcheck(lambda x: F.log(x).sum() + 5.0, x, h=h).round_off_floor for h in (1e-5, 1e-7)]
    assert 1e-12 < floors[0] < 1e-9 and abs(floors[1] / floors[0] - 100) < 1
    constant = fastnn.gradcheck(lambda x: (x * 0.0).sum() + 3.0, x)
    assert constant and constant.score == 0.0


def test_modules_are_checked_in_float64(rng):
    model = nn.Sequential(
        nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.3), nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 3)
    )  # fmt: skip
    x, y = rng.normal(size=(12, 6)).astype(np.float32), rng.integers(0, 3, 12)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    for training in (True, False):
        report = fastnn.gradcheck(model, x, y, loss=nn.CrossEntropyLoss(), training=training)
        assert report, report
        assert report.checked + report.excluded == sum(p.size for p in model.parameters())
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    assert model.dtype == np.float32
    model[0].weight.requires_grad = False
    names = [p.name for p in fastnn.gradcheck(model, x, y, loss=nn.CrossEntropyLoss()).parameters]
    assert "0.weight" not in names and "4.weight" in names
    assert fastnn.gradcheck(model, x)  # without a loss: a fixed random direction of the outputs


def test_a_loss_with_penalties(rng):
    model = nn.Linear(4, 3)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))

    def loss(output, target):
        return F.mse_loss(output, target) + 0.01 * F.sum(F.square(model.weight))

    report = fastnn.gradcheck(model, x, y, loss=loss)
    assert report and report.checked == 15, report


class Branches(nn.Module):
    """Shared weights, a highway, a residual, a concatenation, an auxiliary output."""

    def __init__(self, factor=1.0):
        self.inner = nn.Linear(4, 4)
        self.gate = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.4)
        self.out = nn.Linear(8, 3)
        self.side = nn.Linear(4, 1)
        self.factor = factor

    def forward(self, x):
        t = F.sigmoid(self.gate(x))
        h = F.tanh(self.inner(x)) * t + (1.0 - t) * x
        h = h + F.tanh(self.inner(h))
        return self.out(self.drop(self.norm(F.concatenate([h, wrong(x, 1.0) * h], axis=1)))), self.side(h)


def both(outputs, target):
    return F.cross_entropy(outputs[0], target) + 0.3 * F.mean(F.square(outputs[1]))


@pytest.mark.parametrize("optimizer", [optim.SGD(weight_decay=0.1, l1=0.02), optim.Adam(weight_decay=0.2)])
def test_whole_trainers(rng, optimizer):
    """One native step against central differences: gather, branches, frozen masks, decay."""
    x, y = rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 3, 10)
    fastnn.manual_seed(1)
    trainer = fastnn.Trainer(Branches(), both, optimizer, seed=5, clip_grad_norm=0.1)
    trainer.train_step(x, y)
    before = {name: value.copy() for name, value in trainer.model.state_dict().items()}
    report = diagnostics.gradcheck(trainer, x, y)
    assert report and report.score < 1e-8, report
    assert report.checked + report.excluded == sum(p.size for p in trainer.model.parameters())
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[name], value) for name, value in after.items())
    assert trainer.model.dtype == np.float32 and trainer.step == 1
    fastnn.manual_seed(1)
    twin = fastnn.Trainer(Branches(), both, optimizer, seed=5, clip_grad_norm=0.1)
    twin.train_step(x, y)
    assert trainer.train_step(x, y) == twin.train_step(x, y)


def test_a_trainer_with_groups_weights_and_an_error(rng):
    x, y = rng.normal(size=(12, 5)), rng.normal(size=12)
    groups = [{"params": "0.bias", "weight_decay": 0.5}, {"params": "2.*", "decoupled_weight_decay": True}]
    model = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 1)).to("float64")
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.SGD(weight_decay=0.3, groups=groups))
    weight = rng.uniform(0.1, 2, 12)
    report = diagnostics.gradcheck(trainer, x, y, weight)
    assert report and report.score < 1e-8, report

    class Broken(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.b(wrong(self.a(x), 1.5, (slice(None), 2)))

    report = diagnostics.gradcheck(fastnn.Trainer(Broken(), nn.MSELoss(), optim.Adam()), x, y.reshape(-1, 1))
    assert not report and report.parameters[0].name in ("a.weight", "a.bias") and report.parameters[0].worst[0] == 2
    assert all(p.score < 1e-7 for p in report.parameters if p.name.startswith("b."))
    with pytest.raises(TypeError, match=r"fastnn.diagnostics.gradcheck\(trainer, x, y\)"):
        fastnn.gradcheck(trainer, x, y)


def test_tied_and_wrongly_coded_modules(rng):
    class Tied(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return wrong(self.layer(F.tanh(self.layer(x))), self.factor)

    model = Tied()
    x = rng.normal(size=(5, 4))
    for factor, passes in ((1.0, True), (1.2, False)):
        model.factor = factor
        assert bool(fastnn.gradcheck(model, x)) == passes


def test_many_coordinates_are_sampled(rng):
    x = rng.normal(size=5000)
    report = fastnn.gradcheck(lambda x: F.sum(F.tanh(x)), x, max_coordinates=50)
    assert report and report.checked == 50
    hidden = fastnn.gradcheck(lambda x: wrong(x, 2.0).sum(), x, max_coordinates=50)
    assert not hidden


def test_gradient_of_gradient_of_cross_entropy(rng):
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    first = fastnn.grad(lambda z: F.cross_entropy(F.tanh(z) * 2.0, y))
    report = fastnn.gradcheck(lambda z: (first(z) ** 2).sum(), x)
    assert report and report.score < 1e-7, report
    weight = rng.normal(size=(4, 3))
    x = rng.normal(size=(6, 3))

    def penalty(w):  # a gradient penalty through a linear layer
        g = fastnn.grad(lambda x: F.cross_entropy(F.linear(x, w), y))(x_tensor(w, x))
        return (g * g).sum()

    report = fastnn.gradcheck(penalty, weight)
    assert report, report


def x_tensor(like, x):
    """An array as a tensor of the trace of `like`."""
    return like.graph.constant(x)


def test_what_it_refuses(rng):
    with pytest.raises(ValueError, match="nothing to check"):
        fastnn.gradcheck(lambda x: x.sum(), np.arange(3))
    with pytest.raises(TypeError, match="loss= is for modules"):
        fastnn.gradcheck(F.tanh, rng.normal(size=3), rng.normal(size=3), loss=F.mse_loss)
    with pytest.raises(ValueError, match="inputs and a target"):
        fastnn.gradcheck(nn.Linear(3, 3), rng.normal(size=(2, 3)), loss=F.mse_loss)


def test_class_labels_of_one_of_several_outputs_are_checked_before_a_step(rng):
    x, y = rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 1, 3, 0])
    trainer = fastnn.Trainer(Branches(), both, optim.SGD())
    before = trainer.model.state_dict()
    for call in (lambda: trainer.train_step(x, y), lambda: trainer.fit(x, y, epochs=1, progress=False)):
        with pytest.raises(IndexError, match="label 3 of row 4 is out of range for 3 classes"):
            call()
    assert all(np.array_equal(before[name], value) for name, value in trainer.model.state_dict().items())
