"""y = f(x), element by element: the activations and the arithmetic of the native lists.

First derivatives of activations are the native unary_backward(grad, saved) = grad * f'(x), where what is saved is the
output y if the row has a formula for that, else x: an input that nobody reads may then vanish into the op before it.
Second derivatives go through `derivative(name)`: f' in primitives, read from the list's own formula.
"""

import math

from ...kernels._elementwise import derivative_from_output
from ...kernels._power import by_products
from .base import RECORDERS, Rule, aligned_rows, full_like, records, register
from .formula import derivative_from_list
from .lists import activations, elementwise

# f'(x) of elementwise.def, from x, y = f(x); None: zero almost everywhere
_ARITHMETIC = {
    "negative": lambda g, x, y: -g,
    "absolute": lambda g, x, y: g * x._apply("sign", (x,)),
    "square": lambda g, x, y: g * (x * 2.0),
    "sqrt": lambda g, x, y: g * 0.5 / y,
    "reciprocal": lambda g, x, y: -(g * y * y),
    "exp": lambda g, x, y: g * y,
    "log": lambda g, x, y: g / x,
    "expm1": lambda g, x, y: g * (y + 1.0),
    "log1p": lambda g, x, y: g / (x + 1.0),
    "erf": lambda g, x, y: g * x._apply("exp", (-(x * x),)) * (2.0 / math.sqrt(math.pi)),
    "sign": lambda g, x, y: None,
    "heaviside": lambda g, x, y: None,
}


# without a kink: saves gradcheck the evaluation of their derivative, no more
_SMOOTH = frozenset("identity sigmoid tanh softsign gelu gelu_tanh silu mish".split())
_JUMPS = frozenset(("sign", "heaviside"))


def derivative(name, saved, params, from_output=False):
    """f'(x) in primitives, of the input x or of the output."""
    made = derivative_from_list(name, saved, params, from_output)
    if made is None:
        raise ValueError(
            f"the second derivative of {name} is not known: its formula uses a word outside graph/rules/formula.py"
        )
    return made


@register
class Unary(Rule):
    """y = f(x); attrs name, code, params."""

    op = "unary"

    def _pull(self, node, g):
        name = node.attrs["name"]
        x, y = node.inputs[0], node.outputs[0]
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](g, x, y)
        if name not in activations():
            raise ValueError(f"{name} has no derivative rule: add one to graph/rules/elementwise.py")
        if name == "identity":
            return g
        params = node.attrs["params"]
        if derivative_from_output(name, params):
            return backward(g, y, name, params, True)
        return backward(g, x, name, params)

    def vjp(self, node, grads, needs):
        return [self._pull(node, grads[0])]

    def jvp(self, node, tangents):
        return [self._pull(node, tangents[0])]

    def lower(self, node, low):
        low.elementwise("unary", node, ("x",), kind=node.attrs["code"], scalars=node.attrs["params"])

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)

    def kinks(self, node):
        name, x = node.attrs["name"], node.inputs[0]
        if name in _JUMPS:
            return (node.outputs[0],)
        if name == "absolute":
            return (x._apply("heaviside", (x,)),)
        if name in activations() and name not in _SMOOTH:
            return (backward(full_like(x, 1.0), x, name, node.attrs["params"]),)
        return ()


@register
class UnaryBackward(Rule):
    """dx = grad * f'(x): linear in grad. With attrs["output"] the second input is not x but f(x)."""

    op = "unary_backward"

    def vjp(self, node, grads, needs):
        (g,) = grads
        grad, saved = node.inputs
        what = node.attrs["name"], node.attrs["params"], node.attrs["output"]
        dgrad = backward(g, saved, *what) if needs[0] else None
        dsaved = None
        if needs[1]:
            from ..differentiate import gradients

            name, *rest = what
            (dsaved,) = gradients([derivative(name, saved, *rest)], [g * grad], [saved])
        return [dgrad, dsaved]

    def jvp(self, node, tangents):
        tangent_grad, tangent_saved = tangents
        grad, saved = node.inputs
        name, params, output = node.attrs["name"], node.attrs["params"], node.attrs["output"]
        first = None if tangent_grad is None else backward(tangent_grad, saved, name, params, output)
        if tangent_saved is None:
            return [first]
        from ..differentiate import tangents_of

        (slope,) = tangents_of([derivative(name, saved, params, output)], {saved: tangent_saved})
        second = None if slope is None else grad * slope
        return [second if first is None else first if second is None else first + second]

    def lower(self, node, low):
        attrs, slots = node.attrs, ("grad", "x")
        options = {"kind": attrs["code"], "output": int(attrs["output"])}
        low.elementwise("unary_backward", node, slots, "dx", attrs["params"], **options)

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)


def backward(grad, saved, name, params, output=False):
    """grad * f'(x) as one node, from the input x or from the output."""
    attrs = {"name": name, "code": activations()[name]["code"], "params": params, "output": output}
    return saved.graph.emit("unary_backward", (grad, saved), attrs, [(saved.shape, "real")]).outputs[0]


def unary(graph, x, name, code, params=()):
    """Record y = f(x)."""
    x = graph.real(x)
    attrs = {"name": name, "code": code, "params": params}
    return graph.emit("unary", (x,), attrs, [(x.shape, "real")]).outputs[0]


def _recorder(name, row):
    names, defaults = row["params"], row["defaults"]

    def record(graph, x, **options):
        unknown = set(options) - set(names)
        if unknown:
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}")
        params = tuple(float(options.get(n, d)) for n, d in zip(names, defaults, strict=False))
        return unary(graph, x, name, row["code"], params)

    return record


for _name, _row in activations().items():
    RECORDERS[_name] = _recorder(_name, _row)
for _name, _row in elementwise().items():
    RECORDERS[_name] = _recorder(_name, _row)


@records("power")
def power(graph, x, exponent):
    """x ** exponent for a number: multiples of 1/2 by products and roots, others as exp(exponent * log x)."""
    if not isinstance(exponent, (int, float)):
        raise TypeError("the exponent must be a number")
    x = graph.real(x)
    if exponent == 0:
        return full_like(x, 1.0)
    made = by_products(x, float(exponent), lambda name, *operands: graph.apply(name, operands, {}))
    if made is not None:
        return made
    return graph.apply("exp", (graph.apply("log", (x,), {}) * float(exponent),), {})
