"""A compiled function that is called again runs natively, and gives what the slow path gives."""

import itertools
import threading
from collections import namedtuple

import numpy as np
import pytest
from compare import same_bits
from helpers.array_forms import FORMS

import fastnn
from fastnn import functional as F
from fastnn import nn
from fastnn.graph.executable import Executable

Pair = namedtuple("Pair", "left right")


def energy(x, scale):
    return F.tanh(x) * scale


def natively(compiled, *args):
    """Whether a native call takes these arguments now."""
    return any(call.run(args) is not None for call in compiled._fast)


@pytest.mark.filterwarnings("ignore:Casting complex", "ignore:overflow")
def test_forms_of_an_array(dtype, rng, monkeypatch):
    x = rng.standard_normal((5, 6)).astype(dtype)
    short, slow = fastnn.compile(energy), fastnn.compile(energy)
    short(x, 2.0)
    taken = refused = 0
    for form, disguise in FORMS.items():
        results = []
        for program in (short, slow):
            with monkeypatch.context() as patch:
                if program is slow:
                    patch.setattr(Executable, "call", lambda *_: None)
                    slow._function._fast = ()
                try:
                    results.append(program(disguise(x.copy()), 2.0))
                except (TypeError, ValueError) as error:
                    results.append((type(error), str(error)))
        first, second = results
        if isinstance(first, tuple):
            assert first == second, form
            refused += 1
        else:
            assert first.dtype == second.dtype and same_bits(np.asarray(first), np.asarray(second)), form
        short(x, 2.0)
        taken += natively(short._function, x, 2.0)
    assert taken == len(FORMS) and refused > 0


def test_nested_arguments_and_results(rng):
    def function(p, pair, xs):
        return {"sum": p["a"] + p["b"], "pair": Pair(pair.left * 2.0, [xs[0], pair.right])}, F.sum(p["a"])

    program = fastnn.compile(function)
    a, b, c = (rng.normal(size=3) for _ in range(3))
    for arguments in (
        ({"a": a, "b": b}, Pair(b, c), [c]),
        ({"b": b, "a": a}, Pair(b, c), [c]),
        ({"a": b, "b": a}, Pair(c, b), [a]),
    ):
        for _ in range(2):
            found, total = program(*arguments)
            p, pair, xs = arguments
            assert list(found) == ["sum", "pair"] and type(found["pair"]) is Pair
            assert same_bits(found["sum"], p["a"] + p["b"]) and same_bits(found["pair"].left, pair.left * 2)
            assert type(found["pair"].right) is list and same_bits(found["pair"].right[0], xs[0])
            assert isinstance(total, np.float64)
            np.testing.assert_allclose(total, p["a"].sum())
        assert natively(program._function, *arguments)
    assert not natively(program._function, {"a": a, "c": b}, Pair(b, c), [c])
    assert not natively(program._function, {"a": a, "b": b}, (b, c), [c])
    with pytest.raises(AttributeError):
        program({"a": a, "b": b}, (b, c), [c])


def test_numbers_follow_the_arrays(rng):
    function = fastnn.grad(lambda x, s: F.sum(x * s), 1)
    for kind, number in itertools.product((np.float32, np.float64), (2.0, 3, np.float32(1.5), np.float64(2.5))):
        x = np.ones(3, kind)
        if isinstance(number, np.floating) and number.dtype != kind:
            for _ in range(2):
                with pytest.raises(TypeError, match="mix float32 and float64"):
                    function(x, number)
            continue
        for _ in range(3):
            value = function(x, number)
            assert value.dtype == kind and value == 3
    alone = fastnn.compile(lambda s: s * 2)
    for number, kind in ((2.0, np.float64), (2, np.float32), (np.float32(2), np.float32), (True, np.float32)) * 2:
        assert alone(number) == 2 * number and alone(number).dtype == kind


def test_labels_are_checked_by_native_calls_too(rng):
    x = rng.normal(size=(4, 3)).astype(np.float32)
    cases = (
        ({}, [0, 1, 2, 1], [0, 3, 2, 1]),
        ({}, [0, 1, 2, 1], [0, -(2**63), 2, 1]),
        ({"ignore_index": -1}, [0, -1, 2, 1], [0, -2, 2, 1]),
    )
    for options, good, bad in cases:
        gradient = fastnn.grad(lambda x, y, o=options: F.cross_entropy(x, y, **o))
        first = gradient(x, np.array(good))
        assert natively(gradient, x, np.array(good)) and not natively(gradient, x, np.array(bad))
        with pytest.raises(IndexError, match=f"label {bad[1]} of row 1 is out of range|label {bad[1]}"):
            gradient(x, np.array(bad))
        assert same_bits(gradient(x, np.array(good)), first)


def test_what_changes_between_calls_is_seen(rng):
    weight = fastnn.Parameter(rng.normal(size=3))
    factor = 2.0
    program = fastnn.compile(lambda x: x * weight * factor)  # noqa: F821 (deleted below)
    x = rng.normal(size=3)
    for _ in range(2):
        np.testing.assert_array_equal(program(x), x * weight.numpy() * 2.0)
    weight.assign(np.ones(3))
    np.testing.assert_array_equal(program(x), x * 2.0)
    factor = 5.0
    np.testing.assert_array_equal(program(x), x * 5.0)
    factor = 2.0
    np.testing.assert_array_equal(program(x), x * 2.0)
    nn.Linear(2, 2).weight.requires_grad = False  # another graph version
    np.testing.assert_array_equal(program(x), x * 2.0)
    for name in fastnn.available_isas():
        with fastnn.isa(name):
            np.testing.assert_array_equal(program(x), x * 2.0)
    del factor
    with pytest.raises(NameError):
        program(x)


def test_functions_that_have_no_native_call(rng):
    x = rng.normal(size=(3, 2))
    same = fastnn.compile(lambda x: (x * 2.0,) * 2)
    own = fastnn.compile(lambda x: F.python_op(np.negative, x))
    cast = fastnn.compile(lambda x, k: x * k)
    for _ in range(2):
        one, two = same(x)
        assert one is not two and same_bits(one, two)
        assert same_bits(own(x), -x)
        assert same_bits(cast(x, np.arange(2)), x * np.arange(2))
    assert not (same._function._fast or own._function._fast or cast._function._fast)
    mask = fastnn.compile(lambda x: F.dropout(x, 0.5, training=True))
    first = mask(x)
    assert same_bits(mask(x), first)


def test_results_are_new_and_arguments_stay(rng):
    x = rng.normal(size=(4, 4))
    kept = x.copy()
    program = fastnn.compile(lambda a, b: (a + b, a))
    results = [program(x, x) for _ in range(3)]
    for y, copy in results:
        assert same_bits(y, kept * 2) and same_bits(copy, kept) and not np.may_share_memory(copy, x)
    assert same_bits(x, kept) and len({y.ctypes.data for y, _ in results}) == 3


def test_eight_threads_share_one_function_and_one_model(rng):
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 4), seed=1)
    function = fastnn.value_and_grad(lambda w, x: F.sum(F.square(F.tanh(x @ w))))
    w = rng.normal(size=(6, 3))
    inputs = [rng.normal(size=(rows, 6)) for rows in (1, 2, 5, 8, 33, 257, 600, 3)]
    singles = [x.astype(np.float32) for x in inputs]
    expected = [(function(w, x), model.predict(s)) for x, s in zip(inputs, singles, strict=True)]
    wrong, start = [], threading.Barrier(8)

    def work(first):
        start.wait()
        for i in range(150):
            k = (first + i * (1 + first % 3)) % 8
            value, gradient = function(w, inputs[k])
            (value_, gradient_), y = expected[k]
            if value != value_ or not same_bits(gradient, gradient_) or not same_bits(model.predict(singles[k]), y):
                wrong.append((first, i))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
