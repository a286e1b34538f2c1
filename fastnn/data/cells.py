"""The grammar of a table's cells: what is missing, a number, a date, a truth value. Both readers and all frames use it.

- Blanks around a cell do not count, and neither do quotes: ``"7"`` is the number 7.
- An empty cell is missing. The words ?, NA, N/A, #N/A, <NA>, NaN, NaT, null and None, in any case, are missing in
  columns of numbers, dates and truth values; in a column of categories they are words like any other. Words that the
  user names (``na=``) are missing everywhere.
- A number is digits with at most one decimal sign, a sign and an exponent: ``-1.5e3``. No thousands separators, no
  underscores, no percent, no infinity. Whole numbers keep every digit.
- A date is ``2024-03-31`` or ``2024/03/31``, with a time ``T09:15``, ``09:15:30.25`` and a zone ``Z`` or ``+02:00`` if
  there is one; zones are counted back to UTC.
- A truth value is ``true`` or ``false`` in any case.
"""

import datetime
import itertools
import re

import numpy as np

NULL_WORDS = frozenset({"?", "na", "n/a", "#n/a", "<na>", "nan", "+nan", "-nan", "nat", "null", "none"})
_LONGEST_NULL = max(map(len, NULL_WORDS))

# From here on float64 does not hold every whole number: such numbers travel as text and become Python integers.
EXACT = 2**53

NO_TIME = np.iinfo(np.int64).min  # a missing date; also NumPy's NaT

LONGEST_CELL = 131_072  # the csv module's own limit, kept for both readers
_LONGEST_NUMBER = 100
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DATE = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})"
    r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?\s*(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
# Digits with currency signs, percent, separators of thousands around or between them: $1,200.50 or 12 %.
_DISGUISED = re.compile(r"[^\w\s]{0,2}\s*[+-]?[0-9][0-9.,'\s]*\s*[^\w\s]{0,2}")
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000  # microseconds


class NotANumber(ValueError):
    """Some cell of a column is no number of the grammar, or is one that float64 does not hold exactly."""


def is_null_word(cell: str) -> bool:
    """Whether a cell is one of the words that stand for a missing number."""
    return len(cell) <= _LONGEST_NULL and cell.casefold() in NULL_WORDS


def null_spellings() -> list[str]:
    """Every spelling of an empty cell and the words for missing, for a reader that compares letter by letter."""
    spellings = {""}
    for word in NULL_WORDS:
        spellings.update("".join(letters) for letters in itertools.product(*({c.lower(), c.upper()} for c in word)))
    return sorted(spellings)


def parse_number(cell: str, decimal: str = ".") -> float | int | None:
    """The number that a cell holds: a float, or a Python int where float64 would round a whole number; else None."""
    if len(cell) > _LONGEST_NUMBER:
        return None
    if decimal != ".":
        if "." in cell:
            return None
        cell = cell.replace(decimal, ".", 1)
    if not _NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    if abs(value) >= EXACT and _WHOLE.fullmatch(cell):
        return int(cell)
    return value if abs(value) != np.inf else None


def number_name(value: float | int) -> str:
    """One name for a number however it is spelt: 3, 3.0 and 3.000 are the category "3"."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e22):
        return str(int(value))
    return repr(float(value))


def parse_numbers(cells: list[str], decimal: str = ".", na: frozenset[str] = frozenset()) -> np.ndarray:
    """float64 array of a block of cells, NaN where missing.

    Raises
    ------
    NotANumber
        If a cell is no number, or a number beyond 2^53.
    """
    distinct = None
    if decimal != "." or na:
        distinct = set(cells)
    else:
        try:
            values = np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float64)
        except ValueError:
            distinct = set(cells)
        else:
            text = "".join(cells)  # float() also reads 1_000, infinity and digits of other scripts
            if "_" in text or not text.isascii():
                distinct = set(cells)
    if distinct is not None:
        table = {}
        for cell in distinct:
            bare = cell.strip()
            missing = not bare or bare in na or is_null_word(bare)
            value = np.nan if missing else parse_number(bare, decimal)
            if value is None or isinstance(value, int):
                raise NotANumber(cell)
            table[cell] = value
        values = np.array([table[cell] for cell in cells], dtype=np.float64)
    if not within_float64(values):
        raise NotANumber("a number beyond 2^53")
    return values


def within_float64(values: np.ndarray) -> bool:
    """Whether all values are finite (or NaN) and small enough for float64 to hold every whole number."""
    if not len(values):
        return True
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    return not (low <= -EXACT or high >= EXACT)


def parse_date(cell: str) -> tuple[int, bool] | None:
    """(microseconds since 1970 in UTC, whether it has a time of day) of a date; None if the cell is none."""
    match = _DATE.fullmatch(cell) if len(cell) <= 40 else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - _EPOCH
        clock = datetime.time(int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds += -offset if zone[0] == "+" else offset
    micro = int((fraction or "0").ljust(6, "0")[:6])
    return days * _DAY + seconds * 1_000_000 + micro, hour is not None


def date_text(micro: int, with_time: bool) -> str:
    """A date as the grammar writes it."""
    moment = np.datetime64(int(micro), "us")
    return str(moment.astype("datetime64[s]")) if with_time else str(moment.astype("datetime64[D]"))


def parse_truth(cell: str) -> bool | None:
    """True or False, or None if the cell is neither."""
    return {"true": True, "false": False}.get(cell.casefold()) if len(cell) <= 5 else None


def looks_like_disguised_number(cell: str) -> bool:
    """Whether a cell is digits with currency, percent or thousands signs, which the grammar does not read."""
    return len(cell) <= _LONGEST_NUMBER and _DISGUISED.fullmatch(cell) is not None


def shorten(names, limit: int = 20) -> str:
    """Names joined by commas for an error message on one line: at most `limit` of them, long ones cut."""
    names = [" ".join(str(name).split()) for name in names]
    names = [name if len(name) <= 60 else name[:59] + "…" for name in names]
    if len(names) <= limit:
        return ", ".join(names)
    return ", ".join(names[:limit]) + f" … ({len(names) - limit} more)"
