"""A list row's C formula, read as an expression of tensors.

The formulas of the .def files are calls of a small vector vocabulary, which is also valid Python syntax. Where the
native module exports their text, the second derivative of a new activation or loss needs no Python either: the text
of its first derivative is evaluated on symbolic tensors and differentiated like any other expression.
"""

from .base import full_like
from .lists import activations, losses


def _call(name):
    def apply(*tensors):
        tensor = next(t for t in tensors if hasattr(t, "_apply"))
        return tensor._apply(name, tensors)

    return apply


def _sigmoid_derivative(x):
    y = _call("sigmoid")(x)
    return y * (1.0 - y)


def _tanh_derivative(x):
    y = _call("tanh")(x)
    return 1.0 - y * y


def _vocabulary():
    return {
        "v_zero": lambda: 0.0,
        "v_set1": lambda value: value,
        "v_add": lambda a, b: a + b,
        "v_sub": lambda a, b: a - b,
        "v_mul": lambda a, b: a * b,
        "v_div": lambda a, b: a / b,
        "v_neg": lambda a: -a,
        "v_fma": lambda a, b, c: a * b + c,
        "v_fnma": lambda a, b, c: c - a * b,
        "v_abs": _call("absolute"),
        "v_sqrt": _call("sqrt"),
        "v_exp": _call("exp"),
        "v_expm1": lambda x: _call("exp")(x) - 1.0,
        "v_log": _call("log"),
        "v_log1p": lambda x: _call("log")(x + 1.0),
        "v_tanh": _call("tanh"),
        "v_sigmoid": _call("sigmoid"),
        "v_sigmoid_derivative": _sigmoid_derivative,
        "v_tanh_derivative": _tanh_derivative,
        "v_max": _call("maximum"),
        "v_min": _call("minimum"),
        "v_select": _call("where"),
        "v_lt": _call("less"),
        "v_le": _call("less_equal"),
        "v_gt": _call("greater"),
        "v_ge": _call("greater_equal"),
        "v_eq": _call("equal"),
        "v_ne": lambda a, b: 1.0 - _call("equal")(a, b),
        "m_and": lambda a, b: a * b,
        "m_or": _call("maximum"),
        "m_not": lambda a: 1.0 - a,
    }


def evaluate(text, names):
    """The value of a formula for tensors by name, or None when it uses a word outside the vocabulary."""
    if not text:
        return None
    text = " ".join(text.replace("(real)", "").split())
    try:
        return eval(text, {"__builtins__": {}, **_vocabulary()}, dict(names))  # noqa: S307 (text of our own lists)
    except (NameError, SyntaxError, StopIteration):
        return None


def derivative_from_list(name, x, params):
    """f'(x) of an activation from its row's formula, or None."""
    row = activations().get(name, {})
    value = evaluate(row.get("derivative"), {"x": x, **{f"p{i}": p for i, p in enumerate(params)}})
    return None if value is None else _full(value, x)


def loss_from_list(name, x, target, params, what="forward"):
    """A pointwise loss (or its derivative in x) from its row's formula, or None."""
    names = {"x": x, "t": target, "d": x - target, **{f"p{i}": p for i, p in enumerate(params)}}
    value = evaluate(losses().get(name, {}).get(what), names)
    return None if value is None else _full(value, names["d"])


def _full(value, like):
    """A formula that is a number or narrower than its argument, at full shape."""
    if getattr(value, "shape", None) == like.shape:
        return value
    if isinstance(value, (int, float)):
        return full_like(like, value)
    return value._apply("broadcast_to", (value,), {"shape": like.shape})
