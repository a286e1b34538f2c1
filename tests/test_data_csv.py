"""Tables: header and delimiter detection, kinds of columns, missing values, and applying an encoder to other files."""

import gzip
import json

import numpy as np
import pytest

from fastnn.data import TableEncoder, read_csv
from fastnn.data.text_table import guess_header, read_text_table

PEOPLE = """age, job, income, buys
31, baker, 2500.5, yes
45, judge, 4100, no
?, baker, 2300, no
28, pilot, , yes
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def test_features_by_hand(write):
    table = read_csv(write(PEOPLE), "buys", missing="keep")
    assert table.feature_names == ["age", "job=baker", "job=judge", "job=pilot", "income"]
    nan = np.nan
    expected = [[31, 1, 0, 0, 2500.5], [45, 0, 1, 0, 4100], [nan, 1, 0, 0, 2300], [28, 0, 0, 1, nan]]
    assert np.array_equal(table.x, np.array(expected, np.float32), equal_nan=True) and table.x.dtype == np.float32
    assert table.class_names == ["no", "yes"] and table.task == "classification"
    assert table.y.tolist() == [1, 0, 0, 1] and table.y.dtype == np.int64
    assert table.missing == {"age": 1, "income": 1}
    assert table.encoder.number_features.tolist() == [True, False, False, False, True]


def test_missing_policies(write):
    path = write(PEOPLE)
    with pytest.raises(ValueError, match="missing values in 2 columns: 'age' 1, 'income' 1; .*drop.*mean"):
        read_csv(path, "buys")
    dropped = read_csv(path, "buys", missing="drop")
    assert dropped.rows.tolist() == [0, 1] and dropped.y.tolist() == [1, 0]
    filled = read_csv(path, "buys", missing="mean")
    assert filled.x[2, 0] == np.float32((31 + 45 + 28) / 3) and np.isfinite(filled.x).all()
    # The means travel with the encoder: a new file is filled with the old file's means.
    new = read_csv(write("age,job,income\nNA,judge,1\n", "new.csv"), encoder=filled.encoder, missing="mean")
    assert new.x[0, 0] == np.float32((31 + 45 + 28) / 3)
    with pytest.raises(ValueError, match="missing must be one of error, drop, mean, keep"):
        read_csv(path, "buys", missing="guess")


def test_rows_without_target_are_left_out(write):
    table = read_csv(write("a,t\n1,5.5\n2,\n3,7.5\n"), "t", missing="keep")
    assert table.rows.tolist() == [0, 2] and table.y.tolist() == [5.5, 7.5] and table.missing == {"t": 1}
    with pytest.raises(ValueError, match="no row is left"):
        read_csv(write("a,b,t\n1,,1.5\n,2,2.5\n"), "t", missing="drop")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"]),
        ("1,2\n3,4\n", ["c0", "c1"]),
        ("x,1\ny,2\nx,3\n", ["c0", "c1"]),
        ("colour,size\nred,big\nblue,small\n", ["colour", "size"]),
        ("red,big\nblue,small\nred,small\n", ["c0", "c1"]),
        ("a,b\n?,2\n,4\n", ["a", "b"]),
    ],
)
def test_header_detection(write, text, names):
    assert read_text_table(write(text)).names == names


def test_header_can_be_said(write):
    path = write("2019,2020\n1,2\n3,4\n")
    assert read_csv(path).feature_names == ["c0", "c1"] and len(read_csv(path)) == 3
    assert read_csv(path, header=True).feature_names == ["2019", "2020"]
    assert guess_header([["a", "b"], ["a", "c"]], ()) is False
    assert guess_header([["a", "b"], ["a", "c"]], ("b",)) is True


@pytest.mark.parametrize(
    "text", ["a,b,c\n1,2,3\n", "a;b;c\n1;2;3\n", "a\tb\tc\n1\t2\t3\n", "a|b|c\n1|2|3\n", "a  b c\n 1 2   3\n"]
)
def test_delimiters(write, text):
    table = read_csv(write(text))
    assert table.feature_names == ["a", "b", "c"] and table.x.tolist() == [[1, 2, 3]]


def test_text_details(write):
    # Byte order mark, Windows line ends, quoted comma and line end, blank lines, gzip under any name.
    text = '\ufeffname,v\r\n"Smith, J",1\r\n\r\n"two\r\nlines",2\r\n\r\n'
    table = read_csv(write(gzip.compress(text.encode()), "data.txt"))
    assert table.feature_names == ["name=Smith, J", "name=two\nlines", "v"]
    assert table.x.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert read_csv(write("v;w\n1,5;2\n"), decimal=",").x.tolist() == [[1.5, 2]]
    assert read_csv(write("v,w\ncafé,2\n".encode("latin-1")), encoding="latin-1").feature_names == ["v=café", "w"]


def test_task_detection(write):
    few = "x,t\n" + "".join(f"{i},{i % 3}\n" for i in range(30))
    many = "x,t\n" + "".join(f"{i},{i}\n" for i in range(30))
    broken = "x,t\n" + "".join(f"{i},{i % 3 + 0.5}\n" for i in range(30))
    assert read_csv(write(few), "t").class_names == ["0", "1", "2"]
    assert read_csv(write(many), "t").task == "regression"
    assert read_csv(write(broken), "t").task == "regression"
    assert read_csv(write(few), "t", task="regression").y.dtype == np.float32
    assert len(read_csv(write(broken), "t", task="classification").class_names) == 3


def test_spelling_of_number_classes(write):
    table = read_csv(write("x,t\n1,1\n2,2.0\n3,1.000\n4,10\n5,9\n"), "t")
    assert table.class_names == ["1", "2", "9", "10"] and table.y.tolist() == [0, 1, 0, 3, 2]


def test_positions_categorical_and_ignore(write):
    path = write("1,7,2.5\n2,8,3.5\n3,7,4.5\n")
    table = read_csv(path, -1, ignore=[0], categorical=["c1"])
    assert table.feature_names == ["c1=7", "c1=8"] and table.y.tolist() == [2.5, 3.5, 4.5]


def test_encoder_on_other_files(write, tmp_path):
    encoder = read_csv(write(PEOPLE), "buys", missing="keep").encoder
    encoder.save(tmp_path / "encoder.json")
    loaded = TableEncoder.load(tmp_path / "encoder.json")
    assert json.loads((tmp_path / "encoder.json").read_text()) == loaded.to_dict() == encoder.to_dict()
    # Other order, an extra column, no target, a job that was never seen.
    new = read_csv(write("income,extra,job,age\n100,z,judge,50\n200,z,clown,60\n", "new.csv"), encoder=loaded)
    assert new.x.tolist() == [[50, 0, 1, 0, 100], [60, 0, 0, 0, 200]] and new.y is None
    assert new.unknown == {"job": {"clown": 1}}
    labelled = write("age,job,income,buys\n1,judge,1,yes\n", "labelled.csv")
    assert read_csv(labelled, encoder=loaded).y.tolist() == [1]
    assert read_csv(labelled, False, encoder=loaded).y is None
    strange = write("age,job,income,buys\n1,judge,1,maybe\n", "strange.csv")
    assert len(read_csv(strange, False, encoder=loaded)) == 1
    with pytest.raises(ValueError, match="line 2: 'maybe' is not a known class of 'buys'; the classes are: no, yes"):
        read_csv(strange, encoder=loaded)
    with pytest.raises(ValueError, match="lacks the columns 'age', 'job'; its columns are: income, wage"):
        read_csv(write("income,wage\n1,2\n", "lacking.csv"), encoder=loaded)
    with pytest.raises(ValueError, match="line 3: column 'age' holds 'old', which is not a number"):
        read_csv(write("age,job,income\n1,judge,1\nold,judge,1\n", "text.csv"), encoder=loaded)
    with pytest.raises(ValueError, match="target is 'buys', not 'job'"):
        read_csv(labelled, "job", encoder=loaded)


def test_encoder_without_header(write):
    encoder = read_csv(write("1,2,3.5\n4,5,6.5\n"), 1, task="regression").encoder
    assert read_csv(write("7,8,9\n", "full"), encoder=encoder).y.tolist() == [8]
    new = read_csv(write("7,9\n", "new"), encoder=encoder)
    assert new.x.tolist() == [[7, 9]] and new.y is None
    with pytest.raises(ValueError, match="4 columns, but 3 were expected .or one fewer"):
        read_csv(write("1,2,3,4\n", "four"), encoder=encoder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "header but no rows"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but 2 were expected .delimiter: comma"),
        ("a,a\n1,2\n", "names a column twice: a"),
        (b"a,b\n1,\xff\n", "line 2: the bytes are not utf-8 text"),
        (b"PK\0\0\0", "not a text table"),
        (gzip.compress(b"a,b\n1,2\n" * 99)[:30], "damaged or truncated gzip"),
        ("a,b\n1,inf\n", "'b' holds an infinite number"),
        ("a,b\n1,\n2,\n", "'b' is empty in every row"),
        ("a,b\n" + "".join(f"1,name{i}\n" for i in range(200)), "'b' has 200 different texts"),
        ("a,b\n" + "".join(f"1,{i}.5\n" for i in range(200)) + "1,abc\n", "not all numbers: 1 of 201 .* 'abc'"),
        ("a;b\n" + "".join(f"1;{i},5\n" for i in range(200)), "say decimal=','"),
        ("a,b\n1,1e39\n", "1e39, which does not fit float32"),
    ],
)
def test_bad_files(write, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(write(text), header="auto" if b"a,a" not in bytes(str(text), "latin-1") else True)
    assert "\n" not in str(caught.value) and "data.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "wage"}, "has no column 'wage'; its columns are: age, job, income, buys"),
        ({"target": 4}, "has no column '4'"),
        ({"target": "buys", "ignore": ["x"]}, "has no column 'x'"),
        ({"target": "buys", "ignore": ["buys"]}, "cannot be both"),
        ({"target": "buys", "ignore": ["age", "job", "income"]}, "no column left"),
        ({"target": "buys", "task": "regression"}, "'buys' holds 'yes'; regression needs numbers"),
        ({"target": "buys", "task": "both"}, "task must be one of auto, classification, regression"),
        ({"delimiter": "--"}, "delimiter must be"),
        ({"encoding": "utf-99"}, "unknown text encoding"),
    ],
)
def test_bad_arguments(write, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write(PEOPLE), **arguments)


def test_one_class_only(write):
    with pytest.raises(ValueError, match="one class only .'1'."):
        read_csv(write("a,b\n1,1\n2,1\n"), "b")


def test_python_spellings_are_not_numbers(write):
    assert read_csv(write("a,b\n1_0,2\nx,3\n")).feature_names == ["a=1_0", "a=x", "b"]
    assert read_csv(write("a,b\n1_0,2\n1_1,3\n")).feature_names == ["a=1_0", "a=1_1", "b"]


@pytest.mark.parametrize("values", [{}, {"columns": 3}, {"kind": "table"}])
def test_encoder_from_wrong_values(values, tmp_path):
    with pytest.raises(ValueError, match="not the description of a table"):
        TableEncoder.from_dict(values)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="is not a JSON file"):
        TableEncoder.load(tmp_path / "bad.json")
