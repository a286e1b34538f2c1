"""Activations against PyTorch in float64 (values, gradients, gradients of parameters), and their modules."""

import numpy as np
import pytest
from compare import same_bits
from reference import activations

import fastnn
from fastnn import Trainer, _native, kernels, nn, optim
from fastnn import functional as F

# fastnn's name, options -> PyTorch's function of torch.nn.functional
PAIRS = [
    ("relu", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("elu", {}), ("elu", {"alpha": 0.7}),
    ("selu", {}), ("celu", {}), ("celu", {"alpha": 1.6}), ("celu", {"alpha": 2.0}), ("softplus", {}),
    ("softplus", {"beta": 2.5, "threshold": 8.0}),
    ("softsign", {}), ("sigmoid", {}), ("tanh", {}), ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}),
    ("mish", {}), ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 2.0}), ("hardsigmoid", {}),
    ("hardswish", {}),
]  # fmt: skip
# PyTorch's backward rounds 1 / 6 and 1 / alpha to float32 even in float64
SINGLE = [("hardsigmoid", {}), ("celu", {"alpha": 1.6})]
NOT_IN_PYTORCH = {"identity", "shifted_relu"}
IDS = ["-".join([name, *map(str, options.values())]) for name, options in PAIRS]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def test_every_activation_is_compared():
    names = {name for name, _ in PAIRS} | {"gelu_tanh"} | NOT_IN_PYTORCH
    assert names == {row["name"] for row in _native.list_rows("activations")}


@pytest.mark.parametrize(("name", "options"), PAIRS, ids=IDS)
def test_values_and_gradients_equal_pytorchs(name, options, torch, isa, rng):
    x, grad = np.concatenate([rng.uniform(-4, 4, 400), rng.uniform(-30, 30, 100)]), rng.standard_normal(500)
    peer = torch.from_numpy(x).requires_grad_()
    y = getattr(torch.nn.functional, name)(peer, **options)
    y.backward(torch.from_numpy(grad))
    # PyTorch's own tails cancel (1 + erf, 1 + tanh): 1e-13 absolute is its error there
    np.testing.assert_allclose(getattr(F, name)(x, **options), y.detach().numpy(), rtol=1e-10, atol=1e-13)
    gradient = fastnn.grad(lambda x: F.sum(getattr(F, name)(x, **options) * grad))(x)
    single = (name, options) in SINGLE
    np.testing.assert_allclose(gradient, peer.grad.numpy(), rtol=1e-6 if single else 1e-10, atol=1e-13)
    if single:
        exact = grad * getattr(activations, name + "_derivative")(x, *options.values())
        np.testing.assert_allclose(gradient, exact, rtol=1e-14, atol=1e-15)  # celu's is taken from the output


FROM_OUTPUT = [row["name"] for row in _native.list_rows("activations") if row["from_output"]]


@pytest.mark.parametrize("name", FROM_OUTPUT)
def test_derivatives_from_the_output_are_those_from_the_input(name, dtype, isa, rng):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    x = np.concatenate([rng.uniform(-4, 4, 203), [-60.0, -0.0, 0.0, 60.0]]).astype(dtype)
    grad, y = rng.standard_normal(x.size).astype(dtype), forward(x)
    expected = backward(grad.astype(np.float64), x.astype(np.float64))
    eps = np.finfo(dtype).eps
    # the output is known to a few roundings (docs/accuracy.md): where it saturates, the derivative is absolute
    np.testing.assert_array_less(np.abs(backward(grad, None, output=y) - expected), 8 * eps * (np.abs(grad) + 0.1))
    out = grad.copy()
    assert backward(out, None, output=y, out=out) is out
    assert same_bits(out, backward(grad, x, output=y))
    assert same_bits(out, backward(grad[::-1], None, output=y[::-1])[::-1])
    parameters = fastnn.grad(lambda x: F.sum(getattr(F, name)(x) * grad))
    assert same_bits(parameters(x), out)  # the graph keeps the output
    nan = backward(grad[:1], None, output=np.array([np.nan], dtype))
    assert np.isnan(nan[0]) == (name in ("sigmoid", "tanh", "elu", "selu", "celu"))


def test_an_output_that_hides_the_sign_is_refused(rng):
    x = rng.standard_normal(5)
    for name, parameter in (("elu", "alpha"), ("leaky_relu", "negative_slope")):
        backward, y = getattr(kernels, name + "_backward"), getattr(kernels, name)(x, -0.5)
        with pytest.raises(ValueError, match=f"{parameter} >= 0, not -0.5"):
            backward(x, None, -0.5, output=y)
        gradient = fastnn.grad(lambda x, name=name: F.sum(getattr(F, name)(x, -0.5)))(x)
        np.testing.assert_allclose(gradient, backward(np.ones(5), x, -0.5))
    with pytest.raises(ValueError, match="output has"):
        kernels.tanh_backward(x, None, output=x[:3])
    with pytest.raises(TypeError, match="grad is float32 but output is float64"):
        kernels.tanh_backward(x.astype(np.float32), None, output=x)


@pytest.mark.parametrize("name", [name for name, options in PAIRS if not options])
def test_infinite_gradients_at_dead_units_are_pytorchs(name, torch):
    x = np.array([-50.0, -3.5, -1.5, 0.0, 0.5, 50.0])
    grad = np.full_like(x, np.inf)
    got = getattr(kernels, name + "_backward")(grad, x)
    peer = torch.from_numpy(x).requires_grad_()
    getattr(torch.nn.functional, name)(peer).backward(torch.from_numpy(grad))
    expected = peer.grad.numpy()
    assert np.array_equal(got[np.isfinite(expected)], expected[np.isfinite(expected)])
    assert not np.isnan(got).any()


@pytest.mark.parametrize(("shape", "count"), [((6,), 1), ((6, 5), 1), ((6, 5), 5), ((2, 5, 3), 5), ((2, 5, 3, 4), 5)])
def test_prelu_equals_pytorchs(shape, count, torch, rng):
    x, weight, grad = rng.standard_normal(shape), rng.standard_normal(count), rng.standard_normal(shape)
    peers = [torch.from_numpy(a).requires_grad_() for a in (x, weight)]
    y = torch.nn.functional.prelu(*peers)
    y.backward(torch.from_numpy(grad))
    np.testing.assert_allclose(F.prelu(x, weight), y.detach().numpy(), rtol=1e-12)
    gradients = fastnn.grad(lambda x, w: F.sum(F.prelu(x, w) * grad), argnums=(0, 1))(x, weight)
    for got, peer in zip(gradients, peers, strict=True):
        np.testing.assert_allclose(got, peer.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_functions_refuse_what_they_cannot_do(rng):
    x = rng.standard_normal((3, 4))
    with pytest.raises(ValueError, match='must be "none" or "tanh"'):
        F.gelu(x, "erf")
    with pytest.raises(ValueError, match='must be "none" or "tanh"'):
        nn.GELU("fast")
    with pytest.raises(ValueError, match="one dimension"):
        F.prelu(x, np.ones((1, 4)))
    with pytest.raises(ValueError, match="needs min, max or both"):
        F.clamp(x)
    with pytest.raises(TypeError, match="ELU takes alpha"):
        nn.ELU(beta=1.0)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_operands_share_the_gradient_as_in_pytorch(name, torch):
    a, b = np.array([1.0, 2.0, 3.0, 0.0]), np.array([1.0, 3.0, 2.0, -0.0])
    peers = [torch.from_numpy(v).requires_grad_() for v in (a, b)]
    getattr(torch, name)(*peers).sum().backward()
    got = fastnn.grad(lambda a, b: F.sum(getattr(F, name)(a, b)), argnums=(0, 1))(a, b)
    for gradient, peer in zip(got, peers, strict=True):
        assert np.array_equal(gradient, peer.grad.numpy())
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    peer = torch.from_numpy(x).requires_grad_()
    torch.clamp(peer, -0.5, 0.5).sum().backward()
    assert np.array_equal(fastnn.grad(lambda x: F.sum(F.clamp(x, -0.5, 0.5)))(x), peer.grad.numpy())


def test_clamp_is_numpys_clip(rng):
    x = rng.standard_normal((3, 4))
    for low, high in ((-0.5, 0.5), (None, 0.1), (0.2, None)):
        assert np.array_equal(F.clamp(x, low, high), np.clip(x, low, high))
        assert np.array_equal(fastnn.compile(lambda x, a=low, b=high: F.clamp(x, a, b))(x), np.clip(x, low, high))


MODULES = [
    nn.GELU("tanh"), nn.GELU(), nn.ELU(0.5), nn.LeakyReLU(0.3), nn.Softplus(2.0, 10.0), nn.Hardtanh(-2.0, 2.0),
    nn.SELU(), nn.Mish(), nn.ShiftedReLU(0.5), nn.CELU(alpha=2.0), nn.PReLU(4, 0.1), nn.PReLU(),
]  # fmt: skip


@pytest.mark.parametrize("layer", MODULES, ids=repr)
def test_modules_compute_and_survive_their_configuration(layer, rng):
    x = rng.standard_normal((5, 4)).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 4), layer)
    again = nn.from_config(model.to_config())
    again.load_state_dict(model.state_dict())
    assert repr(again[1]) == repr(layer)
    y = model(x)
    assert same_bits(again(x), y)
    assert not np.array_equal(y, model[0](x))


ROWS = _native.list_rows("activations")


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_activations_inside_products_equal_those_after_them(row, dtype, isa, rng):
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((9, 7), (13, 7), (13,)))
    apart = getattr(kernels, row["name"])(kernels.linear(x, w, b))
    assert same_bits(kernels.linear(x, w, b, activation=row["name"]), apart)
    model = nn.Sequential(nn.Linear(7, 13), getattr(nn, row["cls"])()).to(str(dtype))
    model.load_state_dict({"0.weight": w, "0.bias": b})
    assert same_bits(model(x), apart)


def test_prelu_learns_its_slope(rng):
    model = nn.Sequential(nn.PReLU(3)).to("float64")
    x = rng.standard_normal((200, 3))
    slopes = np.array([0.1, -0.5, 2.0])
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=0.05))
    trainer.fit(x, np.where(x > 0, x, slopes * x), epochs=200, batch_size=100, progress=False)
    np.testing.assert_allclose(model[0].weight.numpy(), slopes, atol=1e-3)
