"""Unknown attributes and values that make no sense are refused by name, in the constructor and ever after."""

import copy
import pickle
import re

import numpy as np
import pytest

import fastnn
from fastnn import Trainer, nn, optim
from fastnn.optim import lr_scheduler as S

OPTIMIZERS = ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam", "LARS", "LAMB")


def objects():
    """One of each class of ours that is configured by attributes."""
    made = [getattr(optim, name)() for name in OPTIMIZERS]
    made += [S.StepLR(3), S.CyclicLR(0.1, 0.2), S.LinearWarmup(5), S.LinearWarmup(3) * S.StepLR(2)]
    made += [
        fastnn.EarlyStopping(), fastnn.ModelCheckpoint("p"), fastnn.ReduceLROnPlateau(), fastnn.TerminateOnNaN(),
        fastnn.LambdaCallback(), fastnn.CSVLogger("p"), fastnn.HealthMonitor(),
    ]  # fmt: skip
    return made


@pytest.mark.parametrize("made", objects(), ids=lambda made: type(made).__name__)
def test_unknown_attributes_are_refused(made):
    for one in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        before = dict(one.__dict__)
        with pytest.raises(AttributeError, match=f"{type(one).__name__} has no attribute 'learning_rate': "):
            one.learning_rate = 1
        assert one.__dict__ == before


def test_the_message_names_what_is_meant():
    with pytest.raises(AttributeError, match="do you mean 'weight_decay'"):
        optim.Adam().weigth_decay = 1
    with pytest.raises(AttributeError, match="do you mean 'patience'"):
        fastnn.EarlyStopping().patence = 1


def test_users_subclasses_have_attributes_of_their_own():
    class Mine(optim.Adam):
        def __init__(self):
            super().__init__(lr=0.1)
            self.note = 1

    class Watching(fastnn.EarlyStopping):
        pass

    class Rate(S.Schedule):
        def __init__(self):
            self.own = 1

    for one in (Mine(), Watching(), Rate()):
        one.anything = 5
        assert one.anything == 5


NONSENSE = {
    "lr": (-1, float("nan"), float("inf"), "fast", None, [1.0], True),
    "weight_decay": (-1, "x"), "l1": (-1, None), "max_norm": (0, -1, "x"), "maximize": (2, "yes"),
    "decay_bias": ("no",), "eps": (-1e-8, "x"), "betas": (0.9, (0.9,), (0.9, 1.0), (-0.1, 0.9), ("a", "b"), None),
    "momentum": (-0.1, "x"), "alpha": (1.0, -1), "rho": (1.0,), "amsgrad": ("yes", 3), "nesterov": (2,),
    "centered": (None,), "dampening": ("x", float("nan")), "form": ("other",), "lr_decay": (-1,),
    "momentum_decay": (-1,), "trust_coefficient": (-1,), "groups": (3, [3], [{"lr": 1}], [{"params": "*", "lr": -1}],
                                                                 [{"params": 3}], [{"params": "*", "x": 1}], "*"),
}  # fmt: skip


def constructed(made, option, value):
    type(made)(**{option: value})


def assigned(made, option, value):
    setattr(made, option, value)


def loaded(made, option, value):
    made.load_config({**made.to_config(), option: value})


def grouped(made, option, value):
    type(made)(groups=[{"params": "*", option: value}])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_values_out_of_range_are_refused_in_every_way(name):
    """By the constructor, by an assignment, by a group, and from a checkpoint; nothing is changed then."""
    cls = getattr(optim, name)
    tried = 0
    for option, values in NONSENSE.items():
        made = cls()
        if option not in {*made._own_options(), "groups", "maximize", "decay_bias"}:
            continue
        for value in values:
            before = made.to_config()
            for way in (constructed, assigned, loaded, grouped):
                if way is grouped and option in ("groups", "maximize", "decay_bias"):
                    continue
                with pytest.raises(ValueError, match=f"^{name}: "):
                    way(made, option, value)
                    print(way, option, value)
                tried += 1
            assert made.to_config() == before
    assert tried > 50


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_options_that_do_not_exist_are_not_loaded(name):
    """'kind' ended in a segmentation fault at the next step."""
    made = getattr(optim, name)()
    for option in ("kind", "options", "_check", "changes", "learning_rate", "__class__", "states"):
        with pytest.raises(ValueError, match=f"unknown option {option!r}"):
            made.load_config({**made.to_config(), option: "sgd"})
    for other in (None, 3, "adam", [1]):
        with pytest.raises(ValueError, match="options must be a dict"):
            made.load_config(other)
    assert made.kind == type(made).kind


def test_options_that_do_not_go_together_are_refused_ever_after():
    sgd = optim.SGD(momentum=0.9, nesterov=True)
    with pytest.raises(ValueError, match="nesterov=True needs momentum > 0"):
        sgd.momentum = 0.0
    adamw = optim.AdamW()
    with pytest.raises(ValueError, match="decoupled"):
        adamw.decoupled_weight_decay = False
    assert sgd.momentum == 0.9 and adamw.decoupled_weight_decay is True


def test_options_travel():
    made = optim.Adam(lr=0.1, betas=(0.8, 0.9), groups=[{"params": "*.bias", "lr": 0.2}], max_norm=3.0)
    other = optim.Adam()
    other.load_config(made.to_config())
    assert other.to_config() == made.to_config() and other.betas == (0.8, 0.9)
    before = other.changes
    other.load_config(made.to_config())  # nothing new: cached steps stay
    assert other.changes == before
    other.groups[0]["lr"] = 5.0
    assert made.groups[0]["lr"] == 0.2


@pytest.mark.parametrize(
    "schedule, option, value, message",
    [
        (S.StepLR(3), "step_size", 0, "step_size must be an integer >= 1"),
        (S.StepLR(3), "gamma", -1, "gamma must be a finite number >= 0"),
        (S.CyclicLR(0.1, 0.2), "base_lr", 0.3, "base_lr must not be above max_lr"),
        (S.OneCycleLR(0.1, 10), "pct_start", 2, "pct_start"),
        (S.SequentialLR([S.StepLR(1), S.StepLR(2)], [3]), "milestones", [3, 4], "milestones"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, S.Schedule) else None,
)
def test_a_schedule_changed_is_a_schedule_made(schedule, option, value, message):
    before = schedule.to_config()
    with pytest.raises((ValueError, TypeError), match=message):
        setattr(schedule, option, value)
    assert schedule.to_config() == before


def test_a_changed_schedule_keeps_what_follows_from_its_options_in_step():
    schedule = S.StepLR(3, gamma=0.5)
    schedule.gamma = 0.1
    assert schedule == S.StepLR(3, gamma=0.1)
    cycle = S.CyclicLR(0.1, 0.2, step_size_up=5)
    cycle.cycle_momentum = False
    assert not cycle.cycles_momentum


@pytest.mark.parametrize(
    "callback, option, value",
    [
        (fastnn.EarlyStopping(), "patience", -1), (fastnn.EarlyStopping(), "min_delta", "x"),
        (fastnn.EarlyStopping(), "monitor", 3), (fastnn.ReduceLROnPlateau(), "factor", 2),
        (fastnn.ReduceLROnPlateau(), "min_lr", -1), (fastnn.ReduceLROnPlateau(), "cooldown", 0.5),
        (fastnn.ModelCheckpoint("p"), "every_epochs", 0), (fastnn.ModelCheckpoint("p"), "what", "all"),
        (fastnn.LambdaCallback(), "every_steps", 0), (fastnn.TerminateOnNaN(), "when", "now"),
        (fastnn.HealthMonitor(), "rows", 1),
    ],
)  # fmt: skip
def test_callbacks_refuse_nonsense_after_they_were_made(callback, option, value):
    with pytest.raises((ValueError, TypeError), match=f"{type(callback).__name__}: {option} must be"):
        setattr(callback, option, value)


def test_one_module_of_validators():
    """No second set of them anywhere in the package."""
    from pathlib import Path

    package, second = Path(fastnn.__file__).parent, r"^def (check_(count|positive|share|not_negative)|positive_int)\b"
    others = [path for path in package.rglob("*.py") if path.name != "validation.py"]
    assert not [str(path) for path in others if re.search(second, path.read_text(), re.M)]
    assert not (package / "training" / "checks.py").exists()


def test_numbers_of_numpy_are_numbers():
    made = optim.Adam(lr=np.float32(0.1), betas=[np.float64(0.9), 0.99])
    made.lr = np.float64(0.2)
    assert made.lr == 0.2 and Trainer(nn.Linear(1, 1), nn.MSELoss(), made).optimizer.lr == 0.2


# ---- trainers -------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((16, 2)).astype(np.float32)


def trainer(optimizer=None, **options):
    model = nn.Sequential(nn.Linear(4, 2), seed=1)
    return Trainer(model, nn.MSELoss(), optim.Adam(lr=0.1) if optimizer is None else optimizer, **options)


def test_a_trainer_refuses_unknown_attributes():
    t = trainer()
    for one in (t, copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        with pytest.raises(AttributeError, match="has no attribute 'clip_grad_nrom': do you mean 'clip_grad_norm'"):
            one.clip_grad_nrom = 1

    class Mine(Trainer):
        pass

    Mine(t.model, t.loss, t.optimizer).note = 1


@pytest.mark.parametrize(
    "name, values",
    [
        ("clip_grad_norm", (-1, 0, "x", float("nan"))), ("clip_grad_value", (-1, "x")), ("accumulate", (0, 1.5, None)),
        ("ema", (1, -0.1, "x")), ("seed", (-1, 1.5, "1", None)), ("num_threads", (0, 5000, "x")),
        ("gradient_hook", (3, "x")), ("scheduler", (3, optim.StepLR)), ("optimizer", (optim.Adam, "adam", None)),
        ("loss", (nn.MSELoss, None, "mse")), ("model", (None, nn.Linear, 3)), ("metrics", ("accurac", 3)),
    ],
)  # fmt: skip
def test_a_trainer_refuses_nonsense_in_the_constructor_and_ever_after(name, values):
    t = trainer()
    for value in values:
        before = getattr(t, name)
        with pytest.raises((ValueError, TypeError)):
            setattr(t, name, value)
        assert getattr(t, name) is before
        arguments = {"model": t.model, "loss": t.loss, "optimizer": t.optimizer, name: value}
        with pytest.raises((ValueError, TypeError)):
            Trainer(**arguments)


def test_a_scheduler_of_one_trainer_does_not_change_the_rate_of_another():
    shared = optim.Adam(lr=0.1)
    first = trainer(shared, scheduler=fastnn.ReduceLROnPlateau("loss", patience=1, min_delta=1e9))
    second = trainer(shared)
    first.fit(X, Y, epochs=5, progress=False)
    assert first.optimizer.lr < 0.1 and second.optimizer.lr == shared.lr == 0.1
    second.optimizer.lr = 0.3
    assert first.optimizer.lr < 0.1 and shared.lr == 0.1


def test_resuming_does_not_change_the_options_of_another_trainer(tmp_path):
    slow = trainer(optim.Adam(lr=0.01))
    slow.train_step(X, Y)
    slow.save_checkpoint(tmp_path / "c")
    shared = optim.Adam(lr=0.1)
    first, second = trainer(shared), trainer(shared)
    first.resume(tmp_path / "c")
    assert first.optimizer.lr == 0.01 and second.optimizer.lr == shared.lr == 0.1


DAMAGES = {
    "another kind": lambda v: v["optimizer_options"].update(kind="sgd"),
    "a rate below 0": lambda v: v["optimizer_options"].update(lr=-1.0),
    "a rate that is a text": lambda v: v["optimizer_options"].update(lr="fast"),
    "betas of one": lambda v: v["optimizer_options"].update(betas=[0.9]),
    "groups that are none": lambda v: v["optimizer_options"].update(groups=3),
    "no options": lambda v: v.pop("optimizer_options"),
    "options that are a list": lambda v: v.update(optimizer_options=[1]),
    "no optimizer": lambda v: v.pop("optimizer"),
    "no seed": lambda v: v.pop("seed"),
    "a seed below 0": lambda v: v.update(seed=-1),
    "steps below 0": lambda v: v.update(step=-1),
    "steps that are a text": lambda v: v.update(step="many"),
    "steps beyond 64 bits": lambda v: v.update(step=2**70),
    "no history": lambda v: v.pop("history"),
    "steps of no parameter": lambda v: v["parameter_steps"].update(other=1),
    "steps that are a list": lambda v: v.update(parameter_steps=[1]),
    "averages of no parameter": lambda v: v.update(averaged_steps={"other": 1}),
    "a fit that is none": lambda v: v.update(fit=3),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_refused_checkpoint_changes_nothing(what):
    t = trainer(optim.Adam(lr=0.05))
    for _ in range(3):
        t.train_step(X, Y)
    arrays, values = t.state_dict()
    values = copy.deepcopy(values)
    DAMAGES[what](values)
    t.train_step(X, Y)
    before = (t.step, t.seed, t.optimizer.to_config(), t.model.state_dict()["0.weight"], t.state)
    with pytest.raises(ValueError):
        t.load_state_dict(arrays, values)
    assert (t.step, t.seed, t.optimizer.to_config()) == before[:3] and t.state is before[4]
    assert np.array_equal(t.model.state_dict()["0.weight"], before[3])
    t.fit(X, Y, epochs=1, progress=False)
