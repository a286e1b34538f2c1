"""The embedded digits and the IDX reader, against bytes written by hand."""

import gzip
import struct
import sys

import numpy as np
import pytest

from fastnn.data import load_digits, read_idx, read_idx_folder


def idx_bytes(array, code):
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_digits_are_the_published_set():
    x, y = load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32
    assert y.shape == (1797,) and y.dtype == np.int64
    assert (x.min(), x.max(), x.sum()) == (0, 16, 561718)
    # Class counts of the UCI page for the test part.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert load_digits(np.float64)[0].dtype == np.float64


def test_digits_equal_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    ours, labels = load_digits()
    assert np.array_equal(x, ours) and np.array_equal(y, labels)


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_types(tmp_path, code, dtype, zipped):
    values = np.array([[1, 2, 3], [100, -5, 7]]).astype(dtype)
    data = idx_bytes(values, code)
    path = tmp_path / "a-name-that-says-nothing"
    path.write_bytes(gzip.compress(data) if zipped else data)
    read = read_idx(path)
    assert read.dtype == np.dtype(dtype) and read.dtype.isnative
    assert np.array_equal(read, values)
    read[0, 0] = 9  # an array of our own, not a view of the file's bytes


def test_idx_empty_axis(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(idx_bytes(np.zeros((0, 28, 28), "u1"), 8))
    assert read_idx(path).shape == (0, 28, 28)


@pytest.mark.parametrize("zipped", [False, True])
def test_every_truncated_idx_is_refused(tmp_path, zipped):
    data = idx_bytes(np.arange(12, dtype="u1").reshape(3, 4), 8)
    data = gzip.compress(data) if zipped else data
    path = tmp_path / "x"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="x") as caught:
            read_idx(path)
        assert "\n" not in str(caught.value)


def test_idx_with_bytes_after_the_data(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(idx_bytes(np.zeros(3, "u1"), 8) + b"\0")
    with pytest.raises(ValueError, match="bytes after the 3"):
        read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_with_a_hostile_size_costs_no_memory(tmp_path, zipped):
    import tracemalloc

    data = struct.pack(">BBBB", 0, 0, 8, 4) + struct.pack(">4I", *[2**32 - 1] * 4) + b"123"
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(data) if zipped else data)
    tracemalloc.start()
    with pytest.raises(ValueError, match="truncated"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"not idx", b"\0\0\x07\x01\0\0\0\0", b"\0\0\x08\0", b"\x89PNG\r\n\x1a\n", b""])
def test_not_idx(tmp_path, data):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(path)


def test_idx_more_axes_than_numpy_has(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(struct.pack(">BBBB", 0, 0, 8, 65) + struct.pack(">65I", *[1] * 65) + b"\0")
    with pytest.raises(ValueError, match="65 axes"):
        read_idx(path)


def test_idx_file_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_idx(tmp_path)


def write_folder(folder, rows=6, labels=None, dotted=False):
    images = np.arange(rows * 4, dtype="u1").reshape(rows, 2, 2)
    labels = np.arange(rows, dtype="u1") % 3 if labels is None else labels
    for part in ("train", "t10k"):
        separator = "." if dotted else "-"
        (folder / f"{part}-images{separator}idx3-ubyte").write_bytes(idx_bytes(images, 8))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels, 8)))
    return images, labels


@pytest.mark.parametrize("dotted", [False, True])
def test_idx_folder(tmp_path, dotted):
    images, labels = write_folder(tmp_path, dotted=dotted)
    (x, y), (x_test, y_test) = read_idx_folder(tmp_path)
    assert np.array_equal(x, images.reshape(6, 4)) and np.array_equal(y, labels) and y.dtype == np.int64
    assert np.array_equal(x_test, x) and np.array_equal(y_test, y)
    ((only, _),) = read_idx_folder(tmp_path, parts=("test",))
    assert np.array_equal(only, x)


def test_idx_folder_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no train-images-idx3-ubyte or train-images-idx3-ubyte.gz"):
        read_idx_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_idx_folder(tmp_path / "absent")
    write_folder(tmp_path, labels=np.zeros(5, "u1"))
    with pytest.raises(ValueError, match="6 images .* 5 labels"):
        read_idx_folder(tmp_path)
    write_folder(tmp_path, rows=0)
    with pytest.raises(ValueError, match="holds no images"):
        read_idx_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        read_idx_folder(tmp_path / "t10k-labels-idx1-ubyte.gz")


def test_data_imports_nothing_above_it():
    import subprocess

    code = "import sys, fastnn.data as d; d.load_digits(); print([m for m in sys.modules if m.startswith('fastnn')])"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(names)) <= {"fastnn", "fastnn._lazy", "fastnn.data", "fastnn.data.digits"}
