"""Passes: with and without each of them the same numbers, and the ops that they promise to save are gone."""

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.graph import passes
from fastnn.graph.passes import PASSES

ROWS = 40

NETS = {
    "plain": lambda: nn.Sequential(nn.Linear(9, 33), nn.ReLU(), nn.Linear(33, 20), nn.ReLU(), nn.Linear(20, 5)),
    "dropout": lambda: nn.Sequential(
        nn.Linear(9, 33), nn.ReLU(), nn.Dropout(0.5), nn.Linear(33, 20), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 5)
    ),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(9, 33), nn.BatchNorm1d(33), nn.ReLU(), nn.Dropout(0.2), nn.Linear(33, 20), nn.GELU(), nn.Linear(20, 5)
    ),
    "linear dropout": lambda: nn.Sequential(nn.Linear(9, 33), nn.Dropout(0.3), nn.Linear(33, 20), nn.Linear(20, 5)),
    "one row of outputs": lambda: nn.Sequential(nn.Linear(9, 1), nn.ReLU(), nn.Linear(1, 5)),
    "no bias": lambda: nn.Sequential(nn.Linear(9, 16, bias=False), nn.SiLU(), nn.Linear(16, 5, bias=False)),
}


def trained(make, off=(), *, dtype="float32", rows=ROWS, clip=None):
    """(parameters and losses after two epochs, native ops of the gradient program)."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2 * rows + 7, 9)).astype(dtype), rng.integers(0, 5, 2 * rows + 7)
    model = make().to(dtype)
    for parameter in model.parameters():
        parameter.assign(0.4 * rng.standard_normal(parameter.shape).astype(dtype))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.01), seed=11, clip_grad_norm=clip)
    with passes.disabled(*off):
        trainer.fit(x, y, epochs=2, batch_size=rows, progress=False)
    (entry,) = trainer._runner._programs.values()
    ops = [op["name"] for op in entry.training.program.op_report(rows)]
    return [*(p.numpy().copy() for p in model.parameters()), np.array(trainer.history["loss"])], ops


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("net", NETS)
def test_training_without_a_pass_gives_the_same_bits(net, name):
    expected, _ = trained(NETS[net])
    got, _ = trained(NETS[net], (name,))
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize("net", NETS)
def test_training_without_any_pass_gives_the_same_bits_in_double(net):
    expected, _ = trained(NETS[net], dtype="float64", rows=300)
    got, _ = trained(NETS[net], tuple(PASSES), dtype="float64", rows=300)
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("net", NETS)
def test_fused_ops_do_not_depend_on_the_team(net, threads):
    expected, _ = trained(NETS[net])
    with fastnn.num_threads(threads, force=True):
        got, _ = trained(NETS[net])
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_array_equal(b, a)


def test_a_plain_step_is_products_and_the_loss():
    _, ops = trained(NETS["plain"])
    assert sorted(set(ops)) == ["cross_entropy", "gather", "gather_labels", "gemm"]
    assert ops.count("gemm") == 8  # three forward, three weight gradients, two input gradients


def test_relu_and_dropout_need_no_op_of_their_own():
    def make():
        return nn.Sequential(nn.Linear(9, 33), nn.ReLU(), nn.Dropout(0.5), nn.Linear(33, 5))

    _, ops = trained(make)
    assert not {"dropout", "unary", "unary_backward", "sum_rows"} & set(ops)
    _, ops = trained(make, ("fuse_dropout",))
    assert ops.count("dropout") == 1
    _, ops = trained(make, ("fuse_input_gradient", "fuse_dropout"))
    assert ops.count("dropout") == 2
    assert ops.count("unary_backward") == 1


def test_a_dropped_value_that_a_gradient_needs_is_kept():
    """Tanh's derivative is taken from z: dropout may join neither it nor what reads the undropped value."""
    _, ops = trained(NETS["dropout"])
    assert ops.count("dropout") == 1


def test_parts_of_a_step_agree_with_the_whole():
    """Micro-batches draw the masks of their batch, in fused ops too."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((48, 9)), rng.integers(0, 5, 48)
    found = []
    for parts in (1, 3):
        model = NETS["dropout"]().to("float64")
        trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.1), seed=2, accumulate=parts)
        for parameter in model.parameters():
            parameter.assign(np.random.default_rng(4).standard_normal(parameter.shape) * 0.3)
        trainer.fit(x, y, epochs=2, batch_size=48 // parts, shuffle=False, progress=False)
        found.append([p.numpy().copy() for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_hessian_vector_products_of_fused_programs():
    """Passes run behind all differentiation: forward over reverse agrees with differences of the gradient."""
    rng = np.random.default_rng(1)
    x, a, b, v = (rng.standard_normal(shape) for shape in ((6, 4), (7, 4), (3, 7), (7, 4)))

    def loss(a):
        hidden = fastnn.functional.tanh(fastnn.functional.linear(x, a))
        y = fastnn.functional.linear(hidden, b)
        return (y * y).sum()

    gradient = fastnn.grad(loss)
    _, product = fastnn.jvp(gradient, (a,), (v,))
    step = 1e-6
    numeric = (gradient(a + step * v) - gradient(a - step * v)) / (2 * step)
    np.testing.assert_allclose(product, numeric, rtol=1e-6, atol=1e-7)


def test_what_depends_on_constants_only_is_computed_once(rng):
    """The same bits; random and symbolic sizes stay; constants that are only spread stay views."""
    a, b, x = rng.standard_normal((9, 4)), rng.standard_normal((4, 7)), rng.standard_normal((5, 9)).astype(np.float32)

    def product(x):
        left, right = fastnn.functional.tanh(x * 1.0).reshape((5, 9)), np.float32(2.0)
        fixed = fastnn.functional.exp(fastnn.functional.matmul(constant(a), constant(b)).sum(axis=1) * right)
        return left * fixed

    def constant(array):
        from fastnn.graph.context import current

        return current().constant(array)

    folded = fastnn.compile(product, x)
    with passes.disabled("fold_constants"):
        plain = fastnn.compile(product, x)
    np.testing.assert_array_equal(folded(x), plain(x))
    ops = [[op["name"] for op in p.plan.segments[0].program.op_report(1)] for p in (folded, plain)]
    assert ops[0].count("gemm") == 0 and ops[1].count("gemm") == 1
    assert set(ops[0]) <= {"unary", "binary"} and len(ops[0]) < len(ops[1])


def test_disabled_names_a_pass_that_exists():
    with pytest.raises(ValueError, match="there is no pass called 'fuse_everything'"), passes.disabled(
        "fuse_everything"
    ):
        pass
