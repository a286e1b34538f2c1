"""Modules: names, weights in and out, architecture as data, initial weights, errors. No program runs here."""

import copy
import json
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn


def layers(seed=None):
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Linear(8, 3), seed=seed
    )


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 3)
        self.blocks = [nn.Linear(3, 3), nn.Tanh()]
        self.scale = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.first(x) * self.scale


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- names ------------------------------------------------------------------------------------------------------


def test_state_dict_has_pytorchs_names_and_shapes():
    shapes = {name: array.shape for name, array in layers().state_dict().items()}
    assert shapes == {
        "0.weight": (8, 4), "0.bias": (8,),
        "1.weight": (8,), "1.bias": (8,), "1.running_mean": (8,), "1.running_var": (8,),
        "4.weight": (8, 8), "4.bias": (8,), "5.weight": (3, 8), "5.bias": (3,),
    }  # fmt: skip


def test_attributes_lists_and_own_parameters_register():
    names = [name for name, _ in Net().named_parameters()]
    assert names == ["scale", "first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias"]


def test_state_dict_is_a_copy():
    model = layers()
    state = model.state_dict()
    assert all(array.flags.c_contiguous and array.flags.writeable for array in state.values())
    state["0.weight"][...] = 7
    assert not (model[0].weight.numpy() == 7).any()


def test_shared_parameter_is_saved_once_and_stays_shared():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.bias"]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), nn.from_config(model.to_config())):
        assert other[2].weight is other[0].weight
        assert other[0].weight is not model[0].weight
    model.to("float64")
    assert model[2].weight is model[0].weight
    assert model[0].weight.dtype == np.float64


def test_sequential_is_a_list_of_layers():
    model = layers()
    assert len(model) == 6
    assert isinstance(model[-1], nn.Linear)
    model.append(nn.ReLU())
    assert len(list(model)) == 7
    del model[6]
    model[5] = nn.Linear(8, 2)
    assert model.state_dict()["5.weight"].shape == (2, 8)


# ---- load_state_dict --------------------------------------------------------------------------------------------


def test_load_state_dict_round_trip():
    a, b = layers(seed=1), layers(seed=2)
    assert not equal(a.state_dict(), b.state_dict())
    state = a.state_dict()
    state["1.num_batches_tracked"] = np.array(3)  # PyTorch has it
    b.load_state_dict(state)
    assert equal(a.state_dict(), b.state_dict())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("0.bias"), "missing names 0.bias"),
        (lambda s: s.update(extra=np.ones(2)), "unknown names extra"),
        (lambda s: s.update({"4.weight": np.ones((3, 8))}), r"4.weight has shape \(3, 8\), the model needs \(8, 8\)"),
    ],
)
def test_load_state_dict_checks_before_it_writes(change, message):
    model = layers()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert equal(model.state_dict(), before)


def test_load_state_dict_not_strict_writes_what_fits():
    model = layers()
    model.load_state_dict({"5.bias": np.full(3, 2.0), "other": np.ones(1)}, strict=False)
    assert (model[5].bias.numpy() == 2).all()


def test_weights_of_pytorch_load_and_go_back():
    torch = pytest.importorskip("torch")
    peer = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.2),
        torch.nn.Linear(8, 8), torch.nn.Linear(8, 3),
    )  # fmt: skip
    model = layers()
    model.load_state_dict(peer.state_dict())
    np.testing.assert_array_equal(model[4].weight.numpy(), peer[4].weight.detach().numpy())
    missing = peer.load_state_dict({name: torch.from_numpy(a) for name, a in model.state_dict().items()}, strict=False)
    assert missing.missing_keys == ["1.num_batches_tracked"] or not missing.missing_keys
    assert not missing.unexpected_keys


# ---- architecture as data ---------------------------------------------------------------------------------------


def test_config_round_trip_through_json():
    model = layers(seed=5).to("float64")
    model[4].weight.requires_grad = False
    config = json.loads(json.dumps(model.to_config()))
    other = nn.from_config(config)
    assert repr(other) == repr(model)
    assert other.dtype == np.float64
    assert not other[4].weight.requires_grad
    other.load_state_dict(model.state_dict())
    assert other.to_config() == model.to_config()


def test_config_keeps_a_layer_that_is_used_twice():
    layer = nn.Linear(3, 3)
    config = nn.Sequential(layer, nn.ReLU(), layer).to_config()
    model = nn.from_config(config)
    assert model[0] is model[2]
    assert config["tied"] == {}


class Scaled(nn.Module):
    """A layer of one's own: options with and without attributes, a module among them, parameters in a list."""

    def __init__(self, width, *, factor=2.0, inner=None, names=("a", "b"), bias=True, dtype="x"):
        self.factor = float(factor)
        self.inner = nn.Linear(width, width) if inner is None else inner
        self.each = [nn.Parameter(np.full(width, len(name), np.float32)) for name in names]
        self.bias = nn.Parameter(np.zeros(width, np.float32)) if bias else None

    def forward(self, x):
        y = self.inner(x) * self.factor
        for parameter in self.each:
            y = y + parameter
        return y if self.bias is None else y + self.bias


def test_layers_of_one_s_own_are_saved_with_the_model(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), Scaled(4, names=("one", "three"), bias=False), Scaled(4, inner=nn.Tanh()))
    model[1].factor = 5.0  # as it is now, not as it was given
    model[1].each[1] = model[1].each[0]
    model[2].each[0].requires_grad = False
    fastnn.save(model, tmp_path / "m")
    loaded = fastnn.load(tmp_path / "m")
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert type(loaded[1]) is Scaled and loaded[1].factor == 5.0 and loaded[1].bias is None
    assert loaded[1].each[0] is loaded[1].each[1] and type(loaded[2].inner) is nn.Tanh
    assert not loaded[2].each[0].requires_grad
    assert loaded.to_config() == model.to_config()
    assert type(fastnn.load(tmp_path / "m", model=model)) is nn.Sequential


def test_a_class_that_is_not_there_is_named(tmp_path):
    class Gone(nn.Linear):
        pass

    fastnn.save(nn.Sequential(nn.ReLU(), Gone(2, 2)), tmp_path / "m")
    config = nn.Sequential(Gone(2, 2)).to_config()
    assert config["layers"][0]["module"] == __name__
    del Gone
    import gc

    gc.collect()
    with pytest.raises(ValueError, match=f"unknown class 'Gone': import {__name__}, which defines it, first"):
        nn.from_config(config)
    with pytest.raises(ValueError, match="unknown class 'Gone'"):
        fastnn.load(tmp_path / "m")


class NoConfig(nn.Module):
    def __init__(self, table):
        self.rows = len(table)

    def forward(self, x):
        return x * self.rows


def test_a_class_whose_options_are_no_plain_values_is_named(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), NoConfig(object.__subclasses__()))
    with pytest.raises(TypeError, match="NoConfig cannot be written as data: its option 'table' is no plain value"):
        model.to_config()
    fastnn.save(model, tmp_path / "m")
    with pytest.raises(ValueError, match="NoConfig cannot be written.*say fastnn.load"):
        fastnn.load(tmp_path / "m")
    assert fastnn.load(tmp_path / "m", model=model) is model


def test_options_of_every_layer_are_read_from_its_constructor():
    """A description builds the same description; no class states its options a second time."""
    made = [
        nn.Linear(2, 3, bias=False, init="orthogonal"), nn.Embedding(5, 2, padding_idx=1),
        nn.Scale(3, per_feature=False), nn.BatchNorm1d(3, momentum=None), nn.AlphaDropout(0.2),
        nn.LayerNorm((2, 3), elementwise_affine=False),
        nn.Dropout(0.3, mode="classic", shared=True), nn.GaussianNoise(0.4), nn.PReLU(3, init=0.1), nn.GELU("tanh"),
        nn.Highway(4, nn.Linear(4, 4), bias=-1.0), nn.Residual(nn.Linear(2, 3), shortcut=nn.Linear(2, 3)), nn.ELU(0.5),
        nn.Concat(nn.Identity(), nn.Tanh()), nn.Flatten(), nn.Softmax(), nn.LogSoftmax(), nn.LeakyReLU(0.2),
    ]  # fmt: skip
    for module in made:
        config = module.to_config()
        again = nn.from_config(config)
        assert type(again) is type(module) and again.to_config() == config and repr(again) == repr(module)
    made[4].p = 0.7
    assert made[4].to_config()["p"] == 0.7
    assert not any("_config" in vars(type(module)) for module in made)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"class": "Conv"}, "unknown class 'Conv'"),
        ({"class": "Module"}, "unknown class 'Module'"),
        ({"class": "Layer"}, "unknown class 'Layer'"),
        ({"class": ["Linear"]}, "unknown class"),
        ({"class": "Linear", "in_features": 2}, "out_features"),
        ({"class": "Linear", "in_features": 2, "out_features": 0}, "out_features must be an integer >= 1"),
        ({"class": "Sequential", "layers": [{"same_as": "4"}]}, "does not come before"),
        ({"class": "Sequential", "layers": ["Linear"]}, "expected a dict"),
        ({"class": "Sequential", "layers": [], "tied": {"1.weight": "0.weight"}}, "no parameter '0.weight'"),
    ],
)
def test_from_config_refuses_nonsense(config, message):
    with pytest.raises(ValueError, match=message):
        nn.from_config(config)


# ---- initial weights --------------------------------------------------------------------------------------------


def test_initial_weights_depend_on_seed_and_name_only():
    assert equal(layers(seed=0).state_dict(), layers(seed=0).state_dict())
    assert not equal(layers(seed=0).state_dict(), layers(seed=1).state_dict())
    assert equal(layers(seed=1).state_dict(), layers().reset_parameters(1).state_dict())


def test_initial_weights_leave_numpys_global_state_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    layers(seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_equal_layers_start_differently():
    state = Net().state_dict()
    assert not np.array_equal(state["first.weight"], state["blocks.0.weight"])
    twin = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).state_dict()
    assert not np.array_equal(twin["0.weight"], twin["1.weight"])


def test_written_weights_survive_becoming_part_of_a_model():
    layer, seeded = nn.Linear(3, 3), nn.Linear(3, 3, seed=4)
    layer.weight.assign(np.eye(3))
    drawn = seeded.weight.numpy().copy()
    inner = nn.Sequential(nn.Linear(3, 3), seed=9)
    kept = inner[0].weight.numpy().copy()
    model = nn.Sequential(layer, nn.ReLU(), seeded, inner)
    np.testing.assert_array_equal(model[0].weight.numpy(), np.eye(3))
    np.testing.assert_array_equal(model[2].weight.numpy(), drawn)
    np.testing.assert_array_equal(model[3][0].weight.numpy(), kept)


def test_default_initialisation_fits_relu():
    weight = nn.Linear(300, 200, seed=1).weight.numpy()
    bound = np.sqrt(6 / 300)
    assert np.abs(weight).max() <= bound
    assert np.isclose(weight.std(), np.sqrt(2 / 300), rtol=0.02)
    assert (nn.Linear(300, 200).bias.numpy() == 0).all()


def test_torch_initialisation_draws_the_bias_too():
    layer = nn.Linear(100, 400, init="torch", seed=1)
    for values in (layer.weight.numpy(), layer.bias.numpy()):
        assert np.abs(values).max() <= 0.1
        assert np.isclose(values.std(), 0.1 / np.sqrt(3), rtol=0.1)


def test_initialisation_by_callable():
    layer = nn.Linear(3, 2, init=lambda shape, rng: np.arange(6).reshape(shape))
    np.testing.assert_array_equal(layer.weight.numpy(), [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(ValueError, match=r"returned shape \(3, 2\)"):
        nn.Linear(3, 2, init=lambda shape, rng: np.zeros((3, 2)))


STD = {
    "xavier_uniform": np.sqrt(2 / 500),
    "xavier_normal": np.sqrt(2 / 500),
    "kaiming_uniform": np.sqrt(2 / 300),
    "kaiming_normal": np.sqrt(2 / 300),
    "lecun_normal": np.sqrt(1 / 300),
    "lecun_uniform": np.sqrt(1 / 300),
}


@pytest.mark.parametrize("name", STD)
def test_initialisers_have_the_published_spread(name):
    a, b = np.empty((200, 300)), np.empty((200, 300))
    getattr(nn.init, name + "_")(a, seed=3)
    getattr(nn.init, name + "_")(b, seed=3)
    np.testing.assert_array_equal(a, b)
    assert np.isclose(a.std(), STD[name], rtol=0.02)
    assert abs(a.mean()) < 4 * STD[name] / np.sqrt(a.size)


def test_orthogonal_and_sparse():
    q = nn.init.orthogonal_(np.empty((5, 9)), seed=1)
    np.testing.assert_allclose(q @ q.T, np.eye(5), atol=1e-12)
    sparse = nn.init.sparse_(np.empty((6, 20)), k=4)
    assert ((sparse != 0).sum(axis=1) == 4).all()
    torch_form = nn.init.sparse_(np.empty((20, 6)), sparsity=0.25)
    assert ((torch_form == 0).sum(axis=0) == 5).all()
    parameter = nn.Parameter(np.zeros((2, 3), np.float32))
    assert (nn.init.constant_(parameter, 3.0).numpy() == 3).all()


# ---- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nn.Linear(0, 2), ValueError, "in_features must be an integer >= 1"),
        (lambda: nn.Linear(2.5, 2), ValueError, "in_features must be an integer"),
        (lambda: nn.Linear(2, 2, init="he"), ValueError, "unknown init 'he'; known: .*kaiming_normal"),
        (lambda: nn.Linear(2, 2, seed=-1), ValueError, "seed must be an integer >= 0"),
        (lambda: nn.Dropout(1.5), ValueError, "between 0 and 1"),
        (lambda: nn.BatchNorm1d(3, momentum=2), ValueError, "momentum must be between 0 and 1"),
        (lambda: nn.Sequential(nn.ReLU), TypeError, "item 0 is type"),
        (lambda: nn.ReLU(1), TypeError, "ReLU takes no parameters"),
        (lambda: nn.CrossEntropyLoss(reduction="none"), ValueError, "'mean' or 'sum'"),
        (lambda: nn.CrossEntropyLoss([1, -1]), ValueError, "finite number >= 0 per class"),
        (lambda: nn.NoSuchLayer, AttributeError, "no attribute 'NoSuchLayer'"),
        (lambda: layers().to("int8"), ValueError, "'float32' or 'float64'"),
        (lambda: layers().training, RuntimeError, "no train\\(\\)/eval\\(\\) state"),
    ],
)
def test_errors_name_the_problem(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_summary_counts_each_parameter_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model[0].bias.requires_grad = False
    text = model.summary()
    assert "20 trainable parameters, 4 frozen" in text
    assert "weight (4, 4), bias (4,)" in text
