"""What columns mean: strict inference, its refusals with the call to paste, and a schema on other tables."""

import re
import warnings

import numpy as np
import pytest
from helpers.tables import PEOPLE

from fastnn.data import SchemaError, TableSchema, read_csv, read_table


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


def pasted(error, number=0):
    """The table that the error's call gives, run as it is printed."""
    calls = re.findall(r"read_(?:csv|table)\(.*?\)(?=, or |$)", str(error))
    return eval(calls[number], {"read_csv": read_csv, "read_table": read_table})  # noqa: S307


@pytest.mark.parametrize("bad", ["1,100", "2020-01-01", "see note", "12%", "--"])
def test_one_bad_cell_is_refused_with_two_ways_out(write, bad):
    rows = "".join(f"{i}.5,{i % 2}\n" for i in range(60))
    path = write(f'a,y\n{rows}"{bad}",1\n')
    with pytest.raises(SchemaError, match="'a' is numeric but for 1 of 61 cells .*in line 62") as caught:
        read_csv(path, "y", missing="keep")
    assert repr(bad) in str(caught.value) and "\n" not in str(caught.value)
    missing = pasted(caught.value, 0)
    assert missing.feature_names == ["a"] and missing.missing == {"a": 1}
    assert len(pasted(caught.value, 1).feature_names) == 62  # as categories


@pytest.mark.parametrize(("cell", "what"), [("2020-01-{:02d}", "dates"), ("true", "truth values")])
def test_dates_and_truth_values_but_for_a_cell_are_refused_too(write, cell, what):
    rows = "".join(f"{cell.format(i + 1)},{i}.5\n" for i in range(28))
    path = write(f"d,y\n{rows}unknown,1.5\n")
    with pytest.raises(SchemaError, match=f"'d' holds {what} .* but for 1 of 29 cells .'unknown'") as caught:
        read_csv(path, "y", missing="keep")
    assert pasted(caught.value).missing == {"d": 1}
    with pytest.raises(ValueError, match="target column 'd' holds dates" if what == "dates" else "one class only"):
        read_csv(write(f"d,y\n{rows}"), "d")


def test_decimal_commas_are_offered_as_a_way_out(write):
    path = write("a;y\n" + "".join(f"{i},5;{i % 2}\n" for i in range(30)))
    with pytest.raises(SchemaError, match="to read decimal commas") as caught:
        read_csv(path, "y")
    assert pasted(caught.value).x[:2].tolist() == [[0.5], [1.5]]


def test_all_undecided_columns_are_named_at_once(write):
    lines = [f"name {i} of many,{i}%,{i if i % 9 else 'n.a.'},{i % 2}\n" for i in range(150)]
    path = write("who,share,count,y\n" + "".join(lines))
    with pytest.raises(SchemaError) as caught:
        read_csv(path, "y")
    text = str(caught.value)
    for words in ("'who' holds text (150 different texts", "not supported", "'share' holds numbers with signs",
                  "'count' is numeric but for 17 of 150 cells ('n.a.' in line 2"):  # fmt: skip
        assert words in text
    assert len(caught.value.problems) == 3
    table = read_csv(path, "y", types={"who": "ignored", "share": "ignored"}, na=["n.a."], missing="keep")
    assert table.feature_names == ["count"]


def test_percentages_and_thousands_are_no_categories(write):
    path = write("p,t\n" + "".join(f'{i}%,"{i},000.00"\n' for i in range(50)))
    with pytest.raises(SchemaError, match="'p' holds numbers with signs .*'t' holds numbers with signs"):
        read_csv(path, "t")


def test_identifiers_are_left_out_and_said(write):
    lines = [f"{i},{9_000_000_000_000_000_000 + 7 * i},u-{i:04d},{i % 3},{i % 2}\n" for i in range(40)]
    table = read_csv(write("id,order_id,userId,grid,y\n" + "".join(lines)), "y")
    assert table.feature_names == ["grid"]
    assert table.notes == ["left out as identifiers: 'id', 'order_id', 'userId'"]


def test_empty_and_constant_columns(write):
    table = read_csv(write("e,k,a,y\n" + "".join(f",7,{i},{i % 2}\n" for i in range(9))), "y")
    assert table.feature_names == ["k", "a"] and table.notes == ["left out, empty in every row: 'e'"]
    assert table.x[:, 0].tolist() == [7] * 9


def test_numbers_beyond_2_to_53_and_timestamps_keep_their_values(write):
    start = 1_700_000_000
    lines = [f"{2**60 + i},{start + i},{start + i}.25,{2**53 + i % 2}\n" for i in range(2000)]
    table = read_csv(write("n,t,u,y\n" + "".join(lines)), "y")
    for column in range(3):
        assert table.x[:, column].tolist() == list(map(float, range(2000))) or np.array_equal(
            np.diff(table.x[:, column]), np.ones(1999)
        )
    assert table.class_names == [str(2**53), str(2**53 + 1)] and table.y.tolist() == [0, 1] * 1000
    assert table.schema.columns[0].offset == 2**60
    again = read_csv(write(f"n,t,u\n{2**60 + 5},{start + 7},{start + 9}.25\n", "new.csv"), schema=table.schema)
    assert np.array_equal(again.x[0], [5, 7, table.x[9, 2]])


def test_year_and_small_numbers_stay_as_they_are(write):
    table = read_csv(write("year,p\n" + "".join(f"{1990 + i},{1013.25 + i / 8}\n" for i in range(30))))
    assert table.x[:, 0].tolist() == list(range(1990, 2020)) and table.x[0, 1] == 1013.25


def test_dates_become_parts(write):
    path = write("d,t,v\n2024-02-29,2024-02-29 06:30,1\n2024-12-31,2025-01-01T00:00:00Z,2\n,NaT,3\n")
    table = read_csv(path, missing="keep")
    assert table.feature_names == ["d.days", "d.year", "d.month", "d.day", "d.weekday", "t.days", "t.year", "t.month",
                                   "t.day", "t.weekday", "t.hour", "v"]  # fmt: skip
    assert table.x[0].tolist() == [0, 2024, 2, 29, 3, np.float32(6.5 / 24), 2024, 2, 29, 3, 6.5, 1]
    assert table.x[1].tolist() == [306, 2024, 12, 31, 1, 307, 2025, 1, 1, 2, 0, 2]
    assert np.isnan(table.x[2, :11]).all() and table.missing == {"d": 1, "t": 1}


def test_truth_values_are_one_feature(write):
    table = read_csv(write("f,v\nTrue,1\nfalse,2\n,3\n"), missing="keep")
    assert table.feature_names == ["f", "v"] and np.array_equal(table.x[:, 0], [1, 0, np.nan], equal_nan=True)
    again = read_csv(write("f,v\n1,1\nFALSE,2\n", "new.csv"), schema=table.schema)
    assert again.x[:, 0].tolist() == [1, 0]
    with pytest.raises(ValueError, match="line 2: column 'f' holds something that is neither true nor false"):
        read_csv(write("f,v\n2,1\n", "new.csv"), schema=table.schema)


def test_categories_are_compared_by_value(write):
    table = read_csv(write("k,v\n1,5\n2,6\n10,7\n"), types={"k": "categorical"})
    assert table.feature_names == ["k=1", "k=2", "k=10", "k=<unseen>", "v"]
    again = read_csv(write("k,v\n1.0,5\n 2.000 ,6\n1e1,7\n", "new.csv"), schema=table.schema)
    assert again.x[:, :3].tolist() == np.eye(3).tolist() and again.unseen == {}
    frame = read_table({"k": np.array([2.0, 1.0]), "v": [1, 2]}, schema=table.schema)
    assert frame.x[:, :3].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_unseen_categories_have_a_place_and_are_counted_aloud(write):
    table = read_csv(write("k,v\nred,1\nblue,2\n,3\n"), missing="keep")
    new = write("k,v\ngreen,1\nred,2\ngreen,3\nblack,4\n,5\n", "new.csv")
    with pytest.warns(UserWarning, match="column 'k': 3 rows hold a category that the model has not seen: 'green'"):
        again = read_csv(new, schema=table.schema, missing="keep")
    assert again.unseen == {"k": {"green": 2, "black": 1}}
    assert again.x[:, :4].argmax(axis=1).tolist() == [3, 1, 3, 3, 2]


def test_task_detection(write):
    few = "x,t\n" + "".join(f"{i},{i % 3}\n" for i in range(30))
    many = "x,t\n" + "".join(f"{i},{i}\n" for i in range(30))
    broken = "x,t\n" + "".join(f"{i},{i % 3 + 0.5}\n" for i in range(30))
    assert read_csv(write(few), "t").class_names == ["0", "1", "2"]
    assert read_csv(write(many), "t").task == "regression"
    assert read_csv(write(broken), "t").task == "regression"
    assert read_csv(write(few), "t", task="regression").y.dtype == np.float32
    assert len(read_csv(write(broken), "t", task="classification").class_names) == 3
    spelt = read_csv(write("x,t\n1,1\n2,2.0\n3,1.000\n4,10\n5,9\n"), "t")
    assert spelt.class_names == ["1", "2", "9", "10"] and spelt.y.tolist() == [0, 1, 0, 3, 2]
    truth = read_csv(write("x,t\n1,True\n2,False\n"), "t")
    assert read_csv(write("x,t\n1,false\n2,true\n"), schema=truth.schema).y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,1\n2,1\n", "one class only .'1'."),
        ("a,b\n1,\n2,\n", "target column 'b' is empty in every row"),
        ("a,b\n" + "".join(f"1,c{i} x\n" for i in range(1500)), "has 1,500 classes in 1,500 rows"),
        ("a,b\n1,2020-01-01\n2,5\n3,6\n4,x\n", "'b' is numeric but for"),
        ("a,b\n" + "".join(f'1,"{i},456.00"\n' for i in range(600)), "numbers with signs that are not read"),
        ("a,b\n,1\n,2\n", "no column left to learn from"),
    ],
)
def test_targets_that_make_no_sense(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write(text), "b")


def test_positions_types_and_ignore(write):
    path = write("1,7,2.5\n2,8,3.5\n3,7,4.5\n")
    table = read_csv(path, -1, ignore=[0], types={1: "categorical"}, header=False)
    assert table.feature_names == ["c1=7", "c1=8", "c1=<unseen>"] and table.y.tolist() == [2.5, 3.5, 4.5]


def test_a_schema_on_other_tables(write):
    schema = read_csv(write(PEOPLE), "buys", missing="keep").schema
    schema = TableSchema.from_dict(schema.to_dict())
    # Other order, an extra column, no target.
    new = read_csv(write("income,extra,job,age\n100,z,judge,50\n200,z,baker,60\n", "new.csv"), schema=schema)
    assert new.x.tolist() == [[50, 0, 1, 0, 0, 100], [60, 1, 0, 0, 0, 200]] and new.y is None
    labelled = write("age,job,income,buys\n1,judge,1,yes\n", "labelled.csv")
    assert read_csv(labelled, schema=schema).y.tolist() == [1]
    assert read_csv(labelled, False, schema=schema).y is None
    unseen = write("age,job,income,buys\n1,judge,1,maybe\n", "unseen.csv")
    assert len(read_csv(unseen, False, schema=schema)) == 1
    with pytest.raises(ValueError, match="line 2: column 'buys' holds 'maybe', .*the classes are: no, yes"):
        read_csv(unseen, schema=schema)
    with pytest.raises(ValueError, match="lacks the columns 'age', 'job'; its columns are: income, wage"):
        read_csv(write("income,wage\n1,2\n", "missing.csv"), schema=schema)
    with pytest.raises(ValueError, match="line 3: column 'age' holds 'old', which is not a number"):
        read_csv(write("age,job,income\n1,judge,1\nold,judge,1\n", "text.csv"), schema=schema)
    with pytest.raises(ValueError, match="target is 'buys', not 'job'"):
        read_csv(labelled, "job", schema=schema)
    with pytest.raises(TypeError, match="schema must be a TableSchema"):
        read_csv(labelled, schema={})


def test_a_schema_without_header(write):
    schema = read_csv(write("1,2,3.5\n4,5,6.5\n"), 1, task="regression", header=False).schema
    assert read_csv(write("7,8,9\n", "full"), schema=schema).y.tolist() == [8]
    new = read_csv(write("7,9\n", "new"), schema=schema)
    assert new.x.tolist() == [[7, 9]] and new.y is None
    with pytest.raises(ValueError, match="4 columns, but 3 were expected .or one fewer"):
        read_csv(write("1,2,3,4\n", "four"), schema=schema)


@pytest.mark.parametrize(
    "change",
    [{"columns": 3}, {"columns": [{"name": "a"}]}, {"columns": [{"name": "a", "kind": "numeric", "colour": 1}]},
     {"columns": [{"name": "a", "kind": "target", "categories": ["x"]}]}, {"header": 1}, {"decimal": ";"},
     {"na": [1]}, {"fill": [0.0] * 99},
     {"columns": [{"name": "a", "kind": "categorical", "categories": ["x", "x"]}]},
     {"columns": [{"name": "a", "kind": "numeric", "offset": "x"}]},
     {"columns": [{"name": "a", "kind": "numeric"}, {"name": "a", "kind": "numeric"}]}],
)  # fmt: skip
def test_schemas_from_wrong_values(write, change):
    values = read_csv(write(PEOPLE), "buys", missing="keep").schema.to_dict()
    with pytest.raises(ValueError):
        TableSchema.from_dict({**values, **change})
    with pytest.raises(ValueError, match="not the description of a table"):
        TableSchema.from_dict({})


def test_describe_says_what_every_column_is(write):
    schema = read_csv(write(PEOPLE), "buys", missing="keep").schema
    assert schema.describe() == [("age", "a number"), ("job", "3 categories"), ("income", "a number"),
                                 ("buys", "the target, 2 classes")]  # fmt: skip
    assert repr(schema) == "TableSchema(3 columns, 6 features, target 'buys' (classification))"


def test_no_warning_where_nothing_is_unseen(write):
    path = write(PEOPLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema = read_csv(path, "buys", missing="mean").schema
        read_csv(path, schema=schema, missing="mean")
