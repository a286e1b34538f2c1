"""Optimizer steps against the twins and PyTorch, one step at a time from the same state."""

import numpy as np
import pytest
from compare import assert_ulp, assert_within, same_bits
from reference import optimizers as twin
from reference.precision import wider_than

from fastnn import kernels

SIZES = [0, 1, 3, 15, 16, 17, 63, 64, 65, 130, 5000]
CASES = [
    ("sgd", {}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", {}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.01}),
    ("adam", {}),
    ("adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.01}),
]
STATES = {"sgd": 1, "rmsprop": 1, "adam": 2}


def arrays(rng, name, n, dtype):
    param, grad = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
    states = [(0.1 * rng.standard_normal(n)).astype(dtype) for _ in range(STATES[name])]
    states[-1] = np.abs(states[-1])
    return param, grad, *states


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_one_step(name, settings, step, dtype, isa, rng):
    eps = np.finfo(dtype).eps
    for n in SIZES:
        given = arrays(rng, name, n, dtype)
        wide = [v.astype(wider_than(dtype)) for v in given]
        exact = getattr(twin, name)(*wide, step=step, **settings)
        positive = getattr(twin, name)(*map(np.abs, wide), step=step, **settings)  # no sum cancels
        before = [v.copy() for v in given]
        assert getattr(kernels, name)(*given, step=step, **settings) is None
        assert same_bits(given[1], before[1])  # the gradient stays
        update = np.abs(exact[0] - wide[0]) + np.abs(positive[0] - np.abs(wide[0]))
        assert_within(given[0], exact[0], eps * (np.abs(exact[0]) + np.abs(wide[0]) + 8 * update))
        for got, state in zip(given[2:], exact[1:]):
            if state is not None and not (name == "sgd" and settings.get("momentum", 0) == 0):
                assert_within(got, state, 4 * eps * (np.abs(state) + np.abs(before[1]) + 0.1))


def test_adam_within_the_error_model(isa, rng):
    """Second moment within 3 ulp, update within 4 ulp (5 without FMA), for gradients from 1e-15 to 1e15."""
    n = 4000
    grad = (rng.choice([-1, 1], n) * 10 ** rng.uniform(-15, 15, n)).astype(np.float32)
    m, v = (0.1 * grad).astype(np.float32), (grad.astype(float) ** 2 * rng.uniform(0.1, 2, n)).astype(np.float32)
    keep = (v > 1e-30) & np.isfinite(v)
    grad, m, v = grad[keep], m[keep], v[keep]
    for step in (1, 10, 1000, 10**6):
        param, got_m, got_v = np.zeros_like(grad), m.copy(), v.copy()  # from 0 the parameter is the update itself
        kernels.adam(param, grad, got_m, got_v, step=step)
        exact = twin.adam(np.zeros_like(grad), grad, m, v, step=step)
        assert_ulp(got_v, exact[2], 3)
        assert_ulp(param, exact[0], 4 if isa in ("avx2", "avx512", "neon") else 5)  # without FMA two more roundings


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_many_steps_against_torch(name, settings, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal(40)
    tensor = torch.nn.Parameter(torch.tensor(start))
    maker = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}[name]
    optimizer = maker([tensor], **settings)
    param, *states = start.copy(), *(np.zeros(40) for _ in range(STATES[name]))
    for step in range(1, 51):
        grad = np.cos(param) + param**3
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        getattr(kernels, name)(param, grad, *states, step=step, **settings)
        np.testing.assert_allclose(param, tensor.detach().numpy(), rtol=1e-11, atol=1e-14)


def test_adam_stays_near_float64_for_1000_steps(isa):
    curvature = np.logspace(0, 3, 64)
    wide = [np.ones(64), np.zeros(64), np.zeros(64)]
    narrow = [v.astype(np.float32) for v in wide]
    for step in range(1, 1001):
        kernels.adam(wide[0], curvature * wide[0], wide[1], wide[2], step=step, lr=1e-3)
        kernels.adam(narrow[0], curvature.astype(np.float32) * narrow[0], narrow[1], narrow[2], step=step, lr=1e-3)
    assert np.linalg.norm(narrow[0] - wide[0]) <= 1e-5 * np.linalg.norm(np.ones(64))


def test_zero_gradient_keeps_padding_zero(dtype):
    """A parameter's padding has param = grad = state = 0 and must stay 0, even with eps = 0."""
    for name in ("rmsprop", "adam"):
        zeros = [np.zeros(20, dtype) for _ in range(2 + STATES[name])]
        getattr(kernels, name)(*zeros, step=1, eps=0.0, weight_decay=0.1)
        assert not any(z.any() for z in zeros)


@pytest.mark.parametrize("name", sorted(STATES))
def test_layouts(name, dtype, isa, rng):
    plain = [v.reshape(6, 7) for v in arrays(rng, name, 42, dtype)]
    views = []
    for v in plain:
        holder = np.full((6, 16), 5, dtype)
        holder[:, 1:15:2] = v
        views.append(holder[:, 1:15:2])
    fortran = [np.asfortranarray(v) for v in plain]
    settings = {"momentum": 0.9} if name == "sgd" else {}
    getattr(kernels, name)(*plain, step=3, **settings)
    for others in (views, fortran):
        getattr(kernels, name)(*others, step=3, **settings)
        for a, b in zip(others, plain):
            assert same_bits(a, b)
    assert np.all(views[0].base[:, ::2] == 5)


def test_gradient_that_overlaps_the_parameter_is_read_first(dtype, isa, rng):
    memory = rng.standard_normal(200).astype(dtype)
    for shift in (0, 1, 2, 7):
        a, b = memory.copy(), memory.copy()
        kernels.sgd(a[shift : shift + 150], a[:150], step=1, lr=0.5)
        kernels.sgd(b[shift : shift + 150], memory[:150], step=1, lr=0.5)
        assert same_bits(a, b), shift


def test_zero_rate_changes_nothing(dtype, rng):
    param, grad, m, v = arrays(rng, "adam", 50, dtype)
    kept = param.copy()
    kernels.adam(param, grad, m, v, step=1, lr=0.0)
    assert same_bits(param, kept)


def test_errors(rng):
    param, grad, m, v = arrays(rng, "adam", 10, np.float32)
    with pytest.raises(ValueError, match=r"grad has shape \(9,\) but param has \(10,\)"):
        kernels.adam(param, grad[:9], m, v, step=1)
    with pytest.raises(TypeError, match="exp_avg is float64 but param is float32"):
        kernels.adam(param, grad, m.astype(float), v, step=1)
    with pytest.raises(ValueError, match="steps are counted from 1"):
        kernels.adam(param, grad, m, v, step=0)
    with pytest.raises(ValueError, match=r"betas\[1\] is 1.0"):
        kernels.adam(param, grad, m, v, step=1, betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="param is list"):
        kernels.adam([1.0], grad, m, v, step=1)
    with pytest.raises(TypeError, match="param is int64"):
        kernels.sgd(np.arange(3), np.arange(3), step=1)
    with pytest.raises(TypeError, match="needs momentum_buffer"):
        kernels.sgd(param, grad, step=1, momentum=0.9)
    with pytest.raises(ValueError, match="nesterov needs"):
        kernels.sgd(param, grad, m, step=1, nesterov=True)
    with pytest.raises(ValueError, match="share memory"):
        kernels.adam(param, grad, m, m, step=1)
    with pytest.raises(ValueError, match="share memory"):
        kernels.rmsprop(param, grad, param, step=1)
    frozen = param.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="param is read-only"):
        kernels.adam(frozen, grad, m, v, step=1)
    with pytest.raises(ValueError, match="overlaps itself"):
        kernels.sgd(np.lib.stride_tricks.as_strided(param, (4, 4), (4, 4)), np.ones((4, 4), np.float32), step=1)
    grad.flags.writeable = False
    kernels.adam(param, grad, m, v, step=1)  # a read-only gradient is fine
    kernels.sgd(param, param, step=1, lr=0.5)  # and so is the parameter itself: as if it had been copied
