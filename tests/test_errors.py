"""Bad input of every kind: one line that names the problem, exit code 2, no traceback, nothing written."""

import gzip
import os
import shutil

import numpy as np
import pytest
from test_data_digits_idx import idx_bytes

from fastnn.cli import main

pytest.importorskip("safetensors")

TABLE = "a,b,kind\n" + "".join(f"{i},{i * i % 7},{'xyz'[i % 3]}\n" for i in range(60))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with models and data that are fine."""
    folder = tmp_path_factory.mktemp("trained")
    before = os.getcwd()
    os.chdir(folder)
    try:
        (folder / "table.csv").write_text(TABLE)
        (folder / "numbers.csv").write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i / 7}\n" for i in range(60)))
        quick = ["--layers", "4", "--epochs", "1", "--no-plot"]
        assert main(["train", "table.csv", "--target", "kind", *quick, "-o", "table.model"]) == 0
        assert main(["train", "numbers.csv", "--target", "y", *quick, "-o", "numbers.model"]) == 0
        assert main(["train", "digits", *quick, "-o", "digits.model"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A copy of it, with bad things added, as the current folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    write_bad_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_bad_files(folder):
    (folder / "folder").mkdir()
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (folder / "holes.csv").write_text(TABLE.replace("5,4,z", "5,,z").replace("8,1,z", "?,1,z"))
    (folder / "one.csv").write_text("a,b\n1,x\n2,x\n3,x\n")
    (folder / "two.csv").write_text("a,b\n1,x\n2,y\n")
    (folder / "infinite.csv").write_text("a,b\n1,x\ninf,y\n2,x\n")
    (folder / "binary.csv").write_bytes(b"\0\1\2\3" * 10)
    (folder / "latin.csv").write_bytes(b"a,b\n\xe9,x\nz,y\n")
    (folder / "cut.csv.gz").write_bytes(gzip.compress(TABLE.encode())[:-9])
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "names.csv").write_text("n,kind\n" + "".join(f"name{i},{i % 2}\n" for i in range(150)))
    (folder / "other.csv").write_text("c,d\n1,2\n")
    (folder / "text.csv").write_text("a,b\n1,two\n")
    (folder / "unseen.csv").write_text("a,b,kind\n1,2,w\n")
    (folder / "pixels.csv").write_text("1,2,3\n4,5,6\n")
    damaged = bytearray((folder / "table.model").read_bytes())
    damaged[-3] ^= 4
    (folder / "damaged.model").write_bytes(damaged)
    (folder / "cut.model").write_bytes((folder / "table.model").read_bytes()[:-10])
    write_bad_idx(folder)


def write_bad_idx(folder):
    images, labels = np.zeros((9, 2, 2), "u1"), np.arange(9, dtype="u1") % 3
    good = {
        "train-images-idx3-ubyte": idx_bytes(images, 8),
        "train-labels-idx1-ubyte": idx_bytes(labels, 8),
        "t10k-images-idx3-ubyte": idx_bytes(images, 8),
        "t10k-labels-idx1-ubyte": idx_bytes(labels, 8),
    }
    changes = {
        "idx-cut": ("train-images-idx3-ubyte", idx_bytes(images, 8)[:-1]),
        "idx-few": ("train-labels-idx1-ubyte", idx_bytes(labels[:5], 8)),
        "idx-range": ("t10k-labels-idx1-ubyte", idx_bytes(labels + np.uint8(5), 8)),
        "idx-negative": ("train-labels-idx1-ubyte", idx_bytes(labels.astype("i1") - np.int8(1), 9)),
        "idx-size": ("t10k-images-idx3-ubyte", idx_bytes(np.zeros((9, 3, 3), "u1"), 8)),
        "idx-not": ("train-images-idx3-ubyte", b"not idx at all"),
        "idx-empty": ("train-images-idx3-ubyte", b""),
    }
    for name, (file, data) in changes.items():
        (folder / name).mkdir()
        for other, text in {**good, file: data}.items():
            (folder / name / other).write_bytes(text)
    (folder / "one.idx").write_bytes(idx_bytes(images, 8))


CASES = [
    # usage
    ("trian digits", "invalid choice: 'trian'.*train.*predict.*evaluate.*info"),
    ("--nonsense", "unknown option --nonsense"),
    ("train", "say what data: digits, a table, or --idx-dir"),
    ("train digits --idx-dir folder", "choose one of digits and --idx-dir"),
    ("train digits --epoch 3", "unknown option --epoch; did you mean --epochs"),
    ("train digits more", "unknown argument more"),
    ("train digits --dropout 1.5", "--dropout: must be from 0 to below 1, not '1.5'"),
    ("train digits --dropout nan", "must be from 0 to below 1"),
    ("train digits --epochs 0", "--epochs: must be a whole number of at least 1, not '0'"),
    ("train digits --batch-size 1.5", "whole number"),
    ("train digits --lr 0", "--lr: must be a number above 0"),
    ("train digits --lr inf", "--lr: must be a number above 0"),
    ("train digits --weight-decay -1", "at least 0"),
    ("train digits --seed -1", "at least 0"),
    ("train digits --threads 0", "at least 1"),
    ("train digits --threads 5000", "between 1 and 1024"),
    ("train digits --layers 3,x", "sizes of hidden layers such as 256,128, or none"),
    ("train digits --layers 3,0", "sizes of hidden layers"),
    ("train digits --dtype float16", "invalid choice: 'float16'.*float32.*float64"),
    ("train digits --activation rleu", "'rleu' is unknown .did you mean relu... choose one of .*tanh"),
    ("train digits --optimizer admm", "'admm' is unknown .did you mean adam... choose one of .*sgd"),
    ("train digits --optimizer adam --momentum 0.5", "adam has no momentum"),
    ("train digits --validation-share 0.6 --test-share 0.5", "leave no training data"),
    ("train digits --validation-share 1", "must be from 0 to below 1"),
    ("train digits --target x", "--target is for tables"),
    ("train table.csv --target kind --missing guess", "invalid choice: 'guess'.*error.*drop.*mean"),
    ("train table.csv --target kind --task both", "invalid choice: 'both'.*classification.*regression"),
    ("train table.csv --target kind --type a=number", "must be COL=KIND, the kind one of numeric, categorical"),
    # data files
    ("train absent.csv --target x", "there is no file absent.csv"),
    ("train folder --target x", "folder is a folder"),
    ("train table.csv", "--target which column of table.csv to predict: a, b, kind"),
    ("train table.csv --target colour", "no column 'colour'; its columns are: a, b, kind"),
    ("train table.csv --target 3", "no column '3'"),
    ("train table.csv --target kind --ignore q", "no column 'q'"),
    ("train table.csv --target kind --ignore a,b", "no column left to learn from"),
    ("train table.csv --target kind --task regression", "regression needs numbers"),
    ("train table.csv --target kind --delimiter ab", "delimiter must be"),
    ("train table.csv --target kind --encoding klingon", "unknown text encoding 'klingon'"),
    ("train empty.csv --target a", "empty.csv is empty"),
    ("train header.csv --target a", "header but no rows"),
    ("train ragged.csv --target a", "line 3: 1 cells, but 2 were expected"),
    ("train holes.csv --target kind --missing error", "missing values in 2 columns: 'a' 1, 'b' 1; .*drop.*mean"),
    ("train one.csv --target b", "one class only"),
    ("train two.csv --target b", "has 2 rows; at least 3"),
    ("train infinite.csv --target b", "'inf' in line 3.*fastnn train infinite.csv --target b --na inf, or"),
    ("train binary.csv --target a", "not a text table"),
    ("train latin.csv --target b", "line 2: the bytes are not utf-8 text"),
    ("train cut.csv.gz --target kind", "damaged or truncated gzip"),
    ("train picture.png --target a", "picture.png is not a text table"),
    ("train names.csv --target kind", "'n' holds text .150 different.* names.csv --target kind --type n=ignored, or"),
    # IDX
    ("train --idx-dir absent", "there is no file absent"),
    ("train --idx-dir table.csv", "table.csv is a file; a folder"),
    ("train --idx-dir folder", "no train-images-idx3-ubyte"),
    ("train --idx-dir idx-cut", "train-images-idx3-ubyte is truncated"),
    ("train --idx-dir idx-few", "9 images but .* 5 labels"),
    ("train --idx-dir idx-range", "test labels go up to 7, the training labels to 2"),
    ("train --idx-dir idx-negative", "label -1 is negative"),
    ("train --idx-dir idx-size", "4 pixels, test images 9"),
    ("train --idx-dir idx-not", "not an IDX file"),
    ("train --idx-dir idx-empty", "not an IDX file"),
    # outputs
    ("train digits -o folder", "folder is a folder"),
    ("train digits -o absent/model", "there is no folder absent"),
    ("train digits -o table.csv/model", "there is no folder table.csv"),
    ("train digits -o table.model", "table.model exists; --force replaces it"),
    ("train digits -o table.csv", "exists and is not a fastnn model file"),
    ("train digits -o table.csv --force", "exists and is not a fastnn model file"),
    ("predict table.model table.csv -o numbers.csv", "numbers.csv exists; --force"),
    ("predict table.model table.csv -o table.csv --force", "is an input of this command"),
    ("predict table.model table.csv -o table.model --force", "is an input of this command"),
    ("predict table.model table.csv -o absent/out", "there is no folder absent"),
    # model files
    ("predict", "required: MODEL"),
    ("predict table.model", "say what data"),
    ("predict absent.model table.csv", "there is no file absent.model"),
    ("predict folder table.csv", "folder is a folder"),
    ("predict table.csv table.csv", "table.csv is not a safetensors file"),
    ("predict damaged.model table.csv", "damaged.model is damaged: its contents do not match its SHA-256"),
    ("evaluate damaged.model table.csv", "damaged.model is damaged"),
    ("evaluate cut.model table.csv", "cut.model is damaged"),
    ("predict empty.csv table.csv", "not a safetensors file"),
    # data for a model
    ("predict table.model absent.csv", "there is no file absent.csv"),
    ("predict table.model digits", "was trained on a table; give it a table, not digits"),
    ("predict table.model --idx-dir idx-range", "was trained on a table"),
    ("predict table.model other.csv", "lacks the columns 'a', 'b'; its columns are: c, d"),
    ("predict table.model text.csv", "line 2: column 'b' holds 'two', which is not a number"),
    ("predict table.model holes.csv --missing error", "missing values in 2 columns"),
    ("predict numbers.model numbers.csv --probabilities", "this model predicts a number"),
    ("evaluate table.model unseen.csv", "'kind' holds 'w', which is not a known class; the classes are: x, y, z"),
    ("evaluate table.model numbers.csv", "no column 'kind' to compare"),
    ("predict digits.model pixels.csv", "3 pixels in an image; the model was trained on 64"),
    ("predict digits.model one.idx", "4 pixels in an image"),
    ("evaluate digits.model one.idx", "images without labels"),
    ("evaluate digits.model --idx-dir idx-range", "4 pixels in an image"),
    ("predict digits.model empty.csv", "is empty"),
]


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("command", "message"), CASES, ids=[command for command, _ in CASES])
def test_one_line_exit_2_nothing_written(folder, capsys, command, message):
    import re

    before = snapshot(folder)
    assert main(command.split()) == 2
    printed = capsys.readouterr()
    error = printed.err.rstrip("\n")
    assert re.search(message, error), error
    assert "\n" not in error and error.startswith("fastnn") and "Traceback" not in error and len(error) < 600
    assert snapshot(folder) == before


def test_diverging_training(folder, capsys):
    before = snapshot(folder)
    command = "train numbers.csv --target y --optimizer sgd --lr 1e30 --no-plot --epochs 20"
    assert main(command.split()) == 2
    assert "try a lower --lr" in capsys.readouterr().err
    assert snapshot(folder) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(folder, capsys):
    os.chmod("folder", 0o555)
    assert main(["train", "digits", "-o", "folder/model"]) == 2
    assert "is read-only" in capsys.readouterr().err


def test_full_disk(folder, capsys, monkeypatch):
    import errno

    before = snapshot(folder)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        code = main(["train", "digits", "--layers", "4", "--epochs", "1", "--no-plot", "-o", "table.model", "--force"])
    assert code == 2 and "No space left on device" in capsys.readouterr().err
    assert snapshot(folder) == before


def test_unknown_instruction_set(folder):
    import subprocess
    import sys

    environment = {**os.environ, "FASTNN_ISA": "mmx"}
    command = [sys.executable, "-m", "fastnn", "info"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 2 and "mmx" in run.stderr and "scalar" in run.stderr
    assert "Traceback" not in run.stderr and len(run.stderr.strip().splitlines()) == 1


def test_not_built(folder, capsys, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name == "fastnn.threads" or name == "fastnn.cli.info"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastnn._native", None)
    monkeypatch.delattr("fastnn._native")
    assert main(["info"]) == 2
    assert "not built: run pip install" in capsys.readouterr().err


def test_debug_shows_the_traceback(folder, monkeypatch):
    monkeypatch.setenv("FASTNN_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        main(["predict", "absent.model", "table.csv"])
