"""Where a program's team waits: never where it need not, always where it must (src_c/program/schedule.c)."""

import numpy as np
import pytest

import fastnn
from fastnn import _native, nn, optim

SIZES = (1, 2, 3, 7, 10, 16, 31, 64, 100, 128, 256)


def random_case(rng):
    """Sizes, rows and options of a model that somebody might train."""
    sizes = [int(size) for size in rng.choice(SIZES, rng.integers(2, 6))]
    options = {
        "batch_norm": bool(rng.random() < 0.5),
        "dropout": float(rng.choice([0.0, 0.2, 0.5])),
        "activation": str(rng.choice(["ReLU", "Tanh", "GELU"])),
        "clip": float(rng.choice([0.0, 1.0])) or None,
        "optimizer": str(rng.choice(["Adam", "SGD", "LAMB"])),
    }
    return sizes, int(rng.choice([2, 16, 31, 33, 64, 128, 200])), options


def build(sizes, *, batch_norm, dropout, activation):
    layers = []
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(n_in, n_out))
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(n_out)] * batch_norm + [getattr(nn, activation)()]
            layers += [nn.Dropout(dropout)] * (dropout > 0)
    return nn.Sequential(*layers)


def trained(sizes, rows, options, threads, *, extra=1):
    """Parameters, losses and predictions after two epochs of several batches and a short one."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3 * rows + extra, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], len(x))
    clip, optimizer = options["clip"], options["optimizer"]
    model = build(sizes, **{name: options[name] for name in ("batch_norm", "dropout", "activation")})
    for parameter in model.parameters():
        parameter.assign(0.3 * rng.standard_normal(parameter.shape).astype(np.float32))
    with fastnn.num_threads(threads, force=threads > 1):
        trainer = fastnn.Trainer(
            model, nn.CrossEntropyLoss(), getattr(optim, optimizer)(), seed=3, clip_grad_norm=clip
        )
        trainer.fit(x, y, epochs=2, batch_size=rows, progress=False)
        predicted = model.predict(x)
    return [*(p.numpy().copy() for p in model.parameters()), predicted, np.array(trainer.history["loss"])]


@pytest.mark.parametrize("seed", range(12))
def test_any_team_computes_the_bits_of_one_thread(seed):
    sizes, rows, options = random_case(np.random.default_rng(seed))
    expected = trained(sizes, rows, options, 1)
    for threads in (2, 3, 4):
        for wanted, got in zip(expected, trained(sizes, rows, options, threads), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_short_batch_stays_within_the_scratch_of_a_long_one():
    """Its input gradient packs a panel where the long batch's had no need to."""
    options = {"batch_norm": False, "dropout": 0.0, "activation": "ReLU", "clip": None, "optimizer": "SGD"}
    expected = trained([128, 7, 256, 5], 64, options, 1)
    for wanted, got in zip(expected, trained([128, 7, 256, 5], 64, options, 2), strict=True):
        np.testing.assert_array_equal(got, wanted)


def product_chain(widths, rows):
    """Products after each other, x @ w0 @ w1 ..., each in memory of its own: sharing it would be a reason to wait."""
    builder = _native.Builder(0)
    arrays = [np.ones((n_in, n_out), np.float32) for n_in, n_out in zip(widths[:-1], widths[1:], strict=True)]
    left, names = builder.external(4 * widths[0]), _native.ops()["gemm"][2]
    x, bound = left, []
    for n_in, n_out, array in zip(widths[:-1], widths[1:], arrays, strict=True):
        weight, out = builder.external(), builder.persistent((4 * n_out, 0))
        sizes = {"rows": (1, 0), "cols": n_out, "depth": n_in, "a_row": n_in, "a_depth": 1, "b_depth": n_out}
        sizes |= {"b_col": 1, "c_row": n_out}
        builder.op("gemm", (left, weight, None, out), tuple(sizes.get(name, 0) for name in names))
        bound.append((weight, array))
        left = out
    program = builder.finish(rows)
    for weight, array in bound:
        program.bind(weight, array)
    return program, x


def test_products_over_the_same_rows_do_not_wait():
    program, _ = product_chain([64, 48, 32, 40, 24], 256)
    with fastnn.num_threads(2):
        report = program.op_report(256)
    assert [op["threads"] for op in report] == [2] * 4
    assert not any(op["barrier"] for op in report)


def test_an_op_that_reads_all_of_another_waits():
    builder = _native.Builder(0)
    x, y, z = builder.external(), builder.workspace(4 * 4096), builder.external()
    n = 4096
    one = (1, 1, 1, 1, 1, n, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0)
    backwards = (1, 1, 1, 1, 64, 64, 0, 0, 0, 0, 1, 64, 0, 0, 0, 0, 64, 1, 0)
    builder.op("copy", (x, y), one)
    builder.op("copy", (y, z), backwards)
    program = builder.finish(1)
    with fastnn.num_threads(2, force=True):
        assert [op["barrier"] for op in program.op_report(1)] == [False, True]


def test_updates_of_different_parameters_do_not_wait():
    model = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 10))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam())
    rng = np.random.default_rng(0)
    trainer.train_step(rng.standard_normal((32, 300)).astype(np.float32), rng.integers(0, 10, 32))
    (entry,) = trainer._runner._programs.values()
    with fastnn.num_threads(2, force=True):
        assert not any(op["barrier"] for op in entry.update.program.op_report(0))


@pytest.mark.parametrize("rows, by_rows", [(64, False), (128, True), (192, False), (256, True)])
def test_batch_norm_shares_the_rows_of_the_products_where_its_blocks_can_be_shared(rows, by_rows):
    """It waits for the first row, which all statistics are shifted by; what follows reads its own rows only."""
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD())
    rng = np.random.default_rng(0)
    with fastnn.num_threads(2, force=True):
        trainer.train_step(rng.standard_normal((rows, 64)).astype(np.float32), rng.integers(0, 10, rows))
        (engine,) = trainer._runner._programs.values()
        report = engine.training.program.op_report(rows)
    places = [i for i, op in enumerate(report) if op["name"] == "batch_norm"]
    assert [report[i]["barrier"] for i in places] == [True]
    after = next(op for op in report[places[0] + 1 :] if op["name"] == "gemm")
    assert after["barrier"] == (not by_rows)
