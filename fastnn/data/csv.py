"""Tables in text files: `read_csv` and what it returns."""

import numpy as np

from fastnn.data.encoder import TableEncoder
from fastnn.data.text_table import read_text_table

MISSING_POLICIES = ("error", "drop", "mean", "keep")


class Table:
    """Features and target of a table.

    Attributes
    ----------
    x : ndarray of shape (rows, features)
    y : ndarray of shape (rows,) or None
        int64 class numbers for a classification, numbers of x's type for a regression.
    feature_names : list of str
    class_names : list of str or None
    task : "classification", "regression" or None
    encoder : TableEncoder
        Apply it to further files with ``read_csv(path, encoder=table.encoder)``.
    rows : int64 array of shape (rows,)
        Which data rows of the file these are (0 the first), since rows can be dropped.
    missing : dict of str to int
        Number of missing values in each column that has any.
    unknown : dict of str to dict
        Column -> {text: number of rows} of categories that the encoder had not seen.
    """

    __slots__ = ("x", "y", "encoder", "rows", "missing", "unknown", "file_rows")

    def __init__(self, x, y, encoder, rows, missing, unknown, file_rows):
        self.x = x
        self.y = y
        self.encoder = encoder
        self.rows = rows
        self.missing = missing
        self.unknown = unknown
        self.file_rows = file_rows

    @property
    def feature_names(self):
        return self.encoder.feature_names

    @property
    def class_names(self):
        return self.encoder.class_names

    @property
    def task(self):
        return self.encoder.task

    def __len__(self):
        return len(self.x)

    def __repr__(self):
        target = "no target" if self.y is None else f"target {self.encoder.target['name']!r} ({self.task})"
        return f"Table({self.x.shape[0]} rows, {self.x.shape[1]} features, {target})"


def describe_missing(counts, limit=10):
    """'age' 12, 'income' 5: the columns with the most missing values first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name!r} {count}" for name, count in ordered[:limit])
    return text + (f" … ({len(ordered) - limit} more columns)" if len(ordered) > limit else "")


def rows_to_keep(path, lacking, encoder, policy, rows):
    """(flags of the rows that stay under a policy for missing values, missing values by column)"""
    counts = {name: int(flags.sum()) for name, flags in lacking.items()}
    if policy == "error" and counts:
        raise ValueError(
            f"{path}: missing values in {len(counts)} column{'s' if len(counts) > 1 else ''}: "
            f"{describe_missing(counts)}; choose missing=drop (leave such rows out) or missing=mean (replace)"
        )
    keep = np.ones(rows, dtype=bool)
    for name, flags in lacking.items():
        # Nothing can stand for the answer itself: rows without a target go under every policy.
        if policy == "drop" or (encoder.target is not None and name == encoder.target["name"]):
            keep &= ~flags
    return keep, counts


def read_csv(
    path,
    target=None,
    *,
    encoder=None,
    header="auto",
    delimiter="auto",
    decimal=".",
    missing="error",
    ignore=(),
    categorical=(),
    task="auto",
    max_categories=100,
    dtype=np.float32,
    encoding="utf-8-sig",
):
    """Read a table from a delimited text file, plain or gzip.

    Columns of numbers become features as they are; columns of texts become one feature for each text (one-hot).

    Parameters
    ----------
    path : str or path-like
    target : str, int or False, optional
        Column to predict, by name or by position (0 the first, -1 the last). With `encoder`: None reads the encoder's
        target if the file has it, False never does.
    encoder : TableEncoder, optional
        That of the table a model was trained on: columns are then found by name, in any order, and every text gets the
        same feature as before. `ignore`, `categorical`, `task`, `max_categories` and `decimal` are the encoder's.
    header : "auto" or bool, default "auto"
        Whether the first row holds names. Without header columns are called c0, c1, ….
    delimiter : "auto" or str, default "auto"
        "auto" tries comma, semicolon, tab, bar, then white space.
    decimal : str, default "."
        Decimal sign.
    missing : {"error", "drop", "mean", "keep"}, default "error"
        What to do when cells are empty, ?, NA, N/A, NaN, null or None. "error" reports the columns and counts; "drop"
        leaves the rows out; "mean" puts the column's mean over this file, and no category; "keep" leaves NaN (for
        ``StandardScale(missing="mean")``, whose means come from the training part alone). Rows without a target are
        always left out.
    ignore : sequence of str or int
        Columns to leave out.
    categorical : sequence of str or int
        Columns of numbers that stand for categories (postcodes, types).
    task : {"auto", "classification", "regression"}, default "auto"
        "auto": classes if the target is text, or whole numbers with at most 20 different values.
    max_categories : int, default 100
        A column of more different texts than this is refused: it is probably a name or a number in disguise.
    dtype : data type, default float32
    encoding : str, default "utf-8-sig"
        UTF-8, with or without byte order mark.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        In one line with the file and where it helps the line and column: no rows, unequal rows, unknown column (with
        the list of columns), missing values, too many categories, text where numbers are needed, unknown class.
    OSError
        If the file cannot be read.
    """
    if missing not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, not {missing!r}")
    wanted = [str(name) for name in (target, *ignore, *categorical) if isinstance(name, str)]
    if encoder is not None and header == "auto":
        header = encoder.has_header
    table = read_text_table(path, header=header, delimiter=delimiter, encoding=encoding, wanted=wanted)
    if encoder is None:
        encoder = TableEncoder.fit(
            table,
            target=None if target is False else target,
            task=task,
            ignore=ignore,
            categorical=categorical,
            max_categories=max_categories,
            decimal=decimal,
        )
        fitted_here = True
    else:
        fitted_here = False
        if isinstance(target, (str, int)) and target is not False:
            _check_target(table, encoder, target)
    return _encode(table, encoder, missing, target is not False, fitted_here, dtype)


def _check_target(table, encoder, target):
    name = table.names[table.find(target)]
    if encoder.target is None or encoder.target["name"] != name:
        own = "none" if encoder.target is None else repr(encoder.target["name"])
        raise ValueError(f"the encoder's target is {own}, not {name!r}")


def _encode(table, encoder, missing, with_target, fitted_here, dtype):
    lacking = encoder.missing(table)
    if not with_target and encoder.target is not None:
        lacking.pop(encoder.target["name"], None)
    keep, counts = rows_to_keep(table.path, lacking, encoder, missing, len(table.lines))
    if not keep.any():
        raise ValueError(f"{table.path}: no row is left without missing values: {describe_missing(counts)}")
    x, unknown = encoder.features(table, dtype)
    y = encoder.targets(table, dtype) if with_target else None
    rows = np.flatnonzero(keep)
    if len(rows) < len(keep):
        x, y = x[rows], None if y is None else y[rows]
    if missing == "mean":
        if fitted_here:
            encoder.fill = _column_means(x).tolist()
        fill = np.array(encoder.fill if encoder.fill is not None else _column_means(x))
        row, column = np.nonzero(np.isnan(x))
        x[row, column] = fill[column]
    return Table(x, y, encoder, rows, counts, unknown, len(keep))


def _column_means(x):
    present = ~np.isnan(x)
    return np.where(present, x, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(present.sum(axis=0), 1)
