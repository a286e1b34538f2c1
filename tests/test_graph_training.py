"""Training programs made from graphs: gradients, ties, freezing, data sets, weights, state."""

import numpy as np
import pytest
from helpers.graph_programs import F32, F64, I64, infer, logical, parameter, steps, train

import fastnn
from fastnn import functional as F
from fastnn import graph, kernels, nn


# --- training ---------------------------------------------------------------------------------------------------------
def reference_gradients(loss, *arrays):
    """Gradients of a function of arrays by the transforms (checked against differences elsewhere)."""
    return fastnn.value_and_grad(loss, tuple(range(len(arrays))))(*arrays)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_loss_and_gradients_of_a_batch(rng, rows):
    w1, b1, w2, b2 = (parameter(rng, *s) for s in ((20, 6), (20,), (3, 20), (3,)))
    data = {"x0": rng.normal(size=(200, 6)), "y": rng.integers(0, 3, 200)}

    def forward(x, w1=w1, b1=b1, w2=w2, b2=b2):
        return F.linear(F.relu(F.linear(x, w1, b1)), w2, b2)

    program = train(forward, F.cross_entropy, [(6,)])
    batches = [rng.choice(200, rows, replace=False) for _ in range(3)]
    losses = steps(program, data, batches)
    x, y = data["x0"][batches[-1]], data["y"][batches[-1]]
    value, grads = reference_gradients(
        lambda *p: F.cross_entropy(forward(x, *p), y), *[p.numpy() for p in (w1, b1, w2, b2)]
    )
    np.testing.assert_allclose(losses[-1], value, rtol=1e-13)
    for p, g in zip((w1, b1, w2, b2), grads, strict=True):
        np.testing.assert_allclose(logical(program, p), g, rtol=1e-12, atol=1e-15)
    used = sum(p.size for p in (w1, b1, w2, b2))
    assert np.count_nonzero(program.arena) <= used  # the padding is zero
    assert program.arena.ctypes.data % 64 == 0


def test_tied_weights_add_their_gradients(rng):
    weight = parameter(rng, 5, 5)

    def forward(x, w=weight):
        return F.linear(F.tanh(F.linear(x, w)), w) @ w

    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 5))
    program = train(forward, F.mse_loss, [(5,)], ((5,), F64))
    assert len(program.gradients) == 1
    steps(program, {"x0": x, "y": y}, [np.arange(30)])
    _, (expected,) = reference_gradients(lambda w: F.mse_loss(forward(x, w), y), weight.numpy())
    np.testing.assert_allclose(logical(program, weight), expected, rtol=1e-12)
    storage = program.gradients[0][1]
    assert not storage[:, 5:].any()


def test_frozen_parameters_have_no_gradient_ops(rng):
    w1, w2, w3 = parameter(rng, 8, 4), parameter(rng, 8, 8), parameter(rng, 3, 8)

    def forward(x):
        return F.linear(F.tanh(F.linear(F.tanh(F.linear(x, w1)), w2)), w3)

    def products():
        program = train(forward, F.cross_entropy, [(4,)])
        kinds = ("matmul", "linear", "input_gradient")
        return sum(node.op in kinds for node in program.plan.nodes), len(program.gradients)

    assert products() == (3 + 3 + 2, 3)  # forward, weight gradients, input gradients (none for the first layer)
    w1.requires_grad = False
    assert products() == (3 + 2 + 1, 2)
    w2.requires_grad = False
    assert products() == (3 + 1 + 0, 1)
    w1.requires_grad = True
    assert products() == (3 + 2 + 2, 2)


def test_unused_parameters_have_no_gradient(rng):
    used, unused = parameter(rng, 3, 4), parameter(rng, 3, 4)
    program = train(lambda x: F.linear(x, used) + F.stop_gradient(F.linear(x, unused)), F.cross_entropy, [(4,)])
    assert [p for p, _ in program.gradients] == [used]


def test_accumulation_adds_to_the_arena(rng):
    weight, bias = parameter(rng, 3, 4), parameter(rng, 3)
    shared = parameter(rng, 3)
    data = {"x0": rng.normal(size=(50, 4)), "y": rng.integers(0, 3, 50)}

    def forward(x):
        return F.linear(x, weight, bias) * shared + shared

    once = train(forward, F.cross_entropy, [(4,)])
    adding = train(forward, F.cross_entropy, [(4,)], accumulate=True)
    total = np.zeros_like(once.arena)
    batches = [np.arange(10), np.arange(10, 30), np.arange(30, 50)]
    for batch in batches:
        steps(once, data, [batch])
        total += once.arena * len(batch)  # of sums over rows
    steps(adding, data, batches)
    np.testing.assert_allclose(adding.arena, total, rtol=1e-13, atol=1e-15)


def test_batches_without_gather(rng):
    weight = parameter(rng, 3, 4)
    program = train(lambda x: F.linear(x, weight), F.cross_entropy, [(4,)], gather=False)
    gathered = train(lambda x: F.linear(x, weight), F.cross_entropy, [(4,)])
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    loss = np.zeros(1)
    program.program.run(20, {program.inputs["x0"]: x, program.inputs["y"]: y}, (0.0,), {program.loss_id: loss})
    assert loss == steps(gathered, {"x0": x, "y": y}, [np.arange(20)])
    assert np.array_equal(program.arena, gathered.arena)


@pytest.mark.parametrize("source", [np.uint8, np.int32, np.float32, np.float64, np.bool_])
def test_data_sets_are_converted_by_the_gather(rng, source):
    weight = parameter(rng, 3, 4, dtype=np.float32)
    x = (rng.random((20, 6)) * 5).astype(source)[:, :4]
    spec = [((4,), x.dtype, 6)]
    program = graph.build_training(lambda x: F.linear(x, weight), F.cross_entropy, spec, ((), I64), F32, capacity=20)
    y = rng.integers(0, 3, 20)
    losses = steps(program, {"x0": x, "y": y}, [np.arange(20)[::-1]])
    logits = x.astype(np.float32) @ weight.numpy().T
    np.testing.assert_allclose(losses[0], F.cross_entropy(logits, y), rtol=1e-5)


def test_sample_weights(rng):
    weight = parameter(rng, 3, 4)
    program = train(
        lambda x: F.linear(x, weight), lambda o, t, sample_weight: F.cross_entropy(o, t, sample_weight=sample_weight),
        [(4,)], sample_weight=True,
    )  # fmt: skip
    x, y, w = rng.normal(size=(20, 4)), rng.integers(0, 3, 20), rng.random(20)
    losses = steps(program, {"x0": x, "y": y, "w": w}, [np.arange(20)])
    per_row = F.cross_entropy(x @ weight.numpy().T, y, reduction="none")
    np.testing.assert_allclose(losses[0], (per_row * w).sum() / w.sum(), rtol=1e-12)


def test_the_loss_may_be_any_function_and_reach_parameters(rng):
    weight = parameter(rng, 3, 4)

    def loss(output, target):
        return F.mean(F.absolute(output - target)) + 0.1 * F.sum(F.square(weight)) + (weight * weight).mean()

    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    program = train(lambda x: F.linear(x, weight), loss, [(4,)], ((3,), F64))
    losses = steps(program, {"x0": x, "y": y}, [np.arange(20)])
    w = weight.numpy()
    d = x @ w.T - y
    np.testing.assert_allclose(losses[0], abs(d).mean() + 0.1 * (w**2).sum() + (w**2).mean(), rtol=1e-12)
    expected = np.sign(d).T @ x / d.size + 0.2 * w + 2 * w / w.size
    np.testing.assert_allclose(logical(program, weight), expected, rtol=1e-11, atol=1e-14)


def test_errors_of_building(rng):
    weight = parameter(rng, 3, 4)
    with pytest.raises(ValueError, match="a loss must be one number"):
        train(lambda x: F.linear(x, weight), lambda o, t: o.sum(axis=1), [(4,)])
    with pytest.raises(TypeError, match="parameter .* is float64 but the model is traced in float32"):
        infer(lambda x: F.linear(x, weight), (4,), dtype=F32)
    with pytest.raises(ValueError, match="there is no pass called 'magic'"):
        infer(lambda x: x, (4,), disabled=("magic",))


# --- state ------------------------------------------------------------------------------------------------------------
def test_running_statistics_move_once_per_step(rng):
    layer = nn.BatchNorm1d(4).to("float64")
    x, y = rng.normal(size=(40, 4)) * 3 + 1, rng.integers(0, 4, 40)
    program = train(layer, F.cross_entropy, [(4,)])
    mean, var = np.zeros(4), np.ones(4)
    assert np.array_equal(layer.running_mean.numpy(), mean)  # tracing changes nothing
    batches = [np.arange(16), np.arange(16, 40)]
    steps(program, {"x0": x, "y": y}, batches)
    for batch in batches:
        mean = 0.9 * mean + 0.1 * x[batch].mean(axis=0)
        var = 0.9 * var + 0.1 * x[batch].var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)


def test_a_shared_batch_norm_moves_twice_in_order(rng):
    layer = nn.BatchNorm1d(3).to("float64")
    program = train(lambda x: layer(layer(x) * 2.0 + x), F.cross_entropy, [(3,)])
    x, y = rng.normal(size=(20, 3)) + 2, rng.integers(0, 3, 20)
    steps(program, {"x0": x, "y": y}, [np.arange(20)])
    first = 0.1 * x.mean(axis=0)
    inner = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) * 2 + x
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.9 * first + 0.1 * inner.mean(axis=0), rtol=1e-11)


def test_statistics_move_even_if_nothing_reads_the_output(rng):
    layer, weight = nn.BatchNorm1d(3).to("float64"), parameter(rng, 3, 3)

    def forward(x):
        layer(x)
        return F.linear(x, weight)

    program = train(forward, F.cross_entropy, [(3,)])
    x, y = rng.normal(size=(20, 3)) + 2, rng.integers(0, 3, 20)
    steps(program, {"x0": x, "y": y}, [np.arange(20)])
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * x.mean(axis=0), rtol=1e-12)


def test_prediction_in_training_mode_changes_no_state(rng):
    layer = nn.BatchNorm1d(3).to("float64")
    model = infer(layer, (3,), training=True)
    x = rng.normal(size=(50, 3)) + 5
    np.testing.assert_allclose(model.run((x,)).mean(axis=0), 0, atol=1e-12)
    assert np.array_equal(layer.running_mean.numpy(), np.zeros(3))
    with pytest.raises(ValueError, match="at least 2 rows"):
        model.run((x[:1],))


def test_dropout_masks(rng):
    model = infer(lambda x: F.dropout(x, 0.3), (50,), training=True, seed=5)
    x = np.ones((300, 50))
    a, b, c = model.run((x,), step=0), model.run((x,), step=0), model.run((x,), step=1)
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert abs((a == 0).mean() - 0.3) < 0.02
    assert np.array_equal(a, kernels.dropout(x, 0.3, seed=5))  # layer 0, step 0 of the same stream
    assert np.array_equal(model.run((x[:7],), step=0), a[:7])
    two = infer(lambda x: F.dropout(x, 0.3) - F.dropout(x, 0.3), (50,), training=True)
    assert two.run((x,)).any()  # each call in a forward has a stream of its own
    shared = infer(lambda x: F.dropout(x, 0.5, shared=True), (50,), training=True).run((x,))
    assert np.array_equal(shared, np.broadcast_to(shared[0], shared.shape)) and 0 < np.count_nonzero(shared[0]) < 50
