"""The optimizer's step inside the weight gradient's product: the bits of the two programs, and when it stays out."""

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.graph import passes
from fastnn.graph.passes import update

ROWS = 40

NETS = {
    "plain": lambda: nn.Sequential(nn.Linear(9, 33), nn.ReLU(), nn.Linear(33, 50), nn.ReLU(), nn.Linear(50, 5)),
    "dropout": lambda: nn.Sequential(
        nn.Linear(9, 130), nn.ReLU(), nn.Dropout(0.5), nn.Linear(130, 40), nn.Tanh(), nn.Dropout(0.2), nn.Linear(40, 5)
    ),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(9, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 48, bias=False), nn.GELU(), nn.Linear(48, 5)
    ),
    "linear": lambda: nn.Sequential(nn.Linear(9, 16), nn.Linear(16, 5, bias=False)),
}

OPTIMIZERS = {
    "sgd": lambda: optim.SGD(lr=0.05),
    "momentum": lambda: optim.SGD(lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optim.Adam(lr=0.01),
    "amsgrad, decay, l1": lambda: optim.Adam(lr=0.01, amsgrad=True, weight_decay=0.01, l1=1e-3),
    "adamw in groups": lambda: optim.AdamW(lr=0.01, groups=[{"params": "0.*", "lr": 0.003, "weight_decay": 0.0}]),
    "nadam": lambda: optim.NAdam(lr=0.01),
    "adagrad": lambda: optim.Adagrad(lr=0.01),
    "adadelta": lambda: optim.Adadelta(),
    "rmsprop": lambda: optim.RMSprop(lr=0.01, centered=True, momentum=0.5),
    "upwards": lambda: optim.Adam(lr=1e-4, maximize=True),
}


@pytest.fixture(autouse=True)
def small_weights_too(monkeypatch):
    monkeypatch.setattr(update, "LEAST_SIZE", 1)
    monkeypatch.setattr(update, "LEAST_OUTPUTS", 1)
    monkeypatch.setattr(update, "MOST_BYTES", 1 << 40)


def trainer_of(make, optimizer, *, dtype="float32", **options):
    rng = np.random.default_rng(3)
    model = make().to(dtype)
    for parameter in model.parameters():
        parameter.assign(0.4 * rng.standard_normal(parameter.shape).astype(dtype))
    return fastnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=11, **options)


def data(rows=ROWS, dtype="float32"):
    rng = np.random.default_rng(5)
    return rng.standard_normal((2 * rows + 7, 9)).astype(dtype), rng.integers(0, 5, 2 * rows + 7)


def trained(make, optimizer, *, off=False, rows=ROWS, dtype="float32", **options):
    """(all that training leaves behind, native ops of the step)."""
    trainer = trainer_of(make, optimizer(), dtype=dtype, **options)
    x, y = data(rows, dtype)
    with passes.disabled(*(["fuse_update"] if off else [])):
        trainer.fit(x, y, epochs=2, batch_size=rows, progress=False)
        for _ in range(3):  # the second and third are native calls
            trainer.train_step(x[:rows], y[:rows])
    found = [p.numpy().copy() for p in trainer.model.parameters()]
    found += [slot.arrays[name].copy() for slot in trainer.state.optimizer_state.slots.values() for name in slot.arrays]
    return [*found, np.array(trainer.history["loss"])], ops_of(trainer)


def ops_of(trainer):
    (entry,) = trainer._runner._programs.values()
    pair = entry.programs()
    names = [op["name"] for op in pair.training.program.op_report(1)]
    return names + [op["name"] for op in pair.update.op_report(0)]


def assert_equal(a, b):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", NETS)
def test_the_bits_are_those_of_gradients_and_update_apart(net, optimizer):
    fused, ops = trained(NETS[net], OPTIMIZERS[optimizer])
    apart, plain = trained(NETS[net], OPTIMIZERS[optimizer], off=True)
    assert_equal(fused, apart)
    layers = ops.count("gemm_update")
    assert layers == sum(isinstance(layer, nn.Linear) for layer in NETS[net]().modules())
    assert "gemm_update" not in plain
    assert plain.count("optimizer") - ops.count("optimizer") == layers


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_team_and_blocks_of_rows(threads, dtype):
    apart, _ = trained(NETS["dropout"], OPTIMIZERS["adam"], off=True, rows=600, dtype=dtype, num_threads=1)
    with fastnn.num_threads(threads, force=True):
        fused, _ = trained(NETS["dropout"], OPTIMIZERS["adam"], rows=600, dtype=dtype)
    assert_equal(fused, apart)


@pytest.mark.parametrize("rows, layers", [(300, (15, 4100)), (7, (130, 1000)), (1, (3, 37)), (1030, (40, 300))])
def test_wide_weights_are_cut_into_strips(rows, layers):
    def make():
        return nn.Sequential(nn.Linear(9, layers[0]), nn.ReLU(), nn.Linear(*layers), nn.ReLU(), nn.Linear(layers[1], 5))

    fused, _ = trained(make, OPTIMIZERS["adam"], rows=rows)
    apart, _ = trained(make, OPTIMIZERS["adam"], rows=rows, off=True)
    assert_equal(fused, apart)


def test_every_instruction_set(monkeypatch):
    from fastnn import _native

    usable = [isa for isa in ("scalar", "sse2", "avx2", "avx512", "neon") if isa in _native.available_isas()]
    assert usable
    before = _native.get_isa()
    try:
        for isa in usable:
            _native.set_isa(isa)
            fused, _ = trained(NETS["plain"], OPTIMIZERS["adam"])
            apart, _ = trained(NETS["plain"], OPTIMIZERS["adam"], off=True)
            assert_equal(fused, apart)
    finally:
        _native.set_isa(before)


def test_averaged_weights_follow():
    fused, ops = trained(NETS["plain"], OPTIMIZERS["adam"], ema=0.9)
    apart, _ = trained(NETS["plain"], OPTIMIZERS["adam"], off=True, ema=0.9)
    assert ops.count("gemm_update") == 3
    assert_equal(fused, apart)


@pytest.mark.parametrize(
    "optimizer, options",
    [
        (lambda: optim.Adam(lr=0.01), {"clip_grad_norm": 0.5}),
        (lambda: optim.LAMB(lr=0.01), {}),
        (lambda: optim.LARS(lr=0.01), {}),
        (lambda: optim.SGD(lr=0.01, max_norm=1.0), {}),
    ],
)
def test_what_needs_the_whole_gradient_stays_apart(optimizer, options):
    _, ops = trained(NETS["plain"], optimizer, **options)
    assert "gemm_update" not in ops


def test_clipping_by_value_needs_an_element_only():
    fused, ops = trained(NETS["plain"], OPTIMIZERS["adam"], clip_grad_value=1e-3)
    apart, _ = trained(NETS["plain"], OPTIMIZERS["adam"], off=True, clip_grad_value=1e-3)
    assert "gemm_update" in ops
    assert_equal(fused, apart)


def test_only_weights_that_gain_by_it(monkeypatch):
    """By default: half a million elements, and a batch whose gradient stays in L2."""
    monkeypatch.undo()

    def make():
        return nn.Sequential(nn.Linear(9, 1100), nn.ReLU(), nn.Linear(1100, 512), nn.ReLU(), nn.Linear(512, 5))

    x, y = data()
    for rows, expected in ((40, 1), (600, 0)):
        trainer = trainer_of(make, optim.SGD(lr=0.01))
        trainer.fit(np.resize(x, (rows, 9)), np.resize(y, rows), epochs=1, batch_size=rows, progress=False)
        assert ops_of(trainer).count("gemm_update") == expected


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(9, 9), nn.Linear(9, 5)

    def forward(self, x):
        relu = fastnn.functional.relu
        return self.b(relu(self.a(relu(self.a(x)))))


def test_a_weight_in_two_places_is_updated_once_from_the_sum():
    fused, ops = trained(Tied, OPTIMIZERS["adam"])
    apart, _ = trained(Tied, OPTIMIZERS["adam"], off=True)
    assert ops.count("gemm_update") == 1
    assert_equal(fused, apart)


def test_hooks_and_accumulation_see_gradients():
    """The same trainer goes from steps without to steps with a hook and back."""
    x, y = data()
    found = []
    for off in ((), ("fuse_update",)):
        with passes.disabled(*off):
            trainer = trainer_of(NETS["plain"], optim.Adam(lr=0.01))
            seen = []

            def note(gradients, seen=seen):
                seen.append({name: gradient.copy() for name, gradient in gradients.items()})

            for hook in (None, note, None):
                trainer.gradient_hook = hook
                trainer.train_step(x[:ROWS], y[:ROWS])
            found.append([*seen[0].values(), *(p.numpy().copy() for p in trainer.model.parameters())])
            assert all(np.abs(g).max() > 0 for g in seen[0].values())
    assert_equal(*found)


def test_changes_between_steps_act():
    """Another rate, another kind of optimizer, a frozen layer, an optimizer with norms, loaded state: as without."""
    x, y = data()

    def steps(trainer):
        for _ in range(2):
            trainer.train_step(x[:ROWS], y[:ROWS])

    found = []
    for off in ((), ("fuse_update",)):
        with passes.disabled(*off):
            trainer = trainer_of(NETS["batch norm"], optim.Adam(lr=0.01))
            steps(trainer)
            trainer.optimizer.lr = 0.1
            steps(trainer)
            trainer.optimizer = optim.SGD(lr=0.1, momentum=0.5)
            steps(trainer)
            next(iter(trainer.model.parameters())).requires_grad = False
            steps(trainer)
            trainer.optimizer = optim.LAMB(lr=0.01)
            steps(trainer)
            trainer.clip_grad_norm = 0.1
            trainer.optimizer = optim.Adam(lr=0.02)
            steps(trainer)
            trainer.clip_grad_norm = None
            steps(trainer)
            found.append([p.numpy().copy() for p in trainer.model.parameters()])
    assert_equal(*found)
