"""Columns of a block of records, as every reader and frame hands them to the schema: numbers, texts or times."""

import mmap
from collections.abc import Iterable, Iterator

import numpy as np

from .cells import NO_TIME


class NumberColumn:
    """float64 values, NaN where missing, below 2^53 in size; `truth` if they are 0 and 1 for False and True."""

    __slots__ = ("values", "truth")

    def __init__(self, values: np.ndarray, truth: bool = False):
        self.values = np.asarray(values, dtype=np.float64)
        self.truth = truth

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> np.ndarray:
        return np.isnan(self.values)


class TextColumn:
    """Texts as codes into a list of different, stripped, not empty words; -1 where missing.

    `declared` if its source says that they are categories, whatever they look like.
    """

    __slots__ = ("codes", "words", "declared")

    def __init__(self, codes: np.ndarray, words: list[str], declared: bool = False):
        self.codes = codes
        self.words = words
        self.declared = declared

    @classmethod
    def from_cells(cls, cells, na: frozenset[str] = frozenset()) -> "TextColumn":
        """Of a sequence of strings."""
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(cell, len(numbers)) for cell in cells], dtype=np.int32)
        return cls.from_codes(codes, list(numbers), na)

    @classmethod
    def from_codes(cls, codes, raw_words, na: frozenset[str] = frozenset()) -> "TextColumn":
        """Of codes (negative: missing) into words as they stand in the file."""
        places: dict[str, int] = {}
        table = np.empty(len(raw_words) + 1, dtype=np.int32)
        for i, raw in enumerate(raw_words):
            word = raw.strip()
            table[i] = -1 if not word or word in na else places.setdefault(word, len(places))
        table[-1] = -1
        codes = np.asarray(codes)
        return cls(table[np.where(codes < 0, len(raw_words), codes)], list(places))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def missing(self) -> np.ndarray:
        return self.codes < 0

    def map(self, function, default, dtype) -> np.ndarray:
        """``function(word)`` of each cell, `default` where missing; `function` is called once for each word."""
        table = np.array([*map(function, self.words), default], dtype=dtype)
        return table[self.codes]


class TimeColumn:
    """int64 microseconds since 1970 in UTC, `NO_TIME` where missing; `clock` if they have a time of day."""

    __slots__ = ("micros", "clock")

    def __init__(self, micros: np.ndarray, clock: bool):
        self.micros = micros
        self.clock = clock

    def __len__(self) -> int:
        return len(self.micros)

    @property
    def missing(self) -> np.ndarray:
        return self.micros == NO_TIME


Column = NumberColumn | TextColumn | TimeColumn


class Block:
    """Some consecutive records of a table.

    Attributes
    ----------
    first : int
        Number of the block's first record, 0 the table's first.
    rows : int
    columns : list of Column or None
        In the order of the table; None for a column that nobody asked for.
    """

    __slots__ = ("first", "rows", "columns")

    def __init__(self, first: int, rows: int, columns: list):
        self.first = first
        self.rows = rows
        self.columns = columns

    def tail(self, drop: int) -> "Block":
        """The block without its first `drop` records."""
        columns = [None if column is None else _tail(column, drop) for column in self.columns]
        return Block(self.first + drop, self.rows - drop, columns)


def _tail(column: Column, drop: int) -> Column:
    if isinstance(column, NumberColumn):
        return NumberColumn(column.values[drop:], column.truth)
    if isinstance(column, TimeColumn):
        return TimeColumn(column.micros[drop:], column.clock)
    return TextColumn(column.codes[drop:], column.words, column.declared)


def _own_pages(rows: int) -> np.ndarray:
    """float64 memory that goes back to the system when it is freed: malloc would keep it for the next block."""
    return np.frombuffer(mmap.mmap(-1, max(8 * rows, 1)), dtype=np.float64, count=rows)


def _joined(columns):
    first = columns[0]
    if first is None:
        return None
    if isinstance(first, NumberColumn):
        values = [c.values for c in columns]
        return NumberColumn(np.concatenate(values, out=_own_pages(sum(map(len, values)))), first.truth)
    if len(columns) == 1:
        return first
    if isinstance(first, TimeColumn):
        return TimeColumn(np.concatenate([c.micros for c in columns]), any(c.clock for c in columns))
    places: dict[str, int] = {}
    codes = []
    for column in columns:
        table = np.array([*(places.setdefault(word, len(places)) for word in column.words), -1], dtype=np.int32)
        codes.append(table[column.codes])
    return TextColumn(np.concatenate(codes), list(places), first.declared)


def _join_blocks(blocks: list[Block]) -> Block:
    rows = sum(block.rows for block in blocks)
    columns = [_joined(columns) for columns in zip(*(block.columns for block in blocks))]
    return Block(blocks[0].first, rows, columns)


def gather(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Join consecutive blocks, whose columns have the same classes, to blocks of at least `rows` records."""
    held, count = [], 0
    for block in blocks:
        held.append(block)
        count += block.rows
        if count >= rows:
            yield _join_blocks(held)
            held, count = [], 0
    if held:
        yield _join_blocks(held)
