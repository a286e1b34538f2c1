"""What a column held, collected block by block: all that inference of its kind looks at."""

import numpy as np

from .cells import NO_TIME, is_null_word, number_name, parse_number
from .column import Column, NumberColumn, TextColumn

# More different texts or numbers than this are counted no further: nothing of so many kinds is a category.
MOST_DISTINCT = 100_000
_EXAMPLES = 3


class ColumnSummary:
    """Counts over the blocks of one column.

    Attributes
    ----------
    rows, missing : int
        Missing: empty cells.
    null_words : dict of str to int
        Words for a missing number, as spelt, with their counts: not in `missing`.
    numbers : int
        Cells that are numbers; `low`, `high`, `whole` describe them; `names` (canonical name -> value) lists them while
        there are at most `MOST_DISTINCT` and `want_names` is set or they came as text.
    words : dict of str to int
        Cells that are neither, with their counts.
    examples : list of (int, str)
        Records of the first words, and the words.
    times : int
        Cells that came as times; `clock` if some have a time of day.
    truths : int
        Cells that came as truth values.
    declared : bool
        Whether the source says that the column holds categories.
    rising : bool
        Whether every cell is a whole number one above the cell before.
    """

    def __init__(self, decimal: str = ".", want_names: bool = False):
        self.decimal, self.want_names = decimal, want_names
        self.rows = self.missing = self.numbers = self.times = self.truths = 0
        self.declared = False
        self.low: float | int = np.inf
        self.high: float | int = -np.inf
        self.time_low, self.time_high = np.iinfo(np.int64).max, NO_TIME
        self.whole, self.clock, self.rising = True, False, True
        self.names: dict[str, float | int] = {}
        self.words: dict[str, int] = {}
        self.null_words: dict[str, int] = {}
        self.examples: list[tuple[int, str]] = []
        self.too_many = False
        self._parsed: dict[str, float | int | None] = {}
        self._last: float | None = None

    @property
    def present(self) -> int:
        """Cells that are neither empty nor a word for a missing number."""
        return self.rows - self.missing - sum(self.null_words.values())

    @property
    def distinct(self) -> int:
        return len(self.names) + len(self.words)

    def add(self, column: Column, first: int) -> None:
        """Enter a block whose first record is number `first`."""
        self.rows += len(column)
        if isinstance(column, NumberColumn):
            self._add_numbers(column)
        elif isinstance(column, TextColumn):
            self._add_texts(column, first)
        else:
            held = column.micros[~column.missing]
            self.missing += len(column) - len(held)
            self.times += len(held)
            self.rising = False
            if len(held):
                self.clock = self.clock or bool(column.clock and (held % 86_400_000_000).any())
                self.time_low = min(self.time_low, int(held.min()))
                self.time_high = max(self.time_high, int(held.max()))

    def _add_numbers(self, column) -> None:
        values = column.values
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if low != low:  # all missing
            self.missing += len(values)
            self.rising = False
            return
        missing = int(np.count_nonzero(column.missing))
        self.missing += missing
        self.numbers += len(values) - missing
        if column.truth:
            self.truths += len(values) - missing
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        if self.whole:
            self.whole = not np.any(np.floor(values) < values)  # NaN compares as False
        if self.rising:
            self._follow(values, missing)
        if self.want_names and not self.too_many:
            self._name(np.unique(values[~column.missing] if missing else values).tolist())

    def _follow(self, values, missing: int) -> None:
        self.rising = not missing and (self._last is None or values[0] == self._last + 1)
        self.rising = bool(self.rising and np.all(values[1:] - values[:-1] == 1))
        self._last = float(values[-1])

    def _name(self, values) -> None:
        self.names.update((number_name(value), value) for value in values)
        self.too_many = self.too_many or len(self.names) > MOST_DISTINCT

    def _add_texts(self, column, first: int) -> None:
        self.declared = self.declared or column.declared
        counts = np.bincount(column.codes + 1, minlength=len(column.words) + 1)
        self.missing += int(counts[0])
        values = [self._number(word) for word in column.words]
        found = [value for value, count in zip(values, counts[1:]) if value is not None and count]
        if found:
            self.low, self.high = min(self.low, min(found)), max(self.high, max(found))
            self.whole = self.whole and all(value == int(value) for value in found)
            if not self.too_many:
                self._name(found)
        self.rising = self.rising and None not in values and not counts[0]
        if self.rising:
            numbers = np.array([float(value) for value in values])[column.codes]
            if len(numbers):
                self._follow(numbers, 0)
        for code, (word, value, count) in enumerate(zip(column.words, values, counts[1:].tolist())):
            if not count:
                continue
            if value is not None:
                self.numbers += count
            elif is_null_word(word):
                self.null_words[word] = self.null_words.get(word, 0) + count
            elif word in self.words:
                self.words[word] += count
            else:
                self._new_word(word, count, code, column, first)

    def _number(self, word: str):
        if word not in self._parsed:
            if len(self._parsed) > MOST_DISTINCT:
                return parse_number(word, self.decimal)
            self._parsed[word] = parse_number(word, self.decimal)
        return self._parsed[word]

    def _new_word(self, word, count, code, column, first) -> None:
        if len(self.examples) < _EXAMPLES:
            record = first + int(np.argmax(column.codes == code))
            self.examples = sorted([*self.examples, (record, word)])
        if len(self.words) < MOST_DISTINCT:
            self.words[word] = count
        else:
            self.too_many = True
