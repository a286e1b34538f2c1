"""The fast path of an eager call and the slow path give the same bits, errors and writes for whatever is passed.

`_native.linear` and its like run a call on plain arrays at once and answer None for anything else; the slow path in
fastnn/kernels can do everything. Each case runs twice on equal memory: as it is, and with the fast path switched off.
"""

import itertools
from functools import partial

import numpy as np
import pytest
from helpers.array_forms import F4, FORMS, frozen, outcome, outs

from fastnn import _native, kernels

SHORT = (
    "linear", "matmul", "linear_backward", "unary", "unary_backward", "binary", "batch_norm", "batch_norm_inference",
    "batch_norm_backward", "layer_norm", "layer_norm_backward", "stream", "where",
)  # fmt: skip


def relu_layer(x, w, b, out):
    return kernels.linear(x, w, b, activation="relu", out=out)


def calls(rng, dtype):
    """name: (function, its arrays, shape of the result)"""

    def real(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, w, b, square, grad = real(5, 6), real(4, 6), real(4), real(6, 6), real(5, 4)
    mask = rng.random((5, 6)) > 0.5
    return norm_calls(real) | {
        "linear": (lambda x, w, b, out: kernels.linear(x, w, b, out=out), (x, w, b), (5, 4)),
        "linear, no bias": (lambda x, w, out: kernels.linear(x, w, activation="tanh", out=out), (x, w), (5, 4)),
        "one row": (relu_layer, (x[:1], w, b), (1, 4)),
        "one output": (relu_layer, (x, w[:1], b[:1]), (5, 1)),
        "matmul": (lambda a, b, out: kernels.matmul(a, b, out=out), (x, square), (5, 6)),
        "linear_backward": (
            lambda g, x, w, out: kernels.linear_backward(g, x, w, out=None if out is None else (out, None, None)),
            (grad, x, w), (5, 6),
        ),
        "linear_backward, weights only": (
            lambda g, x, w, out: kernels.linear_backward(
                g, x, w, bias=False, input_grad=False, out=None if out is None else (None, out, None)
            ),
            (grad, x, w), (4, 6),
        ),
        "tanh": (lambda x, out: kernels.tanh(x, out=out), (x,), (5, 6)),
        "tanh_backward": (lambda g, x, out: kernels.tanh_backward(g, x, out=out), (x, real(5, 6)), (5, 6)),
        "subtract": (lambda a, b, out: kernels.subtract(a, b, out=out), (x, real(5, 6)), (5, 6)),
        "subtract a row": (lambda a, b, out: kernels.subtract(a, b, out=out), (x, real(6)), (5, 6)),
        "subtract from a row": (lambda a, b, out: kernels.subtract(a, b, out=out), (real(6), x), (5, 6)),
        "subtract a number": (lambda a, out: kernels.subtract(a, 2.5, out=out), (x,), (5, 6)),
        "divide a number": (lambda a, out: kernels.divide(3, a, out=out), (x,), (5, 6)),
        "where": (lambda a, b, out: kernels.where(mask, a, b, out=out), (x, real(5, 6)), (5, 6)),
        "where, a row": (lambda a, b, out: kernels.where(mask, a, b, out=out), (x, real(6)), (5, 6)),
        "where, a number": (lambda a, out: kernels.where(mask, 0.5, a, out=out), (x,), (5, 6)),
    }  # fmt: skip


def norm_calls(real):
    def first(function):
        return lambda *arrays: function(*arrays[:-1], out=None if arrays[-1] is None else (arrays[-1], None, None))

    x, grad, w, b, mean, var, of_rows = real(5, 6), real(5, 6), real(6), real(6), real(6), real(6) ** 2, real(5)
    inference = kernels.batch_norm_inference
    return {
        "batch_norm": (first(kernels.batch_norm), (x, w, b), (5, 6)),
        "batch_norm, one column": (first(kernels.batch_norm), (x[:, :1],), (5, 1)),
        "batch_norm_inference": (lambda *v: inference(*v[:-1], out=v[-1]), (x, mean, var, w, b), (5, 6)),
        "batch_norm_backward": (first(kernels.batch_norm_backward), (grad, x, mean, var, w), (5, 6)),
        "layer_norm": (first(kernels.layer_norm), (x, w, b), (5, 6)),
        "layer_norm, one row": (first(kernels.layer_norm), (x[:1], w, b), (1, 6)),
        "layer_norm_backward": (first(kernels.layer_norm_backward), (grad, x, of_rows, of_rows**2, w), (5, 6)),
        "dropout": (lambda x, out: kernels.dropout(x, 0.3, seed=1, offset=3, out=out), (x,), (5, 6)),
        "alpha_dropout": (lambda x, out: kernels.alpha_dropout(x, 0.3, seed=1, out=out), (x,), (5, 6)),
        "gaussian_noise": (lambda x, out: kernels.gaussian_noise(x, 0.3, seed=2**63, out=out), (x,), (5, 6)),
    }


CALLS = sorted(calls(np.random.default_rng(0), F4))


def assert_the_same(monkeypatch, function, make, what):
    short = outcome(function, make)
    with monkeypatch.context() as patch:
        for name in SHORT:
            patch.setattr(_native, name, lambda *args: None)
        slow = outcome(function, make)
    assert short == slow, what
    return short[0]


@pytest.mark.filterwarnings("ignore:Casting complex")
@pytest.mark.parametrize("name", CALLS)
def test_forms_of_each_input(name, dtype, rng, monkeypatch):
    function, arrays, _ = calls(rng, dtype)[name]
    refused = 0
    for place, (form, disguise) in itertools.product(range(len(arrays)), FORMS.items()):

        def make(place=place, disguise=disguise):
            given = [a.copy() for a in arrays]
            given[place] = disguise(given[place])
            return given, None, [a for a in given if isinstance(a, np.ndarray)]

        result = assert_the_same(monkeypatch, function, make, (place, form))
        refused += isinstance(result, tuple)
    assert 5 < refused < len(arrays) * len(FORMS) - 8


@pytest.mark.filterwarnings("ignore:Casting complex")
@pytest.mark.parametrize("name", CALLS)
def test_forms_of_out(name, dtype, rng, monkeypatch):
    function, arrays, shape = calls(rng, dtype)[name]
    refused, written = 0, 0
    for form, offer in outs(shape, dtype).items():

        def make(offer=offer):
            out, given = offer(), [a.copy() for a in arrays]
            base = out.base if isinstance(out, np.ndarray) and isinstance(out.base, np.ndarray) else out
            return given, out, [*given, *(m for m in (base, out) if isinstance(m, np.ndarray))]

        result = assert_the_same(monkeypatch, function, make, form)
        refused += isinstance(result, tuple)
        written += isinstance(result, list) and any(r is not None and r[-1] for r in result)
    assert refused > 10
    assert written > 5


@pytest.mark.parametrize("name", CALLS)
def test_out_anywhere_in_the_memory_of_an_input(name, dtype, rng, monkeypatch):
    """Every input lies in one block of memory, and out at every place of it."""
    function, arrays, (rows, cols) = calls(rng, dtype)[name]
    sizes = [a.size for a in arrays]
    values = np.concatenate([a.ravel() for a in arrays] + [np.zeros(rows * cols, dtype)])
    for start in range(values.size - rows * cols + 1):

        def make(start=start):
            memory, given, at = values.copy(), [], 0
            for a, size in zip(arrays, sizes, strict=True):
                given.append(memory[at : at + size].reshape(a.shape))
                at += size
            return given, memory[start : start + rows * cols].reshape(rows, cols), [memory]

        result = assert_the_same(monkeypatch, function, make, start)
        assert any(r is not None and r[-1] for r in result)


@pytest.mark.parametrize("name", CALLS)
def test_out_is_an_input(name, dtype, rng, monkeypatch):
    function, arrays, shape = calls(rng, dtype)[name]
    for place in [i for i, a in enumerate(arrays) if a.shape == shape]:
        for view in (lambda a: a, lambda a: a[:], lambda a: a[::-1], frozen):

            def make(place=place, view=view):
                given = [a.copy() for a in arrays]
                return given, view(given[place]), given

            assert_the_same(monkeypatch, function, make, place)


def test_activations_and_wrong_names(rng, monkeypatch):
    x, w = rng.standard_normal((3, 4)).astype(F4), rng.standard_normal((2, 4)).astype(F4)
    names = [row["name"] for row in _native.list_rows("activations")]
    for name in [*names, None, np.str_("relu"), "Relu", 3, ["relu"], b"relu", ""]:
        result = assert_the_same(
            monkeypatch, lambda x, w, out, name=name: kernels.linear(x, w, activation=name, out=out),
            lambda: ((x, w), None, [x, w]), name,
        )  # fmt: skip
        assert isinstance(result, list) == (name in (*names, None) if not isinstance(name, list) else False)


@pytest.mark.filterwarnings("ignore:overflow")
def test_numbers_take_the_dtype_of_the_array(dtype, rng, monkeypatch):
    x = rng.standard_normal((3, 4)).astype(dtype)
    numbers = [1.5, 3, True, -0.0, 0.1, 1e-300, 1e300, -1e39, 2**24 + 1, 2**60 + 1, 10**400, np.inf, np.nan, 1j, "1"]
    for number in (*numbers, np.float32(0.1), np.float64(0.1), np.int8(3), np.array(0.1, dtype), [0.1], None):
        for order in (lambda x, out, n=number: kernels.multiply(x, n), lambda x, out, n=number: kernels.multiply(n, x)):
            assert_the_same(monkeypatch, order, lambda: ((x,), None, [x]), number)
    assert kernels.multiply(0.1, x).tobytes() == (dtype.type(0.1) * x).tobytes()


def test_inputs_of_any_number_of_axes(dtype, rng, monkeypatch):
    w, b = rng.standard_normal((4, 6)).astype(dtype), rng.standard_normal(4).astype(dtype)
    for lead in ((), (1,), (0,), (2, 3), (1, 1, 1), (2, 0), (2, 1, 3), (1,) * 8):
        x = rng.standard_normal((*lead, 6)).astype(dtype)
        shape = (*lead, 4)
        turned = np.zeros(shape[::-1], dtype).T
        for out in (None, np.zeros(shape, dtype), turned, np.zeros((1, *shape), dtype), np.zeros((*lead, 5), dtype)):
            for given in (x, np.asfortranarray(x), x[..., ::-1]):
                assert_the_same(
                    monkeypatch, lambda x, out: kernels.linear(x, w, b, activation="relu", out=out),
                    lambda given=given, out=out: ((given,), None if out is None else out.copy("K"), []),
                    (lead, None if out is None else out.shape),
                )  # fmt: skip
    stack = rng.standard_normal((2, 3, 6)).astype(dtype)
    assert _native.linear(stack, w, b, None, None).shape == (2, 3, 4)
    assert kernels.linear(stack, w, b).tobytes() == kernels.linear(stack.reshape(6, 6), w, b).tobytes()


def test_the_short_way_is_taken_for_plain_arrays(dtype, rng):
    """Else the tests above compare the slow path with itself."""
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 6), (4, 6), (4,)))
    out, backward = np.empty((5, 4), dtype), rng.standard_normal((5, 4)).astype(dtype)
    assert _native.linear(x, w, b, "relu", out) is out
    assert _native.linear(x[::-1, ::2], w[:, ::2], None, None, None).shape == (5, 4)
    assert _native.matmul(x, w.T, np.empty((5, 9), dtype)[:, 3:7]) is not None
    assert len(_native.linear_backward(backward, x, w, True, True, 256)) == 3
    assert _native.unary(0, x, 0.0, 0.0, x.copy()) is not None
    assert _native.unary_backward(0, x, x, 0.0, 0.0, None) is not None
    for other in (x, x[0].copy(), 0.5, 2):
        assert _native.binary(0, x, other, None) is not None
        assert _native.binary(0, other, x, x.copy()) is not None
    assert _native.linear(x.astype(">f4"), w, b, None, None) is None
    assert _native.linear(x, w, b, None, x[:, :4]) is None


def test_products_of_any_size_on_every_thread_count_and_isa(isa, threads, dtype, rng, monkeypatch):
    for rows, depth, cols in ((1, 1, 1), (1, 300, 17), (7, 5, 3), (64, 33, 40), (130, 1030, 5)):
        x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (cols, depth), (cols,)))
        for arrays in ((x, w, b), (x, w.T.copy().T, b)):
            assert_the_same(
                monkeypatch, lambda *a: kernels.linear(*a[:3], activation="relu", out=a[3]),
                lambda arrays=arrays: (arrays, None, []), (rows, depth, cols),
            )  # fmt: skip


def test_sums_of_a_huge_and_a_tiny_call_release_the_interpreter_or_not_with_the_same_bits(rng):
    """Brief calls keep the GIL (call.h): the bits are those of the call that gives it up."""
    x = rng.standard_normal((4096, 64)).astype(F4)
    w = rng.standard_normal((3, 64)).astype(F4)
    whole = kernels.linear(x, w)
    for row in (0, 17, 4088):  # eight rows: fewer may be dot products
        assert kernels.linear(x[row : row + 8], w).tobytes() == whole[row : row + 8].tobytes()


def test_norms_with_every_kind_of_eps_and_of_outputs(dtype, rng, monkeypatch):
    x, small = rng.standard_normal((5, 6)).astype(dtype), np.arange(6, dtype=dtype)
    for eps in (1e-5, 0.0, 0, 1, np.float32(1e-3), -1e-9, float("nan"), "1", None, np.inf):
        for function in (kernels.batch_norm, kernels.layer_norm):
            assert_the_same(
                monkeypatch, lambda x, out, f=function, e=eps: f(x, eps=e), lambda: ((x,), None, [x]), eps
            )  # fmt: skip
    for function, size in ((kernels.batch_norm, 6), (kernels.layer_norm, 5)):
        room = np.zeros(40, dtype)
        y, mean, var = room[:30].reshape(5, 6), room[30 : 30 + size], room[33 : 33 + size]
        for out in ((y, mean, mean), (y, mean, var), (y, y[0, :size], var), (None, small[:size], None), [y, None, None],
                    (y, None), (y, mean, var, None), (x, mean, None), (y, x[0, :size], None), y, ()):  # fmt: skip
            assert_the_same(
                monkeypatch, lambda x, out, f=function: f(x, out=out), partial(on_copies, (x, small, room), out), out
            )


def on_copies(arrays, out):
    """((the first array,), out, the arrays), all on copies: what `make` returns, out lying in the arrays' memory."""
    copies = [a.copy() for a in arrays]

    def own(view):
        if view is None:
            return None
        base = view if view.base is None else view.base
        where = (view.ctypes.data - base.ctypes.data) // view.itemsize
        copy = next(c for a, c in zip(arrays, copies, strict=True) if a is base)
        return copy.ravel()[where : where + view.size].reshape(view.shape)

    return (copies[0],), own(out) if isinstance(out, np.ndarray) else type(out)(map(own, out)), copies
