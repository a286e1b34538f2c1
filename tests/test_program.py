"""Native programs: checks, memory plan, chunks, steps, threads. The arithmetic itself is tested op by op elsewhere."""

import threading

import numpy as np
import pytest

from fastnn import _native

OPS = _native.ops()
RELU = next(row["code"] for row in _native.list_rows("activations") if row["name"] == "relu")
ADD = next(row["code"] for row in _native.list_rows("binary") if row["name"] == "add")


def linear_relu(builder, x, w, y, rows, n_in, n_out, bias=None):
    builder.op("gemm", (x, w, bias, y), (rows, n_out, n_in, n_in, 1, n_out, 1, n_out, 0, 0, 1 + RELU), (0.0, 0.0))


def two_layers(chunk, capacity):
    """relu(relu(x @ w0) @ w1) for any number of rows."""
    rng = np.random.default_rng(0)
    w0, w1 = (rng.standard_normal((20, 24), dtype=np.float32), rng.standard_normal((24, 7), dtype=np.float32))
    builder = _native.Builder(0)
    x = builder.external(rows_bytes=20 * 4)
    y = builder.external(rows_bytes=7 * 4)
    first, second = builder.external(), builder.external()
    hidden = builder.workspace((24 * 4, 0))
    linear_relu(builder, x, first, hidden, (1, 0), 20, 24)
    linear_relu(builder, hidden, second, y, (1, 0), 24, 7)
    program = builder.finish(capacity, chunk)
    program.bind(first, w0)
    program.bind(second, w1)

    def run(data):
        out = np.empty((len(data), 7), np.float32)
        program.run(len(data), {x: data, y: out})
        return out

    def expected(data):
        return np.maximum(np.maximum(data.astype(float) @ w0, 0) @ w1, 0)

    return program, run, expected


@pytest.mark.parametrize("rows", [0, 1, 32, 33, 255, 256, 257, 1000])
def test_one_program_serves_any_number_of_rows(rows):
    program, run, expected = two_layers(chunk=256, capacity=256)
    data = np.random.default_rng(1).standard_normal((rows, 20), dtype=np.float32)
    np.testing.assert_allclose(run(data), expected(data), rtol=1e-4, atol=1e-4)


def test_a_row_does_not_depend_on_its_batch():
    program, run, _ = two_layers(chunk=256, capacity=256)
    data = np.random.default_rng(2).standard_normal((700, 20), dtype=np.float32)
    whole = run(data)
    for i in (0, 1, 255, 256, 699):
        assert np.array_equal(run(data[i:i + 1])[0], whole[i])


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_bits_do_not_depend_on_threads(threads):
    program, run, _ = two_layers(chunk=64, capacity=64)
    data = np.random.default_rng(3).standard_normal((321, 20), dtype=np.float32)
    reference = run(data)
    with _native.LocalThreads(threads, True):
        assert np.array_equal(run(data), reference)


def test_too_many_rows_for_an_unchunked_program_is_an_error():
    program, run, _ = two_layers(chunk=0, capacity=10)
    with pytest.raises(ValueError, match="11 rows.*planned for 10"):
        run(np.zeros((11, 20), np.float32))


def test_two_python_threads_share_one_program():
    program, run, _ = two_layers(chunk=256, capacity=256)
    data = [np.random.default_rng(i).standard_normal((300, 20), dtype=np.float32) for i in range(4)]
    reference = [run(d) for d in data]
    wrong = []

    def work(i):
        for _ in range(30):
            if not np.array_equal(run(data[i]), reference[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_buffers_that_do_not_live_together_share_memory():
    builder = _native.Builder(0)
    x, y = builder.external(), builder.external()
    n = 1000
    previous = x
    for _ in range(10):
        buffer = builder.workspace(n * 4)
        builder.op("unary", (previous, buffer), (1, n, n, n, RELU))
        previous = buffer
    builder.op("unary", (previous, y), (1, n, n, n, RELU))
    program = builder.finish(1)
    assert program.workspace_bytes == program.lower_bound_bytes == 2 * (n * 4 // 64 * 64 + 64)
    data, out = np.linspace(-1, 1, n, dtype=np.float32), np.empty(n, np.float32)
    program.run(1, {x: data, y: out})
    assert np.array_equal(out, np.maximum(data, 0))


@pytest.mark.parametrize("build, message", [
    (lambda b: b.op("unary", (b.workspace(64), b.external()), (1, 4, 4, 4, RELU)), "no op has written"),
    (lambda b: b.op("unary", (b.external(), None), (1, 4, 4, 4, RELU)), "required operand is missing"),
    (lambda b: b.op("fill", (b.external(), b.external()), (4,), (0.0,)), "too many operands"),
    (lambda b: b.op("fill", (99,), (4,), (0.0,)), "unknown buffer"),
])
def test_finish_refuses_a_program_that_is_wrong(build, message):
    builder = _native.Builder(0)
    build(builder)
    with pytest.raises(ValueError, match=message):
        builder.finish(1)


class Countdown:
    """A program whose loss is the step's first gathered value, and an update that adds 1 to a parameter."""

    def __init__(self):
        builder = _native.Builder(1)
        self.source, self.index = builder.external(name="x"), builder.external(name="index")
        batch, self.loss = builder.workspace((8, 0)), builder.persistent(8)
        builder.op("gather", (self.source, self.index, batch), ((1, 0), 1, 1, 1, 1))
        builder.op("copy", (batch, self.loss), (1, 1, 1, 1, 1, 1))
        self.gradient = builder.finish(8)
        builder = _native.Builder(1)
        parameter, one = builder.external(), builder.external()
        builder.op("binary", (parameter, one, parameter), (1, 1, 1, 1, 1, 1, 1, ADD))
        self.update = builder.finish(1)
        self.parameter = np.zeros(1)
        self.update.bind(parameter, self.parameter)
        self.update.bind(one, np.ones(1))

    def run(self, data, offsets, updates=None, stop=None, seconds=0.0, check_nan=False):
        losses = np.full(len(offsets) - 1, -1.0)
        done = _native.run_steps(self.gradient, self.update, {self.source: data}, self.index,
                                 np.arange(len(data), dtype=np.int64), np.asarray(offsets, np.int64), None, None,
                                 updates, self.loss, losses, stop, seconds, check_nan)
        return done, losses


def test_steps_of_unequal_batches():
    countdown = Countdown()
    done, losses = countdown.run(np.arange(10.0), [0, 4, 8, 10])
    assert done == 3 and losses.tolist() == [0, 4, 8] and countdown.parameter[0] == 3


def test_update_every_other_step():
    countdown = Countdown()
    done, _ = countdown.run(np.arange(10.0), [0, 2, 4, 6, 8, 10], np.array([0, 1, 0, 1, 0], np.int8))
    assert done == 5 and countdown.parameter[0] == 2


def test_steps_that_share_an_update_are_not_parted():
    countdown = Countdown()
    data, updates = np.array([1.0, np.nan, 3.0, 4.0, 5.0, 6.0]), np.array([0, 0, 1, 0, 0, 1], np.int8)
    done, _ = countdown.run(data, list(range(7)), updates, check_nan=True)
    assert done == 3
    many = np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.int8), 300_000)
    done, _ = countdown.run(np.arange(8.0), np.zeros(len(many) + 1, np.int64) + 1, many, seconds=0.01)
    assert 0 < done < len(many) and done % 7 == 0


def test_a_nan_loss_ends_the_call_at_its_step():
    countdown = Countdown()
    data = np.array([1.0, 2.0, np.nan, 4.0])
    assert countdown.run(data, [0, 1, 2, 3, 4], check_nan=True)[0] == 3
    assert countdown.run(data, [0, 1, 2, 3, 4])[0] == 4


def test_a_raised_flag_and_the_clock_stop_at_a_step_boundary():
    countdown = Countdown()
    assert countdown.run(np.arange(4.0), [0, 1, 2, 3, 4], stop=np.ones(1, np.int32))[0] == 0
    done, _ = countdown.run(np.arange(8.0), np.zeros(2_000_001, np.int64) + 1, seconds=0.01)
    assert 0 < done < 2_000_000


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_steps_under_forced_threads(threads):
    with _native.LocalThreads(threads, True):
        countdown = Countdown()
        done, losses = countdown.run(np.arange(200.0), list(range(201)))
        assert done == 200 and losses.tolist() == list(range(200)) and countdown.parameter[0] == 200
