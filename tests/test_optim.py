"""Optimizers: scalars, groups, decay, and whole training runs against the NumPy twins and against PyTorch."""

import copy
import json

import numpy as np
import pytest
from reference import optimizers as twins

from fastnn import Trainer, _native, nn, optim

ROWS = {row["name"]: row for row in _native.list_rows("optimizers")}

# name: (class, options); the twin and PyTorch take the same options. decay_bias=True is PyTorch's rule.
CASES = {
    "sgd": ("SGD", {"lr": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "classical": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "form": "classical"}),
    "averaging": ("SGD", {"lr": 0.05, "momentum": 0.9, "form": "averaging"}),
    "adagrad": ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.01}),
    "adadelta": ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.01}),
    "rmsprop": ("RMSprop", {"lr": 0.01, "alpha": 0.95}),
    "rmsprop centred": ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    "adam": ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    "adam decoupled": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "adamw": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "amsgrad": True}),
    "nadam": ("NAdam", {"lr": 0.01, "momentum_decay": 0.01, "weight_decay": 0.1}),
    "nadam decoupled": ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "lars": ("LARS", {"lr": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.1}),
    "lamb": ("LAMB", {"lr": 0.01, "weight_decay": 0.1}),
    "lamb as taught": ("LAMB", {"lr": 0.01, "weight_decay": 0.1, "eps_inside_root": True, "trust_clip": 0.7}),
}
OURS = {"classical", "averaging", "lars", "lamb", "lamb as taught"}  # PyTorch does not have them


def make(case):
    cls, options = CASES[case]
    return getattr(optim, cls)(**options, decay_bias=True)


def twin_step(case, values, gradient, slots, step):
    """One step of the twin; slots are changed."""
    cls, options = CASES[case]
    options = dict(options)
    name = cls.lower()
    if options.pop("decoupled_weight_decay", False):
        values, options["weight_decay"] = values * (1 - options["lr"] * options["weight_decay"]), 0.0
    needed = getattr(optim, cls)(**options).states(make(case).options_of(-1))
    options = {key: value for key, value in options.items() if key not in ("centered", "amsgrad")}
    states = [slots.setdefault(s, np.zeros_like(values)) if s in needed else None for s in ROWS[name]["states"]]
    values, *after = getattr(twins, name)(values, gradient, *states, step=step, **options)
    for state, array in zip(ROWS[name]["states"], after):
        slots[state] = array
    return values


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
    model = linear_model()
    x, y = data()
    values = [model[0].weight.numpy().copy(), model[0].bias.numpy().copy()]
    slots = [{}, {}]
    trainer = Trainer(model, nn.MSELoss(), make(case))
    for step in range(1, 21):
        trainer.train_step(x, y)
        for i, gradient in enumerate(linear_gradients(*values, x, y)):  # both of a step come from the same weights
            values[i] = twin_step(case, values[i], gradient, slots[i], step)
    np.testing.assert_allclose(model[0].weight.numpy(), values[0], rtol=1e-10)
    np.testing.assert_allclose(model[0].bias.numpy(), values[1], rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_one_call_for_many_steps_makes_the_same_bits(case):
    x, y = data(64)
    whole, single = (Trainer(linear_model(), nn.MSELoss(), make(case), ema=0.9, clip_grad_norm=0.5) for _ in range(2))
    whole.fit(x, y, epochs=2, batch_size=16, shuffle=False, progress=False)
    for start in (0, 16, 32, 48) * 2:
        single.train_step(x[start : start + 16], y[start : start + 16])
    for a, b in ((whole.model.state_dict(), single.model.state_dict()),
                 (whole.averaged_state_dict(), single.averaged_state_dict())):  # fmt: skip
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("case", CASES)
def test_state_goes_through_a_checkpoint(case, tmp_path):
    x, y = data(64)
    whole, first, second = (
        Trainer(linear_model(), nn.MSELoss(), make(case), ema=0.9, seed=3) for _ in range(3)
    )
    whole.fit(x, y, epochs=4, batch_size=16, progress=False)
    first.fit(x, y, epochs=2, batch_size=16, progress=False)
    first.save_checkpoint(tmp_path / "state")
    second.resume(tmp_path / "state")
    second.fit(x, y, epochs=2, batch_size=16, progress=False)
    for a, b in ((whole.model.state_dict(), second.model.state_dict()),
                 (whole.averaged_state_dict(), second.averaged_state_dict())):  # fmt: skip
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("ending", ["fit", "train_step"])
def test_many_groups(ending):
    """More scalars than a fixed array would hold, in both ways to train, and with a hook, which runs programs alone."""
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(12)], seed=1).to("float64")
    groups = [{"params": f"{i}.*", "lr": 0.01 * (i + 1)} for i in range(12)]
    x, y = np.ones((8, 3)), np.ones((8, 3))
    results = []
    for options in ({}, {"gradient_hook": lambda gradients: None}):
        trainer = Trainer(copy.deepcopy(model), nn.MSELoss(), optim.Adam(lr=9.0, groups=groups), **options)
        before = trainer.model.state_dict()
        if ending == "fit":
            trainer.fit(x, y, epochs=1, progress=False)
        else:
            trainer.train_step(x, y)
        after = trainer.model.state_dict()
        for i in range(12):  # Adam's first step has the length of the rate
            np.testing.assert_allclose(np.abs(after[f"{i}.bias"] - before[f"{i}.bias"]), 0.01 * (i + 1), rtol=1e-3)
        results.append(after)
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


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


def test_l1_spares_biases_and_zeros():
    left = decayed(optim.SGD(lr=1.0, l1=0.25))
    assert {name for name, value in left.items() if value == 0.75} == {"0.weight", "2.weight"}
    assert set(left.values()) == {0.75, 1.0}
    assert set(decayed(optim.SGD(lr=1.0, l1=0.25, decay_bias=True)).values()) == {0.75}
    model = linear_model()
    model[0].weight.assign([[0.0, -1.0, 2.0, 0.0, 0.5]] * 3)
    Trainer(model, lambda out, target: (out * 0.0).sum(), optim.SGD(lr=1.0, l1=0.125)).train_step(*data())
    np.testing.assert_array_equal(model[0].weight.numpy()[0], [0.0, -0.875, 1.875, 0.0, 0.375])


@pytest.mark.parametrize("cls", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "NAdam"])
def test_decoupled_decay_shrinks_the_weights(cls):
    options = {} if cls == "AdamW" else {"decoupled_weight_decay": True}
    left = decayed(getattr(optim, cls)(lr=0.5, weight_decay=0.5, **options))
    assert {name for name, value in left.items() if value == 0.75} == {"0.weight", "2.weight"}
    assert set(left.values()) == {0.75, 1.0}


def test_max_norm_limits_units():
    x, y = data()
    model, free = linear_model(), linear_model()
    for m in (model, free):
        m[0].weight.assign(m[0].weight.numpy() * np.array([[1.0], [4.0], [0.1]]))
    Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1, max_norm=0.8), ema=0.9).train_step(x, y)
    trainer = Trainer(free, nn.MSELoss(), optim.SGD(lr=0.1))
    trainer.train_step(x, y)
    weight = free[0].weight.numpy()
    norms = np.linalg.norm(weight, axis=1, keepdims=True)
    assert (norms > 0.8).any() and (norms < 0.8).any()
    np.testing.assert_allclose(model[0].weight.numpy(), weight * np.minimum(1, 0.8 / norms), rtol=1e-12)
    np.testing.assert_array_equal(model[0].bias.numpy(), free[0].bias.numpy())


def test_max_norm_of_wide_layers_and_one_group(isa, threads):
    model = nn.Sequential(nn.Linear(7, 150), nn.Linear(150, 3), seed=1)
    before = model.state_dict()
    optimizer = optim.SGD(lr=0.0, groups=[{"params": "0.weight", "max_norm": 0.5}])
    trainer = Trainer(model, nn.MSELoss(), optimizer, ema=0.9)
    trainer.train_step(np.ones((4, 7), np.float32), np.ones((4, 3), np.float32))
    norms = np.linalg.norm(before["0.weight"].astype(float), axis=1, keepdims=True)
    limited = before["0.weight"] * np.minimum(1, 0.5 / norms)
    np.testing.assert_allclose(model[0].weight.numpy(), limited, rtol=1e-6)
    np.testing.assert_array_equal(trainer.averaged_state_dict()["0.weight"], model[0].weight.numpy())
    np.testing.assert_array_equal(model[1].weight.numpy(), before["1.weight"])
    assert not trainer.model[0].weight.storage[:, 150:].any()  # the padding


@pytest.mark.parametrize(
    "limits",
    [
        {"clip_grad_norm": 0.3},
        {"clip_grad_value": 0.05},
        {"clip_grad_norm": 0.1, "clip_grad_value": 0.05},
        {"clip_grad_norm": 100.0},
    ],
)
def test_clipping_equals_the_formula(limits, threads):
    x, y = data()
    model = nn.Sequential(nn.Linear(5, 70), nn.Tanh(), nn.Linear(70, 3), seed=1).to("float64")
    seen = {}
    options = {"gradient_hook": lambda gradients: seen.update({k: g.copy() for k, g in gradients.items()})}
    hooked = Trainer(copy.deepcopy(model), nn.MSELoss(), optim.SGD(lr=1.0), **limits, **options)
    plain = Trainer(copy.deepcopy(model), nn.MSELoss(), optim.SGD(lr=1.0), **limits)
    before = model.state_dict()
    hooked.train_step(x, y)
    plain.train_step(x, y)
    value, norm = limits.get("clip_grad_value", np.inf), limits.get("clip_grad_norm", np.inf)
    clipped = {name: np.clip(g, -value, value) for name, g in seen.items()}
    total = np.sqrt(sum((g**2).sum() for g in clipped.values()))
    for name, g in clipped.items():
        expected = before[name] - g * min(1.0, norm / total)
        np.testing.assert_allclose(plain.model.state_dict()[name], expected, rtol=1e-12, atol=1e-16)
        np.testing.assert_array_equal(plain.model.state_dict()[name], hooked.model.state_dict()[name])


def test_limits_changed_during_training_act_at_the_next_step():
    x, y = data()
    trainer = Trainer(linear_model(), nn.MSELoss(), optim.SGD(lr=1.0))
    for attribute in ("clip_grad_norm", "clip_grad_value"):
        trainer.train_step(x, y)
        setattr(trainer, attribute, 1e-6)
        before = trainer.model.state_dict()
        trainer.train_step(x, y)
        assert 0 < np.abs(trainer.model.state_dict()["0.weight"] - before["0.weight"]).max() < 1.1e-6
        setattr(trainer, attribute, None)
    trainer.optimizer.momentum = 0.9  # needs a state that was not there
    trainer.train_step(x, y)
    assert "momentum_buffer" in trainer.state.optimizer_state.slots["0.weight"].arrays


def test_averaged_weights():
    x, y = data(64)
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), seed=1).to("float64")
    model[1].bias.requires_grad = False
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1), ema=0.9)
    with pytest.raises(RuntimeError, match="no averaged weights"):
        trainer.averaged_state_dict()
    tool = optim.EWMA(0.9)
    for start in (0, 16, 32, 48):
        trainer.train_step(x[start : start + 16], y[start : start + 16])
        expected = tool.update(model[0].weight.numpy())
    averaged = trainer.averaged_state_dict()
    np.testing.assert_allclose(averaged["0.weight"], expected, rtol=1e-13)
    trained = model.state_dict()
    np.testing.assert_array_equal(averaged["1.running_mean"], trained["1.running_mean"])
    np.testing.assert_array_equal(averaged["1.bias"], trained["1.bias"])
    before = model.predict(x)
    with trainer.averaged() as same:
        assert same is model
        np.testing.assert_array_equal(model[0].weight.numpy(), averaged["0.weight"])
        assert not np.allclose(model.predict(x), before)
        with pytest.raises(RuntimeError, match="train after the with"):
            trainer.train_step(x, y)
        with pytest.raises(RuntimeError, match="save after the with"):
            trainer.state_dict()
    np.testing.assert_array_equal(model.predict(x), before)
    trainer.train_step(x, y)


def test_ewma():
    average = optim.EWMA(0.98)
    assert [round(optim.EWMA(beta).window) for beta in (0.5, 0.9, 0.98)] == [2, 10, 50]
    with pytest.raises(ValueError, match="no value yet"):
        average.value  # noqa: B018
    assert average.update(40.0) == pytest.approx(40.0)
    assert average.raw == pytest.approx(0.8)
    assert average.update(30.0) == pytest.approx((0.0196 * 40 + 0.02 * 30) / 0.0396)
    assert optim.EWMA(0.98, bias_correction=False).update(40.0) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="beta must be in"):
        optim.EWMA(1.0)
    with pytest.raises(ValueError, match="values had shape"):
        average.update([1.0, 2.0])


def test_configurations_build_the_same_optimizer():
    for case in CASES:
        optimizer = make(case)
        config = json.loads(json.dumps(optimizer.to_config()))
        again = getattr(optim, config.pop("class"))(**config)
        assert again.to_config() == optimizer.to_config()
        assert repr(again).startswith(type(optimizer).__name__ + "(lr=")


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
    assert {name: slots.steps for name, slots in trainer.state.optimizer_state.slots.items()} == {
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


def test_an_optimizer_that_comes_back_starts_afresh_in_every_program():
    x, y = data()
    trainer = Trainer(linear_model(), nn.MSELoss(), optim.Adam(lr=0.01))
    adam = trainer.optimizer
    for _ in range(3):
        trainer.train_step(x, y)
    trainer.optimizer = optim.SGD(lr=0.1)
    trainer.train_step(x.astype(np.float32), y)  # a program of its own
    trainer.optimizer = adam
    before = trainer.model.state_dict()
    trainer.train_step(x, y)
    step = np.abs(trainer.model.state_dict()["0.weight"] - before["0.weight"])
    np.testing.assert_allclose(step, 0.01, rtol=1e-4)  # the first step of Adam
    assert {slots.steps for slots in trainer.state.optimizer_state.slots.values()} == {1}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.Adam(lr=-1), "lr must be a finite number >= 0, got -1"),
        (lambda: optim.Adam(lr=float("nan")), "lr must be a finite number"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"betas\[1\] must be in \[0, 1\)"),
        (lambda: optim.Adam(betas=0.9), "betas must be two numbers"),
        (lambda: optim.RMSprop(alpha=1.0), r"alpha must be in \[0, 1\)"),
        (lambda: optim.SGD(nesterov=True), "needs momentum > 0"),
        (lambda: optim.SGD(momentum=0.9, nesterov=True, form="averaging"), "not the averaging form"),
        (lambda: optim.SGD(form="keras"), "form must be one of torch, classical, averaging, got 'keras'"),
        (lambda: optim.SGD(l1=-1), "SGD: l1 must be"),
        (lambda: optim.SGD(max_norm=0), "max_norm must be a positive number"),
        (lambda: optim.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value must be"),
        (lambda: optim.Adadelta(rho=1.0), r"rho must be in \[0, 1\)"),
        (lambda: optim.RMSprop(momentum=-1), "momentum must be"),
        (lambda: optim.AdamW(decoupled_weight_decay=False), "AdamW: its weight decay is decoupled"),
        (lambda: optim.NAdam(momentum_decay=-1), "momentum_decay must be"),
        (lambda: optim.LARS(trust_coefficient=-1), "trust_coefficient must be"),
        (lambda: optim.LAMB(trust_clip=0), "trust_clip must be a positive number"),
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


@pytest.mark.parametrize("case", [case for case in CASES if case not in OURS])
def test_fifty_steps_equal_pytorchs(case, torch):
    peer = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 4)).double()
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4), seed=0).to("float64")
    peer.load_state_dict({name: torch.from_numpy(a) for name, a in model.state_dict().items()})
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(32, 6)), rng.integers(0, 4, 32)
    trainer = Trainer(model, nn.CrossEntropyLoss(), make(case))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps its running product in a tensor of this dtype
    try:
        optimizer = getattr(torch.optim, CASES[case][0])(peer.parameters(), **CASES[case][1])
        for _ in range(50):
            loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(x)), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert trainer.train_step(x, labels) == pytest.approx(loss.item(), rel=1e-10)
    finally:
        torch.set_default_dtype(default)
    for name, value in peer.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam"])
def test_defaults_are_pytorchs(name, torch):
    theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    ours = getattr(optim, name)()
    options = {**ours.options_of(-1), "maximize": ours.maximize}
    shared = [key for key in theirs if key in options]
    assert {key: options[key] for key in shared} == {key: theirs[key] for key in shared}
    assert set(ours.options) - {"form"} <= set(theirs)
