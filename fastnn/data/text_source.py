"""A delimited text file as a source of blocks, by the standard library's csv module or by pyarrow.

Records, the same for both readers: cells are separated by one character, quoted by ``"`` (doubled inside), and may then
hold line ends; a line without any character, or of blanks only where there are several columns, is no record; every
other record has as many cells as the first, or the file is refused with the line. White space as the delimiter
(``delimiter=" "``) means any run of blanks and tabs, and is read by the csv module.
"""

import codecs
import csv
import io
import itertools
import os
from collections.abc import Iterator

import numpy as np

from .cells import LONGEST_CELL, NotANumber, is_null_word, parse_number, parse_numbers
from .column import Block, NumberColumn, TextColumn, gather
from .files import check_is_file, open_binary
from .source import NUMBER, TEXT, Retype, Source

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "white space"}
READERS = ("auto", "csv", "pyarrow")

_LONGEST_LINE = 1 << 24
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_RECORDS = 1000
_BLOCK_RECORDS = 4096  # their cells are Python strings
_GATHERED = 65_536


def _codec(encoding: str, path) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(f"unknown text encoding {encoding!r}") from None
    with open_binary(path) as file:
        head = file.read(4096)
    if name == "utf-8" and head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if b"\0" in head and not name.startswith(("utf-16", "utf-32")):
        raise ValueError(f"{path} is not a text table: it holds zero bytes")
    return "utf-8-sig" if name == "utf-8" else name


class TextSource(Source):
    """A text file, plain or gzip. Parameters as in `read_csv`."""

    cheap = False
    block_records = _BLOCK_RECORDS  # at most, of the csv module

    def __init__(self, path, *, header=True, delimiter="auto", decimal=".", encoding="utf-8", na=(), reader="auto",
                 label=None):  # fmt: skip
        super().__init__()
        self.path = os.fspath(path)
        self.label = self.path if label is None else label
        if reader not in READERS:
            raise ValueError(f"reader must be one of {', '.join(READERS)}, not {reader!r}")
        if decimal not in (".", ","):
            raise ValueError(f'decimal must be "." or ",", not {decimal!r}')
        if not isinstance(header, bool):
            raise ValueError(f"header must be True or False, not {header!r}")
        check_is_file(self.path)
        self.decimal, self.na, self.has_header = decimal, frozenset(na), header
        self.encoding = _codec(encoding, self.path)
        sample, whole = self._sample()
        self.delimiter = self._chosen_delimiter(delimiter, sample, whole)
        self._read_header()
        self.reader = self._chosen_reader(reader)

    # ---- what the file looks like

    def _sample(self) -> tuple[list[str], bool]:
        """(the first lines, whether they are the whole file)"""
        lines: list[str] = []
        size = 0
        for line in self._lines():
            if size + len(line) > _SAMPLE_CHARACTERS and lines:
                return lines, False
            lines.append(line)
            size += len(line)
        return lines, True

    def _chosen_delimiter(self, delimiter, sample, whole) -> str:
        if delimiter == "auto":
            return guess_delimiter(sample, whole, self.decimal)
        if delimiter == "\\t":
            return "\t"
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(f'delimiter must be "auto" or one character, not {delimiter!r}')
        if delimiter == self.decimal:
            raise ValueError(f"{delimiter!r} cannot be both the delimiter and the decimal sign")
        return delimiter

    def _chosen_reader(self, reader: str) -> str:
        if reader == "csv" or self.delimiter == " ":
            return "csv"
        try:
            import pyarrow.csv  # noqa: F401
        except ImportError:
            if reader == "pyarrow":
                raise ImportError('reader="pyarrow" needs pyarrow: pip install pyarrow') from None
            return "csv"
        return "pyarrow"

    def _read_header(self) -> None:
        """Names of the columns, and how many lines stand before the first record of data."""
        self.skipped_lines = 0
        first = next(self._records(0, None), None)
        if first is None:
            raise ValueError(f"{self.label} is empty: it holds no rows")
        line, cells = first
        if not self.has_header:
            self.names = [f"c{i}" for i in range(len(cells))]
            return
        self.skipped_lines = line
        self.set_names([cell.strip() for cell in cells])
        if sum(parse_number(cell.strip(), self.decimal) is not None for cell in cells) * 2 > len(cells):
            self.notes.append(f"line {line} of {self.label} is taken as names of columns, though it holds numbers "
                              "(header=False: it is data)")  # fmt: skip

    # ---- records

    def _lines(self) -> Iterator[str]:
        file = open_binary(self.path)
        try:
            with io.TextIOWrapper(file, encoding=self.encoding, newline="") as text:
                for line in iter(lambda: text.readline(_LONGEST_LINE), ""):
                    if len(line) == _LONGEST_LINE:
                        raise ValueError(f"{self.label} is not a text table: a line is longer than {_LONGEST_LINE:,} "
                                         "characters")  # fmt: skip
                    yield line
        except UnicodeError:
            raise self._not_encoded() from None

    def _not_encoded(self) -> ValueError:
        """The error for bytes that are no text of the encoding, with the line where lines are bytes."""
        where = ""
        if not self.encoding.startswith(("utf-16", "utf-32")):
            with open_binary(self.path) as file:
                for number, line in enumerate(file, 1):
                    try:
                        line.decode(self.encoding)
                    except UnicodeError:
                        where = f" line {number}"
                        break
        name = self.encoding.replace("-sig", "")
        return ValueError(f"{self.label}{where}: the bytes are not {name} text; choose another encoding, such as "
                          "latin-1")  # fmt: skip

    def _records(self, skip_lines: int, expected: int | None) -> Iterator[tuple[int, list[str]]]:
        """Yield (number of its last line, cells) of every record behind the first `skip_lines` lines."""
        lines = itertools.islice(self._lines(), skip_lines, None)
        reader, wide = _csv_reader(lines, self.delimiter), expected is None or expected > 1
        try:
            for cells in reader:
                if len(cells) != expected:
                    if not cells or (wide and len(cells) == 1 and not cells[0].strip()):
                        continue
                    if expected is not None:
                        raise ValueError(
                            f"{self.label} line {skip_lines + reader.line_num}: {len(cells)} cells, but {expected} "
                            f"were expected (delimiter: {DELIMITERS.get(self.delimiter, repr(self.delimiter))})"
                        )
                yield skip_lines + reader.line_num, cells
        except csv.Error as error:
            text = f"a cell is longer than {LONGEST_CELL:,} characters: is a quote left open?"
            text = text if "field larger" in str(error) else str(error)
            raise ValueError(f"{self.label} line {skip_lines + reader.line_num}: {text}") from None

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells as they stand) of every record of data."""
        return self._records(self.skipped_lines, len(self.names))

    def raw_cells(self, positions) -> list[list[str]]:
        """The cells of some columns, stripped, word for word."""
        cells: list[list[str]] = [[] for _ in positions]
        for _, row in self.records():
            for held, position in zip(cells, positions):
                held.append(row[position].strip())
        return cells

    def place(self, record: int) -> str:
        found = next(itertools.islice(self.records(), record, None), None)
        return f"row {record}" if found is None else f"line {found[0]}"

    # ---- columns

    def guess_kinds(self) -> list[str]:
        """Numbers where at least half of a sample's cells are, or all are missing."""
        rows = [cells for _, cells in itertools.islice(self.records(), _SAMPLE_RECORDS)]
        kinds = []
        for cells in zip(*rows):
            bare = [cell.strip() for cell in cells]
            held = [cell for cell in bare if cell and cell not in self.na and not is_null_word(cell)]
            numbers = sum(parse_number(cell, self.decimal) is not None for cell in held)
            kinds.append(NUMBER if 2 * numbers >= len(held) else TEXT)
        return kinds or [TEXT] * len(self.names)

    def blocks(self, kinds) -> Iterator[Block]:
        if self.reader == "pyarrow":
            from .arrow_source import csv_blocks

            return csv_blocks(self, kinds)
        return self.standard_blocks(kinds)

    def standard_blocks(self, kinds) -> Iterator[Block]:
        """`blocks` by the standard library alone."""
        small = self.block_records < _BLOCK_RECORDS
        return gather(self._standard_blocks(kinds), self.block_records if small else _GATHERED)

    def _standard_blocks(self, kinds) -> Iterator[Block]:
        records, first = self.records(), 0
        while chunk := [cells for _, cells in itertools.islice(records, self.block_records)]:
            columns, failed = [], set()
            for position, (kind, cells) in enumerate(zip(kinds, zip(*chunk))):
                try:
                    columns.append(self._column(kind, cells))
                except NotANumber:
                    failed.add(position)
            if failed:
                raise Retype(failed)
            yield Block(first, len(chunk), columns)
            first += len(chunk)

    def _column(self, kind, cells):
        if kind is None:
            return None
        if kind == NUMBER:
            if not any(cells):  # takes no memory, however many there are
                return NumberColumn(np.broadcast_to(np.float64(np.nan), (len(cells),)))
            return NumberColumn(parse_numbers(cells, self.decimal, self.na))
        return TextColumn.from_cells(cells, self.na)


def _csv_reader(lines, delimiter: str):
    if delimiter == " ":
        return csv.reader((line.strip().replace("\t", " ") + "\n" for line in lines), delimiter=" ",
                          skipinitialspace=True)  # fmt: skip
    return csv.reader(lines, delimiter=delimiter)


def guess_delimiter(lines: list[str], whole: bool, decimal: str = ".") -> str:
    """The delimiter that cuts the sample's records into equally many cells, at least two; the comma if there is none.

    A record that the end of the sample may have cut is left out. Where several delimiters do (or none), the one with
    the most records like the first one, then the first of `DELIMITERS`.
    """
    best, best_share = ",", 0.0
    for delimiter in DELIMITERS:
        if delimiter == decimal or (delimiter == " " and best_share == 1.0):
            continue  # blanks only count when nothing else separates cells
        try:
            counts = [len(cells) for cells in _csv_reader(lines, delimiter) if cells]
        except csv.Error:
            continue
        counts = counts if whole or len(counts) < 2 else counts[:-1]
        if not counts or counts[0] < 2:
            continue
        share = counts.count(counts[0]) / len(counts)
        if share > best_share:
            best, best_share = delimiter, share
    return best
