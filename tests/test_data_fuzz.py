"""Readers on damaged files: a ValueError of one line or an answer, never another exception, never a hang."""

import gzip
from importlib.util import find_spec

import numpy as np
import pytest
from helpers.tables import assert_readers_agree
from test_data_digits_idx import idx_bytes

from fastnn.data import read_csv, read_idx

TABLE = b'name,age,city,"note, long",y\nann,31,"Rome",x,1\nbob,?,Oslo,"a ""b""",0\ncyd,45.5,Rome,,1\ndan,1e3,Oslo,x,0\n'
PIECES = (
    b'"',
    b",",
    b";",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\xff",
    b"1e999",
    b"nan",
    b"-",
    b"?",
    b"inf",
    b"_",
    b"\xc3\xa9",
)


def damaged(data, rng):
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) + 1))
        match rng.integers(4):
            case 0:
                data[at : at + int(rng.integers(1, 9))] = b""
            case 1:
                data[at:at] = PIECES[rng.integers(len(PIECES))]
            case 2:
                data[at : at + 1] = bytes([rng.integers(256)])
            case _:
                data[at:at] = data[: int(rng.integers(1, 30))]
        if not data:
            data = bytearray(b"1")
    return bytes(data)


def only_value_errors(read):
    try:
        read()
    except ValueError as error:
        assert "\n" not in str(error) and 0 < len(str(error)) < 1500
        return False
    return True


@pytest.mark.filterwarnings("ignore:.*has not seen")
@pytest.mark.parametrize("seed", range(3))
def test_tables(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "t.csv"
    path.write_bytes(TABLE)
    schema = read_csv(path, "y", ignore=["name"], missing="keep").schema
    read_well = 0
    for i in range(150):
        data = damaged(TABLE, rng)
        path.write_bytes(gzip.compress(data) if i % 10 == 0 else data)
        if find_spec("pyarrow"):
            assert_readers_agree(path, {})
        read_well += only_value_errors(lambda: read_csv(path, "y", missing="mean"))
        only_value_errors(lambda: read_csv(path, missing="drop", header=bool(rng.integers(2))))
        only_value_errors(lambda: read_csv(path, schema=schema, missing="keep"))
    assert 5 < read_well < 150  # the damage is neither fatal nor harmless throughout


def test_idx(tmp_path):
    rng, path = np.random.default_rng(9), tmp_path / "x"
    good = idx_bytes(np.arange(24, dtype=">i2").reshape(2, 3, 4), 0x0B)
    for i in range(400):
        data = damaged(good, rng)
        path.write_bytes(damaged(gzip.compress(data), rng) if i % 3 == 0 else data)
        only_value_errors(lambda: read_idx(path))
