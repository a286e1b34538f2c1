"""matmul, linear and its backward: any size, any stride, bit equality where it is promised."""

import numpy as np
import pytest
from compare import assert_within, same_bits
from reference import linear as twin

from fastnn import kernels

SIZES = [
    (1, 1, 1),
    (1, 17, 3),
    (2, 3, 0),
    (0, 4, 3),
    (3, 0, 4),
    (7, 33, 5),
    (8, 16, 31),
    (13, 64, 15),
    (14, 32, 33),
    (15, 96, 130),
    (29, 7, 64),
    (64, 30, 17),
    (65, 129, 48),
    (100, 10, 300),
    (130, 1, 7),
]  # fmt: skip  (rows, cols, depth)


def operands(rng, dtype, rows, cols, depth):
    return rng.standard_normal((rows, depth)).astype(dtype), rng.standard_normal((depth, cols)).astype(dtype)


def layouts(array):
    """The same values in other clothes."""
    rows, cols = array.shape
    yield "contiguous", array
    yield "transposed", np.asfortranarray(array)
    wide = np.full((rows, cols * 2 + 3), np.nan, array.dtype)
    wide[:, 1 : 1 + 2 * cols : 2] = array
    yield "every second column", wide[:, 1 : 1 + 2 * cols : 2]
    padded = np.full((rows + 1, cols + 5), np.nan, array.dtype)
    padded[:rows, :cols] = array
    yield "padded rows", padded[:rows, :cols]
    yield "reversed", array[::-1, ::-1].copy()[::-1, ::-1]
    odd = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(rows, cols) if array.size else array
    odd[...] = array
    yield "misaligned", odd
    yield "byte-swapped", array.astype(array.dtype.newbyteorder())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul(size, dtype, isa, rng):
    a, b = operands(rng, dtype, *size)
    got = kernels.matmul(a, b)
    assert got.dtype == dtype
    assert_within(got, twin.matmul(a, b), twin.product_bound(a, b, dtype), sparse=size[2] == 0)


def test_every_layout_gives_the_same_bits(dtype, isa, rng):
    for size in ((9, 21, 12), (8, 5, 40), (33, 2, 7), (40, 9, 70), (100, 7, 33)):
        a, b = operands(rng, dtype, *size)
        plain = kernels.matmul(a, b)
        for what_a, left in layouts(a):
            for what_b, right in layouts(b):
                assert same_bits(kernels.matmul(left, right), plain), (size, what_a, what_b)


def test_broadcast_operands(dtype, isa):
    a = np.broadcast_to(np.arange(5, dtype=dtype), (4, 5))
    b = np.broadcast_to(np.arange(5, dtype=dtype)[:, None], (5, 37))
    assert np.all(kernels.matmul(a, b) == 30)


@pytest.mark.parametrize("depth", [1024, 1025, 2500])
def test_long_sums(depth, dtype, isa, rng):
    a, b = operands(rng, dtype, 10, 17, depth)
    assert_within(kernels.matmul(a, b), twin.matmul(a, b), twin.product_bound(a, b, dtype))
    typical = 2 * np.sqrt(depth) * np.finfo(dtype).eps / 2 * (np.abs(a.astype(float)) @ np.abs(b.astype(float)))
    error = kernels.matmul(a, b) - twin.matmul(a.astype(np.longdouble), b.astype(np.longdouble))
    assert np.sqrt(np.mean((error / typical).astype(float) ** 2)) <= 1


@pytest.mark.parametrize("size", [(700, 5, 1024), (30, 70, 1536), (150, 33, 2049), (2000, 3, 1025)], ids=str)
def test_rows_a_page_apart(size, dtype, rng):
    """Rows that would share cache sets are packed, in passes; the bits are those of rows that need no packing."""
    rows, cols, depth = size
    a, b = operands(rng, dtype, *size)
    page = np.zeros((rows, (depth + 1023) // 1024 * 1024), dtype)
    page[:, :depth] = a
    apart = np.zeros((rows, depth + 7), dtype)
    apart[:, :depth] = a
    got = kernels.matmul(page[:, :depth], b)
    assert_within(got, twin.matmul(a, b), twin.product_bound(a, b, dtype))
    assert same_bits(got, kernels.matmul(apart[:, :depth], b))
    assert same_bits(got, kernels.matmul(page[:, :depth], np.asfortranarray(b)))


def test_matmul_shapes(dtype, rng):
    cases = [
        ((4,), (4,)), ((4,), (4, 3)), ((5, 4), (4,)), ((2, 5, 4), (4, 3)), ((2, 5, 4), (2, 4, 3)), ((2, 5, 4), (4,)),
        ((5, 4), (2, 4, 3)), ((3, 1, 5, 4), (2, 4, 3)), ((0, 5, 4), (4, 3)), ((4,), (2, 4, 3)),
    ]  # fmt: skip
    for left, right in cases:
        a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
        expected = np.matmul(a.astype(float), b.astype(float))
        got = kernels.matmul(a, b)
        assert got.shape == expected.shape, (left, right)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        out = np.full(expected.shape, np.nan, dtype)
        assert kernels.matmul(a, b, out=out) is out
        assert same_bits(out, got)


def test_linear(dtype, isa, rng):
    for rows, features, units in ((1, 784, 256), (3, 5, 7), (32, 30, 64), (17, 100, 10), (0, 4, 3), (5, 0, 3)):
        x, weight = operands(rng, dtype, rows, units, features)
        weight = np.ascontiguousarray(weight.T)
        bias = rng.standard_normal(units).astype(dtype)
        bound = twin.product_bound(x, weight.T, dtype) + np.finfo(dtype).eps * (2 + np.abs(bias))
        for activation in (None, "identity", "relu", "sigmoid", "tanh"):
            got = kernels.linear(x, weight, bias, activation=activation)
            assert_within(got, twin.linear(x, weight, bias, activation), bound, sparse=True)
        assert_within(kernels.linear(x, weight), twin.linear(x, weight), bound, sparse=features == 0)


def test_linear_takes_any_leading_axes(dtype, rng):
    weight, bias = rng.standard_normal((6, 5)).astype(dtype), rng.standard_normal(6).astype(dtype)
    whole = rng.standard_normal((4, 3, 5)).astype(dtype)
    expected = kernels.linear(whole.reshape(12, 5), weight, bias)
    assert same_bits(kernels.linear(whole, weight, bias).reshape(12, 6), expected)
    assert same_bits(
        kernels.linear(whole.transpose(1, 0, 2), weight, bias), kernels.linear(whole, weight, bias).transpose(1, 0, 2)
    )
    np.testing.assert_allclose(kernels.linear(whole[0, 0], weight, bias), expected[0], rtol=1e-5, atol=1e-6)


def test_activation_equals_the_kernel(dtype, isa, rng):
    x, weight = rng.standard_normal((19, 23)).astype(dtype), rng.standard_normal((37, 23)).astype(dtype)
    bias = rng.standard_normal(37).astype(dtype)
    z = kernels.linear(x, weight, bias)
    for name in ("relu", "sigmoid", "tanh"):
        assert same_bits(kernels.linear(x, weight, bias, activation=name), getattr(kernels, name)(z))


def test_a_row_does_not_depend_on_its_batch(dtype, isa, rng):
    storage = rng.standard_normal((70, 45)).astype(dtype)  # in x out, as a Parameter keeps it
    x = rng.standard_normal((130, 70)).astype(dtype)
    whole = kernels.linear(x, storage.T, activation="relu")
    for rows in (1, 2, 3, 7, 8, 13, 14, 15, 28, 64, 129):
        for start in (0, 1):
            part = kernels.linear(x[start : start + rows], storage.T, activation="relu")
            assert same_bits(part, whole[start : start + rows]), rows


def test_linear_backward(dtype, isa, rng):
    for rows, features, units in ((1, 3, 2), (7, 33, 17), (64, 20, 31), (300, 9, 40), (0, 3, 2), (600, 5, 1)):
        x, weight = (
            rng.standard_normal((rows, features)).astype(dtype),
            rng.standard_normal((units, features)).astype(dtype),
        )
        grad = rng.standard_normal((rows, units)).astype(dtype)
        dx, dweight, dbias = kernels.linear_backward(grad, x, weight)
        exact = twin.linear_backward(grad, x, weight)
        assert_within(dx, exact[0], twin.product_bound(grad, weight, dtype))
        assert_within(dweight, exact[1], twin.product_bound(grad.T, x, dtype), sparse=rows == 0)
        assert_within(dbias, exact[2], twin.product_bound(grad.T, np.ones((rows, 1)), dtype)[:, 0], sparse=rows == 0)


def test_weight_gradient_is_summed_in_blocks_of_256_rows(dtype, isa, rng):
    """The documented order, which a program shares: blocks of 256 rows, their sums added in block order."""
    x, grad = rng.standard_normal((600, 21)).astype(dtype), rng.standard_normal((600, 35)).astype(dtype)
    weight = np.zeros((35, 21), dtype)
    parts = [kernels.linear_backward(grad[i : i + 256], x[i : i + 256], weight)[1] for i in (0, 256, 512)]
    assert same_bits(kernels.linear_backward(grad, x, weight)[1], parts[0] + parts[1] + parts[2])


def test_forward_product_is_summed_in_blocks_of_1024(dtype, isa, rng):
    a, b = operands(rng, dtype, 9, 35, 2100)
    parts = [kernels.matmul(a[:, i : i + 1024], b[i : i + 1024]) for i in (0, 1024, 2048)]
    assert same_bits(kernels.matmul(a, b), parts[0] + parts[1] + parts[2])


def test_linear_backward_options(dtype, rng):
    x, weight = rng.standard_normal((5, 4)).astype(dtype), rng.standard_normal((3, 4)).astype(dtype)
    grad = rng.standard_normal((5, 3)).astype(dtype)
    dx, dweight, dbias = kernels.linear_backward(grad, x, weight)
    assert kernels.linear_backward(grad, x, weight, bias=False)[2] is None
    assert kernels.linear_backward(grad, x, weight, input_grad=False)[0] is None
    out = (np.empty_like(x), np.empty_like(weight).T.copy().T, np.empty(6, dtype)[::2])
    got = kernels.linear_backward(grad, x, weight, out=out)
    for a, b, c in zip(got, out, (dx, dweight, dbias)):
        assert a is b
        assert same_bits(a, c)


def test_twin_gradients_against_finite_differences(rng):
    x, weight, bias = rng.standard_normal((4, 3)), rng.standard_normal((2, 3)), rng.standard_normal(2)
    probe = rng.standard_normal((4, 2))
    gradients = twin.linear_backward(probe, x, weight)
    for array, gradient in zip((x, weight, bias), gradients):
        for i in np.ndindex(array.shape):
            kept = array[i]
            array[i] = kept + 1e-6
            high = (twin.linear(x, weight, bias) * probe).sum()
            array[i] = kept - 1e-6
            low = (twin.linear(x, weight, bias) * probe).sum()
            array[i] = kept
            assert abs((high - low) / 2e-6 - gradient[i]) < 1e-8


def test_shape_errors():
    f = np.float32
    with pytest.raises(ValueError, match="inner sizes 4 and 3"):
        kernels.matmul(np.ones((2, 4), f), np.ones((3, 2), f))
    with pytest.raises(ValueError, match="x has shape"):
        kernels.linear(np.ones((2, 4), f), np.ones((3, 5), f))
    with pytest.raises(ValueError, match="weight has shape"):
        kernels.linear(np.ones((2, 4), f), np.ones(4, f))
    with pytest.raises(ValueError, match="bias has shape"):
        kernels.linear(np.ones((2, 4), f), np.ones((3, 4), f), np.ones(4, f))
    with pytest.raises(ValueError, match=r"unknown activation 'relux'; known: .*relu"):
        kernels.linear(np.ones((2, 4), f), np.ones((3, 4), f), activation="relux")
    with pytest.raises(ValueError, match="grad has shape"):
        kernels.linear_backward(np.ones((2, 4), f), np.ones((2, 4), f), np.ones((3, 4), f))
    with pytest.raises(TypeError, match="tuple of 3"):
        kernels.linear_backward(np.ones((2, 3), f), np.ones((2, 4), f), np.ones((3, 4), f), out=np.ones((2, 4), f))
    with pytest.raises(ValueError, match="dbias, which was not asked for"):
        kernels.linear_backward(
            np.ones((2, 3), f), np.ones((2, 4), f), np.ones((3, 4), f), bias=False, out=(None, None, np.ones(3, f))
        )
