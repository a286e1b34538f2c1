"""x ** exponent: products and roots where they do, so that most powers cost a pass or two over memory."""

import numpy as np

from fastnn import _native

from ._arrays import finish, output, reals
from ._elementwise import binary, unary

_LARGEST = 64
_CODES = {row["name"]: row["code"] for row in (*_native.list_rows("elementwise"), *_native.list_rows("binary"))}


def by_products(x, exponent, apply):
    """The power by ``apply(name, *operands)`` of square, multiply, sqrt and reciprocal; None for other exponents.

    Multiples of 1/2 up to 64 in magnitude but 0, by binary exponentiation (Knuth 1997, section 4.6.3).
    """
    if exponent < 0:
        result = by_products(x, -exponent, apply)
        return None if result is None else apply("reciprocal", result)
    if exponent == 0 or exponent > _LARGEST or exponent * 2 != int(exponent * 2):
        return None
    result = apply("sqrt", x) if exponent != int(exponent) else None
    n = int(exponent)
    while n:
        if n & 1:
            result = x if result is None else apply("multiply", result, x)
        n >>= 1
        if n:
            x = apply("square", x)
    return result


def power(x, exponent, *, out=None):
    """``x ** exponent``, element by element.

    Parameters
    ----------
    x : array_like, any shape
        Integers and booleans become float32.
    exponent : int or float
        A number. Multiples of 1/2 up to 64 in magnitude are made of products, a root and a reciprocal (so that a power
        of -0.5 of 0 is infinite, of a negative number NaN); all others by NumPy.
    out : ndarray, optional
        Where to write; may be ``x`` itself.

    Returns
    -------
    ndarray of the shape and dtype of ``x``
    """
    if isinstance(exponent, bool) or not isinstance(exponent, (int, float, np.integer, np.floating)):
        raise TypeError(f"exponent is {type(exponent).__name__}: expected a number")
    (x,), dtype, _ = reals(("x",), x)
    y = output(out, x.shape, dtype, (x,), same=x)
    made = by_products(x, float(exponent), _apply) if exponent != 1 else None
    if made is None:
        np.power(x, dtype.type(exponent), out=y)
    elif y.ndim == 0 or out is not None:
        np.copyto(y, made)
    else:
        y = made
    return finish(out, y)


def _apply(name, *operands):
    if len(operands) == 1:
        return unary(_CODES[name], *operands, 0.0, 0.0, None)
    return binary(_CODES[name], *operands, None)
