"""Frames, arrays and Arrow tables as tables: the dtypes of pandas and polars, NumPy's kinds, pyarrow's files."""

import datetime
import decimal

import numpy as np
import pytest

from fastnn.data import SchemaError, read_csv, read_table

BIG = 2**53 + 1


def test_a_dict_of_columns_is_a_table():
    table = read_table(
        {"a": [1, 2, None], "k": ["x", None, "y"], "f": [True, False, True], "y": ["p", "q", "p"]}, "y", missing="keep"
    )
    assert table.feature_names == ["a", "k=x", "k=y", "k=<missing>", "k=<unseen>", "f"]
    expected = [[1, 1, 0, 0, 0, 1], [2, 0, 0, 1, 0, 0], [np.nan, 0, 1, 0, 0, 1]]
    assert np.array_equal(table.x, np.array(expected, np.float32), equal_nan=True)
    with pytest.raises(ValueError, match="must have equal lengths, not 'a' 1, 'b' 2"):
        read_table({"a": [1], "b": [1, 2]})


def test_arrays_with_two_axes_fields_and_masks():
    values = np.arange(12.0).reshape(4, 3)
    table = read_table(values, -1, task="regression")
    assert np.array_equal(table.x, values[:, :2]) and table.feature_names == ["c0", "c1"]
    assert np.array_equal(read_table(values[:, :2] + 1, schema=table.schema).x, values[:, :2] + 1)
    masked = np.ma.array(values, mask=values == 4)
    assert read_table(masked, -1, missing="keep", task="regression").missing == {"c1": 1}
    fields = np.array([(1, 2.5, "u"), (BIG, 3.5, "v")], dtype=[("n", "i8"), ("x", "f4"), ("k", "U3")])
    table = read_table(fields, types={"n": "categorical"})
    assert table.feature_names == ["n=1", f"n={BIG}", "n=<unseen>", "x", "k=u", "k=v", "k=<unseen>"]
    wrongs = (np.zeros(3), "two axes"), (np.zeros((2, 2), complex), "complex128"), (np.zeros((2, 0)), "no columns")
    for wrong, words in wrongs:
        with pytest.raises(ValueError, match=words):
            read_table(wrong)
    with pytest.raises(TypeError, match="a table must be a path, a DataFrame, .* not set"):
        read_table({1, 2})


@pytest.mark.parametrize("dtype", "int8 uint16 int64 uint64 float16 float32 float64 >f8 >i4 ?".split())
def test_every_real_dtype_of_numpy(dtype):
    values = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    assert np.array_equal(read_table({"a": values[:, 0], "b": values[::1, 1]}).x, values.astype(np.float32))


def test_whole_numbers_beyond_2_to_53_keep_their_values_in_arrays():
    for dtype in ("int64", "uint64"):
        n = np.array([BIG, BIG + 1, BIG + 5], dtype=dtype)
        assert read_table({"n": n, "v": [1.0, 2, 3]}).x[:, 0].tolist() == [0, 1, 5]
    times = np.array(["2024-01-01T00:00:00.5", "NaT", "2024-01-02"], dtype="datetime64[ns]")
    table = read_table({"t": times, "v": [1, 2, 3]}, missing="keep")
    assert table.x[:, 0].tolist()[0] == np.float32(0.5 / 86400) and np.isnan(table.x[1, 0])


def frame_columns():
    """name -> (values, kind) that both frame libraries hold."""
    day = datetime.datetime(2024, 5, 1, 12)
    return {
        "i": [1, 2, 3], "f": [0.5, 1.5, 2.5], "b": [True, False, True], "s": ["u", "v", "u"],
        "d": [day, day + datetime.timedelta(days=1), day],
    }  # fmt: skip


EXPECTED = [[1, 0.5, 1, 1, 0, 0], [2, 1.5, 0, 0, 1, 0], [3, 2.5, 1, 1, 0, 0]]


def test_pandas_dtypes():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(frame_columns())
    plain = read_table(frame)
    assert np.array_equal(plain.x[:, :6], EXPECTED) and plain.x[:, 6].tolist() == [0.5, 1.5, 0.5]
    nullable = frame.convert_dtypes()
    assert np.array_equal(read_table(nullable, schema=plain.schema).x, plain.x)
    assert read_table(nullable).schema == plain.schema
    forms = {"i": ["Int8", "UInt64", "float32", "category", "object", "string"], "f": ["Float32", "object", "category"],
             "b": ["boolean", "object", "category"], "s": ["category", "object", "string"]}  # fmt: skip
    for name, dtypes in forms.items():
        for dtype in dtypes:
            other = frame.assign(**{name: frame[name].astype(dtype)})
            assert np.array_equal(read_table(other, schema=plain.schema).x, plain.x), (name, dtype)
    zoned = frame.assign(d=frame["d"].dt.tz_localize("Europe/Berlin"))
    assert read_table(zoned, schema=plain.schema).x[:, 6].tolist() == pytest.approx([0.5 - 2 / 24, 1.5 - 2 / 24,
                                                                                    0.5 - 2 / 24])  # fmt: skip
    assert np.array_equal(read_table(frame.set_index(pd.Index([9, 9, 7])), schema=plain.schema).x, plain.x)


def test_columns_declared_as_categories_are_categories():
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    numbers = [30, 7, 30, 7]
    for frame in (pd.DataFrame({"k": pd.Categorical(numbers), "v": range(4)}),
                  pa.table({"k": pa.array(numbers).dictionary_encode(), "v": [0, 1, 2, 3]}),
                  pl.DataFrame({"k": pl.Series([str(n) for n in numbers], dtype=pl.Categorical), "v": range(4)})):
        table = read_table(frame)
        assert table.feature_names == ["k=7", "k=30", "k=<unseen>", "v"]
        assert read_table({"k": [7.0], "v": [1]}, schema=table.schema).x.tolist() == [[1, 0, 0, 1]]
    for column in (pd.Series([1, 2]), pa.array([1, 2]), pa.chunked_array([[1, 2]])):
        with pytest.raises(TypeError, match="not a table|must be a path"):
            read_table(column)


def test_missing_values_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"i": pd.array([1, None, BIG], "Int64"), "b": pd.array([True, None, False], "boolean"),
                          "s": pd.array(["NA", None, "x"], "string"), "c": pd.Categorical(["u", None, "v"]),
                          "o": [decimal.Decimal("1.5"), None, decimal.Decimal("2.5")], "e": [None, np.nan, pd.NA],
                          "d": pd.to_datetime(["2024-01-01", None, "2024-01-02"])})  # fmt: skip
    table = read_table(frame, missing="keep")
    assert table.missing == {"i": 1, "b": 1, "s": 1, "c": 1, "o": 1, "d": 1}
    assert table.feature_names == ["i", "b", "s=NA", "s=x", "s=<missing>", "s=<unseen>", "c=u", "c=v", "c=<missing>",
                                   "c=<unseen>", "o", "d.days", "d.year", "d.month", "d.day", "d.weekday"]  # fmt: skip
    assert table.x[2, 0] == 2**53 and table.x[:, 10].tolist()[::2] == [1.5, 2.5]
    assert table.notes == ["left out, empty in every row: 'e'"]


def test_what_no_column_can_hold_is_named():
    pd = pytest.importorskip("pandas")
    for values, words in (([[1], [2]], "objects of type list"), ([b"a", b"b"], "bytes"), ([1j, 2j], "complex"),
                          (pd.to_timedelta([1, 2]), "timedelta")):  # fmt: skip
        with pytest.raises(ValueError, match=f"the DataFrame: column 'a' holds .*{words}.*leave it out"):
            read_table(pd.DataFrame({"a": values, "b": [1, 2]}))
    frame = pd.DataFrame({"a": ["1", "2", "x"], "y": ["p", "q", "p"]})
    with pytest.raises(SchemaError, match="'a' is numeric but for 1 of 3 cells \\('x' in row 2\\).*read_table\\(data"):
        read_table(frame, "y")


def test_a_frame_and_the_file_it_writes_have_one_schema(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=50).round(4), "k": rng.choice(["x", "y"], 50),
                          "n": rng.integers(0, 9, 50), "b": rng.random(50) > 0.5,
                          "d": pd.date_range("2024-01-01", periods=50, freq="h"),
                          "y": rng.choice(["p", "q"], 50)})  # fmt: skip
    frame.to_csv(tmp_path / "f.csv", index=False)
    file, memory = read_csv(tmp_path / "f.csv", "y"), read_table(frame, "y")
    assert file.schema == memory.schema
    assert np.array_equal(file.x, memory.x) and np.array_equal(file.y, memory.y)


def test_polars_dtypes():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(frame_columns())
    plain = read_table(frame)
    assert np.array_equal(plain.x[:, :6], EXPECTED) and plain.x[:, 6].tolist() == [0.5, 1.5, 0.5]
    for name, dtype in (("i", pl.UInt8), ("i", pl.Float32), ("i", pl.String), ("i", pl.Decimal(10, 2)),
                        ("f", pl.Float32), ("s", pl.Categorical), ("s", pl.Enum(["w", "v", "u"])),
                        ("d", pl.Datetime("ns"))):  # fmt: skip
        other = frame.with_columns(pl.col(name).cast(dtype))
        assert np.array_equal(read_table(other, schema=plain.schema).x, plain.x), (name, dtype)
    assert np.array_equal(read_table(frame.lazy(), schema=plain.schema).x, plain.x)
    zoned = frame.with_columns(pl.col("d").dt.replace_time_zone("UTC"))
    assert np.array_equal(read_table(zoned, schema=plain.schema).x, plain.x)
    days = [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 2)]
    holes = pl.DataFrame({"i": [BIG, None, BIG + 2], "b": [True, None, False], "s": ["NA", None, "x"], "d": days,
                          "e": [None] * 3})  # fmt: skip
    table = read_table(holes, missing="keep")
    assert table.missing == {"i": 1, "b": 1, "s": 1, "d": 1} and table.x[2, 0] == 2
    with pytest.raises(ValueError, match="column 'l' holds List"):
        read_table(pl.DataFrame({"l": [[1], [2]], "b": [1, 2]}))


def arrow_table(pa):
    when = [datetime.datetime(2024, 1, 1, 6), None, datetime.datetime(2024, 1, 2)]
    return pa.table({
        "i": pa.array([BIG, None, BIG + 2]), "f": pa.array([0.5, None, 1.5], pa.float32()),
        "b": pa.array([True, None, False]), "s": pa.array(["NA", None, "x"]),
        "c": pa.array(["u", None, "v"]).dictionary_encode(), "n": pa.nulls(3),
        "m": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")]), "t": pa.array(when),
    })  # fmt: skip


def test_arrow_tables_streams_and_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    data = arrow_table(pa)
    table = read_table(data, missing="keep")
    assert table.feature_names[:3] == ["i", "f", "b"] and table.notes == ["left out, empty in every row: 'n'"]
    assert table.missing == {"i": 1, "f": 1, "b": 1, "s": 1, "c": 1, "m": 1, "t": 1}
    assert table.x[0, :3].tolist() == [0, 0.5, 1] and table.x[2, 0] == 2
    assert table.x[2, table.feature_names.index("m")] == 2.25

    class Stream:  # DuckDB's relations and others
        def __arrow_c_stream__(self, requested_schema=None):
            return data.__arrow_c_stream__(requested_schema)

    parquet.write_table(data, tmp_path / "t.parquet")
    feather.write_feather(data, tmp_path / "t.feather")
    for other in (Stream(), tmp_path / "t.parquet", tmp_path / "t.feather", pa.RecordBatchReader.from_stream(Stream())):
        again = read_table(other, missing="keep")
        assert again.schema == table.schema and np.array_equal(again.x, table.x, equal_nan=True)
    for name in ("t.parquet", "t.feather"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
        with pytest.raises(ValueError, match=f"{name} is a damaged"):
            read_table(tmp_path / name)
    with pytest.raises(ValueError, match="column 'l' holds list"):
        read_table(pa.table({"l": [[1], [2]], "b": [1, 2]}))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    import sys

    (tmp_path / "t.parquet").write_bytes(b"PAR1" + b"\0" * 20)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="t.parquet is a Parquet file: reading it needs pyarrow: pip install pyarrow"):
        read_table(tmp_path / "t.parquet")
