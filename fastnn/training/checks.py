"""Options that make no sense, refused in one line that names the option and the allowed values."""

import operator
from math import inf


def check_count(owner, name, value, least):
    """The option as an int; ValueError unless it is a whole number of at least `least`. owner: "Trainer", or ""."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool) or count < least:
        raise ValueError(f"{_of(owner)}{name} must be an integer >= {least}, got {value!r}")
    return count


def check_positive(owner, name, value, unit="number"):
    """Raise ValueError unless the option is None or a number above 0."""
    if value is not None and not (_is_number(value) and 0 < value < inf):
        raise ValueError(f"{_of(owner)}{name} must be a positive {unit} or None, got {value!r}")


def check_function(owner, name, value):
    """Raise TypeError unless the option is None or a function."""
    if value is not None and (isinstance(value, type) or not callable(value)):
        raise TypeError(f"{_of(owner)}{name} must be a function or None, got {value!r}")


def _of(owner):
    return f"{owner}: " if owner else ""


def _is_number(value):
    try:
        return not isinstance(value, (str, bool)) and bool(float(value) == value)
    except (TypeError, ValueError):
        return False
