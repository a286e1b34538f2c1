"""Exceptions from signal handlers: weights, moments and counters are those of one step, wherever they come."""

import signal
import time

import numpy as np
import pytest
from helpers.training import blobs, classifier, weights

from fastnn import Trainer, nn, optim

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


class Alarm(Exception):
    pass


@pytest.fixture
def alarm():
    """alarm(seconds): raise in this thread after so long, from a handler of a signal."""

    def handler(signum, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


X, Y = blobs(32)
WEIGHT = np.ones(32, "f4")


def make(**options):
    return Trainer(classifier(nn.Dropout(0.2)), nn.CrossEntropyLoss(), optim.Adam(lr=1e-3), **options)


def fit(trainer):
    trainer.fit(X, Y, epochs=10**6, batch_size=32, shuffle=False, progress=False)


def steps(trainer):
    while True:
        trainer.train_step(X, Y)


def weighted_steps(trainer):
    while True:
        trainer.train_step(X, Y, WEIGHT)


def iterable(trainer):
    trainer.fit([(X, Y)] * 4, epochs=10**6, progress=False)


@pytest.mark.parametrize("loop", [fit, steps, weighted_steps, iterable])
def test_counters_belong_to_the_step_that_was_made(loop, alarm):
    """Interrupted at random moments, the trainer is that of its own number of steps."""
    rng, found = np.random.default_rng(0), {}
    for _ in range(12):
        t = make()
        t.train_step(X, Y), t.train_step(X, Y, WEIGHT)
        with pytest.raises(Alarm):
            alarm(float(rng.uniform(0.002, 0.02)))
            loop(t)
        assert {slots.steps for slots in t.state.optimizer_state.slots.values()} == {t.step}
        assert t.state.micro_step == t.step and not t.state.open_batches
        found[t.step] = weights(t.model)
        t.train_step(X, Y)  # nothing stays locked
    twin = make()
    for step in range(1, max(found) + 1):
        twin.train_step(X, Y)
        if step in found:
            assert weights(twin.model) == found[step], step


def test_epochs_that_were_complete_are_counted(alarm):
    t = make()
    with pytest.raises(Alarm):
        alarm(0.05)
        fit(t)
    assert t.epoch == len(t.history) == t.step > 0  # one batch is an epoch here
    assert t.history.stop_reason == "error"


def test_a_time_limit_counts_the_steps_it_has_made():
    t = make()
    began = time.monotonic()
    t.fit(X, Y, epochs=10**6, batch_size=8, max_time=0.1, progress=False)
    assert time.monotonic() - began < 2 and t.history.stop_reason == "max_time"
    assert {slots.steps for slots in t.state.optimizer_state.slots.values()} == {t.step}
