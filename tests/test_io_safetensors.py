"""safetensors: the same files as the package writes and reads, and every kind of damage refused."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

from fastnn.io import load_safetensors, load_safetensors_metadata, save_safetensors
from fastnn.io.safetensors import NAMES

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def file_bytes(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def some_tensors():
    rng = np.random.default_rng(0)
    return {name: (rng.normal(size=(3, 5)) * 100).astype(name) for name in NAMES if name != "complex64"}


def test_the_package_reads_ours(tmp_path):
    tensors = some_tensors()
    save_safetensors(tensors, tmp_path / "a", {"note": "grüße", "a": "1"})
    theirs = safetensors_numpy.load_file(tmp_path / "a")
    assert theirs.keys() == tensors.keys()
    for name, array in tensors.items():
        assert theirs[name].dtype == array.dtype and np.array_equal(theirs[name], array)
    assert load_safetensors_metadata(tmp_path / "a") == {"note": "grüße", "a": "1"}


def test_we_read_the_packages(tmp_path):
    tensors = some_tensors()
    safetensors_numpy.save_file(tensors, tmp_path / "a", metadata={"k": "v"})
    ours, metadata = load_safetensors(tmp_path / "a", return_metadata=True)
    assert metadata == {"k": "v"} and list(ours) == sorted(tensors)
    for name, array in tensors.items():
        assert ours[name].dtype == array.dtype and np.array_equal(ours[name], array)
        ours[name][:] = 0  # ours to write to


def test_torch_reads_and_writes_the_same_files(tmp_path):
    torch = pytest.importorskip("torch")
    torch_files = pytest.importorskip("safetensors.torch")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_safetensors({"0.weight": values.T}, tmp_path / "ours")
    assert torch.equal(torch_files.load_file(tmp_path / "ours")["0.weight"], torch.from_numpy(values.T.copy()))
    torch_files.save_file({"w": torch.tensor([1.5, -2.25, 3e38]).to(torch.bfloat16)}, tmp_path / "theirs")
    loaded = load_safetensors(tmp_path / "theirs")["w"]
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, torch.tensor([1.5, -2.25, 3e38]).to(torch.bfloat16).float().numpy())


def test_odd_arrays(tmp_path):
    big = np.arange(4, dtype=">i4")
    tensors = {
        "scalar": np.float64(3.5),
        "none": np.zeros((0, 3), np.float32),
        "big": big,
        "view": np.arange(9.0)[::-2],
    }
    save_safetensors(tensors, tmp_path / "a")
    read = load_safetensors(tmp_path / "a")
    assert read["scalar"].shape == () and read["scalar"] == 3.5 and read["none"].shape == (0, 3)
    assert read["big"].dtype == np.dtype("=i4") and np.array_equal(read["big"], big)
    assert np.array_equal(read["view"], [8, 6, 4, 2, 0])
    save_safetensors({}, tmp_path / "empty")
    assert load_safetensors(tmp_path / "empty") == {}


def test_the_same_contents_give_the_same_bytes(tmp_path):
    tensors, metadata = some_tensors(), {c: c for c in "abcdefgh"}
    save_safetensors(tensors, tmp_path / "a", metadata)
    code = (
        "import numpy as np, sys; from fastnn.io import *; t, m = load_safetensors(sys.argv[1], return_metadata=True);"
        "save_safetensors(dict(reversed(t.items())), sys.argv[2], dict(reversed(m.items())))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a", tmp_path / "b"], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [({"a": np.array(["x"])}, None), ({"a": np.array([{}])}, None), ({1: np.zeros(1)}, None),
     ({"__metadata__": np.zeros(1)}, None), ({"a": np.zeros(1)}, {"a": 1})],
)  # fmt: skip
def test_what_cannot_be_written(tmp_path, tensors, metadata):
    with pytest.raises(TypeError):
        save_safetensors(tensors, tmp_path / "a", metadata)
    assert not (tmp_path / "a").exists()


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
EIGHT = b"12345678"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        file_bytes(b"{}")[:9],
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{}",
        file_bytes(b"[]"),
        file_bytes(b"{\xff}"),
        file_bytes(b"{" + b'"a":[' * 20000),
        file_bytes(b'{"a":' + b"9" * 5000 + b"}"),
        file_bytes({"__metadata__": {"a": 1}}),
        file_bytes({"__metadata__": 3}),
        file_bytes({"a": {**F32, "shape": [2**63, 2]}}, EIGHT),
        file_bytes({"a": {**F32, "shape": [2**64 - 1, 8], "dtype": "U8"}}, EIGHT),
        file_bytes({"a": {**F32, "shape": [-2]}}, EIGHT),
        file_bytes({"a": {**F32, "shape": [3]}}, EIGHT),
        file_bytes({"a": {**F32, "data_offsets": [0, 9]}}, EIGHT),
        file_bytes({"a": {**F32, "data_offsets": [8, 0]}}, EIGHT),
        file_bytes({"a": {**F32, "dtype": "F99"}}, EIGHT),
        file_bytes({"a": {**F32, "dtype": "F8_E4M3", "shape": [8]}}, EIGHT),
        file_bytes({"a": F32}, EIGHT + b"0"),
        file_bytes({"a": F32}, EIGHT[:7]),
        file_bytes({"a": F32, "b": F32}, EIGHT),
        file_bytes({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, EIGHT + b"9012"),
        file_bytes({"a": {**F32, "file": "../../etc/passwd"}, "b": {"dtype": "F32", "shape": [2], "path": "x"}}, EIGHT),
        file_bytes(
            b'{"a":' + json.dumps(F32).encode() + b',"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}', EIGHT
        ),
        file_bytes(b'{"a":{"dtype":"U8","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT),
        file_bytes(b'{"__metadata__":{"k":"1","k":"2"},"a":' + json.dumps(F32).encode() + b"}", EIGHT),
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"PK\x03\x04" + b"\0" * 60,
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path, data):
    path = tmp_path / "hostile"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="hostile") as caught:
        load_safetensors(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_every_prefix_is_refused(tmp_path):
    save_safetensors({"a": np.arange(4.0), "b": np.zeros(3, "u1")}, tmp_path / "a", {"k": "v"})
    data = (tmp_path / "a").read_bytes()
    for size in range(len(data)):
        (tmp_path / "b").write_bytes(data[:size])
        with pytest.raises(ValueError, match="b"):
            load_safetensors(tmp_path / "b")


def test_file_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_safetensors(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_safetensors(tmp_path)


def test_the_package_is_imported_only_when_used():
    code = "import fastnn, fastnn.io, fastnn.io.safetensors, sys; print('safetensors' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
