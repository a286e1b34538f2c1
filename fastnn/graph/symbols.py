"""The symbol `rows`: sizes of the form a*rows + b.

Axis 0 of a model's inputs has no number while the model is traced; it is the symbol `rows` (decision 3). Sizes that
follow from it are affine in it, and stay so under the arithmetic that shapes need: sums, multiples, exact quotients.
A size that does not mention `rows` is a plain int, so that most code never meets a Dim.
"""

import numpy as np

from .context import current
from .errors import user_line


class Dim:
    """The size a*rows + b with a != 0. Make one with `dim(a, b)`, which returns an int when a is 0."""

    __slots__ = ("a", "b")

    def __init__(self, a, b=0):
        self.a = a
        self.b = b

    def __repr__(self):
        text = "rows" if self.a == 1 else f"{self.a}*rows"
        return text if self.b == 0 else f"{text}{self.b:+d}"

    def __eq__(self, other):
        return isinstance(other, Dim) and self.a == other.a and self.b == other.b

    def __hash__(self):
        return hash((self.a, self.b))

    def at(self, rows):
        """The number for a given number of rows."""
        return self.a * rows + self.b

    def __add__(self, other):
        other = _plain(other)
        if isinstance(other, Dim):
            return dim(self.a + other.a, self.b + other.b)
        if isinstance(other, int):
            return dim(self.a, self.b + other)
        return _as_tensor(self, other, "+") + other

    __radd__ = __add__

    def __neg__(self):
        return Dim(-self.a, -self.b)

    def __sub__(self, other):
        other = _plain(other)
        if isinstance(other, (Dim, int)):
            return self + (-other)
        return _as_tensor(self, other, "-") - other

    def __rsub__(self, other):
        return -(self - other)

    def __mul__(self, other):
        other = _plain(other)
        if isinstance(other, int):
            return dim(self.a * other, self.b * other)
        if isinstance(other, Dim):
            raise ValueError(f"({self}) * ({other}) is not a size: sizes are at most linear in the number of rows")
        return _as_tensor(self, other, "*") * other

    __rmul__ = __mul__

    def __floordiv__(self, other):
        other = _plain(other)
        if isinstance(other, int) and other != 0 and self.a % other == 0 and self.b % other == 0:
            return dim(self.a // other, self.b // other)
        if isinstance(other, Dim) and self.a * other.b == self.b * other.a and self.a % other.a == 0:
            return self.a // other.a
        raise ValueError(f"({self}) // {other} is not exact for every number of rows")

    def __truediv__(self, other):
        other = _plain(other)
        return _as_tensor(self, other, "/") / other

    def __rtruediv__(self, other):
        other = _plain(other)
        return other / _as_tensor(self, other, "/")

    def _refuse(self, *_):
        raise TypeError(
            f"the number of rows is a symbol while a model is traced, so {self} has no value to compare or convert: "
            f"use it in arithmetic and reshape only ({user_line()})"
        )

    __bool__ = __int__ = __index__ = __float__ = __lt__ = __le__ = __gt__ = __ge__ = __mod__ = __rmod__ = _refuse


def dim(a, b):
    """a*rows + b, as an int when a is 0."""
    return Dim(a, b) if a else b


ROWS = Dim(1, 0)


def _plain(value):
    """NumPy's integers and floats as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _as_tensor(size, other, symbol):
    """A size in floating-point arithmetic becomes a scalar tensor of the graph being traced."""
    if not hasattr(other, "_fastnn_symbolic_") and not isinstance(other, (int, float, Dim)):
        raise TypeError(f"unsupported operand for ({size}) {symbol}: {type(other).__name__}")
    return current().size_tensor(size)


def at(size, rows):
    """The number that a size stands for."""
    return size.at(rows) if isinstance(size, Dim) else size


def affine(size):
    """A size as the native builder takes it: an int, or the pair (a, b)."""
    return (size.a, size.b) if isinstance(size, Dim) else size


def times(a, b):
    """a * b, or None when the product would not be affine in rows."""
    if isinstance(a, Dim) and isinstance(b, Dim):
        return None
    return a * b


def product(sizes):
    """The product of sizes; raises when it is not affine in rows."""
    total = 1
    for size in sizes:
        total = total * size
    return total


def is_symbolic(shape):
    """Whether any size of the shape mentions rows."""
    return any(isinstance(size, Dim) for size in shape)
