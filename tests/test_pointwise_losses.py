"""Losses of losses.def: twins, PyTorch, finite differences, special values, refusals; for every row by itself."""

import warnings

import numpy as np
import pytest
from compare import assert_within, same_bits
from reference import pointwise_losses as twins
from reference.precision import wider_than

import fastnn
from fastnn import Trainer, _native, kernels, nn, optim
from fastnn import functional as F
from fastnn.kernels._labels import DOMAINS
from fastnn.threads import num_threads

ROWS = {row["name"]: row for row in _native.list_rows("losses")}
LOSSES = list(ROWS)
REDUCTIONS = ("mean", "sum", "none")
OTHER_PARAMETERS = {  # besides the defaults
    "huber": ({"delta": 0.3}, {"delta": 2.5}),
    "smooth_l1": ({"beta": 0.3}, {"beta": 0.0}),
    "quantile": ({"q": 0.1}, {"q": 0.95}),
    "poisson": ({"full": True}, {"log_input": False}, {"log_input": False, "full": True, "eps": 1e-3}),
    "sigmoid_cross_entropy": ({"pos_weight": 3.0}, {"pos_weight": 0.0}),
}
CASES = [(name, parameters) for name in LOSSES for parameters in ({}, *OTHER_PARAMETERS.get(name, ()))]
IDS = [name + "".join(f" {k}={v:g}" for k, v in parameters.items()) for name, parameters in CASES]


def draw(name, parameters, rng, shape, dtype=np.float64):
    """(x, target) of every sign and size that the loss takes, targets on x itself included."""
    x = 3 * rng.standard_normal(shape)
    if name == "binary_cross_entropy":
        x = rng.uniform(0, 1, shape)
        x.flat[::7] = 10.0 ** rng.uniform(-12, 0, x.flat[::7].shape)
    if parameters.get("log_input") is False:
        x = np.abs(x) + 0.01
    target = {
        "any": x + 2 * rng.standard_normal(shape),
        "probability": np.where(rng.random(shape) < 0.7, rng.random(shape) < 0.5, rng.random(shape)),
        "sign": np.where(rng.random(shape) < 0.5, -1.0, 1.0),
        "count": rng.poisson(2.0, shape),
    }[ROWS[name]["target"]].astype(np.float64)
    if ROWS[name]["target"] == "any":
        target.flat[::11] = x.flat[::11]
    return x.astype(dtype), target.astype(dtype)


def term_sizes(name, x, target, parameters):
    """The largest term of each value and derivative: what their rounding errors are measured by."""
    x, t = np.abs(x), np.abs(target)
    value, slope = getattr(twins, name), getattr(twins, name + "_derivative")
    sizes = [np.abs(value(x, t, **parameters)), np.abs(slope(x, t, **parameters))]
    if name == "poisson" and parameters.get("log_input", True):
        return np.exp(x) + t * x + t * np.log1p(t) + 1, np.exp(x) + t
    if name == "poisson":
        eps = parameters.get("eps", 1e-8)
        return x + t * np.abs(np.log(x + eps)) + t * np.log1p(t) + 1, 1 + t / x
    if name in ("hinge", "squared_hinge"):
        return (1 + x) ** (1 + (name == "squared_hinge")), 2 + 2 * x
    if name == "sigmoid_cross_entropy":
        weight = max(1, parameters.get("pos_weight", 1))
        return weight * (x + 1), np.full_like(x, weight)
    if name == "binary_cross_entropy":
        return sizes[0], np.maximum(1, t) / np.maximum(x * (1 - x), 1e-12)
    d = x + t + 1
    return (d * d if name in ("mse", "huber", "smooth_l1") else d), np.maximum(d, 1) / min(
        1, parameters.get("beta", 1) or 1
    )


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (5, 13), (40, 33), (9,), (3, 4, 5), (3000, 3)])
def test_against_the_twin(name, parameters, shape, dtype, isa, rng):
    f, eps = getattr(kernels, name), np.finfo(dtype).eps
    most = 8 if dtype == np.float32 else 24  # the sum of the weights is in double, which shows in float64 only
    x, target = draw(name, parameters, rng, shape, dtype)
    flat = (shape[0], -1)
    for weights in (None, rng.uniform(0, 2, shape[0]).astype(dtype)):
        exact = [
            None if v is None else v.astype(wider_than(dtype)) for v in (x.reshape(flat), target.reshape(flat), weights)
        ]
        sizes = [np.asarray(v, np.float64) for v in term_sizes(name, exact[0], exact[1], parameters)]
        for reduction in REDUCTIONS:
            loss, gradient = f(x, target, sample_weight=weights, reduction=reduction, **parameters)
            value, slope = twins.reduce(name, *exact, reduction, **parameters)
            scale = 1 if weights is None else weights.astype(np.float64)[:, None]
            divisor = sizes[0].size if weights is None else weights.sum() * sizes[0].shape[1]
            if reduction == "none":
                assert_within(loss.reshape(flat), value, 8 * eps * sizes[0] * scale + 1e-300, sparse=True)
            else:
                assert isinstance(loss, float)
                terms = (sizes[0] * scale).sum() / (divisor if reduction == "mean" else 1)
                assert abs(loss - value) <= most * eps * terms
            assert gradient.shape == shape
            assert gradient.dtype == dtype
            limit = most * eps / (divisor if reduction == "mean" else 1)
            assert_within(gradient.reshape(flat), slope, limit * sizes[1] * scale + 1e-300, sparse=True)


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
def test_twins_against_finite_differences(name, parameters, rng):
    x, target = draw(name, parameters, rng, (400,))
    x = np.clip(x, 0.05, 0.95) if name == "binary_cross_entropy" else x
    f, slope = getattr(twins, name), getattr(twins, name + "_derivative")(x, target, **parameters)
    high, low = f(x + 1e-5, target, **parameters), f(x - 1e-5, target, **parameters)
    smooth = np.abs(high + low - 2 * f(x, target, **parameters)) < 1e-6  # no corner within the step
    assert smooth.mean() > 0.8
    np.testing.assert_allclose(slope[smooth], ((high - low) / 2e-5)[smooth], rtol=1e-6, atol=1e-7)


TORCH = {  # functional name and parameters of PyTorch, or a formula where it has no such loss
    "hinge": lambda torch, x, t: torch.clamp(1 - x * t, min=0),
    "squared_hinge": lambda torch, x, t: torch.clamp(1 - x * t, min=0) ** 2,
    "quantile": lambda torch, x, t, q=0.5: torch.maximum(q * (t - x), (q - 1) * (t - x)),
}


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
def test_against_torch(name, parameters, rng):
    torch = pytest.importorskip("torch")
    x, target = draw(name, parameters, rng, (23, 7))
    if name in ("quantile", "mae", "smooth_l1"):
        target.flat[::11] += 0.5  # no corners: PyTorch's maximum shares the gradient there
    theirs = {k: torch.tensor(v) if k == "pos_weight" else v for k, v in parameters.items()}
    for reduction in REDUCTIONS:
        given = torch.tensor(x, requires_grad=True)
        if name in TORCH:
            value = TORCH[name](torch, given, torch.tensor(target), **theirs)
            value = value if reduction == "none" else getattr(value, reduction)()
        else:
            function = getattr(torch.nn.functional, ROWS[name]["function"])
            value = function(given, torch.tensor(target), reduction=reduction, **theirs)
        value.sum().backward()
        loss, gradient = getattr(kernels, name)(x, target, reduction=reduction, **parameters)
        np.testing.assert_allclose(loss, value.detach().numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-10, atol=1e-15)
        eager = getattr(F, ROWS[name]["function"])(x, target, reduction=reduction, **parameters)
        assert same_bits(eager, loss) if reduction == "none" else eager == loss


@pytest.mark.parametrize(
    ("name", "parameter"), [("quantile", "q"), ("sigmoid_cross_entropy", "pos_weight"), ("huber", "delta")]
)
def test_a_parameter_per_column(name, parameter, dtype, isa, rng):
    x, target = draw(name, {}, rng, (37, 5), dtype)
    values = [0.1, 0.3, 0.5, 0.7, 0.9]
    loss, gradient = getattr(kernels, name)(x, target, values, reduction="none")
    for j, value in enumerate(values):
        column = getattr(kernels, name)(x[:, j], target[:, j], value, reduction="none")
        assert same_bits(loss[:, j], column[0])
        assert same_bits(gradient[:, j], column[1])
    if dtype == np.float64:
        torch = pytest.importorskip("torch")
        if name == "sigmoid_cross_entropy":
            theirs = torch.nn.functional.binary_cross_entropy_with_logits(
                torch.tensor(x),
                torch.tensor(target),
                pos_weight=torch.tensor(values, dtype=torch.float64),
                reduction="none",
            )
            np.testing.assert_allclose(loss, theirs.numpy(), rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=rf"{parameter} has shape \(4,\): expected a number or one per column"):
        getattr(kernels, name)(x, target, values[1:])
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {parameter} = -1"):
        getattr(kernels, name)(x, target, [*values[1:], -1])


INF = np.inf


def test_special_values(dtype, isa):
    x = np.array([np.nan, INF, -INF, 0.0, -0.0], dtype)
    zero = np.zeros(5, dtype)
    expected = {  # values, derivatives: NumPy's
        "mse": ([np.nan, INF, INF, 0, 0], [np.nan, INF, -INF, 0, 0]),
        "mae": ([np.nan, INF, INF, 0, 0], [np.nan, 1, -1, 0, 0]),
        "huber": ([np.nan, INF, INF, 0, 0], [np.nan, 1, -1, 0, 0]),
        "smooth_l1": ([np.nan, INF, INF, 0, 0], [np.nan, 1, -1, 0, 0]),
        "quantile": ([np.nan, INF, INF, 0, 0], [np.nan, 0.5, -0.5, 0, 0]),
    }
    for name, (values, slopes) in expected.items():
        loss, gradient = getattr(kernels, name)(x, zero, reduction="none")
        np.testing.assert_array_equal(loss, np.array(values, dtype))
        np.testing.assert_array_equal(gradient, np.array(slopes, dtype))
    one = np.ones(3, dtype)
    loss, gradient = kernels.hinge(x[:3], one, reduction="none")
    np.testing.assert_array_equal(loss, np.array([np.nan, 0, INF], dtype))
    np.testing.assert_array_equal(gradient, np.array([np.nan, 0, -1], dtype))
    loss, gradient = kernels.squared_hinge(x[:3], one, reduction="none")
    np.testing.assert_array_equal(loss, np.array([np.nan, 0, INF], dtype))
    np.testing.assert_array_equal(gradient, np.array([np.nan, 0, -INF], dtype))
    loss, gradient = kernels.poisson(x, zero + 1, reduction="none")
    np.testing.assert_array_equal(loss, np.array([np.nan, np.nan, INF, 1, 1], dtype))  # inf - inf
    np.testing.assert_array_equal(gradient, np.array([np.nan, INF, -1, 0, 0], dtype))
    big = np.finfo(dtype).max
    for target, logits in ((0, [np.nan, big, -big, INF]), (1, [np.nan, -big, big, -INF])):
        loss, gradient = kernels.sigmoid_cross_entropy(
            np.array(logits, dtype), np.full(4, target, dtype), reduction="none"
        )
        np.testing.assert_array_equal(loss, np.array([np.nan, big, 0, INF], dtype))
        np.testing.assert_array_equal(np.abs(gradient), np.array([np.nan, 1, 0, 1], dtype))
    p = np.array([0, 1, 0, 1, np.nan, -0.5, 1.5], dtype)
    loss, gradient = kernels.binary_cross_entropy(p, np.array([0, 1, 1, 0, 0, 1, 0], dtype), reduction="none")
    np.testing.assert_array_equal(loss, np.array([0, 0, 100, 100, np.nan, np.nan, np.nan], dtype))
    np.testing.assert_allclose(gradient[:4], [0, 0, -1e12, 1e12], rtol=4 * np.finfo(dtype).eps)
    assert np.isnan(gradient[4])


def test_sigmoid_cross_entropy_keeps_its_digits_in_the_tails(dtype, isa):
    x = np.array([-80.0, -20.0, -1e-3, 1e-3, 20.0, 80.0], dtype)
    eps = np.finfo(dtype).eps
    for target in (0.0, 1.0):
        loss, gradient = kernels.sigmoid_cross_entropy(x, np.full(6, target, dtype), reduction="none")
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(loss, twins.sigmoid_cross_entropy(x, target), rtol=4 * eps)
            np.testing.assert_allclose(gradient, twins.sigmoid_cross_entropy_derivative(x, target), rtol=4 * eps)


BAD = {
    "probability": (-0.5, 1.5, np.nan, np.inf),
    "sign": (0.0, 2.0, np.nan, -np.inf),
    "count": (-1.0, np.nan, -np.inf, -0.5),
}
CHECKED = [name for name in LOSSES if ROWS[name]["target"] in DOMAINS]


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_bad_targets_are_refused_before_any_write(name, reduction, dtype, isa, rng):
    x, target = draw(name, {}, rng, (71, 33), dtype)
    places = ((0, 0), (37, 5), (70, 32), (36, 1))
    for bad, place, threads in zip(BAD[ROWS[name]["target"]], places, (3, 2, 4, 1), strict=True):
        wrong = target.copy()
        wrong[70, 32] = wrong[place] = bad
        out = (np.full_like(x, 7) if reduction == "none" else None, np.full_like(x, 7))
        message = rf"target\[{place[0]}, {place[1]}\] is {bad}: expected"
        for given in (wrong, np.asfortranarray(wrong), np.repeat(wrong, 2, axis=1)[:, ::2]):
            with num_threads(threads, force=True), pytest.raises(ValueError, match=message):
                getattr(kernels, name)(x, given, reduction=reduction, out=out)
        assert all(array is None or np.all(array == 7) for array in out)


def test_compiled_functions_refuse_bad_targets():
    """What eager calls refuse, by the same message; a view of an argument is judged as the loss sees it."""
    x = np.full((4, 3), 0.5, np.float32)
    target = np.ones((4, 5), np.float32)
    target[:, 0], target[2, 4] = -3, np.nan
    bce = F.binary_cross_entropy
    assert fastnn.compile(lambda x, t: bce(x, t[::-1, 3:0:-1]))(x, target) == pytest.approx(np.log(2))
    for seen in (lambda t: t[:, 2:], lambda t: t[::-1, :1:-1].transpose(1, 0)[::-1].T[::-1]):
        with pytest.raises(ValueError, match=r"target\[2, 2\] is nan: expected in \[0, 1\]"):
            fastnn.compile(lambda x, t, seen=seen: bce(x, seen(t)))(x, target)
    for function in (fastnn.grad(bce), fastnn.compile(lambda x, t: bce(x, t.reshape(4, 3)))):
        with pytest.raises(ValueError, match=r"target\[0, 1\] is 2\.0: expected in \[0, 1\]"):
            function(x, np.tile([0, 2, 1], (4, 1)))
    with pytest.raises(ValueError, match=r"target\[2, 2\] is nan"):  # constants already while tracing
        fastnn.compile(lambda x: bce(x, target[:, 2:]))(x)
    with pytest.raises(ValueError, match="expected -1 or 1; labels 0 and 1 become"):
        fastnn.compile(F.hinge_loss)(x, np.zeros_like(x))


def test_messages():
    x = np.zeros((3, 1), np.float32)
    with pytest.raises(
        ValueError, match=r"target\[1, 0\] is 0.0: expected -1 or 1; labels 0 and 1 become -1 and 1 by 2 \*"
    ):
        kernels.hinge(x, np.array([[1], [0], [1]]))
    with pytest.raises(ValueError, match=r"target\[2\] is -1.0: expected >= 0"):
        kernels.poisson(x[:, 0], [0, 3, -1])
    with pytest.raises(ValueError, match="huber: expected delta > 0, got delta = 0"):
        kernels.huber(x, x, delta=0)
    with pytest.raises(ValueError, match="quantile: expected 0 < q < 1, got q = nan"):
        kernels.quantile(x, x, q=float("nan"))
    with pytest.raises(ValueError, match="poisson: expected .* got log_input = 2"):
        kernels.poisson(x, x, log_input=2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'beta'"):
        kernels.huber(x, x, beta=1.0)
    with pytest.raises(ValueError, match="unknown reduction"):
        kernels.mae(x, x, reduction="average")


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_and_strides(name, rng):
    f = getattr(kernels, name)
    x, target = draw(name, {}, rng, (6, 1))
    target = target[:, 0]
    loss, gradient = f(x, target)
    assert gradient.shape == (6, 1)
    assert loss == f(x[:, 0], target)[0] == f(x, target[:, None])[0]
    assert f(x[:, 0], target[:, None])[1].shape == (6,)
    for bad in (np.ones((6, 2)), np.ones(5), np.array(1.0), np.ones((1, 6))):
        with pytest.raises(ValueError, match="target has shape"):
            f(x, bad)
    wide = np.full((6, 8), np.nan)
    y, t = draw(name, {}, rng, (6, 4))
    out = (np.empty((6, 8))[:, ::2], wide[:, 1:5])
    got = f(y[:, ::-1], t.T.copy().T, reduction="none", out=out)
    expected = f(y[:, ::-1].copy(), t, reduction="none")
    assert got[0] is out[0]
    assert got[1] is out[1]
    assert same_bits(got[0], expected[0])
    assert same_bits(got[1], expected[1])
    assert np.isnan(wide[:, 5:]).all()
    in_place = y.copy()
    mean = f(y, t)
    assert f(in_place, t, out=(None, in_place))[0] == mean[0] == f(y, t, gradient=False)[0]
    assert same_bits(in_place, mean[1])
    shared = t.copy()  # over the target: as if it had been copied before
    assert same_bits(f(y, shared, out=(None, shared))[1], mean[1])
    with pytest.raises(TypeError, match="does not mix floats"):
        f(y.astype(np.float32), t)
    assert f(y[:0], t[:0])[0] == 0
    loss, gradient = f(y, t, sample_weight=np.zeros(6))
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_bits_do_not_depend_on_threads_or_on_the_program(name, dtype, isa, rng):
    x, target = draw(name, {}, rng, (331, 37), dtype)
    weights = rng.uniform(0, 2, 331).astype(dtype)
    expected = None
    for threads in (1, 2, 3, 4):
        with num_threads(threads, force=True):
            got = [
                getattr(kernels, name)(x, target, sample_weight=w, reduction=r)
                for w in (None, weights)
                for r in REDUCTIONS
            ]
        bits = [np.asarray(part).tobytes() for pair in got for part in pair]
        expected = expected or bits
        assert bits == expected
    for reduction in ("mean", "sum", "none"):
        function = fastnn.compile(lambda a, b, r=reduction: getattr(F, ROWS[name]["function"])(a, b, reduction=r))
        loss, gradient = getattr(kernels, name)(x, target, reduction=reduction)
        assert np.array_equal(function(x, target), np.asarray(loss, dtype))
        if reduction != "none":
            assert np.array_equal(fastnn.grad(function)(x, target), gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_a_model_trains_with_it(name, rng):
    loss = getattr(nn, ROWS[name]["cls"])()
    x = rng.standard_normal((120, 4))
    score = x[:, 0] - x[:, 1]
    y = {
        "any": score,
        "probability": (score > 0).astype(int),
        "sign": np.where(score > 0, 1, -1),
        "count": rng.poisson(np.exp(score / 3)),
    }
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)]
    if name == "binary_cross_entropy":
        layers.append(nn.Sigmoid())
    trainer = Trainer(nn.Sequential(*layers), loss, optim.Adam(lr=0.03), seed=1)
    history = trainer.fit(x, y[ROWS[name]["target"]], epochs=15, batch_size=16, progress=False)["loss"]
    assert history[-1] < 0.9 * history[0]
    assert np.isfinite(trainer.evaluate(x, y[ROWS[name]["target"]], sample_weight=rng.random(120))["loss"])
    if loss.domain is not None:
        wrong = np.full(120, 1)
        wrong[77] = -3
        for call in (lambda: trainer.fit(x, wrong, epochs=1, progress=False), lambda: trainer.train_step(x, wrong)):
            with pytest.raises(ValueError, match=r"y\[77\] is -3.0: expected"):
                call()
        good = np.ones((120, 1), np.float32)
        for y in (good, np.where(np.arange(120)[:, None] == 77, np.float32(-3), good)):  # the second time by a plan
            if y is good:
                trainer.train_step(x, y)
                continue
            with pytest.raises(ValueError, match=r"y\[77, 0\] is -3.0: expected"):
                trainer.train_step(x, y)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_objects(name):
    import json
    import pickle

    cls, row = getattr(nn, ROWS[name]["cls"]), ROWS[name]
    loss = cls(reduction="sum")
    assert row["cls"] in dir(nn)
    assert cls.__doc__.startswith(row["doc"][0].upper())
    assert {k: v for k, v in loss.to_config().items() if k not in ("class", "reduction")} == dict(
        zip(row["params"], row["defaults"], strict=True)
    )
    copy = pickle.loads(pickle.dumps(loss))
    assert repr(copy) == repr(loss)
    options = json.loads(json.dumps(loss.to_config()))
    assert repr(getattr(nn, options.pop("class"))(**options)) == repr(loss)
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum'"):
        cls(reduction="none")
    with pytest.raises(TypeError, match=f"{row['cls']} takes .*got nonsense=1"):
        cls(nonsense=1)
    if row["params"]:
        with pytest.raises(ValueError, match=f"{name}: expected .*, got {row['params'][0]} = -1"):
            cls(**{row["params"][0]: -1})


def test_a_new_row_needs_only_its_twin():
    """What the factories make of a row: nothing else mentions a loss by name."""
    for row in ROWS.values():
        assert callable(getattr(kernels, row["name"]))
        assert callable(getattr(F, row["function"]))
        assert issubclass(getattr(nn, row["cls"]), nn.PointwiseLoss)
        assert row["target"] == "any" or row["target"] in DOMAINS


def test_torch_and_we_agree_that_weights_of_columns_are_not_class_weights(rng):
    loss = nn.BCEWithLogitsLoss(pos_weight=[1.0, 3.0])
    assert loss.to_config()["pos_weight"] == [1.0, 3.0]
    x, y = rng.standard_normal((40, 3)), rng.random((40, 2)) < 0.5
    trainer = Trainer(nn.Sequential(nn.Linear(3, 2)), loss, optim.SGD(lr=0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = trainer.evaluate(x, y)["loss"]
    logits = trainer.predict(x)
    expected = twins.sigmoid_cross_entropy(logits, y.astype(float), np.array([1.0, 3.0])).mean()
    assert before == pytest.approx(expected, rel=1e-6)
    assert trainer.train_step(x, y) == pytest.approx(expected, rel=1e-6)
