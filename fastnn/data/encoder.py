"""From text columns to numbers: what each column of a table is, learnt from one file and applied to others."""

import json

import numpy as np

from fastnn.data.text_table import NotANumber, is_missing, is_number, missing_texts, parse_numbers, shorten

TASKS = ("auto", "classification", "regression")

# Whole-number targets with up to this many values are taken for classes.
MAX_CLASS_NUMBERS = 20


def _number_column(name, values, path):
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise ValueError(f"{path}: column {name!r} holds an infinite number (row {int(infinite[0]) + 1})")
    return {"name": name, "kind": "number"}


def _describe_column(table, position, options):
    """Number or category, from the cells; ValueError when it is neither in a useful way."""
    name, cells, path = table.names[position], table.columns[position], table.path
    if table.missing(position).all():
        raise ValueError(f"{path}: column {name!r} is empty in every row; leave it out (ignore)")
    if name not in options["categorical"]:
        try:
            return _number_column(name, table.numbers(position, options["decimal"]), path)
        except NotANumber as error:
            first = cells[error.position]
    categories = sorted(set(cells) - missing_texts(cells))
    if len(categories) > options["max_categories"]:
        numbers = sum(is_number(cell) for cell in cells)
        if name in options["categorical"] or 2 * numbers < len(cells):
            with_comma = all(is_number(c.replace(",", ".", 1)) for c in categories) and "," in categories[0]
            way_out = "say decimal=','" if with_comma else "leave it out (ignore) or raise max_categories"
            raise ValueError(
                f"{path}: column {name!r} has {len(categories)} different texts, more than {options['max_categories']} "
                f"categories; {way_out}"
            )
        raise ValueError(
            f"{path}: column {name!r} is not all numbers: {len(cells) - numbers} of {len(cells)} cells, first {first!r}"
        )
    return {"name": name, "kind": "category", "categories": categories}


def _describe_target(name, cells, task, decimal, path):
    present = [cell for cell in cells if not is_missing(cell)]
    if not present:
        raise ValueError(f"{path}: target column {name!r} is empty in every row")
    try:
        values = parse_numbers(present, decimal)
    except NotANumber as error:
        if task == "regression":
            text = present[error.position]
            raise ValueError(f"{path}: target column {name!r} holds {text!r}; regression needs numbers") from None
        values = None
    if values is not None and np.isinf(values).any():
        raise ValueError(f"{path}: target column {name!r} holds an infinite number")
    if task == "auto":
        few = values is None or (np.all(values == np.floor(values)) and len(np.unique(values)) <= MAX_CLASS_NUMBERS)
        task = "classification" if few else "regression"
    if task == "regression":
        return {"name": name, "kind": "number"}
    numbers = values is not None
    classes = [_number_name(value) for value in np.unique(values)] if numbers else sorted(set(present))
    if len(classes) < 2:
        raise ValueError(f"{path}: target column {name!r} has one class only ({classes[0]!r}); two are needed")
    if len(classes) > max(1000, len(present) // 2):
        raise ValueError(f"{path}: target column {name!r} has {len(classes)} classes in {len(present)} rows")
    return {"name": name, "kind": "class", "classes": classes, "numbers": numbers}


def _number_name(value):
    """One name for a number however it is spelt: 3, 3.0 and 3.000 are the class "3"."""
    return str(int(value)) if value == int(value) else repr(float(value))


class TableEncoder:
    """How the columns of a table become features and a target; made by `read_csv`, saved with the model.

    Numbers stay one feature. A column of texts becomes one feature for each text (one-hot), named ``column=text``; a
    text never seen before is a row of zeros. `to_dict`, `from_dict`, `save` and `load` keep everything as JSON.

    Attributes
    ----------
    columns : list of dict
        For each column, in the order of the file: ``name``, ``kind`` ("number", "category", "ignored", "target"),
        and ``categories``.
    target : dict or None
        ``name``, ``kind`` ("class" or "number"); for classes ``classes`` and ``numbers`` (whether the names are
        numbers, so that 3 and 3.0 are one class).
    has_header : bool
        Whether columns are found by name (True) or by position.
    decimal : str
        Decimal sign of numbers.
    fill : list of float or None
        For each feature, what replaces a missing value (None: nothing does).
    """

    def __init__(self, columns, target=None, has_header=True, decimal=".", fill=None):
        self.columns = columns
        self.target = target
        self.has_header = has_header
        self.decimal = decimal
        self.fill = fill

    @classmethod
    def fit(cls, table, *, target=None, task="auto", ignore=(), categorical=(), max_categories=100, decimal="."):
        """Find out what every column of a `TextTable` is. Parameters as in `read_csv`."""
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
        target_at = None if target is None else table.find(target)
        ignored = {table.find(name) for name in ignore}
        options = {
            "categorical": {table.names[table.find(name)] for name in categorical},
            "max_categories": int(max_categories),
            "decimal": decimal,
        }
        if target_at in ignored:
            raise ValueError(f"column {table.names[target_at]!r} cannot be both the target and ignored")
        columns, target_description = [], None
        for position, (name, cells) in enumerate(zip(table.names, table.columns, strict=True)):
            if position == target_at:
                columns.append({"name": name, "kind": "target"})
                target_description = _describe_target(name, cells, task, decimal, table.path)
            elif position in ignored:
                columns.append({"name": name, "kind": "ignored"})
            else:
                columns.append(_describe_column(table, position, options))
        if not any(column["kind"] in ("number", "category") for column in columns):
            raise ValueError(f"{table.path} has no column left to learn from")
        return cls(columns, target_description, table.has_header, decimal)

    @property
    def used(self):
        """The columns that features are made from."""
        return [column for column in self.columns if column["kind"] in ("number", "category")]

    @property
    def feature_names(self):
        """One name for each feature: the column, or ``column=text``."""
        names = []
        for column in self.used:
            if column["kind"] == "number":
                names.append(column["name"])
            else:
                names.extend(f"{column['name']}={text}" for text in column["categories"])
        return names

    @property
    def number_features(self):
        """bool array of shape (features,): True where the feature is a number, False where it is one-hot."""
        kinds = []
        for column in self.used:
            kinds += [True] if column["kind"] == "number" else [False] * len(column["categories"])
        return np.array(kinds, dtype=bool)

    @property
    def class_names(self):
        """Names of the classes in the order of their numbers; None for a regression or without target."""
        return list(self.target["classes"]) if self.target and self.target["kind"] == "class" else None

    @property
    def task(self):
        """ "classification", "regression", or None without target."""
        if self.target is None:
            return None
        return "classification" if self.target["kind"] == "class" else "regression"

    def positions(self, table):
        """Where each of `columns` is in `table` (None: absent, allowed for ignored columns and the target).

        Raises
        ------
        ValueError
            If a column that features are made from is not there; the message lists those that are.
        """
        if self.has_header:
            where = {name: i for i, name in enumerate(table.names)}
            found = [where.get(column["name"]) for column in self.columns]
            lost = [c["name"] for c, at in zip(self.columns, found, strict=True) if at is None and c in self.used]
            if lost:
                word = "column" if len(lost) == 1 else "columns"
                raise ValueError(
                    f"{table.path} lacks the {word} {shorten(map(repr, lost))}; its columns are: {shorten(table.names)}"
                )
            return found
        count = len(table.names)
        if count == len(self.columns):
            return list(range(count))
        if self.target is not None and count == len(self.columns) - 1:
            at = iter(range(count))
            return [None if column["kind"] == "target" else next(at) for column in self.columns]
        raise ValueError(
            f"{table.path} has {count} columns, but {len(self.columns)} were expected"
            + (" (or one fewer, without the target)" if self.target is not None else "")
        )

    def missing(self, table):
        """Column name -> bool array of shape (rows,), for the used columns and the target that lack values."""
        lacking = {}
        for column, at in zip(self.columns, self.positions(table), strict=True):
            if at is None or column["kind"] == "ignored":
                continue
            if table.missing(at).any():
                lacking[column["name"]] = table.missing(at)
        return lacking

    def features(self, table, dtype=np.float32):
        """Features of every row, and the texts that no category stands for.

        Parameters
        ----------
        table : TextTable
        dtype : data type, default float32

        Returns
        -------
        x : ndarray of shape (rows, features)
            NaN where a number is missing (unless `fill` says otherwise).
        unknown : dict of str to dict
            Column -> {text: number of rows} of texts unseen when the encoder was made.
        """
        where = dict(zip((column["name"] for column in self.columns), self.positions(table), strict=True))
        x = np.zeros((len(table.lines), len(self.feature_names)), dtype=dtype)
        unknown, at = {}, 0
        for column in self.used:
            position = where[column["name"]]
            if column["kind"] == "number":
                x[:, at] = self._numbers(column["name"], position, table, dtype)
                at += 1
            else:
                cells = table.columns[position]
                strange = _one_hot(x[:, at : at + len(column["categories"])], cells, column["categories"])
                if strange:
                    unknown[column["name"]] = strange
                at += len(column["categories"])
        if self.fill is not None:
            rows, features = np.nonzero(np.isnan(x))
            x[rows, features] = np.array(self.fill, dtype=dtype)[features]
        return x, unknown

    def _numbers(self, name, position, table, dtype):
        cells = table.columns[position]
        try:
            values = table.numbers(position, self.decimal)
        except NotANumber as error:
            line, cell = table.lines[error.position], cells[error.position]
            raise ValueError(
                f"{table.path} line {line}: column {name!r} holds {cell!r}, which is not a number"
            ) from None
        outside = np.flatnonzero(np.abs(values) > np.finfo(dtype).max)
        if outside.size:
            row = int(outside[0])
            raise ValueError(
                f"{table.path} line {table.lines[row]}: column {name!r} holds {cells[row]}, "
                f"which does not fit {np.dtype(dtype).name}"
            )
        return values

    def targets(self, table, dtype=np.float32):
        """The target of every row: int64 class numbers, or `dtype`; None if the table has no target column.

        A missing target is -1 or NaN: leave such rows out.
        """
        if self.target is None:
            return None
        at = next(
            at for column, at in zip(self.columns, self.positions(table), strict=True) if column["kind"] == "target"
        )
        if at is None:
            return None
        cells, name = table.columns[at], self.target["name"]
        if self.target["kind"] == "number":
            return self._numbers(name, at, table, dtype).astype(dtype)
        codes = {text: i for i, text in enumerate(self.target["classes"])}
        spelt = [self._class_of(cell) for cell in cells]
        y = np.array([-1 if text is None else codes.get(text, -2) for text in spelt], dtype=np.int64)
        strange = np.flatnonzero(y == -2)
        if strange.size:
            row = int(strange[0])
            raise ValueError(
                f"{table.path} line {table.lines[row]}: {cells[row]!r} is not a known class of {name!r}; "
                f"the classes are: {shorten(self.target['classes'])}"
            )
        return y

    def _class_of(self, cell):
        """Name of the class that a cell stands for; None if it is missing."""
        if is_missing(cell):
            return None
        if self.target["numbers"]:
            text = cell if self.decimal == "." else cell.replace(self.decimal, ".")
            if is_number(text) and np.isfinite(float(text)):
                return _number_name(float(text))
        return cell

    def to_dict(self):
        """Everything `from_dict` needs, as plain Python values."""
        return {
            "kind": "table",
            "columns": self.columns,
            "target": self.target,
            "has_header": self.has_header,
            "decimal": self.decimal,
            "fill": self.fill,
        }

    @classmethod
    def from_dict(cls, values):
        """Rebuild an encoder from `to_dict`; a ValueError says what is wrong with values that are not its output."""
        try:
            encoder = cls(values["columns"], values["target"], values["has_header"], values["decimal"], values["fill"])
            for column in encoder.columns:
                if column["kind"] not in ("number", "category", "ignored", "target") or not column["name"]:
                    raise ValueError(f"unknown kind of column {column['kind']!r}")
            if encoder.target is not None and encoder.task == "classification":
                encoder.target["classes"][1], encoder.target["numbers"]
            features = len(encoder.feature_names)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"not the description of a table: {error}") from None
        if encoder.fill is not None and len(encoder.fill) != features:
            raise ValueError(f"a table of {features} features cannot have {len(encoder.fill)} fill values")
        return encoder

    def save(self, path):
        """Write the encoder as a JSON file (UTF-8); an existing file is replaced in one step."""
        from fastnn.io.atomic import write_atomic

        write_atomic(path, json.dumps(self.to_dict(), indent=1, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path):
        """Read an encoder that `save` wrote."""
        with open(path, "rb") as file:
            try:
                values = json.loads(file.read())
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path} is not a JSON file: {error}") from None
        return cls.from_dict(values)


def _one_hot(out, cells, categories):
    """Set out[row, category] = 1; count texts that are no category. A missing cell leaves zeros."""
    numbers = {text: i for i, text in enumerate(categories)}
    codes = np.array([numbers.get(cell, -1) for cell in cells], dtype=np.int64)
    rows = np.flatnonzero(codes >= 0)
    out[rows, codes[rows]] = 1.0
    unknown = {}
    for row in np.flatnonzero(codes < 0):
        if not is_missing(cells[row]):
            unknown[cells[row]] = unknown.get(cells[row], 0) + 1
    return unknown
