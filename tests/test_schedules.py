"""Schedules: step by step against PyTorch, worked numbers, composition, and the trainer that reads them."""

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.optim import lr_scheduler as S

BASE = 0.3

# name: (ours, options of PyTorch's); PyTorch's scheduler steps once per unit
CASES = {
    "constant": (S.ConstantLR(0.25, 4), ("ConstantLR", {"factor": 0.25, "total_iters": 4})),
    "constant_defaults": (S.ConstantLR(), ("ConstantLR", {})),
    "linear": (S.LinearLR(0.1, 0.7, 6), ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 6})),
    "linear_defaults": (S.LinearLR(), ("LinearLR", {})),
    "step": (S.StepLR(3, 0.5), ("StepLR", {"step_size": 3, "gamma": 0.5})),
    "step_defaults": (S.StepLR(2), ("StepLR", {"step_size": 2})),
    "multistep": (S.MultiStepLR([2, 3, 11], 0.3), ("MultiStepLR", {"milestones": [2, 3, 11], "gamma": 0.3})),
    "exponential": (S.ExponentialLR(0.95), ("ExponentialLR", {"gamma": 0.95})),
    "polynomial": (S.PolynomialLR(9, 2.5), ("PolynomialLR", {"total_iters": 9, "power": 2.5})),
    "polynomial_defaults": (S.PolynomialLR(), ("PolynomialLR", {})),
    "cosine": (S.CosineAnnealingLR(7, 0.01), ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01})),
    "restarts": (
        S.CosineAnnealingWarmRestarts(4, eta_min=0.02),
        ("CosineAnnealingWarmRestarts", {"T_0": 4, "eta_min": 0.02}),
    ),
    "restarts_longer": (S.CosineAnnealingWarmRestarts(2, 3), ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 3})),
    "lambda": (S.LambdaLR(lambda t: 0.9**t + 0.1), ("LambdaLR", {"lr_lambda": lambda t: 0.9**t + 0.1})),
    "cyclic": (S.CyclicLR(0.01, 0.2, 5), ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5})),
    "cyclic_uneven": (
        S.CyclicLR(0.01, 0.2, 3, 8, "triangular2"),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "step_size_down": 8, "mode": "triangular2"}),
    ),
    "cyclic_range": (
        S.CyclicLR(0.01, 0.2, 4, mode="exp_range", gamma=0.97, base_momentum=0.7, max_momentum=0.95),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "mode": "exp_range", "gamma": 0.97,
                      "base_momentum": 0.7, "max_momentum": 0.95}),
    ),
    "cyclic_own": (
        S.CyclicLR(0.01, 0.2, 4, scale_fn=lambda c: 1 / c, scale_mode="cycle"),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "scale_fn": lambda c: 1 / c}),
    ),
    "one_cycle": (S.OneCycleLR(0.5, 40), ("OneCycleLR", {"max_lr": 0.5, "total_steps": 40})),
    "one_cycle_linear": (
        S.OneCycleLR(0.5, epochs=4, steps_per_epoch=10, pct_start=0.45, anneal_strategy="linear", div_factor=10,
                     final_div_factor=100),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 40, "pct_start": 0.45, "anneal_strategy": "linear",
                        "div_factor": 10, "final_div_factor": 100}),
    ),
    "one_cycle_three": (
        S.OneCycleLR(0.5, 40, three_phase=True),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 40, "three_phase": True}),
    ),
    "sequential": (
        S.SequentialLR([S.LinearLR(0.1, total_iters=4), S.CosineAnnealingLR(20), S.ExponentialLR(0.9)], [4, 15]),
        ("SequentialLR", [("LinearLR", {"start_factor": 0.1, "total_iters": 4}), ("CosineAnnealingLR", {"T_max": 20}),
                          ("ExponentialLR", {"gamma": 0.9})]),
    ),
    "chained": (
        S.ConstantLR(0.1, 4) * S.ExponentialLR(0.9),
        ("ChainedScheduler", [("ConstantLR", {"factor": 0.1, "total_iters": 4}), ("ExponentialLR", {"gamma": 0.9})]),
    ),
}  # fmt: skip


def peers_values(torch, name, options, count):
    """(rates, momenta) of PyTorch's scheduler before each of `count` steps."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=BASE, momentum=0.9)
    module = torch.optim.lr_scheduler
    if isinstance(options, list):
        parts = [getattr(module, part)(optimizer, **given) for part, given in options]
        if name == "SequentialLR":
            scheduler = module.SequentialLR(optimizer, parts, milestones=[4, 15])
        else:
            scheduler = module.ChainedScheduler(parts, optimizer)
    else:
        scheduler = getattr(module, name)(optimizer, **options)
    rates, momenta = [], []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    return rates, momenta


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_rates_are_pytorchs_step_by_step(case):
    torch = pytest.importorskip("torch")
    ours, (name, options) = CASES[case]
    rates, momenta = peers_values(torch, name, options, 40)
    count = np.arange(40)
    mine = ours.rate(BASE, count, count)
    np.testing.assert_allclose(mine, rates, rtol=1e-12, atol=1e-15)
    assert len(set(np.round(rates, 12))) > 1
    moved = ours.momentum(0.9, count, count)
    np.testing.assert_allclose(np.full(40, 0.9) if moved is None else moved, momenta, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_one_at_a_time_gives_the_bits_of_many(case):
    schedule = CASES[case][0]
    count = np.arange(60)
    many = schedule.rate(BASE, count, count)
    assert many.dtype == np.float64
    assert many.shape == (60,)
    assert [float(schedule.rate(BASE, t, t)) for t in range(60)] == many.tolist()
    assert schedule(BASE, count, count).tolist() == many.tolist()


def test_worked_numbers():
    epochs = np.arange(4)
    np.testing.assert_allclose(S.InverseTimeLR(1.0).rate(0.2, 0, epochs), [0.1, 0.0667, 0.05, 0.04], atol=5e-5)
    np.testing.assert_allclose(S.ExponentialLR(0.95).rate(0.2, 0, epochs), 0.2 * 0.95**epochs, rtol=1e-12)
    np.testing.assert_allclose(S.LinearWarmup(4).rate(0.2, np.arange(6), 0), [0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


def test_cyclic_decays_towards_the_end():
    plain = S.CyclicLR(0.1, 1.0, 10)
    ending = S.CyclicLR(0.1, 1.0, 10, total_steps=100, tail=0.2, final_lr=0.001)
    steps = np.arange(150)
    a, b = plain.rate(1, steps, 0), ending.rate(1, steps, 0)
    np.testing.assert_array_equal(a[:80], b[:80])
    np.testing.assert_allclose(np.diff(b[80:100]), (0.001 - a[80]) / 19, rtol=1e-9)
    np.testing.assert_allclose(b[99:], 0.001)


def test_product_is_the_product_of_factors_in_any_order():
    warm, cosine = S.LinearWarmup(5), S.CosineAnnealingLR(10, eta_min=0.01)
    steps, epochs = np.arange(30), np.arange(30) // 3
    expected = warm.rate(1.0, steps, epochs) * cosine.rate(BASE, steps, epochs)
    for product in (warm * cosine, cosine * warm, S.ChainedScheduler([cosine, warm])):
        np.testing.assert_allclose(product.rate(BASE, steps, epochs), expected, rtol=1e-13)
    three = warm * cosine * S.StepLR(2)
    assert len(three.schedulers) == 3
    cycle = S.CyclicLR(0.1, 0.5, 4)
    for product in (warm * cycle, cycle * warm):
        np.testing.assert_allclose(
            product.rate(BASE, steps, epochs), warm.rate(1, steps, epochs) * cycle.rate(1, steps, epochs), rtol=1e-13
        )
        assert product.momentum(0.9, steps, epochs) is not None


def test_sequence_counts_each_part_from_its_beginning():
    parts = [S.LinearWarmup(3), S.StepLR(2, 0.5, per="step")]
    rates = S.SequentialLR(parts, [3]).rate(1.0, np.arange(8), 0)
    np.testing.assert_allclose(rates, [1 / 3, 2 / 3, 1, 1, 1, 0.5, 0.5, 0.25])
    nested = S.SequentialLR([S.LinearWarmup(3) * S.ConstantLR(0.5, 9, per="step"), parts[1]], [3])
    np.testing.assert_allclose(nested.rate(1.0, np.arange(4), 0), [1 / 6, 1 / 3, 0.5, 1])


def trained(scheduler, optimizer, steps=12, **fit):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8 * 4, 5)), rng.standard_normal((8 * 4, 2))
    model = nn.Sequential(nn.Linear(5, 6, seed=1), nn.Tanh(), nn.Linear(6, 2, seed=2)).to("float64")
    trainer = fastnn.Trainer(model, nn.MSELoss(), optimizer, scheduler=scheduler)
    for i in range(steps):
        part = slice(8 * (i % 4), 8 * (i % 4) + 8)
        trainer.train_step(x[part], y[part])
    return np.concatenate([v.ravel() for v in model.state_dict().values()]), trainer


def torch_trained(torch, make_optimizer, make_scheduler, steps=12):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8 * 4, 5)), rng.standard_normal((8 * 4, 2))
    ours = nn.Sequential(nn.Linear(5, 6, seed=1), nn.Tanh(), nn.Linear(6, 2, seed=2)).to("float64").state_dict()
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    model.load_state_dict({name: torch.tensor(value) for name, value in ours.items()})
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer)
    for i in range(steps):
        part = slice(8 * (i % 4), 8 * (i % 4) + 8)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(torch.tensor(x[part])), torch.tensor(y[part])).backward()
        optimizer.step()
        scheduler.step()
    return np.concatenate([v.detach().numpy().ravel() for v in model.state_dict().values()])


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_training_with_a_moving_momentum_is_pytorchs(kind):
    torch = pytest.importorskip("torch")
    options = {"lr": 0.1, **({"momentum": 0.9} if kind in ("SGD", "RMSprop") else {})}
    weights, _ = trained(S.OneCycleLR(0.05, 14), getattr(optim, kind)(**options))
    expected = torch_trained(
        torch,
        lambda parameters: getattr(torch.optim, kind)(parameters, **options),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=14),
    )
    np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-12)


def test_groups_keep_their_own_base_rate():
    groups = [{"params": "2.*", "lr": 0.0}]
    start = nn.Sequential(nn.Linear(5, 6, seed=1), nn.Tanh(), nn.Linear(6, 2, seed=2)).to("float64").state_dict()
    _, trainer = trained(S.StepLR(1) * S.LinearWarmup(3), optim.SGD(lr=0.1, groups=groups))
    after = trainer.model.state_dict()
    assert np.array_equal(after["2.weight"], start["2.weight"])
    assert not np.array_equal(after["0.weight"], start["0.weight"])


def test_a_fit_reads_the_schedule_and_the_history_shows_it(rng):
    x, y = rng.standard_normal((64, 3)), rng.standard_normal((64, 1))
    model = nn.Sequential(nn.Linear(3, 1))
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1), scheduler=S.ExponentialLR(0.5))
    history = trainer.fit(x, y, epochs=3, batch_size=16, progress=False)
    np.testing.assert_allclose(history["lr"], [0.1, 0.05, 0.025])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: S.StepLR(0), "StepLR: step_size must be an integer >= 1, got 0"),
        (lambda: S.StepLR(3, per="batch"), "per must be 'epoch' or 'step', got 'batch'"),
        (lambda: S.ExponentialLR(-1), "ExponentialLR: gamma must be a finite number >= 0"),
        (lambda: S.ExponentialLR(float("nan")), "ExponentialLR: gamma must be a finite number >= 0"),
        (lambda: S.MultiStepLR([3, 3]), "MultiStepLR: milestones must rise"),
        (lambda: S.CyclicLR(0.2, 0.1), "base_lr must not be above max_lr"),
        (lambda: S.CyclicLR(0.1, 0.2, mode="square"), "mode must be one of triangular, triangular2, exp_range"),
        (lambda: S.CyclicLR(0.1, 0.2, tail=0), "tail must be a share of total_steps"),
        (lambda: S.CyclicLR(0.1, 0.2, base_momentum=0.95), "base_momentum must not be above max_momentum"),
        (lambda: S.OneCycleLR(0.1), "give total_steps, or both epochs and steps_per_epoch"),
        (lambda: S.OneCycleLR(0.1, 10, anneal_strategy="log"), "anneal_strategy must be 'cos' or 'linear'"),
        (lambda: S.OneCycleLR(0.1, 10, pct_start=1.5), "pct_start must be a share"),
        (lambda: S.SequentialLR([S.StepLR(1)], [3]), "1 schedules need 0 milestones, got 1"),
        (lambda: S.SequentialLR([S.LinearWarmup(5), S.StepLR(1)], [3]), "some schedules count steps and some epochs"),
        (lambda: S.ChainedScheduler([]), "needs at least one schedule"),
        (lambda: S.CyclicLR(0.1, 0.2) * S.OneCycleLR(0.1, 10), "only one of them can"),
    ],
)
def test_senseless_options_are_refused_in_one_line(make, text):
    with pytest.raises(ValueError) as caught:
        make()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_objects_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="lr_lambda must be a function"):
        S.LambdaLR(0.5)
    with pytest.raises(TypeError, match="is no schedule"):
        S.ChainedScheduler([lambda base, step, epoch: base])
    with pytest.raises(TypeError, match="scheduler must be like optim.StepLR"):
        fastnn.Trainer(nn.Sequential(nn.Linear(2, 1)), nn.MSELoss(), optim.SGD(0.1), scheduler=S.StepLR)
    with pytest.raises(ValueError, match="SGD has no momentum for the schedule to move"):
        trained(S.OneCycleLR(0.1, 20), optim.SGD(0.1))
    with pytest.raises(ValueError, match="Adagrad has no momentum for the schedule to move"):
        trained(S.CyclicLR(0.1, 0.2), optim.Adagrad())


def test_configuration_and_equality():
    schedule = S.LinearWarmup(5) * S.StepLR(3)
    assert schedule == S.LinearWarmup(5) * S.StepLR(3)
    assert schedule != S.LinearWarmup(5) * S.StepLR(4)
    assert S.StepLR(3, 0.5).to_config() == {"class": "StepLR", "step_size": 3, "gamma": 0.5, "per": "epoch"}
    assert repr(S.StepLR(3, 0.5)) == "StepLR(step_size=3, gamma=0.5, per='epoch')"
    assert schedule.to_config()["schedulers"][0] == {"class": "LinearWarmup", "steps": 5, "per": "step"}


def test_schedules_draw_themselves(tmp_path):
    pytest.importorskip("matplotlib")
    display = S.OneCycleLR(0.1, 200).plot(200)
    assert len(display.axes_) == 2
    line = display.axes_[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), S.OneCycleLR(0.1, 200).rate(1, np.arange(200), 0))
    display.figure_.savefig(tmp_path / "schedule.png")
    stairs = S.StepLR(2).plot(40, steps_per_epoch=4)
    np.testing.assert_allclose(stairs.axes_[0].get_lines()[0].get_ydata()[[0, 7, 8, 16]], [1, 1, 0.1, 0.01])
    with pytest.raises(ValueError, match="at least 1"):
        S.StepLR(2).plot(0)
