"""Profiles: what they count, that they change nothing, and the memory of a step."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import diagnostics, nn, optim
from fastnn import functional as F
from fastnn.graph import limits as limits_module
from fastnn.graph import passes
from fastnn.graph.limits import Limits, limits
from fastnn.graph.profile import _distances, _memory_seconds


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch):
    """Measured, but quickly: no test looks at the figures' size."""
    monkeypatch.setattr(limits_module, "_SECONDS", 1e-4)
    monkeypatch.setattr(limits_module, "_MOST", 1 << 20)
    limits_module._measured.cache_clear()
    yield
    limits_module._measured.cache_clear()


def deep(python=False):
    class Own(nn.Module):
        def forward(self, x):
            return F.python_op(np.negative, x, vjp=lambda g, a: -g, name="flip") if python else -x

    layers = nn.Linear(20, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.3), Own(), nn.Linear(48, 4)
    return nn.Sequential(*layers, seed=2)


def data(rng, rows=200):
    return rng.normal(size=(rows, 20)).astype(np.float32), rng.integers(0, 4, rows)


def test_limits_are_measured_for_every_dtype_isa_and_number_of_threads(isa, dtype):
    for threads in (1, 2):
        found = limits(dtype, threads)
        assert found.flops > 1e8 and found.threads == threads
        sizes, rates = zip(*found.levels, strict=True)
        assert list(sizes) == sorted(sizes) and min(rates) > 1e8
        assert limits(dtype, threads) is found
        assert "GFLOP/s" in str(found) and "GB/s in 1 MiB" in str(found)


def test_probes_refuse_what_they_cannot_measure():
    from fastnn import _native

    memory = np.ones(1 << 16, np.uint8)
    for arguments in ((0, 0, memory, 1 << 16, 0.001), (0, 1, memory, 1 << 17, 0.001), (0, 1, memory, 100, 0.001),
                      (0, 1, memory[::2], 1 << 15, 0.001), (0, 1, memory, 1 << 16, 0.0)):  # fmt: skip
        with pytest.raises(ValueError, match="a probe"):
            _native.probe_bandwidth(*arguments)
    with pytest.raises(ValueError, match="a probe"):
        _native.probe_flops(0, 1, 100.0)


def test_the_level_of_an_operand_follows_from_what_came_between():
    """Three ops over buffers a (10), b (100), c (1000): a is used by all, c once per run."""
    table = [{"a": 10, "c": 1000}, {"a": 10, "b": 100}, {"b": 100, "a": 10}]
    (first, second, third) = _distances(table)
    assert dict(zip("ac", (d for _, d in first), strict=True)) == {"a": 110, "c": 1110}
    assert dict(zip("ab", (d for _, d in second), strict=True)) == {"a": 1010, "b": 1110}
    assert dict(zip("ba", (d for _, d in third), strict=True)) == {"b": 110, "a": 110}
    machine = Limits(1, 1e9, [(100, 1e9), (1000, 1e8), (10_000, 1e7)])
    assert machine.bandwidth(100) == 1e9 and machine.bandwidth(101) == 1e8 and machine.bandwidth(10**9) == 1e7
    # 300 bytes, a third of them from the near level, two thirds from the far one
    np.testing.assert_allclose(_memory_seconds(300, [(100, 50), (200, 5000)], machine), 100e-9 + 200e-7)


def test_a_trainers_step(rng):
    x, y = data(rng)
    trainer = fastnn.Trainer(deep(), nn.CrossEntropyLoss(), optim.Adam(lr=1e-2), clip_grad_norm=1.0, ema=0.9)
    twin = fastnn.Trainer(deep(), nn.CrossEntropyLoss(), optim.Adam(lr=1e-2), clip_grad_norm=1.0, ema=0.9)
    for each in (trainer, twin):
        each.fit(x, y, epochs=1, batch_size=50, progress=False)
    profile = diagnostics.profile(trainer, x, y, batch_size=50, repeats=3)
    labels = [op.label for op in profile.ops]
    assert labels[0] == "x0" and "loss cross_entropy" in labels and "gradients clip_norm" in labels
    assert [label for label in labels if label.endswith(" adam")] == [
        f"{name} adam" for name in ("0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias")
    ]
    by_label = {op.label: op for op in profile.ops}
    assert by_label["0 linear"].flops == 2 * 50 * 20 * 48 and by_label["0 linear"].kernel == "gemm"
    assert all(op.seconds > 0 and op.limit > 0 and op.bound in ("compute", "memory") for op in profile.ops)
    np.testing.assert_allclose(profile.limit, sum(op.limit for op in profile.ops))
    np.testing.assert_allclose(profile.share, profile.limit / profile.wall)
    text = str(profile)
    assert "a training step of 50 rows with Adam" in text and "of the roofline" in text and "memory:" in text
    assert json.loads(json.dumps(profile.to_dict()))["ops"][0]["label"] == "x0"
    assert trainer.step == twin.step == 4  # and nothing else has changed: training goes on with the same bits
    for each in (trainer, twin):
        each.fit(x, y, epochs=1, batch_size=50, progress=False)
    for name, value in trainer.model.state_dict().items():
        assert np.array_equal(value, twin.model.state_dict()[name]), name


def test_python_defined_ops_and_functions_have_profiles(rng):
    x, y = data(rng)
    trainer = fastnn.Trainer(deep(python=True), nn.CrossEntropyLoss(), optim.SGD())
    profile = diagnostics.profile(trainer, x, y, batch_size=32, repeats=2)
    python = [op for op in profile.ops if op.bound == "python"]
    assert [op.label.split()[-1] for op in python] == ["flip", "vjp"] and all(op.limit == 0 for op in python)
    table = str(fastnn.compile(deep(python=True), x).profile(x, repeats=2))
    assert "flip" in table and "a call on 200 rows" in table
    program = fastnn.compile(lambda a, b: F.tanh(a @ b), np.ones((4, 5)), np.ones((5, 3)))
    found = program.profile(np.ones((4, 5)), np.ones((5, 3)), repeats=2)
    assert [op.kernel for op in found.ops] == ["gemm", "unary"] and found.ops[0].flops == 2 * 4 * 5 * 3
    with pytest.raises(ValueError, match="no rows"):
        fastnn.compile(deep(), x).profile(x[:0])
    with pytest.raises(ValueError, match="at least 1"):
        diagnostics.profile(trainer, x, y, batch_size=0)


def test_a_step_shows_the_programs_that_run(monkeypatch, rng):
    """Weights are updated by their gradient's product, unless something looks at gradients; nothing changes."""
    monkeypatch.setattr(passes.update, "LEAST_SIZE", 1)
    x, y = rng.normal(size=(64, 40)).astype(np.float32), rng.integers(0, 10, 64)
    model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam())
    trainer.train_step(x, y)
    before = [p.numpy().copy() for p in model.parameters()]

    def kernels():
        return [op.kernel for op in diagnostics.profile(trainer, x, y, batch_size=64, repeats=2).ops]

    assert kernels().count("gemm_update") == 2 and kernels().count("optimizer") == 4
    for parameter, values in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), values)
    trainer.gradient_hook = lambda gradients: None
    assert kernels().count("gemm_update") == 0 and kernels().count("optimizer") == 6


@pytest.mark.parametrize("optimizer, arrays", [(optim.SGD(momentum=0.9), 1), (optim.Adam(), 2)])
def test_memory_of_a_step_is_near_its_lower_bound(monkeypatch, rng, optimizer, arrays):
    """Peak memory within 1.3 times weights + gradients + optimizer state + the activations that must live."""
    layers = [nn.Linear(64, 256)]
    for _ in range(3):
        layers += [nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 256)]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    x, y = rng.normal(size=(128, 64)).astype(np.float32), rng.integers(0, 10, 128)

    def measured(*off):
        with passes.disabled(*off):
            trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
            return diagnostics.profile(trainer, x, y, batch_size=128, repeats=1).memory

    monkeypatch.setattr(passes.update, "LEAST_SIZE", 1)
    memory, fused = measured("fuse_update"), measured()
    assert fused.gradients < memory.gradients and fused.total < memory.total and fused.ratio <= 1.3
    counts = sum(p.size for p in model.parameters())
    padding = 1.08
    assert 4 * counts <= memory.gradients <= 4 * padding * counts and memory.weights >= memory.gradients
    assert memory.state == arrays * memory.gradients
    # every hidden layer needs its product and its normalised activation again in the backward pass
    assert memory.least_activations > 3 * 2 * 128 * 256 * 4
    assert memory.total == sum(
        (memory.weights, memory.gradients, memory.state, memory.activations, memory.scratch)
    )
    assert 1.0 <= memory.ratio <= 1.3, str(memory)


TRAIN_LONG = """
import sys
import numpy as np
import fastnn
from fastnn import diagnostics, nn, optim

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 10)).astype(np.float32), rng.integers(0, 3, 64)
model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(), clip_grad_norm=1.0)
seen = []
for part in range(10):
    for _ in range(2500):
        trainer.train_step(x, y)
        model.predict(x)
    trainer.fit(x, y, epochs=1875, batch_size=16, progress=False)
    seen.append(resident())
assert trainer.step == 100_000, trainer.step
print(*seen)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_resident_memory_is_flat_over_100000_steps():
    """Single steps and fits; what an epoch adds to the history is all that may grow."""
    run = subprocess.run([sys.executable, "-c", TRAIN_LONG], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    seen = list(map(int, run.stdout.split()))
    history = 9 * 1875 * 1024  # a kilobyte an epoch for the history's few numbers
    assert seen[-1] - seen[0] < history + (4 << 20), seen
    assert seen[-1] - seen[4] < history * 5 / 9 + (2 << 20), seen
