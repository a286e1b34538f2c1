"""Features and targets of a block of records, as a schema says."""

import numpy as np

from .cells import NO_TIME, date_text, is_null_word, number_name, parse_date, parse_number, parse_truth, shorten
from .column import NumberColumn, TextColumn, TimeColumn

_DAY = 86_400_000_000
_MISSING_CODE, _UNSEEN_CODE = -1, -2


class BadCell(ValueError):
    """A cell that its column cannot hold: `record` in the block, and what to say of it."""

    def __init__(self, name: str, record: int, told: str):
        super().__init__(told)
        self.name, self.record, self.told = name, record, told


def _number_of(word: str, decimal: str, offset: int):
    """word - offset, exact for whole numbers; NaN for a word that stands for a missing number, None for others."""
    value = parse_number(word, decimal)
    if value is None:
        return np.nan if is_null_word(word) else None
    return float(value - offset)


def _refuse(column, name: str, wrong: list[bool], told: str) -> None:
    """`BadCell` for the first cell that holds a wrong word."""
    bad = np.array([*wrong, False], dtype=bool)[column.codes]
    if bad.any():
        record = int(np.argmax(bad))
        raise BadCell(name, record, f"holds {column.words[column.codes[record]]!r}, which {told}")


def numbers(column, name: str, decimal: str, offset: int = 0) -> np.ndarray:
    """float64 values minus `offset`, NaN where missing; `BadCell` for what is no number."""
    if isinstance(column, NumberColumn):
        return column.values - offset if offset else column.values
    if isinstance(column, TimeColumn):
        raise BadCell(name, 0, "holds dates, not numbers")
    table = [_number_of(word, decimal, offset) for word in column.words]
    _refuse(column, name, [value is None for value in table], "is not a number")
    return np.array([*table, np.nan], dtype=np.float64)[column.codes]  # None, of words that no cell holds, is NaN


def _truths(column, name, decimal) -> np.ndarray:
    if isinstance(column, TextColumn):
        def value(word):
            truth = parse_truth(word)
            if truth is None:
                return _number_of(word, decimal, 0)
            return float(truth)

        table = [value(word) for word in column.words]
        values = np.array([*(np.inf if v is None else v for v in table), np.nan])[column.codes]
    else:
        values = numbers(column, name, decimal)
    wrong = ~((values == 0) | (values == 1) | np.isnan(values))
    if wrong.any():
        raise BadCell(name, int(np.argmax(wrong)), "holds something that is neither true nor false")
    return values


def _micros(column, name) -> np.ndarray:
    if isinstance(column, TimeColumn):
        return column.micros
    if isinstance(column, NumberColumn):
        if np.isnan(column.values).all():
            return np.full(len(column), NO_TIME)
        raise BadCell(name, int(np.argmin(np.isnan(column.values))), "holds a number, not a date")
    parsed = [parse_date(word) for word in column.words]
    wrong = [date is None and not is_null_word(word) for date, word in zip(parsed, column.words)]
    _refuse(column, name, wrong, "is not a date such as 2024-03-31")
    table = [NO_TIME if date is None else date[0] for date in parsed]
    return np.array([*table, NO_TIME], dtype=np.int64)[column.codes]


def date_parts(micros: np.ndarray, first_day: int, clock: bool) -> list[np.ndarray]:
    """Days since `first_day` (with fractions), year, month, day, weekday (0 Monday), and the hour with fractions."""
    missing = micros == NO_TIME
    safe = np.where(missing, 0, micros)
    days = np.floor_divide(safe, _DAY)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months).astype(np.int64) + 1
    of_day = safe - days * _DAY
    parts = [days - first_day + of_day / _DAY, year, month, day, (days + 3) % 7]
    if clock:
        parts.append(of_day / 3_600_000_000)
    return [np.where(missing, np.nan, part) for part in parts]


def category_codes(column, categories: list[str], decimal: str, truth: bool = False):
    """(codes into `categories`, `_MISSING_CODE` or `_UNSEEN_CODE`; {text: number of rows} of the unseen ones)

    Numbers are compared by value; `truth` compares True and False in any case.
    """
    places = {text: code for code, text in enumerate(categories)}
    if truth:
        places.update((text.casefold(), code) for text, code in list(places.items()))

    def code_of(word):
        value = parse_number(word, decimal)
        if value is not None and number_name(value) in places:
            return places[number_name(value)]
        return places.get(word.casefold() if truth else word, _UNSEEN_CODE)

    if isinstance(column, TimeColumn):
        distinct, codes = np.unique(column.micros, return_inverse=True)
        words = ["" if micro == NO_TIME else date_text(micro, column.clock) for micro in distinct.tolist()]
        column = TextColumn.from_codes(codes.reshape(-1), words)
    if isinstance(column, NumberColumn):
        distinct, codes = np.unique(column.values, return_inverse=True)
        spell = (lambda value: str(bool(value))) if column.truth else number_name
        words = ["" if value != value else spell(value) for value in distinct.tolist()]
        column = TextColumn.from_codes(codes.reshape(-1), words)
        if decimal != ".":
            decimal = "."  # these words are our own spelling
    table = np.array([*map(code_of, column.words), _MISSING_CODE], dtype=np.int64)
    codes = table[column.codes]
    unseen = {}
    for place, word in enumerate(column.words):
        if table[place] == _UNSEEN_CODE and (count := int(np.count_nonzero(column.codes == place))):
            unseen[word] = count
    return codes, unseen


class Encoder:
    """Fills features and targets of blocks, and counts what is missing and unseen.

    Parameters
    ----------
    schema : TableSchema
    source : Source
        For positions and messages.
    with_target : bool
    """

    def __init__(self, schema, source, with_target: bool):
        self.schema, self.source = schema, source
        self.with_target = with_target and schema.target is not None
        self.at = {column.name: at for column, at in zip(schema.columns, schema.positions(source)) if at is not None}
        self.with_target = self.with_target and schema.target.name in self.at
        self.missing: dict[str, int] = {}
        self.unseen: dict[str, dict[str, int]] = {}

    def _fail(self, block, error: BadCell):
        place = self.source.place(block.first + error.record)
        joint = " " if place.startswith("line") else ", "
        raise ValueError(f"{self.source.label}{joint}{place}: column {error.name!r} {error.told}") from None

    def _count(self, name, missing: np.ndarray):
        if count := int(np.count_nonzero(missing)):
            self.missing[name] = self.missing.get(name, 0) + count
        return missing

    def features(self, block, out: np.ndarray) -> np.ndarray:
        """Fill `out` (rows, features); returns which rows lack some value (bool array)."""
        at, lacks = 0, np.zeros(block.rows, dtype=bool)
        for spec in self.schema.features:
            width = len(spec.feature_names)
            part = out[:, at : at + width]
            column = block.columns[self.at[spec.name]]
            try:
                missing = self._fill(spec, column, part)
            except BadCell as error:
                self._fail(block, error)
            lacks |= self._count(spec.name, missing)
            at += width
        if self.schema.fill is not None:
            rows, features = np.nonzero(np.isnan(out))
            out[rows, features] = np.array(self.schema.fill, dtype=out.dtype)[features]
        return lacks

    def _fill(self, spec, column, out) -> np.ndarray:
        if spec.kind == "categorical":
            return self._fill_categories(spec, column, out)
        if spec.kind == "date":
            parts = date_parts(_micros(column, spec.name), spec.offset, spec.clock)
        elif spec.kind == "boolean":
            parts = [_truths(column, spec.name, self.schema.decimal)]
        else:
            parts = [numbers(column, spec.name, self.schema.decimal, spec.offset)]
        most = np.finfo(out.dtype).max
        for j, part in enumerate(parts):
            if len(part) and max(np.fmax.reduce(part), -np.fmin.reduce(part)) > most:
                record = int(np.nanargmax(np.abs(part)))
                raise BadCell(spec.name, record, f"holds {part[record]:g}, which does not fit {out.dtype}")
            out[:, j] = part
        return np.isnan(parts[0])

    def _fill_categories(self, spec, column, out) -> np.ndarray:
        codes, unseen = category_codes(column, spec.categories, self.schema.decimal)
        for word, count in unseen.items():
            held = self.unseen.setdefault(spec.name, {})
            held[word] = held.get(word, 0) + count
        missing = codes == _MISSING_CODE
        known = len(spec.categories)
        last = out.shape[1] - 1
        places = np.where(missing, known if spec.missing else last, np.where(codes == _UNSEEN_CODE, last, codes))
        out[:] = 0.0
        out[np.arange(len(out)), places] = 1.0
        return missing

    def targets(self, block) -> tuple[np.ndarray, np.ndarray]:
        """(int64 class numbers or float64 values, bool array of the rows without one)"""
        spec = self.schema.target
        column = block.columns[self.at[spec.name]]
        try:
            if not spec.categories:
                y = numbers(column, spec.name, self.schema.decimal)
                lacks = np.isnan(y)
            else:
                y, lacks = self._classes(spec, column)
        except BadCell as error:
            self._fail(block, error)
        return y, self._count(spec.name, lacks)

    def _classes(self, spec, column):
        truth = {text.casefold() for text in spec.categories} == {"true", "false"}
        codes, unseen = category_codes(column, spec.categories, self.schema.decimal, truth)
        unknown = codes == _UNSEEN_CODE
        if spec.numbers and unknown.any() and isinstance(column, TextColumn):
            null = np.array([is_null_word(word) for word in column.words] + [False], dtype=bool)[column.codes]
            codes = np.where(unknown & null, _MISSING_CODE, codes)
            unknown &= ~null
        if unknown.any():
            word = next(word for word in unseen if not (spec.numbers and is_null_word(word)))
            raise BadCell(spec.name, int(np.argmax(unknown)),
                          f"holds {word!r}, which is not a known class; the classes are: {shorten(spec.categories)}"
                          )  # fmt: skip
        return codes, codes == _MISSING_CODE
