"""Tables as arrays: `read_csv`, `read_table` and what they return."""

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .described import Described
from .files import check_is_file
from .infer import python_call
from .reading import MAX_CATEGORIES, check_policy, describe_unseen, fill, known_blocks, learn
from .schema import TableSchema
from .source import Source
from .text_source import TextSource


class Table(Described):
    """Features and target of a table.

    Attributes
    ----------
    x : ndarray of shape (rows, features)
    y : ndarray of shape (rows,) or None
        int64 class numbers for a classification, numbers of x's type for a regression.
    schema : TableSchema
        Apply it to further tables with ``read_csv(path, schema=table.schema)``.
    feature_names : list of str
    class_names : list of str or None
    task : "classification", "regression" or None
    rows : int64 array of shape (rows,)
        Which records of the table these are (0 the first), since rows can be dropped.
    rows_read : int
        Records that the table holds.
    missing : dict of str to int
        Number of missing values in each column that has any.
    unseen : dict of str to dict
        Column -> {text: number of rows} of categories that the schema did not know.
    notes : list of str
        What was noticed and done: columns left out, names that were made unique, ….
    """

    __slots__ = ("x", "y", "schema", "rows", "missing", "unseen", "rows_read", "notes")

    def __init__(self, filled: Any, schema: TableSchema, notes: list[str]) -> None:
        self.x: np.ndarray = filled.x
        self.y: np.ndarray | None = filled.y
        self.schema = schema
        self.rows: np.ndarray = filled.rows
        self.missing: dict[str, int] = filled.missing
        self.unseen: dict[str, dict[str, int]] = filled.unseen
        self.rows_read: int = filled.rows_read
        self.notes = notes

    @property
    def task(self) -> str | None:
        return self.schema.task

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        target = "no target" if self.y is None else f"target {self.schema.target.name!r} ({self.task})"
        return f"Table({self.x.shape[0]} rows, {self.x.shape[1]} features, {target})"


def open_source(
    data: Any, *, header: bool = True, delimiter: str = "auto", decimal: str = ".", encoding: str = "utf-8",
    na: Any = (), reader: str = "auto", label: str | None = None,
) -> Source:  # fmt: skip
    """A source from a path (text, Parquet, Feather) or an object in memory; TypeError for anything else.

    `label` is what messages call a text file, if not by its path.
    """
    if isinstance(data, (str, os.PathLike)):
        check_is_file(data)
        from .arrow_source import arrow_file, file_kind

        kind = file_kind(data)
        if kind != "text":
            return arrow_file(data, kind, na)
        return TextSource(data, header=header, delimiter=delimiter, decimal=decimal, encoding=encoding, na=na,
                          reader=reader, label=label)  # fmt: skip
    from .frame_source import frame_source

    source = frame_source(data, na)
    if source is not None:
        return source
    if hasattr(data, "__arrow_c_stream__"):
        from .arrow_source import arrow_table

        return arrow_table(data, f"the {type(data).__name__}", na)
    raise TypeError(
        f"a table must be a path, a DataFrame, an Arrow table, an array or a dict of columns, not {type(data).__name__}"
    )


def _given(values: dict) -> dict:
    """What a caller said that differs from the defaults, for the call to paste."""
    defaults = {"types": None, "na": (), "ignore": (), "task": "auto", "max_categories": MAX_CATEGORIES,
                "missing": "error", "header": True, "delimiter": "auto", "decimal": ".", "encoding": "utf-8",
                "reader": "auto", "target": None}  # fmt: skip
    said = {name: value for name, value in values.items() if name in defaults and value != defaults[name]}
    return {name: list(value) if name in ("na", "ignore") else value for name, value in said.items()}


def table_from_source(
    source: Any, target: Any, *, schema: Any, missing: Any, dtype: Any, call: Any, options: dict[str, Any],
) -> Table:  # fmt: skip
    """Learn a schema unless it is given, and encode the source by it."""
    check_policy(missing)
    fitted = schema is None
    if fitted:
        schema, blocks, notes = learn(source, None if target is False else target, options, call)
        blocks = blocks or known_blocks(schema, source, True)
    else:
        notes = list(source.notes)
        if target is not None and target is not False:
            _check_target(source, schema, target)
        blocks = known_blocks(schema, source, target is not False)
    filled = fill(schema, source, blocks, missing, target is not False, np.dtype(dtype), fitted)
    return Table(filled, schema, [*notes, *describe_unseen(filled.unseen)])


def _check_target(source, schema: TableSchema, target) -> None:
    name = source.names[source.find(target)]
    if schema.target is None or schema.target.name != name:
        own = "none" if schema.target is None else repr(schema.target.name)
        raise ValueError(f"the schema's target is {own}, not {name!r}")


def read_csv(
    path: str | os.PathLike,
    target: str | int | bool | None = None,
    *,
    schema: TableSchema | None = None,
    types: Mapping[str | int, str] | None = None,
    na: str | Iterable[str] = (),
    ignore: Iterable[str | int] = (),
    header: bool = True,
    delimiter: str = "auto",
    decimal: str = ".",
    encoding: str = "utf-8",
    missing: str = "error",
    task: str = "auto",
    max_categories: int = MAX_CATEGORIES,
    dtype: DTypeLike = np.float32,
    reader: str = "auto",
) -> Table:
    """Read a table from a delimited text file, plain or gzip.

    What the columns mean is inferred strictly (docs/data.md has the rules): a column that is numeric but for a few
    cells, or that holds free text, is refused with the call that settles it. Numbers become features as they are,
    categories are one-hot, dates become parts, identifiers are left out.

    Parameters
    ----------
    path : str or path-like
    target : str, int or False, optional
        Column to predict, by name or by position (0 the first, -1 the last). With `schema`: None reads the schema's
        target if the file has it, False never does.
    schema : TableSchema, optional
        That of the table a model was trained on: columns are then found by name, in any order. `types`, `na`, `ignore`,
        `task`, `max_categories` and `decimal` are the schema's.
    types : dict, optional
        Column -> "numeric", "categorical", "boolean", "date", "identifier" or "ignored", where inference would differ.
    na : sequence of str
        Words that stand for a missing cell in every column.
    ignore : sequence of str or int
        Columns to leave out.
    header : bool, default True
        Whether the first record holds names. Without header columns are called c0, c1, ….
    delimiter : "auto" or str, default "auto"
        "auto" tries comma, semicolon, tab, bar, then white space.
    decimal : "." or ",", default "."
        Decimal sign.
    encoding : str, default "utf-8"
        With or without byte order mark; a file that begins with UTF-16's mark is read as such.
    missing : {"error", "drop", "mean", "keep"}, default "error"
        What to do with missing cells. "error" reports the columns and counts; "drop" leaves the rows out; "mean" puts
        the column's mean over this table (kept in the schema); "keep" leaves NaN (for
        ``StandardScale(missing="mean")``, whose means come from the training part alone). Categories have a feature
        of their own for missing cells. Rows without a target are always left out.
    task : "auto", "classification" or "regression"
        "auto": classes if the target is text, or whole numbers with at most 20 different values.
    max_categories : int, default 100
        A column of more different texts than this is text, not categories.
    dtype : data type, default float32
    reader : "auto", "csv" or "pyarrow"
        "auto": pyarrow where it is installed, else the standard library's csv module. Both give the same arrays.

    Returns
    -------
    Table

    Raises
    ------
    SchemaError, a ValueError
        If the meaning of a column has to be said: in one line that ends with the call to paste.
    ValueError
        In one line with the file and where it helps the line and column: no rows, unequal rows, unknown column (with
        the list of columns), missing values, unknown class.
    OSError
        If the file cannot be read.

    Warns
    -----
    UserWarning
        With `schema`: how many rows hold categories that it does not know.
    """
    options = {"types": types, "na": na, "ignore": ignore, "header": header, "delimiter": delimiter,
               "decimal": decimal, "encoding": encoding, "missing": missing, "task": task,
               "max_categories": max_categories, "reader": reader}  # fmt: skip
    return _read("read_csv", path, target, schema, dtype, options)


def read_table(
    data: Any,
    target: str | int | bool | None = None,
    *,
    schema: TableSchema | None = None,
    types: Mapping[str | int, str] | None = None,
    na: str | Iterable[str] = (),
    ignore: Iterable[str | int] = (),
    missing: str = "error",
    task: str = "auto",
    max_categories: int = MAX_CATEGORIES,
    dtype: DTypeLike = np.float32,
) -> Table:
    """Features and target of a frame, an array or a file.

    Parameters
    ----------
    data : DataFrame, Arrow table, ndarray, dict or path
        A frame of pandas or polars; anything with an Arrow stream (``__arrow_c_stream__``: DuckDB, pyarrow, …; needs
        pyarrow); an array of two axes, with named fields, or masked; a dict of columns; a Parquet or Feather file
        (needs pyarrow), or a text file with the defaults of `read_csv`.
    target, schema, types, na, ignore, missing, task, max_categories, dtype
        As in `read_csv`.

    Returns
    -------
    Table
    """
    options = {"types": types, "na": na, "ignore": ignore, "missing": missing, "task": task,
               "max_categories": max_categories}  # fmt: skip
    return _read("read_table", data, target, schema, dtype, options)


def _read(function, data, target, schema, dtype, options) -> Table:
    if schema is not None and not isinstance(schema, TableSchema):
        raise TypeError(f"schema must be a TableSchema, not {type(schema).__name__}")
    given = _given({**options, "target": target})
    call = python_call(function, repr(os.fspath(data)) if isinstance(data, (str, os.PathLike)) else "data",
                       {key: given[key] for key in sorted(given, key=lambda key: key != "target")})  # fmt: skip
    form = {key: options[key] for key in ("header", "delimiter", "encoding", "reader") if key in options}
    decimal, na = options.get("decimal", "."), options["na"]
    if isinstance(na, str):
        na = [na]
    if schema is not None:
        decimal, na = schema.decimal, schema.na
        form["header"] = options.get("header", True) and schema.header
    source = open_source(data, decimal=decimal, na=na, **form)
    learning = {"types": options["types"], "ignore": options["ignore"], "task": options["task"],
                "max_categories": options["max_categories"], "decimal": decimal, "na": frozenset(na)}  # fmt: skip
    table = table_from_source(source, target, schema=schema, missing=options["missing"], dtype=dtype, call=call,
                              options=learning)  # fmt: skip
    for note in describe_unseen(table.unseen):
        warnings.warn(f"{source.label}: {note}", UserWarning, stacklevel=3)
    return table
