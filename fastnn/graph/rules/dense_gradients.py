"""The gradients of a product with what comes before or after them in one native op; passes make these nodes.

    input_gradient   dx = dropout(a @ b) * f'(saved): the gradient of an activation's input, a layer further down
    weight_gradient  dw = g.T @ x and db = the sums of g's columns, which the product reads anyway
"""

from .base import Rule, register
from .dense import WEIGHT_BLOCK, matrix_product
from .elementwise import backward
from .random import drop


class _Fused(Rule):
    """Differentiated by way of its decomposition."""

    def vjp(self, node, grads, needs):
        from ..differentiate import gradients_through

        return gradients_through(node, grads)

    def jvp(self, node, tangents):
        from ..differentiate import tangents_through

        return tangents_through(node, tangents)


@register
class InputGradient(_Fused):
    """Inputs a, b and, with a derivative, saved; attrs block, name, code, params (of f; name None: no derivative),
    output (saved is f's output, not its input) and dropout (its attrs or None)."""

    op = "input_gradient"

    def decompose(self, node):
        attrs = node.attrs
        dx = matrix_product(node.graph, *node.inputs[:2], attrs["block"])
        if attrs["dropout"] is not None:
            dx = drop(dx, attrs["dropout"])
        if attrs["name"] is not None:
            dx = backward(dx, node.inputs[2], attrs["name"], attrs["params"], attrs["output"])
        return [dx]

    def lower(self, node, low):
        attrs, views = node.attrs, [low.view(x) for x in node.inputs]
        derivative = 0 if attrs["name"] is None else (1 + attrs["code"]) * (-1 if attrs["output"] else 1)
        low.gemm(
            node, views[0], views[1], block=attrs["block"], params=attrs["params"], drop=attrs["dropout"],
            derivative=derivative, saved=views[2] if derivative else None,
        )  # fmt: skip


@register
class WeightGradient(_Fused):
    """Inputs g.T (out, rows) and x (rows, in); outputs dw (out, in) and db (out,)."""

    op = "weight_gradient"

    def decompose(self, node):
        turned, x = node.inputs
        return [matrix_product(node.graph, turned, x, WEIGHT_BLOCK), turned.sum(axis=1)]

    def lower(self, node, low):
        turned, x = map(low.view, node.inputs)
        low.gemm(node, turned, x, block=WEIGHT_BLOCK, column_sums=node.outputs[1])
