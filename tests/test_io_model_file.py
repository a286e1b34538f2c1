"""Model file v1: what goes in comes out, and damage of any kind is noticed."""

import json

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.io import ModelFile, load_model_file, load_safetensors, save_model_file, save_safetensors
from fastnn.io.model_file import is_fastnn_file

pytest.importorskip("safetensors")


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.2), nn.Linear(7, 3))


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model_file(path, model, {"classes": ["ä", "b"], "mean": [0.1, 1e-300]}, {"epochs": 3})
    return path


def test_round_trip(model, saved):
    file = load_model_file(saved)
    assert isinstance(file, ModelFile) and file.version == fastnn.__version__
    assert file.preprocessing == {"classes": ["ä", "b"], "mean": [0.1, 1e-300]} and file.training == {"epochs": 3}
    ours, theirs = model.state_dict(), file.model.state_dict()
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    assert np.array_equal(model(x), file.model(x))
    assert np.array_equal(load_safetensors(saved)["0.weight"], ours["0.weight"])


def test_save_and_load(model, tmp_path):
    fastnn.save(model, tmp_path / "a")
    assert np.array_equal(fastnn.load(tmp_path / "a").state_dict()["4.bias"], model.state_dict()["4.bias"])
    fastnn.save(model, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(TypeError, match="needs a Module or a Trainer, not int"):
        fastnn.save(3, tmp_path / "c")


def test_float64(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2)).to("float64")
    fastnn.save(model, tmp_path / "a")
    loaded = fastnn.load(tmp_path / "a")
    assert loaded.state_dict()["0.weight"].dtype == np.float64
    assert np.array_equal(loaded.state_dict()["0.weight"], model.state_dict()["0.weight"])


@pytest.fixture
def assert_refused(monkeypatch):
    """Check that a file of these bytes is refused; they are handed to the readers without a disk in between."""
    from fastnn.io import model_file, safetensors

    def check(data, readers=(load_model_file, load_safetensors)):
        for module in (model_file, safetensors):
            monkeypatch.setattr(module, "read_file", lambda path: bytes(data))
        for read in readers:
            with pytest.raises(
                ValueError, match="^from memory is (damaged|not a safetensors file|a safetensors file without)"
            ) as caught:
                read("from memory")
            assert "\n" not in str(caught.value)

    return check


def test_every_prefix_and_bit_flip_is_noticed(tmp_path, assert_refused):
    save_model_file(tmp_path / "model", nn.Sequential(nn.Linear(1, 1)))
    data = (tmp_path / "model").read_bytes()
    for size in range(len(data)):
        assert_refused(data[:size])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        # Both readers share the check; one for each flip keeps this test short.
        assert_refused(damaged, (load_model_file, load_safetensors)[bit % 2 :][:1])


def test_random_damage_of_a_larger_file(tmp_path, assert_refused):
    save_model_file(tmp_path / "model", nn.Sequential(nn.Linear(100, 100)))
    data, rng = (tmp_path / "model").read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        start = int(rng.integers(len(data)))
        size = int(rng.integers(1, 2000))
        damaged[start : start + size] = rng.bytes(len(damaged[start : start + size]))
        if damaged != data:
            assert_refused(damaged)


def test_foreign_files(model, tmp_path):
    path = tmp_path / "foreign"
    save_safetensors(model.state_dict(), path, {"format": "pt"})
    assert len(load_safetensors(path)) == len(model.state_dict())  # no digest, and none asked for
    with pytest.raises(ValueError, match="without fastnn's description of a model"):
        load_model_file(path)
    assert not is_fastnn_file(path) and not is_fastnn_file(tmp_path / "absent")


def sealed(path, model, **changes):
    """A model file with other metadata and a digest that fits it."""
    from fastnn.io import checksum
    from fastnn.io.atomic import write_atomic
    from fastnn.io.safetensors import to_bytes

    metadata = {
        "fastnn.schema": "1",
        "fastnn.architecture": json.dumps(model.to_config()),
        checksum.KEY: checksum.BLANK,
        **changes,
    }
    write_atomic(path, *checksum.seal(to_bytes(model.state_dict(), metadata)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fastnn.schema": "2"}, "schema 2; this fastnn reads schema 1"),
        ({"fastnn.architecture": "{"}, "not JSON"),
        ({"fastnn.architecture": "[" * 100_000}, "not JSON"),
        ({"fastnn.architecture": "[]"}, "must be a JSON object"),
        ({"fastnn.architecture": "{}"}, "cannot be rebuilt"),
        ({"fastnn.architecture": '{"type": "os.system", "args": ["true"]}'}, "cannot be rebuilt"),
        ({"fastnn.preprocessing": "3"}, "must be a JSON object"),
    ],
)
def test_well_sealed_but_wrong(model, tmp_path, changes, message):
    sealed(tmp_path / "good", model)
    load_model_file(tmp_path / "good")
    sealed(tmp_path / "bad", model, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_model_file(tmp_path / "bad")
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(model, tmp_path):
    other = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.2), nn.Linear(7, 4))
    sealed(tmp_path / "bad", model, **{"fastnn.architecture": json.dumps(other.to_config())})
    with pytest.raises(ValueError, match="cannot be rebuilt"):
        load_model_file(tmp_path / "bad")


def test_what_cannot_be_saved(model, tmp_path):
    with pytest.raises(TypeError, match="preprocessing cannot be saved"):
        save_model_file(tmp_path / "a", model, {"x": np.zeros(3)})
    assert not (tmp_path / "a").exists()


def test_no_code_from_files():
    """Reading uses nothing that could run what a file says."""
    import ast
    from pathlib import Path

    for source in Path(fastnn.io.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "marshal", "shelve", "importlib.util"} & set(names), source
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), source


def claiming(architecture, tensors):
    """A sealed model file of this architecture with these arrays."""
    from fastnn.io import checksum
    from fastnn.io.safetensors import to_bytes

    metadata = {"fastnn.schema": "1", "fastnn.architecture": json.dumps(architecture), checksum.KEY: checksum.BLANK}
    return b"".join(bytes(piece) for piece in checksum.seal(to_bytes(tensors, metadata)))


HUGE = 10**15


@pytest.mark.parametrize(
    "layer, shapes",
    [
        ({"class": "Linear", "in_features": 16000, "out_features": 16000}, {"weight": (1, 1), "bias": (1,)}),
        ({"class": "Linear", "in_features": HUGE, "out_features": HUGE}, {"weight": (1, 1), "bias": (1,)}),
        ({"class": "Embedding", "num_embeddings": HUGE, "embedding_dim": 64}, {"weight": (1, 64)}),
        ({"class": "BatchNorm1d", "num_features": HUGE},
         dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (1,))),
        ({"class": "LayerNorm", "normalized_shape": [HUGE]}, {"weight": (1,), "bias": (1,)}),
        ({"class": "Scale", "num_features": HUGE}, {"mean": (1,), "std": (1,)}),
        ({"class": "PReLU", "num_parameters": HUGE}, {"weight": (1,)}),
        ({"class": "Highway", "features": HUGE}, {"gate.weight": (1, 1)}),
        ({"class": "Linear", "in_features": 16000, "out_features": 16000}, {}),
        ({"class": "Linear", "in_features": 2**80, "out_features": 2}, {"weight": (1, 1), "bias": (1,)}),
    ],
    ids=lambda value: value.get("class") if isinstance(value, dict) else None,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_file_that_claims_a_large_model_costs_nothing(layer, shapes, dtype, tmp_path):
    import resource
    import time

    tensors = {f"0.{name}": np.zeros(shape, dtype) for name, shape in shapes.items()}
    path = tmp_path / "m"
    path.write_bytes(claiming({"class": "Sequential", "layers": [layer], "dtype": dtype}, tensors))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ValueError, match="the model cannot be rebuilt"):
        fastnn.load(path)
    assert time.perf_counter() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000  # KiB


def test_a_loaded_model_is_like_any_other(tmp_path):
    """Built without memory, then filled: dtype, ties, frozen parameters and further use are as ever."""
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.BatchNorm1d(4, momentum=None), nn.PReLU(), shared, nn.Highway(4)).to("float64")
    model[2].weight.requires_grad = False
    fastnn.save(model, tmp_path / "m")
    loaded = fastnn.load(tmp_path / "m")
    assert loaded[0] is loaded[3] and not loaded[2].weight.requires_grad and loaded.dtype == np.float64
    x = np.random.default_rng(0).normal(size=(8, 4))
    assert np.array_equal(loaded(x), model(x))
    loaded.to("float32").reset_parameters(3)
    fastnn.Trainer(loaded, nn.MSELoss(), fastnn.optim.Adam()).fit(x, x, epochs=1, progress=False)
    grown = nn.Sequential(fastnn.load(tmp_path / "m"))
    assert np.array_equal(grown(x), model(x))


@pytest.mark.parametrize("read", [fastnn.load, load_safetensors, is_fastnn_file])
def test_pipes_and_devices_are_not_read(read, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        if read is is_fastnn_file:
            assert read(path) is False
            continue
        with pytest.raises(OSError, match="is not a regular file"):
            read(path)


def test_a_large_file_of_another_kind_is_not_read_as_a_whole(tmp_path):
    import resource

    with open(tmp_path / "video", "wb") as file:
        file.truncate(3 * 2**30)  # a hole: no disk is used
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resume = fastnn.Trainer(nn.Linear(1, 1), nn.MSELoss(), fastnn.optim.SGD()).resume
    for read in (fastnn.load, load_safetensors, resume):
        with pytest.raises(ValueError, match="not a safetensors file"):
            read(tmp_path / "video")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000
