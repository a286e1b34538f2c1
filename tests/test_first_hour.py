"""The first hour of somebody who comes from PyTorch or Keras: what is missing says what to write instead."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import Trainer, nn, optim
from fastnn import functional as F

F4 = np.float32
X = np.random.default_rng(0).standard_normal((8, 4)).astype(F4)
Y = np.random.default_rng(1).standard_normal((8, 2)).astype(F4)


def net():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def objects():
    model = net()
    trainer = Trainer(model, nn.MSELoss(), optim.Adam())
    return {
        "module": model, "layer": model[0], "optimizer": optim.SGD(), "trainer": trainer, "loss": nn.MSELoss(),
        "schedule": optim.StepLR(3), "tensor": model[0].weight,
    }  # fmt: skip


CASES = [
    ("module", "eval", "a model has no mode: model(x) infers"), ("layer", "train", "a Trainer trains"),
    ("module", "fit", "fastnn.Trainer(model, loss, optimizer)"), ("module", "compile", "fastnn.Trainer(model"),
    ("module", "zero_grad", "trainer.train_step(x, y)"), ("module", "cuda", "runs on the CPU"),
    ("module", "double", 'model.to("float64")'), ("module", "save", "fastnn.save(model, path)"),
    ("module", "register_buffer", "buffer=True"), ("optimizer", "step", "trainer.train_step(x, y)"),
    ("optimizer", "zero_grad", "trainer.train_step(x, y)"), ("optimizer", "param_groups", "optimizer.lr is the rate"),
    ("optimizer", "state_dict", "trainer.save_checkpoint"), ("schedule", "step", "scheduler=schedule"),
    ("trainer", "compile", "arguments of Trainer"), ("trainer", "test", "trainer.evaluate"),
    ("loss", "backward", "fastnn.value_and_grad"), ("tensor", "backward", "trainer.train_step"),
    ("tensor", "grad", "fastnn.functional_call"), ("tensor", "detach", "stop_gradient"),
]  # fmt: skip


@pytest.mark.parametrize("kind, name, hint", CASES)
def test_a_missing_name_says_what_to_write(kind, name, hint):
    one = objects()[kind]
    assert not hasattr(one, name)
    with pytest.raises(AttributeError) as error:
        getattr(one, name)
    assert hint in str(error.value) and "\n" not in str(error.value) and repr(name) in str(error.value)


@pytest.mark.parametrize("kind", objects())
def test_an_unknown_name_is_an_ordinary_error(kind):
    one = objects()[kind]
    with pytest.raises(AttributeError, match=f"{type(one).__name__}' object has no attribute 'nonsense'$"):
        _ = one.nonsense
    copy.deepcopy(one), pickle.loads(pickle.dumps(one)), dir(one)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "LAMB"])
def test_optimizers_that_are_given_parameters_say_what_to_write(name):
    cls, model = getattr(optim, name), net()
    ways = [
        lambda: cls(model.parameters(), lr=1e-3), lambda: cls(model.parameters()),
        lambda: cls(params=model.parameters()),
        lambda: cls((p for p in model.parameters()), lr=1e-3), lambda: cls(model, lr=1e-3),
        lambda: cls([{"params": model.parameters()}]), lambda: cls(dict(model.named_parameters())),
    ]  # fmt: skip
    for way in ways:
        with pytest.raises(TypeError, match=f"{name}: an optimizer takes no parameters, as in optim.Adam"):
            way()


def test_tensors_inside_a_forward_say_what_to_write():
    for use, hint in ((lambda x: x.view(-1), "x.reshape"), (lambda x: x.detach(), "stop_gradient"),
                      (lambda x: x.relu(), "fastnn.functional"), (lambda x: x.backward(), "train_step")):  # fmt: skip
        with pytest.raises(AttributeError, match=hint):
            fastnn.compile(use)(X)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sum", "mean", "max", "min", "var"])
def test_keywords_of_pytorch_say_what_to_write(name):
    function = getattr(F, name)
    with pytest.raises(TypeError, match=rf"{name}\(\) takes no keyword 'dim': write axis="):
        function(X, dim=1)
    with pytest.raises(TypeError, match="'dim': write axis="):
        fastnn.compile(lambda x: function(x, dim=1))(X)
    with pytest.raises(TypeError, match="takes no keyword 'nonsense'$"):
        function(X, nonsense=1)
    function(X, axis=1)


def test_other_keywords_say_what_to_write():
    for call in (lambda: F.relu(X, inplace=True), lambda: fastnn.compile(lambda x: F.relu(x, inplace=True))(X)):
        with pytest.raises(TypeError, match="'inplace': write nothing: results are new arrays"):
            call()
    with pytest.raises(TypeError, match="'dim': write axis="):
        F.concatenate([X, X], dim=1)
    with pytest.raises(TypeError, match=r"fastnn.Trainer\(model, loss, optimizer\)"):
        fastnn.compile(net(), optimizer="adam", loss="mse")


def test_numpy_s_reductions_inside_grad():
    for numpy, ours in ((np.sum, F.sum), (np.mean, F.mean), (np.max, F.max), (np.min, F.min), (np.var, F.var)):
        gradient = fastnn.grad(lambda x, f=numpy: F.sum(f(x, axis=0)))(X)
        np.testing.assert_allclose(gradient, fastnn.grad(lambda x, f=ours: F.sum(f(x, axis=0)))(X), rtol=1e-6)
    with pytest.raises(TypeError, match="takes no keyword 'ddof'"):
        fastnn.grad(lambda x: np.var(x, ddof=1))(X)


# ---- modules --------------------------------------------------------------------------------------------------------


def test_a_slice_is_a_model_of_the_same_layers():
    model = net()
    before = model.state_dict()
    body = model[:-1]
    assert type(body) is nn.Sequential and len(body) == 2 and body[0] is model[0]
    np.testing.assert_allclose(model[-1](body(X)), model(X), rtol=1e-6)
    body(X)
    assert all(np.array_equal(value, model.state_dict()[name]) for name, value in before.items())  # nothing drawn anew
    assert list(nn.Sequential(body, nn.Linear(3, 1)).state_dict()) == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]


def test_named_layers(tmp_path):
    model = nn.Sequential({"first": nn.Linear(4, 3), "act": nn.Tanh(), "last": nn.Linear(3, 2)})
    assert list(model.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert model.first is model[0] and model.last is model[2] and not hasattr(model, "other")
    assert list(model[1:].state_dict()) == ["last.weight", "last.bias"]
    fastnn.save(model, tmp_path / "m")
    loaded = fastnn.load(tmp_path / "m")
    assert np.array_equal(loaded(X), model(X)) and list(loaded.state_dict()) == list(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.last is twin[2]
    del model[1]
    assert [name for name, _ in model.named_children()] == ["first", "last"]
    assert [name for name, _ in model.append(nn.ReLU()).named_children()] == ["first", "last", "2"]


def test_children_apply_and_requires_grad():
    model = nn.Sequential(net(), nn.ReLU())
    assert model.children() == [model[0], model[1]]
    seen = []
    assert model.apply(lambda module: seen.append(type(module).__name__)) is model
    assert seen == ["Linear", "Tanh", "Linear", "Sequential", "ReLU", "Sequential"]
    assert model.requires_grad_(False) is model and not any(p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in model.requires_grad_().parameters())


def test_module_dict_is_part_of_the_model():
    class Heads(nn.Module):
        def __init__(self):
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 2)})
            self.heads["b"] = nn.Linear(4, 2)

        def forward(self, x):
            return self.heads["a"](x) + self.heads["b"](x)

    model = Heads()
    assert list(model.state_dict()) == ["heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias"]
    Trainer(model, nn.MSELoss(), optim.Adam()).fit(X, Y, epochs=2, progress=False)
    model.heads.pop("b")
    with pytest.raises(KeyError):
        model(X)


def test_load_state_dict_reports():
    model = net()
    state = {name: value for name, value in model.state_dict().items() if name != "0.bias"} | {"other": np.ones(1)}
    report = model.load_state_dict(state, strict=False)
    assert report.missing_keys == ["0.bias"] and report.unexpected_keys == ["other"]
    assert model.load_state_dict(model.state_dict()) == ([], [])


# ---- gradients ------------------------------------------------------------------------------------------------------


def test_functional_call_gives_gradients_by_name():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2), seed=2)
    params = {name: p.numpy().copy() for name, p in model.named_parameters()}
    np.testing.assert_allclose(fastnn.functional_call(model, params, X), model(X), rtol=1e-6)
    other = {name: value + 0.1 for name, value in params.items()}
    twin = copy.deepcopy(model)
    twin.load_state_dict({**model.state_dict(), **other})
    np.testing.assert_allclose(fastnn.functional_call(model, other, X), twin(X), rtol=1e-5)
    np.testing.assert_allclose(fastnn.functional_call(model, {}, X), model(X), rtol=1e-6)

    def loss(params):
        return F.mse_loss(fastnn.functional_call(model, params, X, training=True), Y)

    before = model.state_dict()
    value, gradients = fastnn.value_and_grad(loss)(params)
    assert gradients.keys() == params.keys()
    assert all(np.array_equal(before[name], now) for name, now in model.state_dict().items())
    Trainer(model, nn.MSELoss(), optim.SGD(lr=1.0)).train_step(X, Y)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(params[name] - gradients[name], parameter.numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="there is no parameter 'x'"):
        fastnn.functional_call(model, {"x": X}, X)
    with pytest.raises(ValueError, match="0.bias has shape"):
        fastnn.functional_call(model, {"0.bias": np.ones(4, F4)}, X)


def test_jacobian_and_hessian():
    a = np.random.default_rng(2).normal(size=(3, 4))

    def f(x):
        return F.tanh(a @ x)

    x = np.linspace(-1, 1, 4)
    expected = (1 - np.tanh(a @ x) ** 2)[:, None] * a
    np.testing.assert_allclose(fastnn.jacobian(f)(x), expected, rtol=1e-9)
    wide = np.random.default_rng(3).normal(size=(9, 4))  # more outputs than elements: forward mode
    np.testing.assert_allclose(fastnn.jacobian(lambda x: wide @ x)(x), wide, rtol=1e-9)
    matrix = np.arange(4.0).reshape(2, 2)
    assert fastnn.jacobian(lambda m: m @ m)(matrix).shape == (2, 2, 2, 2)
    q = a.T @ a
    np.testing.assert_allclose(fastnn.hessian(lambda x: F.sum(x * (q @ x)))(x), 2 * q, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fastnn.jacobian(lambda x, y: x * y, 1)(x, x + 1), np.diag(x), atol=1e-12)


# ---- losses and histories -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("third", ["sample_weight", "w", "*rest", "**options"])
def test_a_loss_takes_weights_by_name_or_as_its_third_argument(third):
    names = {}
    argument = {"*rest": "rest[0]", "**options": "options['sample_weight']"}.get(third, third)
    optional = third if "*" in third else f"{third}=None"
    source = f"def loss(output, target, {optional}):\n    return F.sum(({argument} * (output - target).T) ** 2)"
    exec(source, {"F": F}, names)
    weight = np.linspace(1, 2, 8).astype(F4)
    model = nn.Linear(4, 2, seed=1)
    expected = float((((model(X) - Y) * weight[:, None]) ** 2).sum())
    trainer = Trainer(model, names["loss"], optim.SGD(lr=0.0))
    np.testing.assert_allclose(trainer.train_step(X, Y, sample_weight=weight), expected, rtol=1e-5)
    np.testing.assert_allclose(trainer.evaluate(X, Y, sample_weight=weight)["loss"], expected, rtol=1e-5)


def test_a_history_is_a_table_of_its_epochs():
    history = Trainer(net(), nn.MSELoss(), optim.Adam()).fit(X, Y, epochs=3, progress=False)
    rows = list(history)
    assert [row["epoch"] for row in rows] == [0, 1, 2] and rows[1]["loss"] == history["loss"][1]
    pandas = pytest.importorskip("pandas")
    assert list(pandas.DataFrame(history)["loss"]) == history["loss"]
