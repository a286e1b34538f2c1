"""What the columns of a table mean, learnt from one table, applied to others, kept as JSON with the model."""

import json
from dataclasses import asdict, dataclass, field

import numpy as np

KINDS = ("numeric", "categorical", "boolean", "date", "text", "identifier", "ignored", "target")

_DATE_PARTS = ("days", "year", "month", "day", "weekday")


@dataclass
class ColumnSchema:
    """One column of a `TableSchema`.

    Attributes
    ----------
    name : str
    kind : str
        One of "numeric", "categorical", "boolean", "date", "text", "identifier", "ignored", "target".
    categories : list of str
        Of a categorical column, and the classes of a target; empty for a target of numbers. Categories that are
        numbers are compared by value: "1" stands for 1.0 too.
    missing : bool
        Categorical: whether missing cells have a feature of their own.
    offset : int
        Numeric: what is subtracted before rounding, so that timestamps and large identifiers keep their values; a
        date's first day.
    clock : bool
        Date: whether there is a time of day.
    numbers : bool
        Target: whether the classes are numbers.
    why : str
        Why a column is ignored, if nobody asked for it.
    """

    name: str
    kind: str
    categories: list[str] = field(default_factory=list)
    missing: bool = False
    offset: int = 0
    clock: bool = False
    numbers: bool = False
    why: str = ""

    @property
    def feature_names(self) -> list[str]:
        """Names of the features that are made from the column."""
        if self.kind in ("numeric", "boolean"):
            return [self.name]
        if self.kind == "date":
            return [f"{self.name}.{part}" for part in (*_DATE_PARTS, *(("hour",) if self.clock else ()))]
        if self.kind == "categorical":
            extra = ["<missing>"] if self.missing else []
            return [f"{self.name}={text}" for text in (*self.categories, *extra, "<unseen>")]
        return []

    def to_dict(self) -> dict:
        """Plain values, without those that are the default."""
        return {key: value for key, value in asdict(self).items() if value or key in ("name", "kind")}

    @classmethod
    def from_dict(cls, values: dict) -> "ColumnSchema":
        if not isinstance(values, dict) or not set(values) <= set(cls.__dataclass_fields__):
            raise ValueError(f"not the description of a column: {values!r}"[:200])
        column = cls(**{"name": "", "kind": "", **values})
        texts = isinstance(column.categories, list) and all(isinstance(text, str) for text in column.categories)
        flags = all(isinstance(value, bool) for value in (column.missing, column.clock, column.numbers))
        plain = isinstance(column.offset, int) and isinstance(column.name, str) and isinstance(column.why, str)
        if not (column.name and texts and flags and plain) or column.kind not in KINDS:
            raise ValueError(f"not the description of a column: {values!r}"[:200])
        if len(set(column.categories)) < len(column.categories) or (column.kind == "target" and
                                                                    len(column.categories) == 1):  # fmt: skip
            raise ValueError(f"column {column.name!r} repeats a category, or has one class only")
        return column


class TableSchema:
    """What the columns of a table mean; made by `read_csv` and `read_table`, saved with the model.

    Numbers, truth values and the parts of dates are one feature each; a categorical column is one feature for each
    category (one-hot), one for missing cells if the first table had any, and one for categories that it did not have.

    Parameters
    ----------
    columns : list of ColumnSchema
        In the order of the table.
    header : bool, default True
        Whether columns are found by name (True) or by position.
    decimal : str, default "."
        Decimal sign of numbers in text files.
    na : sequence of str
        Words that stand for a missing cell, besides the empty one.
    fill : list of float, optional
        For each feature, what replaces a missing value (None: nothing does).

    Attributes
    ----------
    target : ColumnSchema or None
    feature_names : list of str
    class_names : list of str or None
    task : "classification", "regression" or None
    """

    def __init__(self, columns, *, header: bool = True, decimal: str = ".", na=(), fill=None):
        self.columns = list(columns)
        self.header, self.decimal, self.na, self.fill = header, decimal, list(na), fill

    def __repr__(self) -> str:
        target = "no target" if self.target is None else f"target {self.target.name!r} ({self.task})"
        return f"TableSchema({len(self.features)} columns, {len(self.feature_names)} features, {target})"

    def __eq__(self, other) -> bool:
        return isinstance(other, TableSchema) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @property
    def target(self) -> ColumnSchema | None:
        return next((column for column in self.columns if column is not None and column.kind == "target"), None)

    @property
    def features(self) -> list[ColumnSchema]:
        """The columns that features are made from."""
        kinds = ("numeric", "categorical", "boolean", "date")
        return [column for column in self.columns if column is not None and column.kind in kinds]

    @property
    def feature_names(self) -> list[str]:
        """One name for each feature: the column, ``column=category``, or ``column.part`` of a date."""
        return [name for column in self.features for name in column.feature_names]

    @property
    def number_features(self) -> np.ndarray:
        """bool array of shape (features,): True where a feature is a number to be scaled, False where it is 0 or 1."""
        flags = [column.kind in ("numeric", "date") for column in self.features for _ in column.feature_names]
        return np.array(flags, dtype=bool)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of their numbers; None for a regression or without target."""
        return list(self.target.categories) if self.target is not None and self.target.categories else None

    @property
    def task(self) -> str | None:
        """"classification", "regression", or None without target."""
        if self.target is None:
            return None
        return "classification" if self.target.categories else "regression"

    def describe(self) -> list[tuple[str, str]]:
        """(name, what it is) of every column, in words."""
        words = {"numeric": "a number", "boolean": "true or false", "identifier": "an identifier, left out",
                 "text": "text, left out"}  # fmt: skip
        told = []
        for column in self.columns:
            count = len(column.categories)
            if column.kind == "categorical":
                text = f"{count} categories" + (" and missing cells" if column.missing else "")
            elif column.kind == "date":
                text = "a date and time" if column.clock else "a date"
            elif column.kind == "target":
                text = f"the target, {count} classes" if count else "the target, a number"
            elif column.kind == "ignored":
                text = "left out" + (f": {column.why}" if column.why else "")
            else:
                text = words[column.kind]
            told.append((column.name, text))
        return told

    def positions(self, source) -> list[int | None]:
        """Where each of `columns` is in a source (None: absent, allowed for what is no feature).

        Raises
        ------
        ValueError
            If a column that features are made from is not there; the message lists those that are.
        """
        from .cells import shorten

        if self.header and source.has_header:
            where = {name: position for position, name in enumerate(source.names)}
            found = [where.get(column.name) for column in self.columns]
            needed = self.features
            lost = [c.name for c, at in zip(self.columns, found) if at is None and c in needed]
            if lost:
                word = "column" if len(lost) == 1 else "columns"
                raise ValueError(f"{source.label} lacks the {word} {shorten(map(repr, lost))}; its columns are: "
                                 f"{shorten(source.names)}")  # fmt: skip
            return found
        count = len(source.names)
        if count == len(self.columns):
            return list(range(count))
        if self.target is not None and count == len(self.columns) - 1:
            at = iter(range(count))
            return [None if column.kind == "target" else next(at) for column in self.columns]
        if count == len(self.features):
            at, needed = iter(range(count)), self.features
            return [next(at) if column in needed else None for column in self.columns]
        raise ValueError(
            f"{source.label} has {count} columns, but {len(self.columns)} were expected"
            + (" (or one fewer, without the target)" if self.target is not None else "")
        )

    # ---- JSON

    def to_dict(self) -> dict:
        """Everything `from_dict` needs, as plain Python values."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "header": self.header,
            "decimal": self.decimal,
            "na": self.na,
            "fill": self.fill,
        }

    @classmethod
    def from_dict(cls, values: dict) -> "TableSchema":
        """Rebuild a schema from `to_dict`; a ValueError says what is wrong with values that are not its output."""
        try:
            columns = [ColumnSchema.from_dict(column) for column in values["columns"]]
            schema = cls(columns, header=values["header"], decimal=values["decimal"], na=values["na"],
                         fill=values["fill"])  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the description of a table: {error}") from None
        if not isinstance(schema.header, bool) or schema.decimal not in (".", ","):
            raise ValueError("not the description of a table: header or decimal sign")
        if not all(isinstance(word, str) for word in schema.na):
            raise ValueError("not the description of a table: words for missing cells")
        names = [column.name for column in columns]
        if len(set(names)) < len(names) or sum(column.kind == "target" for column in columns) > 1:
            raise ValueError("not the description of a table: a name or the target occurs twice")
        count = len(schema.feature_names)
        fill = schema.fill
        if fill is not None and (not isinstance(fill, list) or len(fill) != count
                                 or not all(isinstance(value, (int, float)) for value in fill)):  # fmt: skip
            raise ValueError(f"a table of {count} features cannot have the fill values that are given")
        return schema

    def save(self, path) -> None:
        """Write the schema as a JSON file (UTF-8); an existing file is replaced in one step."""
        from fastnn.io.atomic import write_atomic

        write_atomic(path, json.dumps(self.to_dict(), indent=1, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path) -> "TableSchema":
        """Read a schema that `save` wrote; a ValueError names the file if it is none."""
        from .files import check_is_file

        check_is_file(path)
        with open(path, "rb") as file:
            data = file.read()
        try:
            values = json.loads(data)
            if not isinstance(values, dict):
                raise ValueError("not the description of a table")
            return cls.from_dict(values)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not the JSON file of a schema: {' '.join(str(error).split())}") from None
