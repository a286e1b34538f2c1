"""Text tables: the grammar of records and cells, headers, delimiters, missing values.

Every file is read by the csv module and by pyarrow (conftest.py compares them)."""

import gzip

import numpy as np
import pytest
from helpers.tables import PEOPLE

from fastnn.data import SchemaError, TableSchema, read_csv
from fastnn.data.cells import parse_date, parse_number


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def test_features_by_hand(write):
    table = read_csv(write(PEOPLE), "buys", missing="keep")
    assert table.feature_names == ["age", "job=baker", "job=judge", "job=pilot", "job=<unseen>", "income"]
    nan = np.nan
    expected = [[31, 1, 0, 0, 0, 2500.5], [45, 0, 1, 0, 0, 4100], [nan, 1, 0, 0, 0, 2300], [28, 0, 0, 1, 0, nan]]
    assert np.array_equal(table.x, np.array(expected, np.float32), equal_nan=True) and table.x.dtype == np.float32
    assert table.class_names == ["no", "yes"] and table.task == "classification"
    assert table.y.tolist() == [1, 0, 0, 1] and table.y.dtype == np.int64
    assert table.missing == {"age": 1, "income": 1}
    assert table.schema.number_features.tolist() == [True, False, False, False, False, True]


def test_missing_policies(write):
    path = write(PEOPLE)
    with pytest.raises(ValueError, match="missing values in 2 columns: 'age' 1, 'income' 1; .*drop.*mean"):
        read_csv(path, "buys")
    dropped = read_csv(path, "buys", missing="drop")
    assert dropped.rows.tolist() == [0, 1] and dropped.y.tolist() == [1, 0] and dropped.rows_read == 4
    filled = read_csv(path, "buys", missing="mean")
    assert filled.x[2, 0] == np.float32((31 + 45 + 28) / 3) and np.isfinite(filled.x).all()
    # The means travel with the schema: a new file is filled with the old file's means.
    new = read_csv(write("age,job,income\nNA,judge,1\n", "new.csv"), schema=filled.schema, missing="mean")
    assert new.x[0, 0] == np.float32((31 + 45 + 28) / 3)
    with pytest.raises(ValueError, match="missing must be one of error, drop, mean, keep"):
        read_csv(path, "buys", missing="guess")


def test_rows_without_target_are_left_out(write):
    table = read_csv(write("a,t\n1,5.5\n2,\n3,7.5\n"), "t", missing="keep")
    assert table.rows.tolist() == [0, 2] and table.y.tolist() == [5.5, 7.5] and table.missing == {"t": 1}
    with pytest.raises(ValueError, match="no row is left"):
        read_csv(write("a,b,t\n1,,1.5\n,2,2.5\n"), "t", missing="drop")


# ---- records


def test_a_row_of_empty_cells_is_a_row(write):
    table = read_csv(write("a,b\n1,2\n,\n3,4\n"), missing="keep")
    assert table.rows_read == 3 and np.isnan(table.x[1]).all()
    dropped = read_csv(write("a,b\n1,2\n,\n3,4\n"), missing="drop")
    assert dropped.rows.tolist() == [0, 2] and dropped.rows_read == 3


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("a,b\n1,2\n\n   \n3,4\n\n", [[1, 2], [3, 4]]),  # lines without cells are no records
        ("a\n1\n\n\"\"\n2\n", [[1], [np.nan], [2]]),  # of one column: an empty line is none, a quoted empty cell is
        ("a,b\r\n1,2\r\n3,4", [[1, 2], [3, 4]]),
        ("a,b\r1,2\r3,4\r", [[1, 2], [3, 4]]),
        ('a,b\n"1","2"\n" 3 ",\t4\n', [[1, 2], [3, 4]]),
        ("a,b\n+5,.5\n5.,-1e3\n", [[5, 0.5], [5, -1000]]),
    ],
)
def test_records_and_numbers(write, text, x):
    table = read_csv(write(text), missing="keep")
    assert np.array_equal(table.x, np.array(x, np.float32), equal_nan=True)


def test_text_details(write):
    # Byte order mark, Windows line ends, quoted comma, quote and line end, blank lines, gzip under any name.
    text = '\ufeffname,v\r\n"Smith, J",1\r\n\r\n"two\r\nlines",2\r\n"say ""hi""",3\r\n\r\n'
    table = read_csv(write(gzip.compress(text.encode()), "data.txt"))
    assert table.feature_names == ["name=Smith, J", 'name=say "hi"', "name=two\r\nlines", "name=<unseen>", "v"]
    assert table.x.tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 0, 2], [0, 1, 0, 0, 3]]
    assert read_csv(write("v,w\ncafé,2\n".encode("latin-1")), encoding="latin-1").feature_names[0] == "v=café"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-32"])
def test_wide_encodings_are_read(write, encoding):
    path = write('name;v\n"ä; b";1\nß;2\n'.encode(encoding))
    table = read_csv(path, encoding=encoding)
    assert table.feature_names == ["name=ß", "name=ä; b", "name=<unseen>", "v"]
    if encoding in ("utf-16", "utf-8-sig"):  # the mark says it
        assert read_csv(path).x.tolist() == table.x.tolist()


# ---- header and delimiter


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2019,2020,y\n1,2,a\n3,4,b\n", ["2019", "2020"]),
        ("a,a,y\n1,2,a\n3,4,b\n", ["a", "a.1"]),
        ("a,a.1,a,y\n1,2,3,a\n3,4,5,b\n", ["a", "a.1", "a.2"]),
        (",a,y\n5,2,a\n7,4,b\n", ["Unnamed: 0", "a"]),
        ("x,1,y\n2,1,a\n3,4,b\n", ["x", "1"]),
    ],
)
def test_the_first_record_is_the_header_whatever_it_holds(write, text, names):
    table = read_csv(write(text), "y")
    assert table.feature_names == names and len(table) == 2 and table.class_names == ["a", "b"]


def test_the_index_that_pandas_writes_is_no_feature(write):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, 2.5, 4.0], "y": ["p", "q", "p"]})
    table = read_csv(write(frame.to_csv()), "y")
    assert table.feature_names == ["a"] and "identifiers: 'Unnamed: 0'" in table.notes[0]


def test_header_can_be_denied(write):
    path = write("2019,2020\n1,2\n3,4\n")
    table = read_csv(path, header=False)
    assert table.feature_names == ["c0", "c1"] and len(table) == 3
    assert "header=False" in read_csv(path).notes[0]
    with pytest.raises(ValueError, match="header must be True or False"):
        read_csv(path, header="auto")


def test_many_repeated_names_are_quick(write):
    names = ",".join(["a"] * 5_000)
    table = read_csv(write(f"{names}\n{','.join(['1'] * 5_000)}\n"), reader="csv")
    assert table.feature_names[-1] == "a.4999"


@pytest.mark.parametrize(
    "text", ["a,b,c\n1,2,3\n", "a;b;c\n1;2;3\n", "a\tb\tc\n1\t2\t3\n", "a|b|c\n1|2|3\n", "a  b c\n 1 2 \t  3\n"]
)
def test_delimiters(write, text):
    table = read_csv(write(text))
    assert table.feature_names == ["a", "b", "c"] and table.x.tolist() == [[1, 2, 3]]


def test_decimal_commas(write):
    assert read_csv(write("v;w\n1,5;2\n"), decimal=",").x.tolist() == [[1.5, 2]]
    table = read_csv(write("1,5;2,5;0\n3,5;4,5;1\n"), -1, decimal=",", header=False)
    assert table.x.tolist() == [[1.5, 2.5], [3.5, 4.5]] and table.class_names == ["0", "1"]
    with pytest.raises(SchemaError, match="decimal commas.*to read decimal commas: read_csv.*decimal=','"):
        read_csv(write("a;b\n" + "".join(f"1;{i},5\n" for i in range(200))))


def test_a_sample_that_ends_inside_a_quoted_cell_finds_the_delimiter(write):
    cell = '"' + "a,b;c\n" * 50_000 + '"'
    path = write(f"k;v\n1;2\n3;4\n{cell[:100_000]}\";5\n" + f"x;{6}\n" * 3)
    table = read_csv(path, types={"k": "categorical"})
    assert table.feature_names[-1] == "v" and table.x[:, -1].tolist() == [2, 4, 5, 6, 6, 6]


# ---- cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1.0), ("-1.5e3", -1500.0), ("+.5", 0.5), ("5.", 5.0), ("1e400", None), ("1_000", None), ("0x10", None),
     ("inf", None), ("nan", None), ("1,5", None), ("١", None), ("1 2", None), ("9007199254740993", 2**53 + 1),
     ("9" * 101, None), ("", None), (".", None), ("e5", None)],
)  # fmt: skip
def test_numbers_of_the_grammar(cell, value):
    assert parse_number(cell) == value and type(parse_number(cell)) is type(value)


@pytest.mark.parametrize(
    ("cell", "day", "seconds"),
    [("2024-03-01", 19783, None), ("2024/3/1", 19783, None), ("2024-03-01T01:00", 19783, 3600),
     ("2024-03-01 00:00:01.5", 19783, 1.5), ("2024-03-01T00:00:00+01:00", 19782, 23 * 3600),
     ("2024-03-01T00:00Z", 19783, 0)],
)  # fmt: skip
def test_dates_of_the_grammar(cell, day, seconds):
    micros, clock = parse_date(cell)
    assert micros == day * 86_400_000_000 + int((seconds or 0) * 1e6) and clock == (seconds is not None)


@pytest.mark.parametrize("cell", ["2024-02-30", "24-03-01", "01.03.2024", "2024-03-01T25:00", "2024-03", "20240301"])
def test_what_is_no_date(cell):
    assert parse_date(cell) is None


def test_words_for_missing_are_categories_where_texts_are(write):
    """NA is Namibia; an empty cell is missing; both have a place of their own."""
    path = write("country,v\nNA,1\nDE,2\n,3\nNone,4\n")
    table = read_csv(path, missing="keep")
    assert table.feature_names == ["country=DE", "country=NA", "country=None", "country=<missing>", "country=<unseen>",
                                   "v"]  # fmt: skip
    assert table.x[:, :5].argmax(axis=1).tolist() == [1, 0, 3, 2] and table.missing == {"country": 1}
    named = read_csv(path, na=["NA"], missing="keep")
    assert named.feature_names == ["country=DE", "country=None", "country=<missing>", "country=<unseen>", "v"]
    assert named.missing == {"country": 2}
    classes = read_csv(write("a,y\n1,NA\n2,None\n3,x\n"), "y")
    assert classes.class_names == ["NA", "None", "x"]


@pytest.mark.parametrize("word", ["+nan", "NaN", "N/A", "null", "none", "?", "<NA>", '"na"', " NA "])
def test_every_word_for_a_missing_number_is_counted(write, word):
    path = write(f"a,b\n1,2\n{word},3\n4,5\n")
    with pytest.raises(ValueError, match="missing values in 1 column: 'a' 1"):
        read_csv(path)
    assert read_csv(path, missing="drop").rows.tolist() == [0, 2]


# ---- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "header but no rows"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but 2 were expected .delimiter: comma"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells, but 2 were expected"),
        (b"a,b\n1,2\n3,\xff\n", "line 3: the bytes are not utf-8 text"),
        (b"PK\0\0\0", "not a text table"),
        (gzip.compress(b"a,b\n1,2\n" * 99)[:30], "damaged or truncated gzip"),
        ("a,b\n1,inf\n2,3\n", "'inf' in line 2"),
        ("a,b\n1,x\n2," + "y" * 140_000 + "\n", "a cell is longer than 131,072 characters"),
    ],
)
def test_bad_files(write, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(write(text))
    assert "\n" not in str(caught.value) and "data.csv" in str(caught.value)


def test_numbers_that_float32_cannot_hold(write):
    with pytest.raises(ValueError, match="line 2: column 'b' holds 1e\\+39, which does not fit float32"):
        read_csv(write("a,b\n1,1e39\n2,3\n"))
    assert read_csv(write("a,b\n1,1e39\n2,3\n"), dtype=np.float64).x[0, 1] == 1e39


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "wage"}, "has no column 'wage'; its columns are: age, job, income, buys"),
        ({"target": 4}, "has no column '4'"),
        ({"target": "buys", "ignore": ["x"]}, "has no column 'x'"),
        ({"target": "buys", "ignore": ["buys"]}, "cannot be both"),
        ({"target": "buys", "ignore": ["age", "job", "income"]}, "no column left"),
        ({"target": "buys", "task": "regression"}, "'buys' holds 'yes' in line 2.*regression needs numbers"),
        ({"target": "buys", "task": "both"}, "task must be one of auto, classification, regression"),
        ({"target": "buys", "types": {"age": "number"}}, "the type of column 'age' must be one of numeric"),
        ({"target": "buys", "types": {"job": "date"}}, "column 'job' is to be date, but holds 'baker' in line 2"),
        ({"target": "buys", "types": {"job": "text"}}, "text is not supported"),
        ({"delimiter": "--"}, "delimiter must be"),
        ({"encoding": "utf-99"}, "unknown text encoding"),
        ({"reader": "pandas"}, "reader must be one of auto, csv, pyarrow"),
    ],
)
def test_bad_arguments(write, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write(PEOPLE), **arguments)


def test_without_pyarrow_the_csv_module_reads(write, monkeypatch):
    import sys

    path = write(PEOPLE)
    expected = read_csv(path, "buys", missing="mean").x
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    assert np.array_equal(read_csv(path, "buys", missing="mean").x, expected)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        read_csv(path, reader="pyarrow")


def test_readers_agree_on_many_blocks_and_late_surprises(tmp_path):
    """Columns that look like numbers for 40,000 rows and are not; texts that begin late; numbers beyond 2^53."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "long.csv"
    with open(path, "w") as file:
        file.write("a,b,c,big,y\n")
        for i in range(25_000):
            b = "seven" if i == 20_000 else i % 7
            big = 2**60 + i if i > 18_000 else i
            file.write(f"{i / 7:.4f},{b},{'ab'[i % 2] if i % 5 else ''},{big},{i % 3}\n")
    tables = [read_csv(path, "y", types={"b": "categorical"}, missing="keep", reader=r) for r in ("csv", "pyarrow")]
    assert tables[0].schema == tables[1].schema and tables[0].missing == tables[1].missing == {"c": 5_000}
    assert np.array_equal(tables[0].x, tables[1].x) and np.array_equal(tables[0].y, tables[1].y)
    assert "b=seven" in tables[0].feature_names
    errors = []
    for reader in ("csv", "pyarrow"):
        with pytest.raises(SchemaError) as caught:
            read_csv(path, "y", missing="keep", reader=reader)
        errors.append(str(caught.value).replace(f"'{reader}'", "it"))
    assert errors[0] == errors[1] and "'seven' in line 20002" in errors[0]


def test_schemas_are_json(write, tmp_path):
    schema = read_csv(write(PEOPLE), "buys", missing="mean").schema
    schema.save(tmp_path / "schema.json")
    assert TableSchema.load(tmp_path / "schema.json") == schema
    for text in ("{", "[]", "{}", '{"columns": 3}', '{"columns": [{"name": "a", "kind": "x"}]}', "\xff"):
        (tmp_path / "bad.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match="bad.json is not the JSON file of a schema"):
            TableSchema.load(tmp_path / "bad.json")
