"""A model that is called again runs at once on plain arrays, whatever changed in between.

`Module.predict`, `Module.__call__` and compiled programs try `_native.Forward` first. Each case runs twice on equal
memory: as it is, and on a model of the same weights that has none.
"""

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
from compare import same_bits
from helpers.array_forms import F4, F8, FORMS, frozen, outcome, outs

import fastnn
import fastnn.functional as F
from fastnn import LambdaCallback, Trainer, _native, nn, num_threads, optim
from fastnn.graph.build import CompiledModel


def net(dtype, outputs=3):
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, outputs), seed=1).to(str(np.dtype(dtype)))


@pytest.fixture
def slow_path(monkeypatch):
    """Make a model that has been called on the slow path, and will be."""

    def make(model, *inputs):
        with monkeypatch.context() as patch:
            patch.setattr(CompiledModel, "_make_forward", lambda self: None)
            model(*inputs)
        assert model._forward is None
        return model

    return make


def calls(model):
    return {
        "predict": lambda x, out: model.predict(x, out=out),
        "call": lambda x, out: model(x, out=out),
    }


@pytest.mark.filterwarnings("ignore:Casting complex", "ignore:overflow")
@pytest.mark.parametrize("name", ["predict", "call"])
def test_forms_of_the_input_and_of_out(name, dtype, rng, slow_path, monkeypatch):
    x = rng.standard_normal((5, 6)).astype(dtype)
    short, slow = net(dtype), net(dtype)
    short(x)
    slow_path(slow, x)
    refused = taken = 0
    cases = [(form, disguise, lambda: None) for form, disguise in FORMS.items()]
    cases += [(form, np.copy, offer) for form, offer in outs((5, 3), np.dtype(dtype)).items()]
    for form, disguise, offer in cases:

        def make(disguise=disguise, offer=offer):
            given, out = disguise(x.copy()), offer()
            return [given], out, [m for m in (given, out) if isinstance(m, np.ndarray)]

        short(x)
        assert short._forward is not None
        taken += short._forward.run(disguise(x.copy()), offer()) is not None
        first = outcome(calls(short)[name], make)
        with monkeypatch.context() as patch:
            patch.setattr(CompiledModel, "_make_forward", lambda self: None)
            second = outcome(calls(slow)[name], make)
        assert first == second, form
        refused += isinstance(first[0], tuple)
    assert refused > 15
    assert 5 < taken < len(cases) - refused


def test_out_anywhere_in_the_memory_of_the_input(dtype, rng):
    model = net(dtype)
    values = rng.standard_normal(5 * 6 + 5 * 3).astype(dtype)
    expected = model(values[:30].reshape(5, 6))
    for start in range(31):
        memory = values.copy()
        out = memory[start : start + 15].reshape(5, 3)
        assert model.predict(memory[:30].reshape(5, 6), out=out) is out
        assert same_bits(out, expected), start
        rest = np.ones(45, bool)
        rest[start : start + 15] = False
        assert same_bits(memory[rest], values[rest]), start
    memory = values.copy()
    with pytest.raises(ValueError, match="writeable"):
        model.predict(memory[:30].reshape(5, 6), out=frozen(memory[:15].reshape(5, 3)))


def test_rows_threads_isa_and_addresses_change_from_call_to_call(dtype, rng):
    """A workspace keeps what the last call settled; none of it may reach a call that differs."""
    model, data = net(dtype, outputs=2), rng.standard_normal((1500, 6)).astype(dtype)
    expected = {}
    for name in fastnn.available_isas():
        with fastnn.isa(name):
            expected[name] = nn.Sequential(*net(dtype, outputs=2)).predict(data)
    for isa, threads, force in itertools.product(expected, (1, 2, 3), (False, True)):
        for rows in (1, 256, 257, 1, 300, 1500, 44, 512, 2):
            start = int(rng.integers(0, 1500 - rows + 1))
            with fastnn.isa(isa), num_threads(threads, force=force):
                y = model.predict(data[start : start + rows])
            assert same_bits(y, expected[isa][start : start + rows]), (isa, threads, rows)


def test_many_calls_on_one_shared_model_from_several_threads(rng):
    model = nn.Sequential(nn.Linear(6, 200), nn.ReLU(), nn.Linear(200, 4), seed=1)
    inputs = [rng.standard_normal((rows, 6)).astype(F4) for rows in (1, 3, 100, 700)]
    expected = [model(x) for x in inputs]
    wrong = []

    def work(first):
        out = [np.empty_like(y) for y in expected]
        for i in range(300):
            k = (first + i) % 4
            if not same_bits(model.predict(inputs[k], out=out[k] if i % 2 else None), expected[k]):
                wrong.append((first, i))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_changes_of_a_model_are_seen_by_the_next_short_call(rng):
    x = rng.standard_normal((4, 6)).astype(F4)
    model = net(F4)
    model(x)
    model[0].weight.assign(-model[0].weight.numpy())
    hidden = np.maximum(x @ model[0].weight.numpy().T + model[0].bias.numpy(), 0)
    expected = hidden @ model[2].weight.numpy().T + model[2].bias.numpy()
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    model[1] = nn.Tanh()
    hidden = np.tanh(x @ model[0].weight.numpy().T + model[0].bias.numpy())
    expected = hidden @ model[2].weight.numpy().T + model[2].bias.numpy()
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    model.to("float64")
    assert model(x).dtype == F8
    model.append(nn.Linear(3, 2).to("float64"))
    assert model(x).shape == (4, 2)
    with pytest.raises(ValueError, match="7"):
        model(np.zeros((4, 7), F4))
    assert model(x).shape == (4, 2)


def test_copies_of_a_model_that_was_called_are_models_of_their_own(rng):
    x = rng.standard_normal((4, 6)).astype(F4)
    model = net(F4)
    before = model(x)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same_bits(copied(x), before)
        copied[0].bias.assign(np.ones(9))
        assert not same_bits(copied(x), before)
        assert same_bits(model(x), before)


def test_the_guard_also_stands_before_the_short_path(rng):
    x, y = rng.standard_normal((64, 6)).astype(F4), rng.integers(0, 3, 64)
    model = net(F4)
    model(x)
    assert model._forward is not None
    started = threading.Event()

    def inside(epoch, logs):
        if model.predict(x[:1]).shape == (1, 3):  # the training thread itself may
            started.set()

    callback = LambdaCallback(on_epoch_end=inside)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD())
    worker = threading.Thread(target=lambda: trainer.fit(x, y, epochs=100_000, callbacks=[callback], progress=False))
    worker.start()
    try:
        assert started.wait(20)
        out = np.empty((64, 3), F4)
        for call in (lambda: model(x), lambda: model.predict(x[:1]), lambda: model.predict(x, out=out)):
            with pytest.raises(RuntimeError, match="being trained by another thread"):
                call()
    finally:
        trainer.stop()
        worker.join(20)
    assert not worker.is_alive()
    assert model.predict(x).shape == (64, 3)


def test_compiled_programs(dtype, rng, slow_path, monkeypatch):
    x = rng.standard_normal((5, 6)).astype(dtype)
    model = net(dtype)
    short = fastnn.compile(model, x)
    expected = slow_path(net(dtype), x)(x)
    assert short._forward is not None
    out = np.empty_like(expected)
    assert short(x, out=out) is out
    for y in (out, short(x), short(x.tolist()), short(x.astype(x.dtype.newbyteorder())), short(np.asfortranarray(x))):
        assert same_bits(y, expected)
    assert same_bits(short(np.repeat(x, 100, axis=0)), np.repeat(expected, 100, axis=0))
    with pytest.raises(ValueError, match="shape"):
        short(x, out=np.empty((4, 3), dtype))
    model[0].bias.assign(np.ones(9))
    assert not same_bits(short(x), expected)
    model[1] = nn.Tanh()
    assert same_bits(short(x), model(x))


def test_models_that_have_no_short_path(rng):
    """Several inputs or outputs, rows that are mixed, Python inside: all still run."""

    class Two(nn.Module):
        def forward(self, x):
            return x + 1, x * 2

    class Mixing(nn.Module):
        def forward(self, x):
            return x - F.mean(x, axis=0)

    class Own(nn.Module):
        def forward(self, x):
            return F.python_op(np.negative, x)

    x = rng.standard_normal((5, 6)).astype(F4)
    for module, expected in ((Two(), (x + 1, x * 2)), (Mixing(), x - x.mean(axis=0)), (Own(), -x)):
        for _ in range(3):
            np.testing.assert_allclose(module(x), expected, rtol=1e-6, atol=1e-6)
        assert module._forward is None


def test_an_array_bound_again_is_read_from_its_new_place():
    builder = _native.Builder(0)
    x, b, y = builder.external(24), builder.external(), builder.external(24)
    builder.op("binary", (x, b, y), ((1, 0), 6, 6, 1, 0, 1, 6, 0))
    program = builder.finish(4, 4)
    data, out = np.ones((9, 6), F4), np.empty((9, 6), F4)
    for value in (1.0, 2.0):
        program.bind(b, np.full(6, value, F4))
        for rows in (9, 3, 9):
            program.run(rows, {x: data[:rows], y: out[:rows]})
            assert (out[:rows] == 1 + value).all()
    forward = _native.Forward(program, x, y, (6,), (6,), 0, _native.Guard(()), _native.Revisions(()))
    assert (forward.run(data, None) == 3).all()
    with pytest.raises(ValueError, match="at most 7 axes"):
        _native.Forward(program, x, y, (1,) * 8, (6,), 0, _native.Guard(()), _native.Revisions(()))


def test_long_batches_by_pieces_of_rows_give_the_bits_of_one_thread(isa, dtype, rng):
    """Threads take pieces of up to 256 rows; enough rows that the cost model wants them, all kinds of remainders."""
    layers = (nn.Linear(6, 70), nn.BatchNorm1d(70), nn.Tanh(), nn.Linear(70, 33), nn.Sigmoid(), nn.Linear(33, 2))
    model = nn.Sequential(*layers, seed=1).to(str(np.dtype(dtype)))
    data = rng.standard_normal((5000, 6)).astype(dtype)
    with num_threads(1):
        expected = model.predict(data)
    for threads, rows in itertools.product((2, 3, 4), (5000, 4999, 257, 300, 512, 513, 1300, 3, 2049)):
        start = int(rng.integers(0, 5001 - rows))
        with num_threads(threads):
            assert same_bits(model.predict(data[start : start + rows]), expected[start : start + rows]), (threads, rows)
    chunks = np.concatenate([model.predict(data[i : i + 1]) for i in range(0, 5000, 97)])
    assert same_bits(chunks, expected[::97])


def test_long_batches_from_several_python_threads(rng):
    model = net(F4)
    data = [rng.standard_normal((3000 + i, 6)).astype(F4) for i in range(3)]
    with num_threads(1):
        expected = [model.predict(x) for x in data]
    wrong = []

    def work(i):
        with num_threads(2 + i % 2):
            for _ in range(20):
                if not same_bits(model.predict(data[i]), expected[i]):
                    wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_chunks_that_leave_something_behind_run_in_order():
    """What is kept, or not one row per row, is that of the last chunk with any number of threads."""
    builder = _native.Builder(0)
    x, total, y = builder.external(4 * 64), builder.external(), builder.external(4 * 64)
    kept = builder.persistent(4 * 64)
    builder.op("sum_rows", (x, kept), ((1, 0), 64, 64, 0, 0))
    builder.op("sum_rows", (x, total), ((1, 0), 64, 64, 0, 1))
    builder.op("unary", (x, y), ((1, 0), 64, 64, 64, 0))
    program = builder.finish(256, 256)
    data = np.random.default_rng(0).integers(-9, 10, (5000, 64)).astype(F4)
    for threads in (1, 2, 3):
        out, last, everything = np.empty_like(data), np.empty(64, F4), np.zeros(64, F4)
        with num_threads(threads):
            program.run(5000, {x: data, total: everything, y: out}, (), {kept: last})
        np.testing.assert_array_equal(last, data[4864:].sum(axis=0))
        np.testing.assert_array_equal(everything, data.sum(axis=0))
