"""Programs made from graphs: any number of rows, outputs, Python-defined ops, passes, bits, reports."""

import threading

import numpy as np
import pytest
from helpers.graph_programs import F32, F64, infer, logical, parameter, steps, train

import fastnn
from fastnn import functional as F
from fastnn import kernels, nn
from fastnn.graph.parameter import Parameter
from fastnn.graph.tables import summary


# --- rows -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [0, 1, 2, 32, 33, 255, 256, 257, 1000, 100_000])
def test_any_number_of_rows(rng, rows):
    weight, bias = parameter(rng, 4, 3), parameter(rng, 4)
    model = infer(lambda x: F.linear(x, weight, bias, activation="tanh"), (3,))
    x = rng.normal(size=(rows, 3))
    y = model.run((x,))
    assert model.chunk_rows == 256
    np.testing.assert_allclose(y, np.tanh(x @ weight.numpy().T + bias.numpy()), rtol=1e-13, atol=1e-14)


def test_a_row_does_not_depend_on_its_batch(rng, dtype):
    model = infer(nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)).to(dtype), (5,), dtype=dtype)
    x = rng.normal(size=(600, 5)).astype(dtype)
    y = model.run((x,))
    for rows in (slice(17, 18), slice(250, 270), slice(1, 600)):
        assert np.array_equal(model.run((np.ascontiguousarray(x[rows]),)), y[rows])


@pytest.mark.parametrize("rows", [1, 3, 300, 5000])
def test_models_that_mix_rows_grow(rng, rows):
    model = infer(lambda x: x - x.mean(axis=0), (3,))
    x = rng.normal(size=(rows, 3))
    for _ in range(2):
        np.testing.assert_allclose(model.run((x,)), x - x.mean(axis=0), atol=1e-13)
    assert model.chunk_rows == 0
    np.testing.assert_allclose(model.run((x[:1],)), np.zeros((1, 3)))


MIXED = {
    "sum over rows": lambda x: x * x.sum(axis=0),
    "softmax over rows": lambda x: F.softmax(x, axis=0),
    "transposed": lambda x: x.T.sum(axis=1) + x,
    "max over rows": lambda x: x / x.max(axis=0),
    "gram": lambda x: x @ (x.T @ x),
    "flattened": lambda x: x.reshape(-1).reshape(x.shape[0], 3) * (x.reshape(-1, 1).mean()),
    "first row": lambda x: x - x[0],
    "all but the first": lambda x: x[1:] * x[:-1],
    "number of rows": lambda x: x * x.shape[0] + x / x.shape[0] + 1.5 * x.shape[0] - 2.0 / (x.shape[0] + 1),
    "twice the rows": lambda x: F.reshape(F.stack([x, x], axis=1), (2 * x.shape[0], 3)) ** 2,
    "last rows": lambda x: x - x[-1] * x[-2:].sum(axis=0),
    "reversed rows": lambda x: x * x[::-1],
    "rows twice": lambda x: F.concatenate([x, F.tanh(x), x[:1]]) ** 2,
    "halves": lambda x: F.concatenate([x, -x])[x.shape[0] :] + x,
    "joined": lambda x: F.concatenate([F.broadcast_to(x[0], (1, 3)), x]),
    "variance": lambda x: F.var(x, axis=0) + F.var(x, axis=1, keepdims=True),
}
LOCAL = {
    "columns": lambda x: x[:, 1:] * x[:, :-1],
    "joined columns": lambda x: F.concatenate([x, F.exp(x), x[:, :1]], axis=1),
    "row sums": lambda x: x / x.sum(axis=1, keepdims=True),
    "row vector": lambda x: x.sum(axis=1),
    "deep": lambda x: (x.reshape(x.shape[0], 3, 1) * x.reshape(x.shape[0], 1, 3)).reshape(x.shape[0], 9),
    "log_softmax": lambda x: F.log_softmax(x),
    "identity": lambda x: x,
    "reversed columns": lambda x: x[:, ::-1],
    "where": lambda x: F.where(x > 0.0, x, -2.0 * x),
    "padded": lambda x: F.maximum(F.minimum(x, 0.5), -0.5) ** 3,
    "matrix per row": lambda x: F.softmax(x.reshape(x.shape[0], 3, 1) + np.arange(4.0)).reshape(-1, 12),
}


@pytest.mark.parametrize("name", [*MIXED, *LOCAL])
@pytest.mark.parametrize("rows", [2, 7, 400])
def test_symbolic_rows_agree_with_fixed_shapes(rng, name, rows):
    """The same function with `rows` as a symbol and with numbers; NumPy's own answer where functional gives it."""
    function = {**MIXED, **LOCAL}[name]
    x = rng.normal(size=(rows, 3)) + 3.0
    model = infer(function, (3,))
    assert bool(model.chunk_rows) == (name in LOCAL)
    y = model.run((x,))
    fixed = fastnn.compile(function, x)(x)
    assert y.shape == fixed.shape
    np.testing.assert_allclose(y, fixed, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(y, function(x), rtol=1e-11, atol=1e-12)


def test_two_threads_predict_on_one_model(rng):
    model = infer(nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 2)).to("float64"), (8,))
    x = [rng.normal(size=(200 + 50 * i, 8)) for i in range(4)]
    expected = [model.run((a,)) for a in x]
    wrong = []

    def work(k):
        for _ in range(50):
            if not np.array_equal(model.run((x[k],)), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_threads_grow_a_plan(rng):
    model = infer(lambda x: F.exp(x - x.max(axis=0)), (4,))
    x = [rng.normal(size=(300 * (i + 1), 4)) for i in range(4)]
    results = [None] * 4

    def work(k):
        results[k] = model.run((x[k],))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, y in zip(x, results, strict=True):
        np.testing.assert_allclose(y, np.exp(a - a.max(axis=0)), rtol=1e-13)


# --- outputs and inputs -----------------------------------------------------------------------------------------------
def test_nested_outputs_and_aliases(rng):
    weight = parameter(rng, 3, 3)

    def forward(x):
        y = F.relu(x)
        return {"y": y, "again": (y, y), "x": x, "w": weight.T, "one": x.sum(), "columns": y[:, 1:]}

    x = rng.normal(size=(5, 3))
    for out in (infer(forward, (3,)).run((x,)), fastnn.compile(forward, x)(x)):
        y = np.maximum(x, 0)
        assert np.array_equal(out["y"], y) and np.array_equal(out["again"][0], y) and np.array_equal(out["again"][1], y)
        assert np.array_equal(out["x"], x) and np.array_equal(out["w"], weight.numpy().T)
        np.testing.assert_allclose(out["one"], x.sum(), rtol=1e-12)
        assert np.array_equal(out["columns"], y[:, 1:])
        assert out["x"] is not x and not np.shares_memory(out["again"][0], out["again"][1])


def test_out_is_filled(rng):
    model = infer(lambda x: (F.exp(x), x + 1.0), (3,))
    x = rng.normal(size=(300, 3))
    out = (np.empty((300, 3)), np.empty((300, 3)))
    result = model.run((x,), out=out)
    assert result[0] is out[0] and result[1] is out[1]
    np.testing.assert_allclose(out[0], np.exp(x), rtol=1e-14)
    for bad in (np.empty((299, 3)), np.empty((300, 3), np.float32), np.empty((3, 300)).T):
        with pytest.raises((TypeError, ValueError), match="out"):
            model.run((x,), out=(bad, out[1]))


def test_inputs_of_any_dtype_and_stride(rng):
    model = infer(lambda x, y: x * y, (4,), (4,), dtype=F32)
    x, y = rng.integers(0, 255, (10, 4)).astype(np.uint8), rng.normal(size=(20, 8))[::2, ::2]
    np.testing.assert_allclose(model.run((x, y)), x * y, rtol=1e-6)
    with pytest.raises(ValueError, match=r"input 1 must have shape \(rows, 4\), not \(10, 3\)"):
        model.run((x, y[:, :3]))
    with pytest.raises(ValueError, match="input 1 has 9 rows, input 0 has 10"):
        model.run((x, y[:9]))


# --- Python-defined ops -----------------------------------------------------------------------------------------------
def softsign(x):
    return F.python_op(
        lambda a: a / (1 + abs(a)), x, vjp=lambda g, a: g / (1 + abs(a)) ** 2, jvp=lambda t, a: t / (1 + abs(a)) ** 2
    )


def native_softsign(x):
    return x / (1.0 + F.absolute(x))


def test_python_ops_in_inference(rng):
    weight = parameter(rng, 4, 3)

    def forward(x, f=softsign):
        return f(F.linear(f(x), weight)) + f(x).sum(axis=1, keepdims=True), f(x)

    for rows in (1, 5, 700):
        x = rng.normal(size=(rows, 3))
        y, z = infer(forward, (3,)).run((x,))
        y2, z2 = infer(lambda x: forward(x, native_softsign), (3,)).run((x,))
        np.testing.assert_allclose(y, y2, rtol=1e-13)
        np.testing.assert_allclose(z, z2, rtol=1e-13)


def test_python_ops_in_training(rng):
    w1, w2 = parameter(rng, 6, 4), parameter(rng, 3, 6)
    layer = nn.BatchNorm1d(6).to("float64")
    data = {"x0": rng.normal(size=(60, 4)), "y": rng.integers(0, 3, 60)}
    batches = [np.arange(30), np.arange(20, 60)]
    results = []
    for f in (softsign, native_softsign):
        layer.running_mean.assign(np.zeros(6))

        def forward(x, f=f):
            return F.linear(f(layer(F.linear(f(x), w1))), w2)

        program = train(forward, F.cross_entropy, [(4,)])
        assert program.segmented == (f is softsign)
        losses = steps(program, data, batches)
        results.append(
            [losses, logical(program, w1).copy(), logical(program, w2).copy(), layer.running_mean.numpy().copy()]
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_python_ops_on_parameters_and_as_the_loss(rng):
    weight, scale = parameter(rng, 3, 4), parameter(rng, 3)

    def forward(x, f=softsign):
        return F.linear(x, f(weight)) * f(scale)

    def loss(output, target):
        return F.python_op(
            lambda a, b: np.mean((a - b) ** 2), output, target, shape=(),
            vjp=lambda g, a, b: (g * 2 * (a - b) / a.size, None),
        )  # fmt: skip

    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    program = train(forward, loss, [(4,)], ((3,), F64))
    native = train(lambda x: forward(x, native_softsign), F.mse_loss, [(4,)], ((3,), F64))
    data = {"x0": x, "y": y}
    np.testing.assert_allclose(steps(program, data, [np.arange(20)]), steps(native, data, [np.arange(20)]), rtol=1e-12)
    for p in (weight, scale):
        np.testing.assert_allclose(logical(program, p), logical(native, p), rtol=1e-11, atol=1e-15)


def test_a_python_op_that_returns_nothing_is_refused(rng):
    for program in fastnn.compile(lambda x: F.python_op(lambda a: None, x, name="forgetful")), fastnn.compile(
        lambda x: F.tanh(F.python_op(lambda a: None, x, name="forgetful", shape=(2, 3)))
    ):
        with pytest.raises(ValueError, match="forgetful.* returned None"):
            program(np.ones((2, 3)))
    gradient = fastnn.grad(lambda x: F.sum(F.python_op(np.sin, x, vjp=lambda g, a: None)))
    np.testing.assert_array_equal(gradient(np.ones((2, 3))), 0)


def test_python_ops_say_what_they_returned(rng):
    bad = infer(lambda x: F.python_op(lambda a: a[:, :1], x, name="narrow"), (3,))
    with pytest.raises(ValueError, match=r"narrow must return shape \(4, 3\), it returned \(4, 1\)"):
        bad.run((rng.normal(size=(4, 3)),))
    with pytest.raises(ValueError, match="has no vjp"):
        train(lambda x: F.python_op(np.sin, F.linear(x, parameter(rng, 3, 3))), F.cross_entropy, [(3,)])

    def write(a):
        a[0] = 0
        return a

    with pytest.raises(ValueError, match="read-only"):
        infer(lambda x: F.python_op(write, x * 2.0), (3,)).run((rng.normal(size=(4, 3)),))


def test_python_op_with_several_outputs(rng):
    def forward(x):
        a, b = F.python_op(
            lambda a: (a * 2, a.sum(axis=1)), x, shape=[x.shape, x.shape[:1]], vjp=lambda g, a: g[0] * 2 + g[1][:, None]
        )
        return a * b.reshape(x.shape[0], 1)

    x = rng.normal(size=(5, 3))
    np.testing.assert_allclose(infer(forward, (3,)).run((x,)), 2 * x * x.sum(axis=1, keepdims=True), rtol=1e-13)
    report = fastnn.gradcheck(forward, x)
    assert report, report


# --- passes and bits --------------------------------------------------------------------------------------------------
def deep_model(dtype):
    model = nn.Sequential(
        nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.Tanh(),
        nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3),
    )  # fmt: skip
    return model.to(dtype)


@pytest.mark.parametrize("disabled", [("fuse_activation",), ("merge_common",), ("fuse_activation", "merge_common")])
def test_passes_do_not_change_bits(rng, dtype, disabled):
    model = deep_model(dtype)
    data = {"x0": rng.normal(size=(64, 6)).astype(dtype), "y": rng.integers(0, 3, 64)}
    results = []
    for off in ((), disabled):
        for name, buffer in model.named_buffers():
            buffer.assign(np.zeros(buffer.shape) if "mean" in name else np.ones(buffer.shape))
        program = train(model, F.cross_entropy, [(6,)], dtype=dtype, disabled=off)
        losses = steps(program, data, [np.arange(64), np.arange(33)])
        inference = infer(model, (6,), dtype=dtype, disabled=off)
        results.append((losses, program.arena.copy(), inference.run((data["x0"],)), len(inference.plan.nodes)))
    for a, b in zip(results[0][:3], results[1][:3], strict=True):
        assert np.array_equal(a, b)
    assert results[0][3] < results[1][3] or "fuse_activation" not in disabled


def test_the_same_bits_for_every_number_of_threads(rng, dtype):
    from fastnn.threads import num_threads

    model = deep_model(dtype)
    data = {"x0": rng.normal(size=(700, 6)).astype(dtype), "y": rng.integers(0, 3, 700)}
    results = []
    for threads in (1, 2, 3, 4):
        program = train(model, F.cross_entropy, [(6,)], dtype=dtype, capacity=700)
        with num_threads(threads, force=True):
            losses = steps(program, data, [np.arange(700)])
        results.append((losses, program.arena.copy()))
    for losses, arena in results[1:]:
        assert np.array_equal(losses, results[0][0]) and np.array_equal(arena, results[0][1])


def test_programs_and_eager_kernels_give_the_same_bits(rng, dtype):
    x, w, b = (rng.normal(size=s).astype(dtype) for s in ((70, 300), (40, 300), (40,)))
    labels = rng.integers(0, 40, 70)
    weight, bias = Parameter(w), Parameter(b)
    model = infer(lambda x: F.linear(x, weight, bias, activation="relu"), (300,), dtype=dtype)
    assert np.array_equal(model.run((x,)), kernels.linear(x, weight.numpy(), b, activation="relu"))
    program = train(lambda x: F.linear(x, weight, bias), F.cross_entropy, [(300,)], dtype=dtype, capacity=70)
    losses = steps(program, {"x0": x, "y": labels}, [np.arange(70)])
    loss, dlogits = kernels.softmax_cross_entropy(kernels.linear(x, w, b), labels)
    _, dweight, dbias = kernels.linear_backward(dlogits, x, w, input_grad=False)
    assert losses[0] == loss
    assert np.array_equal(logical(program, weight), dweight) and np.array_equal(logical(program, bias), dbias)


def test_first_derivatives_use_the_fused_kernels(rng):
    program = train(deep_model("float64"), F.cross_entropy, [(6,)])
    ops = [node.op for node in program.plan.nodes]
    assert ops.count("cross_entropy") == 1 and ops.count("batch_norm_backward") == 1
    assert "softmax" not in ops and "binary" not in ops and "broadcast_to" not in ops
    assert "unary" not in ops  # derivatives of ReLU and tanh read the output, so that both are part of the op before
    names = [op["name"] for op in program.program.op_report(64)]
    assert "copy" not in names  # every layout is what the kernels read and write


# --- reports ----------------------------------------------------------------------------------------------------------
def test_summary_and_profile(rng):
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    x = rng.normal(size=(100, 6)).astype(np.float32)
    program = fastnn.compile(model, x)
    np.testing.assert_array_equal(program(x), model(x))
    text = program.summary()
    first = text.splitlines()[2].split()
    assert first[:3] == ["0", "linear+relu", "gemm"] and "(rows, 32)" in text
    assert "100 rows in chunks of 256" in text and "workspace" in text and "lower bound" in text
    assert f"{2 * 100 * 6 * 32 / 1000:.3g}k" in text  # FLOPs of the first product
    table = str(program.profile(x, repeats=2))
    assert "GFLOP/s" in table and "of limit" in table
    y = program(rng.normal(size=(7, 6)).astype(np.float32))
    assert y.shape == (7, 3)
    square = fastnn.compile(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)), x)
    expected = square(x)
    assert square(x, out=x) is x and np.array_equal(x, expected)


def test_programs_follow_the_model(rng):
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5))
    x = rng.normal(size=(5, 6)).astype(np.float32)
    program = fastnn.compile(model, x)
    before = program(x)
    model[0].weight.assign(np.zeros((4, 6)))
    after = program(x)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, np.broadcast_to(model[0].bias.numpy(), (5, 4)))
    model.to("float64")
    assert program(x).dtype == np.float64


def test_training_programs_have_a_summary(rng):
    program = train(deep_model("float32"), F.cross_entropy, [(6,)], dtype=F32)
    text = summary(program.plan, 64)
    assert "batch_norm_backward" in text and "gather" in text
    planned = program.program.workspace_bytes
    assert program.program.lower_bound_bytes <= planned <= 1.3 * program.program.lower_bound_bytes
