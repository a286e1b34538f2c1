"""Optimizer steps against the twins and PyTorch, one step at a time from the same state."""

import numpy as np
import pytest
from compare import assert_ulp, assert_within, same_bits
from reference import optimizers as twin
from reference.precision import wider_than

from fastnn import _native, kernels
from fastnn.threads import num_threads

SIZES = [0, 1, 3, 15, 16, 17, 63, 64, 65, 130, 5000]
CASES = [
    ("sgd", {}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.01, "maximize": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "form": "classical", "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "form": "classical", "nesterov": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "form": "averaging"}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.01, "eps": 1e-3, "maximize": True}),
    ("adadelta", {}),
    ("adadelta", {"lr": 0.5, "rho": 0.7, "weight_decay": 0.01, "eps": 1e-3, "maximize": True}),
    ("rmsprop", {}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.01}),
    ("rmsprop", {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    ("rmsprop", {"lr": 0.1, "centered": True}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    ("adam", {}),
    ("adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.01}),
    ("adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.01, "maximize": True}),
    ("adamw", {}),
    ("adamw", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ("nadam", {}),
    ("nadam", {"lr": 0.1, "betas": (0.8, 0.9), "momentum_decay": 0.1, "weight_decay": 0.01, "maximize": True}),
    ("lars", {"lr": 0.5}),
    ("lars", {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.1, "eps": 0.1}),
    ("lars", {"lr": 0.5, "maximize": True}),
    ("lamb", {}),
    ("lamb", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps_inside_root": True, "maximize": True}),
    ("lamb", {"lr": 0.1, "trust_clip": 0.3}),
]
NAMES = [row["name"] for row in _native.list_rows("optimizers")]
STATES = {row["name"]: row["states"] for row in _native.list_rows("optimizers")}
PER_LAYER = ("lars", "lamb")  # a rate from the norms of the whole parameter
IDS = [f"{name}-{'-'.join(map(str, settings))}" for name, settings in CASES]


def states_of(name, settings):
    """For each state of the row, whether these settings need it."""
    needed = {
        "momentum_buffer": name == "lars" or settings.get("momentum", 0) != 0,
        "grad_avg": settings.get("centered", False),
        "max_exp_avg_sq": settings.get("amsgrad", False),
    }
    return [needed.get(state, True) for state in STATES[name]]


def arguments(settings):
    """What the kernel takes: centered and amsgrad are said by their states."""
    return {key: value for key, value in settings.items() if key not in ("centered", "amsgrad")}


def arrays(rng, name, n, dtype, settings=None):
    """param, grad and the states that the settings need (None: not needed)."""
    param, grad = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
    states = []
    for state, needed in zip(STATES[name], states_of(name, settings or {}), strict=True):
        values = (0.1 * rng.standard_normal(n)).astype(dtype)
        if "sq" in state or state in ("sum", "acc_delta"):  # averages of squares; above the square of any other average
            values = (0.3 + np.abs(values)).astype(dtype)
        states.append(values if needed or settings is None else None)
    return [param, grad, *states]


def copied(values):
    return [None if v is None else v.copy() for v in values]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_one_step(name, settings, step, dtype, isa, rng):
    eps = np.finfo(dtype).eps
    for n in SIZES:
        given = arrays(rng, name, n, dtype, settings)
        wide = [None if v is None else v.astype(wider_than(dtype)) for v in given]
        exact = getattr(twin, name)(*wide, step=step, **arguments(settings))
        before = copied(given)
        assert getattr(kernels, name)(*given, step=step, **arguments(settings)) is None
        assert same_bits(given[1], before[1])  # the gradient stays
        # what the states are sums of, so that cancellation is allowed for
        size = np.abs(before[0]) + np.abs(before[1])
        for got, state, old in zip(given[2:], exact[1:], before[2:]):
            if got is not None:
                assert_within(got, state, 6 * eps * (np.abs(state) + np.abs(old) + size + size**2))
        buffer = given[2] if name in ("sgd", "lars") and given[2] is not None else 0.0
        update = np.abs(exact[0] - wide[0])
        slack = {"rmsprop": 40, "nadam": 30, "lamb": 30}.get(name, 12)
        scale = update + settings.get("lr", 0.01) * (np.abs(buffer) + size)
        assert_within(given[0], exact[0], eps * (np.abs(exact[0]) + np.abs(wide[0]) + slack * scale))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_within_the_error_model(name, isa, rng):
    """Second moment within 3 ulp, update within 4 ulp, for gradients from 1e-15 to 1e15."""
    n = 4000
    grad = (rng.choice([-1, 1], n) * 10 ** rng.uniform(-15, 15, n)).astype(np.float32)
    m, v = (0.1 * grad).astype(np.float32), (grad.astype(float) ** 2 * rng.uniform(0.1, 2, n)).astype(np.float32)
    keep = (v > 1e-30) & np.isfinite(v)
    grad, m, v = grad[keep], m[keep], v[keep]
    for step in (1, 10, 1000, 10**6):
        param, got_m, got_v = np.zeros_like(grad), m.copy(), v.copy()  # from 0 the parameter is the update itself
        getattr(kernels, name)(param, grad, got_m, got_v, step=step)
        exact = getattr(twin, name)(np.zeros_like(grad), grad, m, v, step=step)
        terms = np.abs(0.9 * m.astype(float)) + np.abs((1 - 0.9) * grad.astype(float))
        assert_within(got_m, exact[1], 2 * np.finfo(np.float32).eps * terms)
        assert_ulp(got_v, exact[2], 3)
        assert_ulp(param, exact[0], 4)


def test_gradients_of_any_size_leave_no_nan(isa):
    """From 1e-30 to 1e30 the squares under- and overflow in float32; the weights stay finite all the same."""
    grad = np.concatenate([sign * np.logspace(-30, 30, 61) for sign in (1, -1)]).astype(np.float32)
    for name in NAMES:
        states = [np.zeros_like(grad) if needed else None for needed in states_of(name, {})]
        param = np.ones_like(grad)
        for step in (1, 2):
            getattr(kernels, name)(param, grad, *states, step=step)
        assert np.isfinite(param).all(), name


TORCH = {
    "sgd": "SGD", "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW",
    "nadam": "NAdam",
}  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_fifty_steps_against_torch(name, settings, rng):
    torch = pytest.importorskip("torch")
    if name not in TORCH or "form" in settings:
        pytest.skip("PyTorch does not have it")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam's running product is a tensor of this dtype
    try:
        start = rng.standard_normal(40)
        tensor = torch.nn.Parameter(torch.tensor(start))
        optimizer = getattr(torch.optim, TORCH[name])([tensor], **settings)
        param = start.copy()
        states = [np.zeros(40) if needed else None for needed in states_of(name, settings)]
        for step in range(1, 51):
            grad = np.cos(param) + param
            tensor.grad = torch.tensor(grad)
            optimizer.step()
            getattr(kernels, name)(param, grad, *states, step=step, **arguments(settings))
            np.testing.assert_allclose(param, tensor.detach().numpy(), rtol=1e-10, atol=1e-14)
        assert np.abs(param - start).min() > 1e-5
    finally:
        torch.set_default_dtype(default)


@pytest.mark.parametrize("name", TORCH)
def test_nan_and_infinity_come_out_where_pytorch_has_them(name, isa):
    torch = pytest.importorskip("torch")
    grad = np.array([1.0, np.nan, np.inf, -np.inf, 0.0, -0.0, 1e25, -1e30, 1e-40, 3.0] * 4, np.float32)
    tensor = torch.nn.Parameter(torch.ones(len(grad)))
    optimizer = getattr(torch.optim, TORCH[name])([tensor])
    param = np.ones_like(grad)
    states = [np.zeros_like(grad) if needed else None for needed in states_of(name, {})]
    for step in (1, 2):
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        getattr(kernels, name)(param, grad, *states, step=step)
        expected = tensor.detach().numpy()
        np.testing.assert_array_equal(np.isnan(param), np.isnan(expected))
        np.testing.assert_allclose(param, expected, rtol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_threads(name, dtype, isa, rng):
    results = []
    given = arrays(rng, name, 30011, dtype)
    for threads in (1, 2, 3, 4):
        with num_threads(threads, force=True):
            values = copied(given)
            getattr(kernels, name)(*values, step=2, **({"momentum": 0.9} if name == "sgd" else {}))
            results.append(values)
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", PER_LAYER)
def test_layers_of_zeros_take_a_ratio_of_one(name, dtype, isa, rng):
    for zero in (0, 1):
        given = arrays(rng, name, 100, dtype, {})
        given[zero][:] = 0
        for state in given[2:]:
            state[:] = 0
        exact = getattr(twin, name)(*given, step=1, lr=0.5)
        getattr(kernels, name)(*given, step=1, lr=0.5)
        np.testing.assert_allclose(given[0], exact[0], rtol=1e-5)


def test_norms_of_layers_do_not_overflow(isa):
    param, grad = np.full(5000, 1e25, np.float32), np.full(5000, 1e30, np.float32)
    buffer = np.zeros(5000, np.float32)
    exact = twin.lars(param, grad, buffer, step=1, lr=1.0, trust_coefficient=0.5)
    kernels.lars(param, grad, buffer, step=1, lr=1.0, trust_coefficient=0.5)
    np.testing.assert_allclose(param, exact[0], rtol=1e-6)


def test_classical_nesterov_is_the_look_ahead_gradient():
    """Its weights are phi = theta + momentum * v of the method that takes the gradient at theta + momentum * v."""
    rng = np.random.default_rng(5)
    theta, momentum, lr = rng.standard_normal(20), 0.9, 0.05
    v, phi, buf = np.zeros(20), theta.copy(), np.zeros(20)
    for step in range(1, 31):
        v = momentum * v - lr * np.sinh(theta + momentum * v)
        theta = theta + v
        kernels.sgd(phi, np.sinh(phi), buf, step=step, lr=lr, momentum=momentum, nesterov=True, form="classical")
        np.testing.assert_allclose(phi, theta + momentum * v, rtol=1e-12)
        np.testing.assert_allclose(buf, v, rtol=1e-11, atol=1e-15)


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
    for name in NAMES:
        zeros = [np.zeros(20, dtype) for _ in range(2 + len(STATES[name]))]
        settings = {} if name == "sgd" else {"eps": 0.0}
        getattr(kernels, name)(*zeros, step=1, weight_decay=0.1, **settings)
        assert not any(z.any() for z in zeros)


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_alignment(name, dtype, isa, rng):
    """The first elements up to a whole vector of the parameter go by themselves, wherever the other arrays lie."""
    settings = {"momentum": 0.9} if name == "sgd" else {}
    for size in (1, 7, 50):
        plain = arrays(rng, name, size, dtype)
        given = copied(plain)
        getattr(kernels, name)(*plain, step=3, **settings)
        for shift in range(17):
            moved = []
            for i, v in enumerate(given):
                start = shift * (i + 1) if shift % 2 else shift
                moved.append(np.full(size + 110, 7, dtype)[start : start + size])
                moved[-1][:] = v
            getattr(kernels, name)(*moved, step=3, **settings)
            for a, b in zip(moved, plain, strict=True):
                assert same_bits(a, b)
                assert np.count_nonzero(a.base == 7) >= 110


@pytest.mark.parametrize("name", ["adam", "adamw", "lamb"])
def test_the_two_ways_to_bias_corrections_give_the_same_bits(name, rng):
    for step in (1, 2, 7, 1000, 10**6, 2**60):
        for betas in ((0.9, 0.999), (0.0, 0.5), (1 - 2.0**-53, 0.1)):
            plain, others = (arrays(np.random.default_rng(step), name, 20, np.float64) for _ in range(2))
            getattr(kernels, name)(*plain, step=step, betas=betas)
            getattr(kernels, name)(*others, step=np.int64(step), betas=[np.float64(b) for b in betas])
            assert all(same_bits(a, b) for a, b in zip(plain, others, strict=True))
    for step, betas in ((0, (0.9, 0.9)), (1, (1.0, 0.9)), (1, (0.9, -0.1)), (1, (0.9, np.nan))):
        with pytest.raises(ValueError, match="counted from 1" if step == 0 else "expected 0 <= betas"):
            getattr(kernels, name)(*plain, step=step, betas=betas)


def test_gradient_that_overlaps_the_parameter_is_read_first(dtype, isa, rng):
    memory = rng.standard_normal(200).astype(dtype)
    for shift in (0, 1, 2, 7):
        a, b = memory.copy(), memory.copy()
        kernels.sgd(a[shift : shift + 150], a[:150], step=1, lr=0.5)
        kernels.sgd(b[shift : shift + 150], memory[:150], step=1, lr=0.5)
        assert same_bits(a, b), shift


def test_zero_rate_changes_nothing(dtype, rng):
    param, grad, m, v, _ = arrays(rng, "adam", 50, dtype)
    kept = param.copy()
    kernels.adam(param, grad, m, v, step=1, lr=0.0)
    assert same_bits(param, kept)


def test_errors(rng):
    param, grad, m, v, _ = arrays(rng, "adam", 10, np.float32)
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
    with pytest.raises(ValueError, match="form is 'keras': expected one of torch, classical, averaging"):
        kernels.sgd(param, grad, m, step=1, momentum=0.9, form="keras")
    with pytest.raises(TypeError, match="rmsprop with momentum needs momentum_buffer"):
        kernels.rmsprop(param, grad, v, step=1, momentum=0.9)
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
