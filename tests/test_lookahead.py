"""Short epochs are trained several in one native call; nothing else may show it."""

import numpy as np
import pytest
from compare import same_bits

from fastnn import Trainer, nn, optim
from fastnn.training import Feed
from fastnn.training.callbacks import Callback, TerminateOnNaN
from fastnn.training.step_program import StepProgram

EPOCHS = 40


class Watcher(Callback):
    """Has a hook between epochs, so that no lookahead is allowed."""

    def on_epoch_end(self, epoch, logs):
        pass


class StopsBehind(Callback):
    """Asks for the end while later epochs have been trained already."""

    allows_lookahead = True

    def on_epoch_end(self, epoch, logs):
        if epoch == 4:
            self.trainer.stop()


def made(x, y, *callbacks, **options):
    """(trainer, native calls) of a fit."""
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3), seed=1)
    settings = {name: options.pop(name) for name in ("optimizer", "scheduler", "ema") if name in options}
    trainer = Trainer(model, nn.CrossEntropyLoss(), settings.pop("optimizer", None) or optim.Adam(), seed=3, **settings)
    calls, run = [], StepProgram.run

    def counted(self, *args, **kwargs):
        calls.append(1)
        return run(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepProgram, "run", counted)
        trainer.fit(x, y, epochs=options.pop("epochs", EPOCHS), callbacks=callbacks, progress=False, **options)
    return trainer, len(calls)


@pytest.fixture
def data(rng):
    return rng.standard_normal((50, 5)).astype(np.float32), rng.integers(0, 3, 50)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 16},
        {"batch_size": "full", "shuffle": False},
        {"batch_size": 7, "feed": Feed(rows=np.arange(0, 50, 3))},
        {"batch_size": 16, "sample_weight": np.linspace(0.1, 2, 50), "ema": 0.9},
    ],
    ids=str,
)
def test_epochs_trained_together_are_those_trained_one_by_one(options, data):
    together, calls = made(*data, **dict(options))
    apart, calls_apart = made(*data, Watcher(), **dict(options))
    assert calls < EPOCHS <= calls_apart
    for a, b in zip(together.model.parameters(), apart.model.parameters(), strict=True):
        assert same_bits(np.array(a.numpy()), np.array(b.numpy()))
    assert together.history["loss"] == apart.history["loss"]
    assert together.history.epoch == apart.history.epoch == list(range(EPOCHS))
    assert (together.epoch, together.step) == (apart.epoch, apart.step)
    assert min(together.history["seconds"]) > 0


@pytest.mark.parametrize(
    "options",
    [
        {"validation_split": 0.2},
        {"eval_train": True},
        {"scheduler": optim.lr_scheduler.ExponentialLR(0.9)},
        {"optimizer": optim.SGD(0.1, weight_decay=1e-2)},  # the history has the penalty of every epoch's end
    ],
    ids=str,
)
def test_no_epoch_is_trained_ahead_of_what_looks_at_it(options, data):
    assert made(*data, batch_size=16, **options)[1] >= EPOCHS


def test_a_stop_behind_closes_all_that_was_trained(data):
    trainer, _ = made(*data, StopsBehind(), batch_size=16, epochs=5000)
    history = trainer.history
    assert history.stop_reason == "callback"
    assert 5 <= len(history) < 5000
    assert history.epoch == list(range(len(history)))
    assert 4 * (len(history) - 1) < trainer.step <= 4 * len(history)
    apart, _ = made(*data, Watcher(), batch_size=16, epochs=trainer.epoch)
    whole = trainer.step // 4
    assert history["loss"][:whole] == apart.history["loss"][:whole]


def test_a_time_limit_and_a_second_fit(data):
    trainer, _ = made(*data, batch_size=16, epochs=10**6, max_time=0.2)
    assert trainer.history.stop_reason == "max_time"
    assert 4 * (trainer.epoch - 1) < trainer.step <= 4 * trainer.epoch
    before = trainer.epoch
    trainer.fit(*data, batch_size=16, epochs=10, progress=False)
    assert trainer.epoch == before + 10
    assert trainer.history.epoch == list(range(before + 10))


def test_a_loss_that_is_not_finite_ends_the_fit_in_its_epoch(data):
    def ended(*callbacks):
        trainer = Trainer(nn.Sequential(nn.Linear(5, 1), seed=1), nn.MSELoss(), optim.SGD(0.9), seed=3)
        y = data[1].astype(np.float32)[:, None]
        callbacks = (TerminateOnNaN(), *callbacks)
        trainer.fit(data[0], y, batch_size=16, epochs=500, callbacks=callbacks, progress=False)
        return trainer.history.stop_reason, trainer.epoch, trainer.step, trainer.history["loss"][:-1]

    behind = ended()
    assert behind == ended(Watcher())
    assert behind[0] == "nan"
    assert behind[1] > 5
