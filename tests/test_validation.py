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
