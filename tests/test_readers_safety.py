"""Files made to do harm, or found in bad places: bounded memory, no hang, one line that names the file."""

import errno
import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn.cli import main
from fastnn.data import TableSchema, open_dataset, read_csv, read_idx, read_npy, read_table
from fastnn.io import load_model_file
from fastnn.io.atomic import write_atomic


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


READERS = (read_csv, read_table, open_dataset, read_idx, read_npy, TableSchema.load, load_model_file)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_pipes_devices_and_folders_are_refused_by_name(folder, read):
    os.mkfifo(folder / "pipe")
    for path, words in ((folder / "pipe", "not a regular file"), ("/dev/zero", "not a regular file"),
                        (folder, "is a folder"), (folder / "none", "there is no file")):  # fmt: skip
        with pytest.raises(OSError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b",\n", b"1,2\n", b"x", b"\n"])
def test_gzip_that_expands_without_end_is_refused(folder, monkeypatch, content):
    monkeypatch.setattr("fastnn.data.files._FREE_BYTES", 1 << 17)
    (folder / "bomb.csv.gz").write_bytes(gzip.compress(content * (400_000 // len(content))))
    with pytest.raises(ValueError, match="bomb.csv.gz (expands to more than 100 times|is not a text table)"):
        read_csv(folder / "bomb.csv.gz", reader="csv")


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["csv", "pyarrow"])
def test_gzip_of_one_megabyte_needs_less_than_a_gigabyte(folder, reader):
    (folder / "bomb.csv.gz").write_bytes(gzip.compress(b",\n" * 250_000_000))
    code = (
        "import resource, sys; from fastnn.data import read_csv\n"
        "try: read_csv('bomb.csv.gz', reader=sys.argv[1])\n"
        "except (ValueError, ImportError) as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    run = subprocess.run([sys.executable, "-c", code, reader], capture_output=True, text=True, check=True)
    message, megabytes = run.stdout.splitlines()
    assert "expands to more than 100 times" in message or "pip install pyarrow" in message
    assert int(megabytes) < 1000


@pytest.mark.parametrize("data", [b",\n", b",\n,\n", b"\x93NUMPY\x01\x00\x02\x00(\n", b'"', b'"\n\n', b"\xef\xbb\xbf"])
def test_what_is_no_table_is_a_value_error_that_names_the_file(folder, data):
    (folder / "odd.csv").write_bytes(data)
    for read in (read_csv, lambda path: open_dataset(path), lambda path: read_csv(path, -1), read_npy):
        with pytest.raises(ValueError, match="odd.csv") as caught:
            read(folder / "odd.csv")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header", ["{'descr': (", "{", "{'descr': '<f4', 'shape': (10**30,), 'fortran_order': 0}", "('"]
)
def test_a_npy_file_with_a_broken_header_is_a_value_error(folder, header):
    text = header.encode().ljust(118) + b"\n"
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"1234")
    for memory_map in (True, False):
        with pytest.raises(ValueError, match="x.npy: "):
            read_npy(folder / "x.npy", memory_map=memory_map)


def test_a_failing_fchmod_leaves_no_file_and_no_descriptor(folder, monkeypatch):
    (folder / "file").write_bytes(b"old")

    def refuse(*args):
        raise OSError(errno.EPERM, "no rights here")

    monkeypatch.setattr(os, "fchmod", refuse)
    before = len(os.listdir("/proc/self/fd"))
    (folder / "file").chmod(0o600)
    write_atomic(folder / "file", b"new")  # a file system without rights: the new file has no more than the old one
    assert (folder / "file").read_bytes() == b"new" and (folder / "file").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(os, "fstat", refuse)
    with pytest.raises(OSError, match="no rights"):
        write_atomic(folder / "file", b"newer")
    monkeypatch.undo()
    assert os.listdir(folder) == ["file"] and (folder / "file").read_bytes() == b"new"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_failing_fsync_of_the_folder_is_a_warning(folder, monkeypatch):
    real, calls = os.fsync, []

    def second_fails(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.warns(UserWarning, match="file is written, but may not outlive a power cut: Input/output error"):
        write_atomic(folder / "file", b"new")
    assert (folder / "file").read_bytes() == b"new" and os.listdir(folder) == ["file"]


@pytest.mark.parametrize("length", [240, 252, 255])
def test_names_as_long_as_the_system_takes_are_saved(folder, length):
    import fastnn
    from fastnn import nn

    name = "m" * length
    fastnn.save(nn.Sequential(nn.Linear(2, 1)), name)
    assert fastnn.load(name)(np.zeros((1, 2), "f4")).shape == (1, 1) and os.listdir(folder) == [name]


EVIL = ['=HYPERLINK("http://x.y","z")', "+cmd|calc", "@SUM(1)", "-2", r"$\frac{1$", "a$b$c"]


def test_class_names_are_no_formulas_in_predictions_and_no_tex_in_reports(folder, capsys):
    import csv

    rng = np.random.default_rng(0)
    with open("t.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "y"])
        for i in range(120):
            writer.writerow([*rng.normal(i % 6, 0.1, 2).round(3), EVIL[i % 6]])
    command = ["train", "t.csv", "--target", "y", "--layers", "16", "--epochs", "80", "--lr", "0.02", "--dropout", "0",
               "--no-plot", "-o", "m"]  # fmt: skip
    try:
        import matplotlib  # noqa: F401

        command += ["--report", "out"]
    except ImportError:
        pass
    assert main(command) == 0
    assert main(["predict", "m", "t.csv", "-o", "p.csv", "--probabilities"]) == 0
    with open("p.csv", newline="") as file:
        names, *rows = csv.reader(file)
    cells = {row[0] for row in rows}
    assert "'" + EVIL[0] in cells and "-2" in cells and r"$\frac{1$" in cells
    assert not any(cell.startswith(("=", "+", "@")) for cell in (*cells, *names))
