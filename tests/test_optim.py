"""Optimizers: scalars, groups, decay, and whole training runs against the NumPy twins and against PyTorch."""

import copy

import numpy as np
import pytest
from reference import optimizers as twins

from fastnn import Trainer, nn, optim

CASES = {
    "sgd": (optim.SGD(lr=0.05), twins.sgd, {"lr": 0.05}, 1),
    "momentum": (
        optim.SGD(lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.01, decay_bias=True),
        twins.sgd,
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        1,
    ),
    "nesterov": (
        optim.SGD(lr=0.05, momentum=0.9, nesterov=True),
        twins.sgd,
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        1,
    ),
    "rmsprop": (optim.RMSprop(lr=0.01, alpha=0.95), twins.rmsprop, {"lr": 0.01, "alpha": 0.95}, 1),
    "adam": (
        optim.Adam(lr=0.01, betas=(0.8, 0.99), weight_decay=0.1, decay_bias=True),
        twins.adam,
        {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1},
        2,
    ),
}


def linear_model():
    return nn.Sequential(nn.Linear(5, 3), seed=1).to("float64")


def data(rows=16):
    rng = np.random.default_rng(7)
    return rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))


def linear_gradients(weight, bias, x, y):
    """Gradient of the mean squared error of a linear model, written out."""
    difference = 2 * (x @ weight.T + bias - y) / y.size
    return difference.T @ x, difference.sum(axis=0)


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_equal_the_twin(case):
    optimizer, twin, options, states = CASES[case]
    model = linear_model()
    x, y = data()
    values = [model[0].weight.numpy().copy(), model[0].bias.numpy().copy()]
    slots = [[np.zeros_like(v) for _ in range(states)] for v in values]
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    for step in range(1, 21):
        trainer.train_step(x, y)
        for i, gradient in enumerate(linear_gradients(*values, x, y)):
            values[i], *slots[i] = twin(values[i], gradient, *slots[i], step=step, **options)
        # both gradients of a step come from the same weights
    np.testing.assert_allclose(model[0].weight.numpy(), values[0], rtol=1e-10)
    np.testing.assert_allclose(model[0].bias.numpy(), values[1], rtol=1e-10)


def test_fit_makes_the_same_steps_as_train_step():
    x, y = data(64)
    results = []
    for whole in (True, False):
        model = linear_model()
        trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01))
        if whole:
            trainer.fit(x, y, epochs=3, batch_size=16, shuffle=False, progress=False)
        else:
            for _ in range(3):
                for start in range(0, 64, 16):
                    trainer.train_step(x[start : start + 16], y[start : start + 16])
        assert trainer.step == 12
        results.append(model.state_dict())
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def decayed(optimizer):
    """What one step with zero gradients leaves of each parameter: 1 if it is not decayed."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), seed=1)
    for parameter in model.parameters():
        parameter.assign(np.ones(parameter.shape))
    trainer = Trainer(model, lambda output, target: (output * 0.0).sum(), optimizer)
    trainer.train_step(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))
    return {name: float(p.numpy().flat[0]) for name, p in model.named_parameters()}


def test_decay_spares_biases_and_norm_parameters():
    left = decayed(optim.SGD(lr=1.0, weight_decay=0.5))
    assert {name for name, value in left.items() if value == 0.5} == {"0.weight", "2.weight"}
    assert {value for name, value in left.items() if name not in ("0.weight", "2.weight")} == {1.0}
    assert set(decayed(optim.SGD(lr=1.0, weight_decay=0.5, decay_bias=True)).values()) == {0.5}


def test_groups_first_match_wins():
    groups = [{"params": "2.*", "lr": 0.5}, {"params": ["0.weight", "2.weight"], "weight_decay": 0.25}]
    left = decayed(optim.SGD(lr=1.0, weight_decay=0.5, groups=groups))
    assert left["2.weight"] == 1 - 0.5 * 0.5
    assert left["0.weight"] == 1 - 0.25
    assert left["0.bias"] == left["1.weight"] == left["2.bias"] == 1.0


def test_group_that_sets_decay_is_taken_at_its_word():
    left = decayed(optim.SGD(lr=1.0, groups=[{"params": "*.bias", "weight_decay": 0.5}]))
    assert left["0.bias"] == 0.5
    assert left["0.weight"] == 1.0


def test_changed_rate_acts_at_the_next_step():
    x, y = data()
    model = linear_model()
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.0))
    before = model.state_dict()
    trainer.train_step(x, y)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before["0.weight"])
    trainer.optimizer.lr = 0.1
    trainer.train_step(x, y)
    expected = before["0.weight"] - 0.1 * linear_gradients(before["0.weight"], before["0.bias"], x, y)[0]
    np.testing.assert_allclose(model.state_dict()["0.weight"], expected, rtol=1e-12)


def test_parameter_thawed_later_counts_its_own_steps():
    x, y = data()
    model = linear_model()
    model[0].bias.requires_grad = False
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01))
    for _ in range(3):
        trainer.train_step(x, y)
    frozen = model[0].bias.numpy().copy()
    np.testing.assert_array_equal(frozen, linear_model()[0].bias.numpy())
    model[0].bias.requires_grad = True
    gradient = linear_gradients(model[0].weight.numpy(), frozen, x, y)[1]
    trainer.train_step(x, y)
    # the first step of Adam has length lr, whatever the gradient
    np.testing.assert_allclose(model[0].bias.numpy(), frozen - 0.01 * np.sign(gradient), rtol=1e-5)


def test_programs_for_other_data_follow_the_step_counts():
    """A program that is kept while another one trains only some of its parameters must not use one count for all."""
    x, y = data()
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3), seed=1).to("float64")
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01))
    trainer.train_step(x, y)
    model[0].weight.requires_grad = False
    for _ in range(5):
        trainer.train_step(x.astype(np.float32), y)
    model[0].weight.requires_grad = True
    fresh = copy.deepcopy(trainer)  # has no programs yet
    for t in (trainer, fresh):
        t.train_step(x, y)
    assert {name: slots.steps for name, slots in trainer._optimizer_state.slots.items()} == {
        "0.weight": 2, "0.bias": 7, "1.weight": 7, "1.bias": 7,
    }  # fmt: skip
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, fresh.model.state_dict()[name])


def test_training_bumps_the_versions_that_derived_copies_follow():
    x, y = data()
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).to("float64")
    model[1].bias.requires_grad = False
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1))
    tensors = [model[1].weight, model[0].weight, model[0].running_mean, model[1].bias]
    versions = [tensor.version for tensor in tensors]
    trainer.train_step(x, y)
    trainer.fit(x, y, epochs=1, progress=False)
    changed = [tensor.version > version for tensor, version in zip(tensors, versions, strict=True)]
    assert changed == [True, True, True, False]


def test_another_kind_of_optimizer_starts_afresh():
    x, y = data()
    model = linear_model()
    trainer = Trainer(model, nn.MSELoss(), optim.Adam())
    trainer.train_step(x, y)
    trainer.optimizer = optim.SGD(lr=0.1, momentum=0.9)
    before = model.state_dict()
    trainer.train_step(x, y)
    gradient = linear_gradients(before["0.weight"], before["0.bias"], x, y)[0]
    np.testing.assert_allclose(model[0].weight.numpy(), before["0.weight"] - 0.1 * gradient, rtol=1e-12)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.Adam(lr=-1), "lr must be a finite number >= 0, got -1"),
        (lambda: optim.Adam(lr=float("nan")), "lr must be a finite number"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"betas\[1\] must be in \[0, 1\)"),
        (lambda: optim.Adam(betas=0.9), "betas must be two numbers"),
        (lambda: optim.RMSprop(alpha=1.0), r"alpha must be in \[0, 1\)"),
        (lambda: optim.SGD(nesterov=True), "needs momentum > 0"),
        (lambda: optim.SGD(groups=[{"lr": 1}]), "needs 'params'"),
        (lambda: optim.SGD(groups=[{"params": "*", "rate": 1}]), "unknown option 'rate'"),
        (lambda: optim.SGD(groups=[{"params": "*", "lr": -1}]), "lr must be"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_group_that_matches_nothing_raises():
    trainer = Trainer(linear_model(), nn.MSELoss(), optim.SGD(groups=[{"params": "1.*", "lr": 1}]))
    with pytest.raises(ValueError, match="'1.\\*' matches no parameter; names are like 0.weight, 0.bias"):
        trainer.train_step(*data())


# ---- PyTorch ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    module.set_num_threads(1)  # tiny tensors; more threads only wait for each other
    return module


def torch_optimizer(torch, case, parameters):
    if case in ("sgd", "momentum", "nesterov"):
        return torch.optim.SGD(parameters, **CASES[case][2])
    return getattr(torch.optim, {"rmsprop": "RMSprop", "adam": "Adam"}[case])(parameters, **CASES[case][2])


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_equal_pytorchs(case, torch):
    peer = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 4)).double()
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4)).to("float64")
    peer.load_state_dict({name: torch.from_numpy(a) for name, a in model.state_dict().items()})
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(32, 6)), rng.integers(0, 4, 32)
    trainer = Trainer(model, nn.CrossEntropyLoss(), CASES[case][0])
    optimizer = torch_optimizer(torch, case, peer.parameters())
    for _ in range(50):
        loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(x)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert trainer.train_step(x, labels) == pytest.approx(loss.item(), rel=1e-10)
    for name, value in peer.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=1e-10, atol=1e-13)
