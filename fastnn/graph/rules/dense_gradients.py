"""The gradients of a product with what comes before or after them in one native op; passes make these nodes.

    input_gradient   dx = dropout(a @ b) * f'(saved): the gradient of an activation's input, a layer further down
    weight_gradient  dw = g.T @ x and db = the sums of g's columns, which the product reads anyway
    weight_update    an optimizer's step along dw, and db: the last op that touches the weight (passes/update.py)
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


@register
class WeightUpdate(Rule):
    """Inputs g.T (out, rows), x (rows, in), the weight, then the arrays that `present` says are there: three states
    and an average, in storage layout. Outputs the weight's next state and, if it has a second one, db. attrs code,
    scalars and present. Made behind all differentiation: it has no derivative."""

    op = "weight_update"

    def lower(self, node, low):
        g = low.rows_of(low.view(node.inputs[0]).transpose((1, 0)))
        x, weight = low.view(node.inputs[1]), low.view(node.inputs[2])
        memory = iter([low.view(tensor) for tensor in node.inputs[3:]])
        arrays = [next(memory) if there else None for there in node.attrs["present"]]
        sums = low.result(node.outputs[1]) if len(node.outputs) > 1 else None
        low.op(
            "gemm_update",
            {"a": x, "b": g, "b_sum": sums, "param": weight, **dict(zip(("s0", "s1", "s2", "average"), arrays))},
            rows=weight.shape[1], cols=weight.shape[0], depth=x.shape[0], a_row=x.strides[1], a_depth=x.strides[0],
            b_depth=g.strides[0], pitch=weight.strides[1], block=WEIGHT_BLOCK, kind=node.attrs["code"],
            scalars=node.attrs["scalars"],
        )  # fmt: skip
        low.state(node.inputs[2], node.outputs[0])
        if sums is not None:
            low.done(node.outputs[1], sums)
