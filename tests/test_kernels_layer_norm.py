"""Layer norm against its twin and PyTorch; hard rows; bits for every number of threads; errors."""

import numpy as np
import pytest
from compare import assert_norm_within, assert_within, same_bits
from reference import layer_norm as twin
from reference.precision import wider_than

from fastnn import kernels
from fastnn.threads import num_threads

SHAPES = [(1, 1), (3, 2), (9, 5), (32, 64), (33, 67), (70, 300), (2, 5000)]


def operands(rng, shape, dtype, ratio=0.0):
    x, grad = (rng.standard_normal(shape) + ratio).astype(dtype), rng.standard_normal(shape).astype(dtype)
    return x, grad, rng.uniform(0.5, 2, shape[1]).astype(dtype), rng.standard_normal(shape[1]).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ratio", [0, 100, 1e4])
def test_forward(shape, ratio, dtype, isa, rng):
    x, _, weight, bias = operands(rng, shape, dtype, ratio)
    eps = np.finfo(dtype).eps
    for w, b in ((weight, bias), (None, None), (weight, None), (None, bias)):
        y, mean, var = kernels.layer_norm(x, w, b)
        exact = twin.layer_norm(*[None if v is None else v.astype(wider_than(dtype)) for v in (x, w, b)])
        slack = 4 if dtype == np.float32 else 40  # two reals hold the mean: its size costs nothing
        assert_within(mean, exact[1], eps * (np.abs(exact[1]) + slack))
        assert_within(var, exact[2], slack * eps * exact[2])
        assert_within(y, exact[0], (16 + slack) * eps * np.maximum(1, np.abs(exact[0])))


@pytest.mark.parametrize("shape", SHAPES[2:], ids=str)
@pytest.mark.parametrize("ratio", [0, 100])
def test_backward(shape, ratio, dtype, isa, rng):
    x, grad, weight, _ = operands(rng, shape, dtype, ratio)
    _, mean, var = twin.layer_norm(x)
    limit = 2e-6 if dtype == np.float32 else 1e-12
    for w in (weight, None):
        exact = twin.layer_norm_backward(grad, x, w)
        for a, b in zip(kernels.layer_norm_backward(grad, x, mean, var, w), exact):
            assert a.dtype == dtype
            assert_norm_within(a, b, limit)


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    x, grad, weight, bias = operands(rng, (50, 37), np.float64)
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, weight, bias)]
    y = torch.nn.functional.layer_norm(tensors[0], (37,), tensors[1], tensors[2])
    y.backward(torch.tensor(grad))
    got, mean, var = kernels.layer_norm(x, weight, bias)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-11, atol=1e-13)
    for ours, theirs in zip(kernels.layer_norm_backward(grad, x, mean, var, weight), tensors):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_bits_do_not_depend_on_threads_layout_or_batch(dtype, isa, rng):
    x, grad, weight, bias = operands(rng, (101, 67), dtype)
    results = []
    for n in (1, 2, 3, 4):
        with num_threads(n, force=True):
            forward = kernels.layer_norm(x, weight, bias)
            results.append((*forward, *kernels.layer_norm_backward(grad, x, forward[1], forward[2], weight)))
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(other, results[0]))
    alone = kernels.layer_norm(x[40:41], weight, bias)
    assert same_bits(alone[0], results[0][0][40:41])
    turned = kernels.layer_norm(np.asfortranarray(x), weight, bias)
    assert same_bits(turned[0], results[0][0])
    out = (x.copy(), np.empty(101, dtype), np.empty(101, dtype))
    assert kernels.layer_norm(out[0], weight, bias, out=out)[0] is out[0]
    assert same_bits(out[0], results[0][0])


def test_hostile_rows(dtype, isa):
    x = np.ones((5, 40), dtype)
    x[1, 3], x[2, 4], x[3] = np.nan, np.inf, 1e-40
    y, mean, var = kernels.layer_norm(x)
    assert np.all(np.abs(y[[0, 3, 4]]) < 1e-6)
    assert np.isnan(y[1]).all()
    assert np.isnan(mean[1])
    assert np.isnan(y[2]).all()
    assert np.all(var[[0, 4]] == 0)
    assert kernels.layer_norm(x[:0])[0].shape == (0, 40)
    assert np.all(kernels.layer_norm_backward(x[:0], x[:0], mean[:0], var[:0])[1] == 0)


def test_errors():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\): expected \(3,\)"):
        kernels.layer_norm(x, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="expected \\(rows, features\\)"):
        kernels.layer_norm(x[0])
    with pytest.raises(ValueError, match="eps is -1"):
        kernels.layer_norm(x, eps=-1)
