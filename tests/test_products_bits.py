"""Products have the same bits for every number of threads, alignment and batch, eager and in a model."""

import numpy as np
import pytest
from compare import same_bits

from fastnn import kernels, nn
from fastnn.threads import num_threads

#: rows, in, out: every path has a few (single rows, skinny, few outputs, deep, large, odd)
SHAPES = [
    (1, 784, 256), (1, 1, 1), (2, 40, 300), (4, 256, 256), (5, 1000, 7), (7, 33, 65), (8, 784, 256), (9, 65, 31),
    (16, 256, 256), (17, 2100, 12), (32, 30, 64), (33, 1, 50), (64, 100, 1), (100, 333, 77), (130, 129, 131),
    (256, 1024, 10), (1000, 12, 3), (700, 64, 16), (65, 1025, 48), (2, 20000, 9), (300, 300, 200), (8, 100_000, 2),
    (2, 2049, 50), (3, 1024, 7), (6, 64, 36), (7, 130, 300), (7, 784, 16), (1, 300, 40),
]  # fmt: skip


def operands(rng, dtype, rows, features, units):
    """x, weight (out, in), bias, grad."""
    shapes = (rows, features), (units, features), (units,), (rows, units)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def results(x, weight, bias, grad):
    """(name, array) of every product of a dense layer, weights in both storages."""
    stored = np.ascontiguousarray(weight.T).T  # (in, out) in memory
    yield "matmul", kernels.matmul(x, stored.T)
    yield "matmul, transposed operands", kernels.matmul(np.asfortranarray(x), weight.T)
    yield "linear (out, in)", kernels.linear(x, weight, bias, activation="relu")
    yield "linear (in, out)", kernels.linear(x, stored, bias, activation="tanh")
    for name, w in (("(out, in)", weight), ("(in, out)", stored)):
        for what, gradient in zip(("dx", "dweight", "dbias"), kernels.linear_backward(grad, x, w)):
            yield f"{what} {name}", gradient


def assert_same(got, expected, context):
    for (name, a), (_, b) in zip(got, expected, strict=True):
        assert same_bits(a, b), f"{name}, {context}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_do_not_depend_on_threads(shape, dtype, isa, rng):
    arrays = operands(rng, dtype, *shape)
    with num_threads(1):
        alone = list(results(*arrays))
    for threads in (2, 3, 4):
        with num_threads(threads, force=True):
            assert_same(results(*arrays), alone, f"{threads} threads")
    assert_same(results(*arrays), alone, "threads as the cost model wants")


def shifted(array, offset):
    """The same values, C-contiguous, `offset` elements past a 64-byte boundary."""
    memory = np.empty(array.nbytes + 64 + offset * array.itemsize, np.uint8)
    first = -memory.ctypes.data % 64 + offset * array.itemsize
    copy = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % 64 == offset * array.itemsize % 64
    return copy


@pytest.mark.parametrize("shape", [(1, 784, 256), (7, 40, 33), (8, 65, 48), (30, 33, 17), (64, 1030, 20)], ids=str)
def test_bits_do_not_depend_on_alignment(shape, dtype, isa, rng):
    rows, features, units = shape
    x, weight, bias, grad = operands(rng, dtype, *shape)
    y, dx = np.empty((rows, units), dtype), np.empty((rows, features), dtype)
    dweight, dbias = np.empty((units, features), dtype), np.empty(units, dtype)

    def compute(*offsets):
        a, w, b, g, out, *gradients = map(shifted, (x, weight, bias, grad, y, dx, dweight, dbias), offsets)
        yield "linear", kernels.linear(a, w, b, out=out).copy()
        yield "linear (in, out)", kernels.linear(a, shifted(weight.T, offsets[1]).T, b, out=out)
        yield from zip(("dx", "dweight", "dbias"), kernels.linear_backward(g, a, w, out=tuple(gradients)))

    expected = list(compute(*[0] * 8))
    for offset in range(16):
        for offsets in ([offset] * 8, [(offset * (2 * k + 3) + k) % 16 for k in range(8)]):
            assert_same(compute(*offsets), expected, f"offsets {offsets}")


BATCHES = (8, 9, 13, 14, 15, 16, 17, 28, 29, 64, 129, 200)


@pytest.mark.parametrize("features", [1, 33, 784, 1030])
@pytest.mark.parametrize("units", [1, 10, 45, 256])
def test_bits_do_not_depend_on_the_batch(features, units, dtype, isa, rng):
    """Eager products of at least 8 rows; fewer may be dot products where a weight's inputs lie side by side."""
    x, weight, bias, grad = operands(rng, dtype, 300, features, units)
    stored = np.ascontiguousarray(weight.T).T
    whole = kernels.linear(x, weight, bias, activation="relu")
    assert same_bits(kernels.linear(x, stored, bias, activation="relu"), whole)
    dx = kernels.linear_backward(grad, x, weight)[0]
    for rows in BATCHES:
        for first in (0, 1, 300 - rows):
            part = slice(first, first + rows)
            for w in (weight, stored):
                assert same_bits(kernels.linear(x[part], w, bias, activation="relu"), whole[part]), (rows, first)
            assert same_bits(kernels.linear_backward(grad[part], x[part], weight)[0], dx[part]), (rows, first)
    for rows in range(1, 8 if units > 1 else 1):  # a single column lies along its inputs however it is stored
        part = slice(rows, 2 * rows)
        assert same_bits(kernels.linear(x[part], stored, bias, activation="relu"), whole[part]), rows


@pytest.mark.parametrize("layer", [(784, 256), (30, 64), (1030, 10), (5, 1)], ids=str)
def test_models_give_the_bits_of_eager_products_for_every_batch(layer, dtype, isa, rng):
    features, units = layer
    x, weight, bias, _ = operands(rng, dtype, 300, features, units)
    model = nn.Sequential(nn.Linear(features, units), nn.ReLU()).to(dtype)
    model[0].load_state_dict({"weight": weight, "bias": bias})
    whole = kernels.linear(x, weight, bias, activation="relu")
    assert same_bits(model.predict(x), whole)
    for rows in (*range(1, 8), *BATCHES, 256, 257, 299):
        for first in (0, 300 - rows):
            part = slice(first, first + rows)
            assert same_bits(model.predict(x[part]), whole[part]), (rows, first)
    for threads in (1, 2, 3, 4):
        with num_threads(threads, force=True):
            assert same_bits(model.predict(x), whole), threads
            assert same_bits(model.predict(x[:5]), whole[:5]), threads
