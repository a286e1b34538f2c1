"""Reading by pyarrow: text files in blocks, Parquet and Feather files, and every object with an Arrow stream."""

import os
import re
from collections.abc import Iterator

import numpy as np

from .cells import EXACT, LONGEST_CELL, NO_TIME, null_spellings, within_float64
from .column import Block, NumberColumn, TextColumn, TimeColumn, gather
from .source import NUMBER, TEXT, Retype, Source, as_texts

_FAILED_COLUMN = re.compile(r"In CSV column #(\d+)")
_TEXT_BLOCK = 1 << 18  # bytes of text parsed at a time: larger blocks are no faster and cost memory
_ROWS = 32_768


def need_pyarrow(what: str):
    """The module; an ImportError that says how to get it."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(f"{what} needs pyarrow: pip install pyarrow") from None
    return pyarrow


# ---- text files


def _open_text(source, file, kinds):
    import pyarrow as pa
    from pyarrow import csv

    wide = len(source.names) > 1

    def bad_row(row):
        blank = wide and row.actual_columns == 1 and row.text.strip().strip('"') == ""
        return "skip" if blank else "error"

    names = [f"{i}" for i in range(len(source.names))]  # positions: names may be anything
    text = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.float64() if kind == NUMBER else text for name, kind in zip(names, kinds) if kind}
    return csv.open_csv(
        pa.PythonFile(file, mode="r"),
        csv.ReadOptions(block_size=_TEXT_BLOCK, skip_rows=source.skipped_lines, column_names=names,
                        encoding=source.encoding.replace("utf-8-sig", "utf8")),
        csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=bad_row),
        csv.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=False,
                           null_values=[*null_spellings(), *sorted(source.na)], decimal_point=source.decimal),
    )  # fmt: skip


def _text_batches(source, kinds) -> Iterator[Block]:
    """Blocks as pyarrow parses them; ArrowInvalid where it finds something that the csv module shall judge."""
    from .files import open_binary

    first = 0
    with open_binary(source.path) as file, _open_text(source, file, kinds) as batches:
        for batch in batches:
            yield Block(first, batch.num_rows, _text_columns(source, kinds, batch))
            first += batch.num_rows


def _text_columns(source, kinds, batch) -> list:

    columns, failed = [None] * len(kinds), set()
    for position, values in zip([position for position, kind in enumerate(kinds) if kind], batch.columns):
        if kinds[position] == NUMBER:
            numbers = _plain(values, np.nan)
            if not within_float64(numbers):
                failed.add(position)
            columns[position] = NumberColumn(numbers)
        else:
            words = values.dictionary.to_pylist()
            if any(len(word) > LONGEST_CELL for word in words):
                raise _TooLong
            codes = _plain(values.indices, -1)
            columns[position] = TextColumn.from_codes(codes, words, source.na)
    if failed:
        raise Retype(failed)
    return columns


class _TooLong(Exception):
    """A cell longer than the csv module reads."""


def csv_blocks(source, kinds) -> Iterator[Block]:
    """`TextSource.blocks` by pyarrow.

    What pyarrow refuses is read again by the csv module, whose message names the line: the two readers accept and
    refuse the same files.
    """
    pa = need_pyarrow("this reader")
    if not any(kinds):
        yield from source.standard_blocks(kinds)
        return
    given = 0
    try:
        for block in gather(_text_batches(source, kinds), _ROWS):
            yield block
            given += block.rows
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeError, _TooLong) as error:
        failed = _FAILED_COLUMN.search(str(error))
        if failed is not None and "invalid UTF8" not in str(error):
            raise Retype({int(failed[1])}) from None
        yield from _rest(source, kinds, given)
    finally:
        pa.default_memory_pool().release_unused()


def _rest(source, kinds, given: int) -> Iterator[Block]:
    """The blocks of the csv module without the first `given` records."""
    for block in source.standard_blocks(kinds):
        drop = min(max(given - block.first, 0), block.rows)
        if drop < block.rows:
            yield block.tail(drop)


# ---- typed columns


def _plain(values, missing) -> np.ndarray:
    """The numbers of a pyarrow array, `missing` where it has none. (`to_numpy` would import pandas: 50 MB, 0.5 s.)"""
    values = values.fill_null(missing) if values.null_count else values
    dtype = np.dtype(str(values.type).replace("double", "float64"))
    memory = values.buffers()[1]
    if memory is None or not len(values):
        return np.empty(0, dtype)
    return np.frombuffer(memory, dtype, len(values), values.offset * dtype.itemsize)


def to_column(values):
    """A Column of a pyarrow Array; TypeError for a type that a table cannot hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    types = pa.types
    if types.is_null(kind):
        return NumberColumn(np.full(len(values), np.nan))
    if types.is_boolean(kind):
        return NumberColumn(_plain(values.cast(pa.uint8()).cast(pa.float64()), np.nan), truth=True)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        if types.is_floating(kind):
            numbers = _plain(values.cast(pa.float64()), np.nan)
            return NumberColumn(numbers) if within_float64(numbers) else _as_words(values)
        bounds = pc.min_max(values).as_py()
        exact = types.is_integer(kind) and all(b is None or abs(b) < EXACT for b in bounds.values())
        return NumberColumn(_plain(values.cast(pa.float64()), np.nan)) if exact else _as_words(values)
    if types.is_timestamp(kind) or types.is_date(kind):
        micros = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return TimeColumn(_plain(micros, int(NO_TIME)), types.is_timestamp(kind))
    if types.is_duration(kind) or types.is_time(kind):
        raise TypeError(f"holds {kind}, which has no place in a table: give seconds as numbers")
    if types.is_dictionary(kind):
        inner = to_column(values.dictionary)
        if isinstance(inner, TimeColumn):
            return to_column(values.dictionary_decode())
        column = TextColumn.from_codes(_plain(values.indices, -1), as_texts(inner))
        column.declared = True
        return column
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        coded = values.cast(pa.string()).dictionary_encode()
        return TextColumn.from_codes(_plain(coded.indices, -1), coded.dictionary.to_pylist())
    raise TypeError(f"holds {kind}, which has no place in a table")


def _as_words(values) -> TextColumn:
    """Numbers that float64 does not hold exactly, spelt out."""
    coded = values.dictionary_encode()
    words = [_spelt(value) for value in coded.dictionary.to_pylist()]
    return TextColumn.from_codes(_plain(coded.indices, -1), words)


def _spelt(value) -> str:
    if isinstance(value, float):
        return repr(value)
    text = format(value, "f") if not isinstance(value, int) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


class ArrowSource(Source):
    """A table of typed columns in batches, as often as `open_batches` is called."""

    def __init__(self, label: str, names: list[str], open_batches, na=(), cheap: bool = True):
        super().__init__()
        self.label, self.na, self.cheap = label, frozenset(na), cheap
        self._open = open_batches
        self.set_names([str(name).strip() for name in names])

    def blocks(self, kinds) -> Iterator[Block]:
        first = 0
        for batch in self._open():
            for start in range(0, batch.num_rows, _ROWS):
                part = batch.slice(start, _ROWS)
                columns = [self._column(name, values) if kind else None
                           for name, kind, values in zip(self.names, kinds, part.columns)]  # fmt: skip
                yield Block(first, part.num_rows, columns)
                first += part.num_rows

    def _column(self, name, values):
        try:
            column = to_column(values)
        except TypeError as error:
            raise ValueError(f"{self.label}: column {name!r} {error}; leave it out (ignore)") from None
        if self.na and isinstance(column, TextColumn):
            declared, column = column.declared, TextColumn.from_codes(column.codes, column.words, self.na)
            column.declared = declared
        return column


def arrow_table(frame, label: str, na=()) -> ArrowSource:
    """A source from anything with ``__arrow_c_stream__``; its stream is taken once and held."""
    pa = need_pyarrow(f"{label} is an Arrow stream: reading it")
    try:
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (pa.ArrowInvalid, TypeError):
        raise TypeError(f"{label} is a single column, not a table: give a frame of columns with names") from None
    return ArrowSource(label, table.column_names, lambda: table.to_batches(_ROWS), na)


def arrow_file(path, kind: str, na=()) -> ArrowSource:
    """A source from a Parquet or Feather (Arrow IPC) file, read in batches."""
    path = os.fspath(path)
    pa = need_pyarrow(f"{path} is a {kind} file: reading it")
    try:
        if kind == "Parquet":
            from pyarrow import parquet

            names = parquet.read_schema(path).names

            def batches():
                with parquet.ParquetFile(path) as file:
                    yield from file.iter_batches(_ROWS)
        else:
            from pyarrow import feather

            table = feather.read_table(path, memory_map=True)
            names = table.column_names

            def batches():
                yield from table.to_batches(_ROWS)

    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is a damaged {kind} file: {' '.join(str(error).split())}") from None
    return ArrowSource(path, names, batches, na, cheap=False)


def file_kind(path) -> str:
    """"Parquet", "Feather" or "text", by the file's first bytes."""
    with open(path, "rb") as file:
        head = file.read(6)
    if head[:4] == b"PAR1":
        return "Parquet"
    return "Feather" if head in (b"ARROW1",) or head[:4] == b"FEA1" else "text"


__all__ = ["NUMBER", "TEXT", "ArrowSource", "arrow_file", "arrow_table", "csv_blocks", "file_kind", "need_pyarrow"]
