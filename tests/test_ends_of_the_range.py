"""Values at the ends of what a real can hold: each case gave NaN, a step of zero, or bits that depended on the team."""

import numpy as np
import pytest

import fastnn
from fastnn import kernels, nn
from fastnn.optim import SGD
from fastnn.training import Trainer

EVERY_ISA = pytest.mark.parametrize("isa", fastnn.available_isas())


def by_threads(call):
    with fastnn.num_threads(1):
        first = call()
    for threads in 2, 3:
        with fastnn.num_threads(threads, force=True):
            for one, other in zip(first, call(), strict=True):
                assert one.tobytes() == other.tobytes(), threads


@EVERY_ISA
def test_a_column_that_leaves_the_range_changes_no_bit_of_its_neighbours(isa, rng):
    x, g = rng.normal(size=(2, 8, 96)).astype("f4")
    tiny, faint = x.copy(), g.copy()
    tiny[:, 31] *= 1e-17
    faint[:, 31] *= 1e-36
    with fastnn.isa(isa):
        by_threads(lambda: kernels.batch_norm(tiny))
        _, mean, var = kernels.batch_norm(x)
        by_threads(lambda: kernels.batch_norm_backward(faint, x, mean, var))
        for start in 1, 5, 31:
            part = kernels.batch_norm_backward(faint[:, start:], x[:, start:], mean[start:], var[start:])[0]
            assert part.tobytes() == kernels.batch_norm_backward(faint, x, mean, var)[0][:, start:].tobytes()


@EVERY_ISA
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("classes", [5, 70])
def test_a_logit_of_minus_infinity_costs_nothing_where_the_probability_is_zero(classes, dtype, isa, rng):
    logits = rng.normal(size=(9, classes)).astype(dtype)
    logits[:, 1] = -np.inf
    labels = np.arange(9) % (classes - 2) + 2
    rows = np.eye(classes, dtype=dtype)[labels]
    with fastnn.isa(isa):
        loss, gradient = kernels.softmax_cross_entropy(logits, rows)[:2]
        expected, slope = kernels.softmax_cross_entropy(logits, labels)[:2]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


@EVERY_ISA
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_an_infinite_logit_that_is_right_costs_nothing(dtype, isa):
    x = np.array([[np.inf, -np.inf, -np.inf, np.inf, np.nan, np.nan]], dtype)
    target = np.array([[1, 0, 1, 0, 1, 0]], dtype)
    with fastnn.isa(isa):
        sigmoid, slope = kernels.sigmoid_cross_entropy(x, target, reduction="none")[:2]
        poisson = kernels.poisson(x[:, 1:2], target[:, 1:2], reduction="none")[0]
        nothing = np.zeros((1, 1), dtype)
        rate = kernels.poisson(nothing, nothing, log_input=0, eps=0, reduction="none")[0]
    np.testing.assert_array_equal(sigmoid, [[0, 0, np.inf, np.inf, np.nan, np.nan]])
    np.testing.assert_array_equal(slope[:, :4], [[0, 0, -1, 1]])
    assert poisson == 0 and rate == 0


@EVERY_ISA
def test_a_constant_column_without_eps_is_its_bias(isa):
    x = np.full((4, 3), 2.5)
    bias = np.array([1.0, 2.0, 3.0])
    with fastnn.isa(isa):
        y, mean, var = kernels.batch_norm(x, None, bias, eps=0)
        dx = kernels.batch_norm_backward(np.ones((4, 3)), x, mean, var, eps=0)[0]
        rows = kernels.layer_norm(x, None, bias, eps=0)[0]
    np.testing.assert_array_equal(y, np.tile(bias, (4, 1)))
    np.testing.assert_array_equal(rows, np.tile(bias, (4, 1)))
    np.testing.assert_array_equal(dx, 0)


@EVERY_ISA
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4e37), ("float64", 4e155), ("float64", 1e300)])
def test_a_gradient_whose_norm_leaves_the_range_is_clipped_to_the_norm(dtype, size, isa):
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model.to(dtype)
    model[0].weight = np.zeros((1, 2))
    x, y = np.array([[3 * size, 4 * size]], dtype), np.ones((1, 1), dtype)
    with fastnn.isa(isa):
        Trainer(model, nn.MSELoss(), SGD(lr=1), clip_grad_norm=1).train_step(x, y)
    np.testing.assert_allclose(model[0].weight.numpy(), [[0.6, 0.8]], rtol=1e-6)


@EVERY_ISA
def test_weights_whose_norm_leaves_the_range_are_shortened_not_cleared(isa):
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model.to("float64")
    model[0].weight = np.array([[3e200, 4e200]])
    with fastnn.isa(isa):
        Trainer(model, nn.MSELoss(), SGD(lr=1, max_norm=5)).train_step(np.zeros((1, 2)), np.zeros((1, 1)))
    np.testing.assert_allclose(model[0].weight.numpy(), [[3.0, 4.0]], rtol=1e-12)
