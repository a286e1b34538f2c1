"""Options and attributes that make no sense, refused in one line that names them and the way out.

A check is a function (owner, name, value) -> the value to keep. `Strict` classes name theirs in a table `_checks`,
which holds for the constructor and for every later assignment alike.
"""

import functools
import operator
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any

import numpy as np

from .hints import attribute, missing


def _of(owner):
    return f"{owner}: " if owner else ""


def is_number(value):
    """Whether a value is a real number (NaN is one), no bool and no text."""
    if isinstance(value, (str, bytes, bool, np.bool_)):
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def check_count(owner, name, value, least=1, most=None):
    """The value as an int; ValueError unless it is a whole number of at least `least` (and at most `most`)."""
    try:
        count = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least or (most is not None and count > most):
        bound = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{_of(owner)}{name} must be an integer {bound}, got {value!r}")
    return count


def check_threads(owner, value):
    """A number of threads as an int."""
    try:
        return check_count(owner, "the number of threads", value, 1, 1024)
    except ValueError:
        text = f"{owner}: the number of threads must be an integer between 1 and 1024, got {value!r}"
        raise ValueError(text) from None


def check_whole(owner, name, value, least=0):
    """`check_count` that also takes 3.0."""
    if is_number(value) and isfinite(value) and float(value).is_integer():
        value = int(value)
    return check_count(owner, name, value, least)


def check_positive(owner, name, value, unit="number"):
    """The value; ValueError unless it is None or a number above 0."""
    if value is not None and not (is_number(value) and 0 < value < inf):
        raise ValueError(f"{_of(owner)}{name} must be a positive {unit} or None, got {value!r}")
    return value


def check_not_negative(owner, name, value):
    """The value; ValueError unless 0 <= value < infinity."""
    if not (is_number(value) and 0 <= value < inf):
        raise ValueError(f"{_of(owner)}{name} must be a finite number >= 0, got {value!r}")
    return value


def check_number(owner, name, value):
    """The value; ValueError unless it is a finite number."""
    if not (is_number(value) and isfinite(value)):
        raise ValueError(f"{_of(owner)}{name} must be a finite number, got {value!r}")
    return value


def check_share(owner, name, value):
    """The value; ValueError unless 0 <= value < 1."""
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"{_of(owner)}{name} must be in [0, 1), got {value!r}")
    return value


def check_function(owner, name, value):
    """The value; TypeError unless it is None or a function."""
    if value is not None and (isinstance(value, type) or not callable(value)):
        raise TypeError(f"{_of(owner)}{name} must be a function or None, got {value!r}")
    return value


def check_seed(owner, name, value):
    """The seed as an int."""
    return check_count(owner, name, value, 0, 2**63 - 1)


def check_flag(owner, name, value):
    """True or False; ValueError for anything that is neither (0 and 1 are)."""
    if not (isinstance(value, (bool, np.bool_)) or (is_number(value) and value in (0, 1))):
        raise ValueError(f"{_of(owner)}{name} must be True or False, got {value!r}")
    return bool(value)


# ---- tables of checks -----------------------------------------------------------------------------------------------


def count(least):
    """A check: whole numbers of at least `least`."""
    return lambda owner, name, value: check_count(owner, name, value, least)


def optional(check):
    """A check that lets None pass."""
    return lambda owner, name, value: None if value is None else check(owner, name, value)


def one_of(*allowed):
    """A check: one of these."""

    def check(owner, name, value):
        if not isinstance(value, (str, type(None), bool)) or value not in allowed:
            words = [repr(item) for item in allowed]
            raise ValueError(f"{_of(owner)}{name} must be {', '.join(words[:-1])} or {words[-1]}, got {value!r}")
        return value

    return check


def between(low, high):
    """A check: numbers strictly between the two."""

    def check(owner, name, value):
        if not (is_number(value) and low < value < high):
            raise ValueError(f"{_of(owner)}{name} must be between {low} and {high}, got {value!r}")
        return float(value)

    return check


# ---- classes that refuse unknown attributes -------------------------------------------------------------------------


class Strict:
    """Base of our own configurable classes: an attribute that nobody reads is refused by name, and so is a value that
    makes no sense, in the constructor and ever after. Users' subclasses may have attributes of their own.
    """

    _checks = {}  # name -> check
    _kind = ""  # of hints.py

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__ and _is_ours(cls):
            cls.__init__ = _sealing(cls.__init__)

    def __setattr__(self, name, value):
        check = self._checks.get(name)
        if check is not None:
            value = check(type(self).__name__, name, value)
        elif self._is_unknown(name):
            raise AttributeError(unknown(self, name))
        object.__setattr__(self, name, value)

    def __getattr__(self, name):
        raise AttributeError(missing(self._kind, self, name))

    def _is_unknown(self, name):
        known = name[:1] == "_" or name in self.__dict__ or hasattr(type(self), name)
        return not known and "_sealed" in self.__dict__


def _is_ours(cls):
    return cls.__module__.split(".")[0] == "fastnn"


def _sealing(init):
    """The constructor; after it, objects of our own classes take no further attributes."""

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if type(self).__init__ is __init__ and _is_ours(type(self)):
            self.__dict__["_sealed"] = True

    return __init__


def unknown(owner, name):
    """The message for an attribute that does not exist, with the names that do."""
    known = sorted(n for n in owner.__dict__ if not n.startswith("_"))
    close = get_close_matches(name, known, 1)
    usual = f"do you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
    return f"{type(owner).__name__} has no attribute {name!r}: {attribute(owner._kind, name) or usual}"
