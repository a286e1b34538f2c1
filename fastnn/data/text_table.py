"""A delimited text file as columns of stripped cells: delimiter and header are found out, rows are checked."""

import csv
import gzip
import io
import zlib

import numpy as np

from fastnn.data.files import open_binary

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "none"})

_SAMPLE_LINES = 100


def is_missing(cell):
    """True for the texts that stand for a missing value: empty, ?, NA, N/A, NaN, null, None, in any case."""
    return len(cell) <= 4 and cell.casefold() in MISSING


def is_number(cell):
    """True if `cell` is a number as `float` reads it, without Python's underscores."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def missing_texts(cells):
    """The set of those texts in `cells` that stand for a missing value."""
    return {cell for cell in set(cells) if is_missing(cell)}


class NotANumber(ValueError):
    """A cell that should be a number is none; `position` says which."""

    def __init__(self, position):
        super().__init__(f"cell {position} is not a number")
        self.position = position


def parse_numbers(cells, decimal="."):
    """float64 array of the cells, NaN where missing.

    Parameters
    ----------
    cells : list of str
    decimal : str, default "."
        Decimal sign.

    Raises
    ------
    NotANumber
        With the position of the first cell that is no number.
    """
    if decimal != ".":
        cells = [cell.replace(decimal, ".") for cell in cells]
    absent = missing_texts(cells)
    texts = ["nan" if cell in absent else cell for cell in cells] if absent else cells
    try:
        values = np.array(list(map(float, texts)), dtype=np.float64)
    except ValueError:
        values = None
    if values is None or any("_" in cell for cell in cells):
        raise NotANumber(next(i for i, cell in enumerate(cells) if cell not in absent and not is_number(cell)))
    return values


def shorten(names, limit=20):
    """Names joined by commas for an error message on one line: at most `limit` of them, long ones cut."""
    names = [" ".join(str(name).split()) for name in names]
    names = [name if len(name) <= 60 else name[:59] + "…" for name in names]
    if len(names) <= limit:
        return ", ".join(names)
    return ", ".join(names[:limit]) + f" … ({len(names) - limit} more)"


class TextTable:
    """The cells of a file.

    Attributes
    ----------
    path : str
    names : list of str
        Column names from the header, or c0, c1, … without one.
    has_header : bool
    columns : list of list of str
        Stripped cells, column by column.
    lines : list of int
        Line number in the file of every row, for messages.
    """

    __slots__ = ("path", "names", "has_header", "columns", "lines", "_missing", "_numbers")

    def __init__(self, path, names, has_header, columns, lines):
        self.path = path
        self.names = names
        self.has_header = has_header
        self.columns = columns
        self.lines = lines
        self._missing = {}
        self._numbers = {}

    def missing(self, position):
        """bool array of shape (rows,): which cells of a column stand for a missing value."""
        if position not in self._missing:
            cells = self.columns[position]
            absent = missing_texts(cells)
            flags = [cell in absent for cell in cells] if absent else np.zeros(len(cells))
            self._missing[position] = np.array(flags, dtype=bool)
        return self._missing[position]

    def numbers(self, position, decimal="."):
        """`parse_numbers` of a column, done once."""
        if (position, decimal) not in self._numbers:
            self._numbers[position, decimal] = parse_numbers(self.columns[position], decimal)
        return self._numbers[position, decimal]

    def find(self, name):
        """Position of the column called `name`, else of the column at integer position `name`; ValueError otherwise.

        The message lists the columns there are.
        """
        text = str(name)
        if text in self.names:
            return self.names.index(text)
        try:
            position = int(text)
        except ValueError:
            position = None
        if position is not None and -len(self.names) <= position < len(self.names):
            return position % len(self.names)
        hint = "" if self.has_header else " (the file has no header)"
        raise ValueError(f"{self.path} has no column {text!r}{hint}; its columns are: {shorten(self.names)}")


def _read_text(path, encoding):
    try:
        with open_binary(path) as file:
            data = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from None
    if b"\0" in data[:4096]:
        raise ValueError(f"{path} is not a text table: it holds zero bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} line {line}: the bytes are not {encoding.replace('-sig', '')} text; "
            f"choose another encoding, such as latin-1"
        ) from None
    except LookupError:
        raise ValueError(f"unknown text encoding {encoding!r}") from None


def _split(lines, delimiter, path):
    """Yield (line number, stripped cells) of every line that is not blank."""
    if delimiter == " ":
        for number, line in enumerate(lines, 1):
            cells = line.split()
            if cells:
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    start = 1
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}") from None


def guess_delimiter(sample):
    """The delimiter that cuts every sample line into equally many cells, at least two; the comma if there is none."""
    best, best_cells = ",", 1
    for delimiter in DELIMITERS:
        counts = {len(cells) for _, cells in _split(sample, delimiter, "")}
        if len(counts) == 1 and (count := counts.pop()) > best_cells:
            best, best_cells = delimiter, count
        if best_cells > 1 and delimiter != " ":
            return best  # spaces only count when nothing else separates cells
    return best


def guess_header(rows, names):
    """True if the first of `rows` looks like column names.

    It does when none of its cells is a number, none is empty or repeated, and it either names one of `names` or
    differs in kind from the rows below: a column of numbers, or texts that never occur again in their column.
    """
    first, rest = rows[0], rows[1:]
    if any(cell == "" or is_number(cell) for cell in first) or len(set(first)) < len(first):
        return False
    if any(name in first for name in names):
        return True
    for position in range(len(first)):
        values = [row[position] for row in rest if len(row) > position and not is_missing(row[position])]
        if values and all(is_number(value) for value in values):
            return True
    return not any(first[i] == row[i] for row in rest for i in range(min(len(first), len(row))))


def _cut_header(rows, header, wanted, path):
    """Column names and the remaining rows."""
    if header == "auto":
        header = guess_header([cells for _, cells in rows[:_SAMPLE_LINES]], wanted)
    if not header:
        return False, [f"c{i}" for i in range(len(rows[0][1]))], rows
    names = rows[0][1]
    if "" in names:
        raise ValueError(f"{path}: column {names.index('')} has no name in the header")
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise ValueError(f"{path}: the header names a column twice: {shorten(repeated)}")
    return True, names, rows[1:]


def read_text_table(path, *, header="auto", delimiter="auto", encoding="utf-8-sig", wanted=()):
    """Read a delimited text file, plain or gzip.

    Parameters
    ----------
    path : str or path-like
    header : "auto" or bool, default "auto"
        Whether the first row holds column names; see `guess_header`.
    delimiter : "auto" or one character, default "auto"
        "auto" tries comma, semicolon, tab, bar, then runs of white space.
    encoding : str, default UTF-8 with or without byte order mark
    wanted : sequence of str
        Names that the caller expects in a header.

    Returns
    -------
    TextTable

    Raises
    ------
    ValueError
        One line that names the file and, where there is one, the line: no rows, rows of different lengths, not text.
    OSError
        If the file cannot be read.
    """
    path = str(path)
    lines = io.StringIO(_read_text(path, encoding), newline=None).readlines()
    if delimiter == "auto":
        delimiter = guess_delimiter([line for line in lines if line.strip()][:_SAMPLE_LINES])
    elif delimiter == "\\t":
        delimiter = "\t"
    elif not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f'delimiter must be "auto" or one character, not {delimiter!r}')
    rows = list(_split(lines, delimiter, path))
    if not rows:
        raise ValueError(f"{path} is empty: it holds no rows")
    has_header, names, rows = _cut_header(rows, header, wanted, path)
    if not rows:
        raise ValueError(f"{path} holds a header but no rows")
    for number, cells in rows:
        if len(cells) != len(names):
            raise ValueError(
                f"{path} line {number}: {len(cells)} cells, but {len(names)} were expected "
                f"(delimiter: {DELIMITERS.get(delimiter, repr(delimiter))})"
            )
    columns = [list(column) for column in zip(*(cells for _, cells in rows), strict=True)]
    return TextTable(path, names, has_header, columns, [number for number, _ in rows])
