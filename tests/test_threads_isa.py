"""The same bits for any number of threads; each instruction set near the others; threads of Python's own."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from compare import same_bits
from conftest import ISAS

from fastnn import kernels
from fastnn.threads import isa as use_isa
from fastnn.threads import num_threads


def work(dtype):
    """Named results of every kind of kernel, at sizes with several tiles and ragged edges."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((333, 70)).astype(dtype)
    other = rng.standard_normal((333, 70)).astype(dtype)
    weight = rng.standard_normal((97, 70)).astype(dtype)
    grad = rng.standard_normal((333, 97)).astype(dtype)
    vector = rng.uniform(0.5, 1.5, 70).astype(dtype)
    labels = rng.integers(0, 70, 333)
    few = rng.standard_normal((5, 70)).astype(dtype)
    yield "matmul", kernels.matmul(x.T, x)
    yield "matmul long", kernels.matmul(x[:40].reshape(4, -1), x[:40].reshape(4, -1).T)
    for name in (None, "relu", "sigmoid", "tanh"):
        yield f"linear {name}", kernels.linear(x, weight, weight[:, 0], activation=name)
        yield f"linear few {name}", kernels.linear(few, weight, weight[:, 0], activation=name)
    yield "linear_backward", kernels.linear_backward(grad, x, weight)
    for name in ("tanh", "sigmoid", "exp", "relu", "log", "sqrt"):
        yield name, getattr(kernels, name)(np.abs(x))
    for name in ("tanh", "sigmoid", "relu"):
        yield f"{name}_backward", getattr(kernels, f"{name}_backward")(other, x)
    yield "add", kernels.add(x, vector)
    yield "where", kernels.where(x > 0, x, other)
    for axis in (0, 1, None):
        yield f"sum {axis}", kernels.sum(x, axis)
        yield f"max {axis}", kernels.max(x, axis)
    yield "softmax", kernels.softmax(x)
    yield "log_softmax", kernels.log_softmax(x)
    yield "softmax_backward", kernels.softmax_backward(other, x)
    y, mean, var = kernels.batch_norm(x, vector, vector)
    yield "batch_norm", (y, mean, var)
    yield "batch_norm_inference", kernels.batch_norm_inference(x, mean, var, vector, vector)
    yield "batch_norm_backward", kernels.batch_norm_backward(other, x, mean, var, vector)
    yield "dropout", kernels.dropout(x, 0.3, seed=11)
    for reduction in ("mean", "sum", "none"):
        loss = kernels.softmax_cross_entropy(x, labels, class_weight=vector, reduction=reduction, label_smoothing=0.1)
        yield f"cross entropy {reduction}", loss
        yield f"mse {reduction}", kernels.mse(x, other, sample_weight=np.abs(x[:, 0]), reduction=reduction)
    for name, states, settings in (("sgd", 1, {"momentum": 0.9}), ("rmsprop", 1, {}), ("adam", 2, {})):
        arrays = [x.copy(), other, *(np.abs(other) * 0.1 for _ in range(states))]
        getattr(kernels, name)(*arrays, step=2, weight_decay=0.01, **settings)
        yield name, tuple(arrays)


def flat(value):
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize("name", ISAS)
def test_threads_do_not_change_bits(name, dtype):
    with use_isa(name):
        with num_threads(1, force=True):
            expected = dict(work(dtype))
        for count in (2, 3, 4):
            with num_threads(count, force=True):
                for what, value in work(dtype):
                    for a, b in zip(flat(value), flat(expected[what]), strict=True):
                        assert same_bits(a, b), f"{what}, {count} threads"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_forced_threads_are_real():
    """The tests above would prove nothing on one thread: three forced threads make two more of the system's."""
    code = """if True:
        import os
        import numpy as np
        from fastnn import _native, kernels
        from fastnn.threads import num_threads
        x = np.ones((3, 3), np.float32)
        before = len(os.listdir("/proc/self/task"))
        kernels.relu(x)
        kernels.matmul(x, x)
        small = len(os.listdir("/proc/self/task"))
        with num_threads(3, force=True):
            kernels.relu(x)
        print(small - before, len(os.listdir("/proc/self/task")) - before, _native.config()["openmp"])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, forced, openmp = map(int, done.stdout.split())
    assert small == 0, "a tiny call must not start threads"
    assert forced == (2 if openmp else 0)


def test_repeated_calls_give_the_same_bits():
    with num_threads(2, force=True):
        first = dict(work(np.float32))
        for _ in range(3):
            for what, value in work(np.float32):
                for a, b in zip(flat(value), flat(first[what]), strict=True):
                    assert same_bits(a, b), what


def test_instruction_sets_agree(dtype):
    """Other orders of summation and roundings, but the same function: within a small multiple of eps of its scale."""
    results = {}
    for name in ISAS:
        with use_isa(name):
            results[name] = dict(work(dtype))
    eps = np.finfo(dtype).eps
    base = results.pop(ISAS[0])
    for name, others in results.items():
        for what, value in others.items():
            for a, b in zip(flat(value), flat(base[what]), strict=True):
                scale = np.abs(b).max() if b.size else 0
                assert np.allclose(a, b, rtol=0, atol=200 * eps * scale), f"{what}: {name} and {ISAS[0]}"
    for name in results:
        assert same_bits(results[name]["dropout"], base["dropout"])
        assert same_bits(results[name]["relu"], base["relu"])


def test_alignment_does_not_change_bits(isa, dtype, rng):
    x = rng.standard_normal((23, 37)).astype(dtype)
    weight = rng.standard_normal((19, 37)).astype(dtype)

    def results(a, b):
        yield kernels.linear(a, b, activation="tanh")
        yield kernels.softmax(a)
        yield kernels.sum(a, 0)
        yield kernels.batch_norm(a)[0]

    expected = list(results(x, weight))
    for shift in range(1, 64 // x.itemsize):
        holder = np.empty(x.size + weight.size + 64, dtype)
        a = holder[shift : shift + x.size].reshape(x.shape)
        b = holder[x.size + shift : x.size + shift + weight.size].reshape(weight.shape)
        a[...], b[...] = x, weight
        for got, e in zip(results(a, b), expected, strict=True):
            assert same_bits(got, e), shift


def test_python_threads_work_at_once():
    """Eight Python threads with calls of their own, each with its own thread setting, none disturbs another."""
    expected = dict(work(np.float32))
    wrong = []

    def run(count):
        with num_threads(count, force=True):
            for what, value in work(np.float32):
                if not all(same_bits(a, b) for a, b in zip(flat(value), flat(expected[what]), strict=True)):
                    wrong.append((what, count))

    members = [threading.Thread(target=run, args=(1 + i % 3,)) for i in range(8)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert not wrong
