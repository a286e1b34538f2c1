"""grad, value_and_grad, vjp, jvp, compile: values, dtypes, structures, caches, and against PyTorch."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn.graph.parameter import Parameter
from fastnn.graph.transforms import CACHE_SIZE


def neuron(w, x):
    return -F.log(F.sigmoid(w * x))


def test_worked_example_in_both_modes():
    """y = 1, W = X = 3: loss 1.234021897e-4, dL/dW = -3.701837279587e-4."""
    value, gradient = fastnn.value_and_grad(neuron)(3.0, 3.0)
    assert abs(value - 1.234021897e-4) < 5e-14
    assert abs(gradient - -3.701837279587e-4) < 5e-16
    value, tangent = fastnn.jvp(neuron, (3.0, 3.0), (1.0, 0.0))
    assert abs(value - 1.234021897e-4) < 5e-14
    assert abs(tangent - -3.701837279587e-4) < 5e-16


def test_shared_weight_through_depth():
    """Linear net with one shared W = diag(a, b) and y = sum of h_n: dy/d(a, b) = (n a^(n-1), n b^(n-1))."""

    def net(w, n):
        h = w * 0.0 + 1.0
        for _ in range(n):
            h = h * w
        return h.sum()

    for w, n, expected in (
        ((0.5, 0.9), 10, (10 * 0.5**9, 3.8742)),
        ((1.0, 2.0), 8, (8, 8 * 2**7)),
        ((0.9, 0.9), 100, (0.00295, 0.00295)),
    ):
        gradient = fastnn.grad(lambda w, n=n: net(w, n))(np.array(w))
        np.testing.assert_allclose(gradient, expected, rtol=2e-3)
        np.testing.assert_allclose(gradient, [n * v ** (n - 1) for v in w], rtol=1e-12)


@pytest.mark.parametrize(
    "given, expected",
    [
        (np.ones(3, np.float32), np.float32),
        (np.ones(3, np.float64), np.float64),
        (np.ones(3, np.int64), np.float32),
        (np.ones(3, np.uint8), np.float32),
        (np.ones(3, np.float16), np.float32),
        (np.ones(3, np.float64).byteswap().view(">f8"), np.float64),
        (2.0, np.float64),
        (2, np.float32),
    ],
)
def test_dtypes(given, expected):
    gradient = fastnn.grad(lambda x: F.sum(F.square(x)))(given)
    assert gradient.dtype == expected
    np.testing.assert_array_equal(gradient, 2 * np.asarray(given, expected))


def test_mixed_floats_are_refused():
    with pytest.raises(TypeError, match="mix float32 and float64"):
        fastnn.grad(lambda x, y: (x * y).sum())(np.ones(2, np.float32), np.ones(2))
    with pytest.raises(TypeError, match="complex"):
        fastnn.grad(lambda x: x.sum())(np.ones(2, complex))


def test_python_numbers_follow_the_arrays():
    assert fastnn.grad(lambda x, s: (x * s).sum(), 1)(np.ones(3, np.float32), 2.0).dtype == np.float32


def test_any_strides_and_empty_arrays(rng):
    x = rng.normal(size=(6, 8))
    f = fastnn.grad(lambda x: (x * x * x).sum())
    for view in (x[::2, ::-3], x.T, np.asfortranarray(x), x[:0]):
        np.testing.assert_allclose(f(view), 3 * view**2, rtol=1e-14)
    readonly = x.copy()
    readonly.flags.writeable = False
    np.testing.assert_allclose(f(readonly), 3 * x**2, rtol=1e-14)


def test_nested_arguments_and_results(rng):
    params = {"w": rng.normal(size=(3, 2)), "b": [rng.normal(size=2), rng.normal(size=2)]}
    x = rng.normal(size=(5, 3))

    def model(p, x):
        return F.tanh(x @ p["w"] + p["b"][0]) * p["b"][1]

    value, gradient = fastnn.value_and_grad(lambda p, x: (model(p, x) ** 2).sum())(params, x)
    assert set(gradient) == {"w", "b"} and isinstance(gradient["b"], list)
    h = np.tanh(x @ params["w"] + params["b"][0])
    np.testing.assert_allclose(value, ((h * params["b"][1]) ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(gradient["b"][1], (2 * h * h * params["b"][1]).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(gradient["w"], x.T @ (2 * h * params["b"][1] ** 2 * (1 - h * h)), rtol=1e-12)
    both = fastnn.grad(lambda p, x: (model(p, x) ** 2).sum(), argnums=(1, 0))(params, x)
    assert both[0].shape == x.shape
    np.testing.assert_array_equal(both[1]["w"], gradient["w"])
    last = fastnn.grad(lambda p, x: (model(p, x) ** 2).sum(), argnums=-1)(params, x)
    np.testing.assert_array_equal(last, both[0])


def test_arguments_that_do_not_matter_have_zero_gradients(rng):
    x, y = rng.normal(size=3), rng.normal(size=2)
    gx, gy = fastnn.grad(lambda x, y: x.sum(), (0, 1))(x, y)
    assert np.array_equal(gx, np.ones(3)) and np.array_equal(gy, np.zeros(2))
    assert fastnn.grad(lambda x: F.sum(F.sign(x)))(x).tolist() == [0, 0, 0]


def test_labels_are_integer_arguments(rng):
    x, y = rng.normal(size=(4, 3)).astype(np.float32), np.array([0, 1, 2, 1])
    gradient = fastnn.grad(F.cross_entropy)
    softmax = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient(x, y), (softmax - np.eye(3)[y]) / 4, atol=1e-6)
    np.testing.assert_array_equal(gradient(x, y.astype(np.int16)), gradient(x, y))
    for bad in ([0, 1, 3, 1], [0, -1, 2, 1]):
        with pytest.raises(IndexError, match="of row . is out of range for 3 classes"):
            gradient(x, np.array(bad))
        with pytest.raises(IndexError, match="is out of range"):
            fastnn.grad(lambda x, bad=tuple(bad): F.cross_entropy(x, np.array(bad)))(x)
    both = fastnn.grad(lambda x, y: F.cross_entropy(x, y) + F.sum(x * y.reshape(4, 1)))  # as numbers too
    np.testing.assert_allclose(both(x, y), gradient(x, y) + y[:, None], atol=1e-6)


def test_worked_cross_entropy():
    """Logits (5, 2, -1, 3): softmax (0.842, 0.042, 0.002, 0.114); second class, probabilities (0.3, 0.2, 0.1, 0.4)."""
    np.testing.assert_allclose(F.softmax(np.array([5.0, 2, -1, 3])), [0.842, 0.042, 0.002, 0.114], atol=5e-4)
    logits = np.log(np.array([[0.3, 0.2, 0.1, 0.4]]))
    value, gradient = fastnn.value_and_grad(lambda z: F.cross_entropy(z, np.array([1])))(logits)
    assert abs(value - 1.6094) < 1e-4
    np.testing.assert_allclose(gradient, [[0.3, -0.8, 0.1, 0.4]], atol=1e-12)


def test_vjp_and_jvp(rng):
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    y, pullback = fastnn.vjp(lambda a, b: (a @ b, F.exp(a)), a, b)
    np.testing.assert_allclose(y[0], a @ b, rtol=1e-13)
    u = (rng.normal(size=(3, 2)), rng.normal(size=(3, 4)))
    da, db = pullback(u)
    np.testing.assert_allclose(da, u[0] @ b.T + u[1] * np.exp(a), rtol=1e-12)
    np.testing.assert_allclose(db, a.T @ u[0], rtol=1e-12)
    y, dy = fastnn.jvp(lambda a, b: a @ b, (a, b), (u[1], b))
    np.testing.assert_allclose(dy, u[1] @ b + a @ b, rtol=1e-12)
    y, dy = fastnn.jvp(F.exp, a, u[1])
    np.testing.assert_allclose(dy, np.exp(a) * u[1], rtol=1e-13)
    with pytest.raises(ValueError, match="cotangent"):
        pullback((u[0].T, u[1]))
    with pytest.raises(ValueError, match="tangent"):
        fastnn.jvp(F.exp, (a,), (b,))
    with pytest.raises(ValueError, match="2 arguments but 1 tangents"):
        fastnn.jvp(lambda a, b: a @ b, (a, b), (a,))


def test_hessian_vector_product(rng):
    matrix = rng.normal(size=(5, 5))
    x, v = rng.normal(size=5), rng.normal(size=5)

    def energy(x):
        return F.sum(x * (matrix @ x)) + F.sum(x**3)

    hessian = matrix + matrix.T + np.diag(6 * x)
    _, product = fastnn.jvp(fastnn.grad(energy), (x,), (v,))
    np.testing.assert_allclose(product, hessian @ v, rtol=1e-11)
    third = fastnn.grad(fastnn.grad(fastnn.grad(lambda x: x**4)))
    assert abs(third(2.0) - 48.0) < 1e-12


def test_hvp_agrees_with_torch(rng):
    torch = pytest.importorskip("torch")
    w, b, x, y = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    direction = (rng.normal(size=w.shape), rng.normal(size=b.shape))

    def ours(w, b):
        return F.cross_entropy(F.tanh(x @ w + b) * 2.0, y) + 0.1 * F.sum(F.square(w))

    def theirs(w, b):
        z = torch.tanh(torch.tensor(x) @ w + b) * 2
        return torch.nn.functional.cross_entropy(z, torch.tensor(y)) + 0.1 * (w**2).sum()

    value, expected = torch.autograd.functional.hvp(
        theirs, (torch.tensor(w), torch.tensor(b)), tuple(map(torch.tensor, direction))
    )
    for _ in range(2):
        y_, product = fastnn.hvp(ours, (w, b), direction)
        np.testing.assert_allclose(y_, value.item(), rtol=1e-12)
        for p, e in zip(product, expected, strict=True):
            np.testing.assert_allclose(p, e.numpy(), rtol=1e-10, atol=1e-13)
    y_, single = fastnn.hvp(lambda x: F.sum(x**3), x, x)
    np.testing.assert_allclose(single, 6 * x * x, rtol=1e-12)
    with pytest.raises(ValueError, match="tangent"):
        fastnn.hvp(ours, (w, b), (b, w))


def test_inner_gradients_are_partial():
    """A gradient inside a function does not see how its arguments depend on each other outside."""

    def f(x):
        y = x * x
        return fastnn.grad(lambda a, b: a * b, 0)(x, y)  # = y, not y + x * 2 x

    assert fastnn.compile(f)(3.0) == 9.0
    assert fastnn.grad(f)(3.0) == 6.0


def test_only_numbers_have_gradients(rng):
    with pytest.raises(ValueError, match="use vjp"):
        fastnn.grad(lambda x: x * 2.0)(rng.normal(size=3))
    with pytest.raises(TypeError, match="returned None"):
        fastnn.grad(lambda x: None)(rng.normal(size=3))
    with pytest.raises(ValueError, match="argnums names argument 2"):
        fastnn.grad(lambda x: x.sum(), 2)(rng.normal(size=3))


def test_one_trace_per_signature(rng):
    traces = []

    def f(x):
        traces.append(x.shape)
        return F.sum(x * x)

    g = fastnn.grad(f)
    for _ in range(3):
        g(np.ones(3))
        g(np.ones((2, 3), np.float32))
    assert traces == [(3,), (2, 3)]
    for n in range(CACHE_SIZE + 1):
        g(np.ones(n + 10))
    g(np.ones(3))
    assert traces.count((3,)) == 2  # the table is bounded, the oldest went
    for _ in range(3):
        fastnn.jvp(f, (np.ones(4),), (np.ones(4),))
    assert traces.count((4,)) == 1


def test_parameters_are_referenced_and_constants_copied(rng):
    weight = Parameter(rng.normal(size=(2, 3)))
    constant = rng.normal(size=3)
    f = fastnn.compile(lambda x: F.linear(x, weight) + (x * constant).sum())
    x = rng.normal(size=(4, 3))
    kept = constant.copy()
    first = f(x)
    np.testing.assert_allclose(first, x @ weight.numpy().T + (x * kept).sum(), rtol=1e-12)
    weight.assign(np.ones((2, 3)))
    constant[:] = 0
    np.testing.assert_allclose(f(x), x @ np.ones((3, 2)) + (x * kept).sum(), rtol=1e-12)


def test_a_changed_closure_is_seen():
    scale = 2.0

    def f(x):
        return x * scale

    g, h = fastnn.compile(f), fastnn.grad(lambda x: f(x).sum())
    k = fastnn.grad(fastnn.grad(lambda x: (x * x).sum() * scale))
    assert g(np.ones(1))[0] == 2 and h(np.ones(1))[0] == 2 and k(1.0) == 4
    assert fastnn.jvp(f, (1.0,), (1.0,))[1] == 2
    scale = 3.0
    assert g(np.ones(1))[0] == 3 and k(1.0) == 6 and h(np.ones(1))[0] == 3
    assert fastnn.jvp(f, (1.0,), (1.0,))[1] == 3
    for _ in range(50):  # ids of dead objects come again: they must not stand for them
        scale = np.random.rand()
        assert g(np.ones(1))[0] == scale and k(1.0) == 2 * scale


@pytest.mark.parametrize("seed", range(3))
def test_random_expressions_agree_with_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in ((6, 4), (4, 5), (5,), (6, 1))]

    def ours(x, w, b, s):
        h = F.tanh(x @ w + b) * s
        g = F.softmax(F.concatenate([h, F.sigmoid(h[:, ::2])], axis=1))
        z = F.log_softmax(h * F.exp(-F.square(s)))
        return (g * g).sum() + F.mean(z * z) + F.max(h) + (F.maximum(h, s) / (1.0 + F.absolute(x[:, :1]))).sum() ** 2

    def theirs(x, w, b, s):
        h = torch.tanh(x @ w + b) * s
        g = torch.softmax(torch.cat([h, torch.sigmoid(h[:, ::2])], dim=1), 1)
        z = torch.log_softmax(h * torch.exp(-(s**2)), 1)
        return (g * g).sum() + (z * z).mean() + h.max() + (torch.maximum(h, s) / (1 + x[:, :1].abs())).sum() ** 2

    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = theirs(*tensors)
    expected.backward()
    value, gradients = fastnn.value_and_grad(ours, (0, 1, 2, 3))(*arrays)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    for g, t in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-10, atol=1e-13)


TORCH_LOSSES = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "smooth": {"label_smoothing": 0.15},
    "weight": {"weight": (0.3, 2.0, 1.0, 0.5)},
    "weight smooth": {"weight": (0.3, 2.0, 1.0, 0.5), "label_smoothing": 0.2},
    "ignore": {"ignore_index": 1},
    "ignore weight": {"ignore_index": 1, "weight": (0.3, 2.0, 1.0, 0.5), "label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", TORCH_LOSSES)
def test_cross_entropy_agrees_with_torch(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    options = dict(TORCH_LOSSES[name])
    x, y = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    t = torch.tensor(x, requires_grad=True)
    given = {k: torch.tensor(v, dtype=torch.float64) if k == "weight" else v for k, v in options.items()}
    loss = torch.nn.functional.cross_entropy(t, torch.tensor(y), **given)
    (first,) = torch.autograd.grad(loss, t, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), t)
    if "weight" in options:
        options["weight"] = np.array(options["weight"])

    def ours(x):
        return F.cross_entropy(x, y, **options)

    value, gradient = fastnn.value_and_grad(ours)(x)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, first.detach().numpy(), rtol=1e-11, atol=1e-15)
    twice = fastnn.grad(lambda x: F.sum(F.square(fastnn.grad(ours)(x))))(x)
    np.testing.assert_allclose(twice, second.numpy(), rtol=1e-10, atol=1e-14)


def test_batch_norm_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=s) for s in ((8, 3), (3,), (3,))]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    probe = rng.normal(size=(8, 3))
    y = torch.nn.functional.batch_norm(tensors[0], None, None, tensors[1], tensors[2], training=True)
    first = torch.autograd.grad((torch.tanh(y) * torch.tensor(probe)).sum(), tensors, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), tensors)

    def energy(x, w, b):
        return (F.tanh(F.batch_norm(x, weight=w, bias=b, training=True)) * probe).sum()

    gradient = fastnn.grad(energy, (0, 1, 2))
    for g, t in zip(gradient(*arrays), first, strict=True):
        np.testing.assert_allclose(g, t.detach().numpy(), rtol=1e-10, atol=1e-13)

    def squares(*args):
        return sum(F.sum(F.square(g)) for g in gradient(*args))

    for g, t in zip(fastnn.grad(squares, (0, 1, 2))(*arrays), second, strict=True):
        np.testing.assert_allclose(g, t.numpy(), rtol=1e-9, atol=1e-11)


def test_stored_values():
    """Values of PyTorch 2.13 in float64, for machines without it."""
    x = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
    y = np.array([2, 0])

    def energy(x):
        return F.cross_entropy(F.tanh(x) * 2.0, y, label_smoothing=0.1)

    value, gradient = fastnn.value_and_grad(energy)(x)
    assert abs(value - STORED_LOSS) < 1e-13
    np.testing.assert_allclose(gradient, STORED_GRADIENT, rtol=1e-12)


STORED_LOSS = 0.4513248308658857
STORED_GRADIENT = np.array(
    [
        [0.1799202414049627, -0.004475507612663093, -0.015410302761986003],
        [-0.031024904994502292, 0.15983636179979516, 0.0009847151033969066],
    ]
)


def test_compiled_functions_write_state_and_derivatives_do_not(rng):
    mean, var = Parameter(np.zeros(3), buffer=True), Parameter(np.ones(3), buffer=True)

    def f(x):
        return F.batch_norm(x, mean, var, training=True, momentum=0.5)

    x = rng.normal(size=(10, 3)) + 4
    g = fastnn.compile(f, x)
    assert not mean.numpy().any()  # compiling runs nothing
    for k in (1, 2):
        g(x)
        np.testing.assert_allclose(mean.numpy(), (1 - 0.5**k) * x.mean(axis=0), rtol=1e-12)
    kept = mean.numpy().copy()
    fastnn.grad(lambda x: F.sum(F.square(f(x))))(x)
    fastnn.jvp(f, x, x)
    fastnn.gradcheck(f, x)
    assert np.array_equal(mean.numpy(), kept)
