"""A list row's C formula, read as an expression of tensors.

The formulas of the .def files are calls of a small vector vocabulary, which is also valid Python syntax. Where the
native module exports their text, the second derivative of a new activation or loss needs no Python either: the text
of its first derivative is evaluated on symbolic tensors and differentiated like any other expression.
"""

import math

from .base import full_like
from .lists import activations, losses

_OF_NUMBERS = {
    "greater": lambda a, b: a > b, "greater_equal": lambda a, b: a >= b, "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b, "equal": lambda a, b: a == b, "maximum": max, "minimum": min, "absolute": abs,
}  # fmt: skip


def _call(name):
    def apply(*tensors):
        tensor = next((t for t in tensors if hasattr(t, "_apply")), None)
        if tensor is None:  # parameters only, as in the condition of v_if
            return _OF_NUMBERS[name](*tensors)
        return tensor._apply(name, tensors)

    return apply


def _sigmoid_derivative(x):
    y = _call("sigmoid")(x)
    return y * (1.0 - y)


def _tanh_derivative(x):
    y = _call("tanh")(x)
    return 1.0 - y * y


def _log_factorial(t):
    """Stirling's approximation where t > 1, else 0."""
    greater = t._apply("greater", (t, 1.0))
    safe = t._apply("where", (greater, t, 2.0))
    log_t = _call("log")(safe)
    value = safe * log_t - safe + 0.5 * log_t + 0.91893853320467274178
    return t._apply("where", (greater, value, 0.0))


def _silu_derivative(x):
    y = _call("sigmoid")(x)
    return y * (1.0 + x * (1.0 - y))


def _gelu_derivative(x):
    density = _call("exp")(x * x * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return 0.5 + 0.5 * _call("erf")(x * math.sqrt(0.5)) + x * density


def _gelu_tanh_derivative(x):
    k, cubic = math.sqrt(8.0 / math.pi), 0.044715
    y = _call("sigmoid")((x + cubic * (x * x * x)) * k)
    return y + x * (k + 3.0 * k * cubic * (x * x)) * (y * (1.0 - y))


def _mish_derivative(x):
    y = _call("tanh")(_call("softplus")(x))
    return y + x * (1.0 - y * y) * _call("sigmoid")(x)


def _vocabulary():
    return {
        "v_zero": lambda: 0.0,
        "v_set1": lambda value: value,
        "v_add": lambda a, b: a + b,
        "v_sub": lambda a, b: a - b,
        "v_mul": lambda a, b: a * b,
        "fnn_product": lambda a, b: a * b,
        "v_div": lambda a, b: a / b,
        "v_neg": lambda a: -a,
        "v_fma": lambda a, b, c: a * b + c,
        "v_fnma": lambda a, b, c: c - a * b,
        "v_abs": _call("absolute"),
        "v_sqrt": _call("sqrt"),
        "v_exp": _call("exp"),
        "v_exp_nonpositive": _call("exp"),
        "v_exp_negative": lambda x: _call("exp")(_call("minimum")(x, 0.0)),
        "v_expm1": _call("expm1"),
        "v_expm1_negative": lambda x: _call("expm1")(_call("minimum")(x, 0.0)),
        "v_log": _call("log"),
        "v_log1p_below_1": _call("log1p"),
        "v_exp_minus_abs": lambda x: _call("exp")(-_call("absolute")(x)),
        "v_log_factorial": _log_factorial,
        "v_inverse": lambda x: 0.0 if isinstance(x, float) and x == 0.0 else 1.0 / x,  # 0: where nothing is selected
        "v_weighed": lambda weight, x: _call("where")(_call("equal")(weight, 0.0), 0.0, x),
        "v_if": lambda condition, a, b: a if condition else b,
        "v_log1p": _call("log1p"),
        "v_log_1_minus": lambda x: _call("log1p")(-x),
        "v_erf": _call("erf"),
        "v_softplus": _call("softplus"),
        "v_softsign": _call("softsign"),
        "v_silu": _call("silu"),
        "v_silu_derivative": _silu_derivative,
        "v_gelu": _call("gelu"),
        "v_gelu_derivative": _gelu_derivative,
        "v_gelu_tanh": _call("gelu_tanh"),
        "v_gelu_tanh_derivative": _gelu_tanh_derivative,
        "v_mish": _call("mish"),
        "v_mish_derivative": _mish_derivative,
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
    except (NameError, SyntaxError, KeyError):
        return None


def derivative_from_list(name, saved, params, from_output=False):
    """f'(x) of an activation from its row's formula of x, or of the output, or None."""
    row = activations().get(name, {})
    text, variable = (row.get("from_output"), "y") if from_output else (row.get("derivative"), "x")
    value = evaluate(text, {variable: saved, **{f"p{i}": p for i, p in enumerate(params)}})
    return None if value is None else _full(value, saved)


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
