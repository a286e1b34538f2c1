"""Leaves: inputs, parameters, constants, sizes; stop_gradient; and writing a state."""

from .base import Rule, aligned_rows, records, register


class Leaf(Rule):
    """A value without inputs: the lowering binds its buffer before any op."""

    def lower(self, node, low):
        low.leaf(node)


@register
class Input(Leaf):
    op = "input"


@register
class ParameterLeaf(Leaf):
    op = "parameter"


@register
class Constant(Leaf):
    op = "constant"


@register
class Memory(Leaf):
    """An array outside the program, referenced for life, that ops may change: an optimizer's state."""

    op = "memory"


@register
class Size(Rule):
    """A size as a real number: rows ones summed."""

    op = "size"

    def lower(self, node, low):
        one = low.fill((1,), 1.0)
        y = low.result(node.outputs[0])
        low.op("sum_rows", {"x": one, "y": y}, rows=node.attrs["size"], cols=1, x_row=0, divisor=0, accumulate=0)
        low.done(node.outputs[0], y)


@register
class StepScalar(Rule):
    """A number that a step brings along: column `column` of the step's scalars."""

    op = "step_scalar"

    def lower(self, node, low):
        low.done(node.outputs[0], low.fill((), low.step_scalar(node.attrs["column"])))


@register
class Cast(Leaf):
    """An integer input in arithmetic: the caller gives it once more, converted."""

    op = "cast"

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)


@register
class StopGradient(Rule):
    """y = x with derivative 0."""

    op = "stop_gradient"

    def lower(self, node, low):
        low.alias(node.outputs[0], low.view(node.inputs[0]))

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)


@records("stop_gradient")
def stop_gradient(graph, x):
    x = graph.real(x)
    return graph.emit("stop_gradient", (x,), {}, [(x.shape, "real")]).outputs[0]


@register
class Alias(Rule):
    """y = x: a point to differentiate at that nothing recorded before can reach."""

    op = "alias"

    def vjp(self, node, grads, needs):
        return grads

    def jvp(self, node, tangents):
        return tangents

    def lower(self, node, low):
        low.alias(node.outputs[0], low.view(node.inputs[0]))

    def keeps_rows(self, node, states):
        return aligned_rows(node, states)


@records("alias")
def alias(graph, x):
    x = graph.real(x)
    return graph.emit("alias", (x,), {}, [(x.shape, "real")]).outputs[0]


@register
class Assign(Rule):
    """The next value of a state: the buffer that held `before` holds `value` when the program has run."""

    op = "assign"

    def vjp(self, node, grads, needs):
        return [None, grads[0]]

    def jvp(self, node, tangents):
        return [tangents[1]]

    def lower(self, node, low):
        before, value = node.inputs
        low.copy(low.view(value), low.state(before, node.outputs[0]))


@records("assign")
def assign(graph, before, value, *, state):
    """Record that the buffer `state`, a Parameter whose tensor is `before`, gets a value."""
    value = graph.real(value)
    if value.shape != before.shape:
        raise ValueError(f"a state of shape {before.shape} cannot become one of shape {value.shape}")
    after = graph.emit("assign", (before, value), {}, [(before.shape, "real")]).outputs[0]
    graph.set_state(state, after)
    return after
