"""Who may use a model's arrays: one writer or many readers of each, whichever model, module or trainer they come by."""

import copy
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import fastnn
from fastnn import Trainer, nn, optim
from fastnn._native import Guard
from fastnn.graph.parameter import Parameter

F4 = np.float32
X = np.random.default_rng(0).standard_normal((64, 6)).astype(F4)
Y = np.random.default_rng(1).integers(0, 3, 64)


def net(first=None):
    first = nn.Linear(6, 16) if first is None else first
    return nn.Sequential(first, nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def trainer_of(model):
    return Trainer(model, nn.CrossEntropyLoss(), optim.Adam())


@contextmanager
def elsewhere(hold):
    """The `hold` (a context manager) is held by another thread."""
    held, leave = threading.Event(), threading.Event()

    def work():
        with hold:
            held.set()
            leave.wait(20)

    worker = threading.Thread(target=work)
    worker.start()
    assert held.wait(20)
    try:
        yield
    finally:
        leave.set()
        worker.join(20)


@contextmanager
def fitting(model):
    """Another thread is inside `fit` of this model, before its first step."""
    held, leave = threading.Event(), threading.Event()
    trainer = trainer_of(model)

    def wait(epoch):
        held.set()
        leave.wait(20)

    callback = fastnn.LambdaCallback(on_epoch_begin=wait)
    worker = threading.Thread(target=lambda: trainer.fit(X, Y, epochs=1, callbacks=[callback], progress=False))
    worker.start()
    assert held.wait(20)
    try:
        yield trainer
    finally:
        leave.set()
        worker.join(20)


def save(model, path):
    fastnn.save(model, path / "m.safetensors")


def compiled_before(model):
    """A program made before the fit began, and a compiled function of one of the layer's parameters."""
    weight = model[0].weight
    return {
        "program": fastnn.compile(model, X),
        "function": fastnn.compile(lambda x: fastnn.functional.linear(x, weight)),
        "gradient": fastnn.grad(lambda x: fastnn.functional.linear(x, weight).sum()),
    }


WHILE_TRAINED = {
    "predict": lambda m, p: m(X),
    "predict one row": lambda m, p: m.predict(X[:1]),
    "Monte-Carlo call": lambda m, p: m(X, training=True),
    "predict_mc": lambda m, p: nn.predict_mc(m, X, 2),
    "predict of a child": lambda m, p: m[0](X),
    "to": lambda m, p: m.to("float64"),
    "to the same dtype": lambda m, p: m.to("float32"),
    "to of a child": lambda m, p: m[0].to("float64"),
    "Parameter.to": lambda m, p: m[0].weight.to(np.float64),
    "state_dict": lambda m, p: m.state_dict(),
    "state_dict of a child": lambda m, p: m[0].state_dict(),
    "load_state_dict": lambda m, p: m.load_state_dict(net().state_dict()),
    "load_state_dict of a child": lambda m, p: m[0].load_state_dict(nn.Linear(6, 16).state_dict()),
    "assignment": lambda m, p: setattr(m[0], "bias", np.ones(16, F4)),
    "assign": lambda m, p: m[0].bias.assign(np.ones(16, F4)),
    "reset_parameters": lambda m, p: m.reset_parameters(1),
    "estimate_population": lambda m, p: nn.estimate_population(m, X),
    "deepcopy": lambda m, p: copy.deepcopy(m),
    "save": save,
    "save_checkpoint": lambda m, p: trainer_of(m).save_checkpoint(p / "c.safetensors"),
    "train_step": lambda m, p: trainer_of(m).train_step(X, Y),
    "fit": lambda m, p: trainer_of(m).fit(X, Y, epochs=1, progress=False),
    "fit of another model with the layer": lambda m, p: trainer_of(net(m[0])).fit(X, Y, epochs=1, progress=False),
    "train_step of another model with the layer": lambda m, p: trainer_of(net(m[0])).train_step(X, Y),
    "predict of another model with the layer": lambda m, p: net(m[0])(X),
    "profile": lambda m, p: fastnn.diagnostics.profile(trainer_of(m), X, Y),
    "lr_find": lambda m, p: fastnn.diagnostics.lr_find(trainer_of(m), X, Y),
}


@pytest.fixture(scope="module")
def trained():
    model = net()
    model(X)
    model[0](X)
    with fitting(model):
        yield model


@pytest.mark.parametrize("what", WHILE_TRAINED)
def test_refused_while_another_thread_fits(what, trained, tmp_path):
    before = trained[0].weight.version
    with pytest.raises(RuntimeError, match="another thread"):
        WHILE_TRAINED[what](trained, tmp_path)
    assert trained.dtype == np.float32 and trained[0].weight.version == before


def test_compiled_functions_are_refused_while_another_thread_fits():
    model = net()
    programs = compiled_before(model)
    for call in programs.values():
        call(X)
    with fitting(model):
        for call in programs.values():
            with pytest.raises(RuntimeError, match="another thread"):
                call(X)
    for call in programs.values():
        call(X)


CHANGES = ("to", "load_state_dict", "assignment", "reset_parameters", "train_step", "fit", "load_state_dict of a child")


@pytest.mark.parametrize("what", CHANGES)
def test_refused_while_another_thread_predicts(what, tmp_path):
    model = net()
    with elsewhere(model._guard.reading()):
        model(X), model[0](X), model.state_dict()  # readers do not mind each other
        with pytest.raises(RuntimeError, match="another thread"):
            WHILE_TRAINED[what](model, tmp_path)
    WHILE_TRAINED[what](model, tmp_path)


def test_the_parent_is_not_trained_while_a_child_predicts():
    model = net()
    trainer = trainer_of(model)
    for _ in range(3):
        trainer.train_step(X, Y)
    with elsewhere(model[0]._guard.reading()):
        with pytest.raises(RuntimeError, match="predicting"):
            trainer.train_step(X, Y)
    trainer.train_step(X, Y)
    assert trainer.step == 4


def test_a_layer_that_went_away_does_not_hold_its_old_model():
    model = net()
    model(X)
    old, model[0] = model[0], nn.Linear(6, 16)
    with elsewhere(old._guard.writing()):
        model(X), trainer_of(model).train_step(X, Y)


def test_guard_takes_all_or_none():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(3))
    both = Guard((a, b))
    with elsewhere(b.guard().reading()):
        with pytest.raises(RuntimeError, match="predicting"), both.writing():
            pass
        with elsewhere(a.guard().writing()):
            pass
    with both.writing(), both.writing(), both.reading(), a.guard().reading():
        pass
    with elsewhere(both.writing()):
        for hold in (a.guard().reading(), b.guard().writing(), both.reading()):
            with pytest.raises(RuntimeError, match="trained by another thread"), hold:
                pass
    with a.guard().writing(), b.guard().writing():
        pass


CHILD = """
import threading, numpy as np, fastnn
from fastnn import Trainer, nn, optim
x = np.random.default_rng(0).standard_normal((256, 20)).astype("float32")
y = np.random.default_rng(1).integers(0, 3, 256)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam())
refused, stop = [], threading.Event()
def convert():
    while not stop.is_set():
        for dtype in ("float64", "float32"):
            try:
                model.to(dtype)
            except RuntimeError:
                refused.append(1)
worker = threading.Thread(target=convert)
worker.start()
work = {"fit": lambda: trainer.fit(x, y, epochs=2, progress=False), "step": lambda: trainer.train_step(x, y),
        "predict": lambda: model(x)}["WORK"]
done = 0
try:
    for _ in range({"fit": 20, "step": 60, "predict": 100}["WORK"]):
        try:
            work()
            done += 1
        except RuntimeError as error:
            assert "another thread" in str(error), error
            refused.append(1)
finally:
    stop.set()
    worker.join()
model.to("float32")
assert np.isfinite(model(x)).all()
print("ok", done, len(refused))
"""


@pytest.mark.parametrize("work", ["fit", "step", "predict"])
def test_a_conversion_in_another_thread_ends_in_runtime_error_not_in_a_corrupt_heap(work):
    done = subprocess.run(
        [sys.executable, "-c", CHILD.replace("WORK", work)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.startswith("ok"), done.stderr[-2000:]


class Alarm(Exception):
    pass


def interrupted(call, times, seconds=0.2):
    """Call again and again while a signal handler raises inside it."""

    def ring(signum, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        end = time.monotonic() + seconds
        for i in range(times):
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + 1e-6 * (i % 50))
                while time.monotonic() < end:
                    call()
                break
            except Alarm:
                pass
            finally:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Alarm:
                    pass
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_exception_leaves_a_model_locked():
    model = net()
    double = X.astype(np.float64)[:, ::-1]

    def work():
        model(X[:4], training=True)
        model((double,))
        model.state_dict()

    work()
    interrupted(work, 3000, 1.0)
    model.to("float64")  # a reader that was left behind would refuse it
    trainer_of(model).train_step(X, Y)
    with elsewhere(model._guard.writing()):
        pass


def test_no_exception_leaves_a_number_of_threads_or_an_instruction_set():
    isa = fastnn.available_isas()[-1]
    usual = fastnn.get_num_threads(), fastnn.show_config("dicts")["isa"]

    def work():
        with fastnn.num_threads(7), fastnn.isa(isa):
            pass

    interrupted(work, 4000, 1.0)
    assert (fastnn.get_num_threads(), fastnn.show_config("dicts")["isa"]) == usual


def test_thread_settings_nest_and_come_back():
    outer = fastnn.get_num_threads()
    with fastnn.num_threads(3):
        with fastnn.num_threads(None), fastnn.num_threads(5, force=True):
            assert fastnn.get_num_threads() == 5
        assert fastnn.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), fastnn.num_threads(2):
            raise ZeroDivisionError
        assert fastnn.get_num_threads() == 3
    assert fastnn.get_num_threads() == outer
