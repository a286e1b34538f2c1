"""The lecture's table of automatic differentiation: every variable of a small function, its local derivatives, their
values, and the running derivative of the chain rule, in forward or in reverse mode.

    forward: dx_k/dw = sum over the inputs j of k of dx_k/dx_j * dx_j/dw
    reverse: dL/dx_j = sum over the users k of j of dL/dx_k * dx_k/dx_j

The values come from the same rules (jvp, vjp) and the same native ops as every other derivative.
"""

import html
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .context import tracing
from .differentiate import Deferred, gradients, tangents_of
from .executable import Executable
from .passes.rebuild import needed
from .rules.base import full_like
from .structure import flatten, unflatten
from .trace import Graph

_LEAVES = ("input", "constant", "parameter", "size")
_JACOBIAN_LIMIT = 64  # elements; of larger ones only the shape is shown
_SHOWN = 4

# label -> (expression, local derivative for each input); inputs are {0}, {1}, the variable itself {y}
_TEXTS = {
    "add": ("{0} + {1}", "1", "1"),
    "subtract": ("{0} - {1}", "1", "-1"),
    "multiply": ("{0} * {1}", "{1}", "{0}"),
    "divide": ("{0} / {1}", "1 / {1}", "-{0} / {1}^2"),
    "maximum": ("max({0}, {1})", "[{0} >= {1}]", "[{0} < {1}]"),
    "minimum": ("min({0}, {1})", "[{0} <= {1}]", "[{0} > {1}]"),
    "matmul": ("{0} @ {1}", ". @ {1}^T", "{0}^T @ ."),
    "linear": ("{0} @ {1}^T + {2}", ". @ {1}", ".^T @ {0}", "sum(.)"),
    "negative": ("-{0}", "-1"),
    "absolute": ("|{0}|", "sign({0})"),
    "square": ("{0}^2", "2 {0}"),
    "sqrt": ("sqrt({0})", "1 / (2 {y})"),
    "reciprocal": ("1 / {0}", "-1 / {0}^2"),
    "exp": ("exp({0})", "exp({0})"),
    "log": ("log({0})", "1 / {0}"),
    "expm1": ("exp({0}) - 1", "exp({0})"),
    "log1p": ("log(1 + {0})", "1 / (1 + {0})"),
    "sigmoid": ("sigmoid({0})", "{y} * (1 - {y})"),
    "tanh": ("tanh({0})", "1 - {y}^2"),
    "relu": ("max(0, {0})", "[{0} > 0]"),
    "sum": ("sum({0})", "1"),
    "mean": ("mean({0})", "1 / n"),
}


class TableRow:
    """One line: a variable and one of its inputs.

    Attributes
    ----------
    variable, expression : str
        Name and definition; an argument of the function is its own definition.
    local, partial : str or None, ndarray or None
        The local derivative with respect to `input` as a formula and as a value: a number, one number per element for
        an elementwise op, else the Jacobian of shape output + input.
    value : ndarray
    running : dict of str to ndarray
        forward: argument -> d variable / d argument; reverse: result -> d result / d variable.
    """

    __slots__ = ("expression", "input", "local", "partial", "running", "value", "variable")

    def __init__(
        self, variable: Any, expression: Any, value: Any, running: Any, input: Any = None, local: Any = None,
        partial: Any = None,
    ) -> None:  # fmt: skip
        self.variable, self.expression, self.value, self.running = variable, expression, value, running
        self.input, self.local, self.partial = input, local, partial


class AutogradTable:
    """What `autograd_table` returns: print it, or let a notebook show it.

    Attributes
    ----------
    mode : "forward" or "reverse"
    rows : list of TableRow
        In the order of computation: from the arguments to the result (forward) or back (reverse).
    value : float or ndarray
        The function's.
    gradients : dict of str to ndarray
        Per argument: its gradient (reverse), or the derivative along its tangent (forward).
    """

    def __init__(self, mode: str, rows: int, value: Any, gradients: Any) -> None:
        self.mode, self.rows, self.value, self.gradients = mode, rows, value, gradients

    def _cells(self):
        names = list(self.rows[0].running)
        running = [f"d/d{n}" for n in names] if self.mode == "forward" else ["dL/dvariable"]
        yield ["variable", "is", "with respect to", "local derivative", "value", "partial value", *running]
        before = None
        for row in self.rows:
            first = row.variable != before
            before = row.variable
            yield [
                row.variable if first else "", row.expression if first else "", row.input or "", row.local or "",
                _number(row.value) if first else "", _number(row.partial),
                *(_number(row.running[n]) if first else "" for n in names),
            ]  # fmt: skip

    def __str__(self):
        cells = list(self._cells())
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
        )

    __repr__ = __str__

    def to_html(self) -> str:
        """The table as an HTML ``<table>``; notebooks call it by themselves."""
        head, *lines = self._cells()

        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "\n".join(line(cells, "td") for cells in lines)
        return f"<table>\n<thead>{line(head, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    _repr_html_ = to_html


def _number(value):
    if value is None:
        return ""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.10g}"
    if value.size > _SHOWN:
        return f"array {value.shape}"
    return " ".join(np.array2string(value, precision=6, separator=", ").split())


def autograd_table(
    fn: Callable[..., Any], *x: Any, loss: Callable[..., Any] | None = None, mode: str = "reverse",
    tangents: Any = None,
) -> Any:  # fmt: skip
    """The table of automatic differentiation of a small function: every step of the chain rule, with its numbers.

    Parameters
    ----------
    fn : callable, or Module
        A function over ``fastnn.functional`` that returns one number (forward mode: any shape). Of a module the
        parameters are differentiated too, and the variables are called by the layer that computes them.
    *x : numbers or arrays
        The point, computed in float64 (a module's parameters as well, whatever its dtype). Every argument is
        differentiated, but not arrays of integers (labels). Of a module and its loss: inputs, then the target, which
        is not differentiated.
    loss : callable (output, target) -> one number, optional
        For a module; may also stand last among the arguments: ``autograd_table(model, x, y, nn.MSELoss())``. Layers
        are in training mode, dropout with the mask of step 0.
    mode : {"reverse", "forward"}
        ``"forward"`` carries d variable / d argument from the arguments to the result, one column per argument;
        ``"reverse"`` carries d result / d variable back, one column for all arguments.
    tangents : tuple of numbers or arrays, optional
        Forward mode: the direction of each argument; default ones.

    Returns
    -------
    AutogradTable
        ``print`` it; a notebook shows it as HTML; ``rows``, ``value`` and ``gradients`` hold the numbers.

    Examples
    --------
    The worked example y = 1, w = x = 3 of the logistic loss -log sigmoid(w x): 1.234e-4, and dL/dw = -3.702e-4.

    >>> table = fastnn.autograd_table(lambda w, x: -F.log(F.sigmoid(w * x)), 3.0, 3.0)
    >>> print(table.gradients["w"])
    -0.0003701837279586...
    """
    if mode not in ("forward", "reverse"):
        raise ValueError(f'mode must be "forward" or "reverse", not {mode!r}')
    if tangents is not None and mode == "reverse":
        raise ValueError('tangents= are the directions of mode="forward"')
    if loss is None and len(x) > 2 and callable(x[-1]):
        *x, loss = x
    if hasattr(fn, "named_parameters"):
        return _ModuleRecording(fn, tuple(x), loss).table(mode, tangents)
    if loss is not None:
        raise TypeError("loss= is for modules; compose the function with its loss instead")
    return _Recording(fn, x).table(mode, tangents)


class _Recording:
    """One trace of the function, and names for its variables."""

    def __init__(self, fn, x, names=None, fixed=None, training=False):
        """names: of the arguments; fixed: which of them is not differentiated."""
        self.graph = graph = Graph(np.float64, training=training)
        self.inputs, self.arrays, self.points, self.names = [], [], [], {}
        arguments = []
        names = _argument_names(fn, len(x)) if names is None else names
        for k, (name, value) in enumerate(zip(names, x, strict=True)):
            leaves, structure = flatten(value)
            called = [f"{name}[{i}]" if structure else name for i in range(len(leaves))]
            made = [self._leaf(own, leaf, k == fixed) for own, leaf in zip(called, leaves, strict=True)]
            arguments.append(unflatten(structure, made))
        self._add_parameters()
        if not self.points:
            raise ValueError("there is nothing to differentiate: give numbers or floating arrays")
        with tracing(graph):
            result = flatten(fn(*arguments))[0]
        if len(result) != 1 or result[0] is None:
            raise ValueError(f"the function must return one tensor, it returned {len(result) if result else 'none'}")
        self.result = graph.real(graph.tensor(result[0]))
        self.nodes = [node for node in needed([self.result]) if node.op not in _LEAVES]
        self._name_all()

    def _add_parameters(self):
        """Make points of parameters; a function has none."""

    def _leaf(self, name, value, fixed=False):
        array = np.asarray(value)
        real = array.dtype.kind == "f" or not array.ndim
        active = real and not fixed
        tensor = self.graph.input(array.shape, "real" if real else "int", name)
        self.arrays.append(np.array(array, np.float64 if real else np.int64, order="C"))
        self.inputs.append(tensor)
        if active:
            self.points.append(tensor)
        self.names[id(tensor)] = name
        return tensor

    def _name_all(self):
        read = {id(x) for node in self.nodes for x in node.inputs} | {id(self.result)}
        self.variables = []  # tensors in order of computation
        for node in self.nodes:
            for y in node.outputs:
                if id(y) in read and id(y) not in self.names:
                    self.variables.append(y)
        self._name_variables()
        if any(y is self.result for y in self.variables):
            self.names[id(self.result)] = "L"

    def _name_variables(self):
        for i, y in enumerate(self.variables):
            self.names[id(y)] = f"x{i + 1}"

    def name(self, tensor):
        """How a tensor is called in expressions."""
        if tensor is None:
            return "none"
        if id(tensor) not in self.names:
            attrs = tensor.node.attrs
            value = attrs.get("value")
            parameter = getattr(attrs.get("parameter"), "name", None)
            self.names[id(tensor)] = parameter or (_number(value) if value is not None else tensor.node.label)
        return self.names[id(tensor)]

    def _texts(self, tensor):
        """(expression, local derivative per input) of a variable."""
        node = tensor.node
        names = [self.name(x) for x in node.inputs]
        made = _TEXTS.get(node.label)
        if made is None or len(made) - 1 != len(names):
            return f"{node.label}({', '.join(names)})", [f"d{node.label}/d{n}" for n in names]
        return [text.format(*names, y=self.name(tensor)) for text in made][0], [
            text.format(*names, y=self.name(tensor)) for text in made[1:]
        ]

    def _edges(self):
        """[(variable, index of the input, that input)] of what depends on the arguments."""
        depends = {id(p) for p in self.points}
        edges = []
        for y in self.variables:
            for i, x in enumerate(y.node.inputs):
                if x is not None and id(x) in depends:
                    edges.append((y, i, x))
                    depends.add(id(y))
        return edges

    def table(self, mode, tangents):
        """The AutogradTable of a mode."""
        edges = self._edges()
        partials = _Partials(self, edges)
        if mode == "forward":
            seeds, extra = self._seeds(tangents)
            columns = {self.names[id(p)]: self._forward(p, s) for p, s in zip(self.points, seeds, strict=True)}
        else:
            extra = []
            columns = {"L": self._reverse()}
        tensors = [*self.points, *self.variables]
        wanted = [*tensors, *(t for column in columns.values() for t in column)]
        inputs = [*self.inputs, *(t for t, _ in extra)]
        values = Executable(self.graph, inputs, wanted)([*self.arrays, *(a for _, a in extra)])
        count = len(tensors)
        running = {
            name: dict(zip(map(id, tensors), values[count * (k + 1) : count * (k + 2)], strict=True))
            for k, name in enumerate(columns)
        }
        values = dict(zip(map(id, tensors), values[:count], strict=True))
        rows = [self._argument_row(p, values, running) for p in self.points]
        for y in self.variables:
            rows += self._rows_of(y, edges, partials, values, running)
        if mode == "reverse":
            rows = _reversed(rows)
            found = {self.names[id(p)]: running["L"][id(p)] for p in self.points}
        else:
            found = {name: column[id(self.result)] for name, column in running.items()}
        found = {name: value[()] for name, value in found.items()}
        return AutogradTable(mode, rows, values[id(self.result)][()], found)

    def _argument_row(self, point, values, running):
        name = self.names[id(point)]
        return TableRow(name, name, values[id(point)], {n: column[id(point)] for n, column in running.items()})

    def _rows_of(self, y, edges, partials, values, running):
        expression, local = self._texts(y)
        own = {n: column[id(y)] for n, column in running.items()}
        made = [
            TableRow(
                self.names[id(y)], expression, values[id(y)], own, self.name(x), local[i], partials.of(k)
            )
            for k, (variable, i, x) in enumerate(edges)
            if variable is y
        ]
        return made or [TableRow(self.names[id(y)], expression, values[id(y)], own)]

    def _seeds(self, tangents):
        if tangents is not None and len(tangents) != len(self.points):
            raise ValueError(f"{len(self.points)} differentiated arguments but {len(tangents)} tangents")
        seeds, extra = [], []
        for k, point in enumerate(self.points):
            direction = np.ones(point.shape) if tangents is None else np.array(tangents[k], np.float64, order="C")
            if direction.shape != point.shape:
                raise ValueError(
                    f"the tangent of {self.names[id(point)]} has shape {direction.shape}, not {point.shape}"
                )
            seeds.append(self.graph.input(point.shape, "real", "tangent"))
            extra.append((seeds[-1], direction))
        return seeds, extra

    def _forward(self, point, seed):
        found = tangents_of(self.variables, {point: seed})
        own = [seed if p is point else full_like(p, 0.0) for p in self.points]
        return own + [full_like(y, 0.0) if t is None else t for t, y in zip(found, self.variables, strict=True)]

    def _reverse(self):
        if self.result.size != 1:
            raise ValueError(f"only one number has a gradient, but the function returned shape {self.result.shape}")
        seed = full_like(self.result, 1.0)
        column = []
        for t in (*self.points, *self.variables):
            # one walk per variable: what is asked for is a cut, so that several at once would hide each other
            (found,) = [seed] if t is self.result else gradients([self.result], [seed], [t])
            column.append(full_like(t, 0.0) if found is None else found)
        return column


class _ModuleRecording(_Recording):
    """One trace of a module and its loss: its parameters are points, its variables bear the names of the layers."""

    def __init__(self, module, x, loss):
        self.module = module
        if loss is not None and len(x) < 2:
            raise ValueError("a module with a loss needs inputs and a target")
        count = len(x) if loss is None else len(x) - 1
        names = ["x"] if count == 1 else [f"input {i}" for i in range(count)]

        def objective(*arguments):
            output = module(*arguments[:count])
            return output if loss is None else loss(output, arguments[-1])

        super().__init__(objective, x, names + ["target"] * (len(x) - count), count, training=True)

    def _add_parameters(self):
        self.graph.values_only = True  # running statistics too, whatever the module's dtype
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                self.graph.stand_ins[id(parameter)] = self._leaf(name, np.array(parameter.numpy(), np.float64))

    def _name_variables(self):
        scopes = {}
        for y in self.variables:
            scopes.setdefault(y.node.scope or "", []).append(y)
        for scope, members in scopes.items():
            for i, y in enumerate(members):
                own = "out" if scope and i + 1 == len(members) else f"x{i + 1}"
                self.names[id(y)] = f"{scope}.{own}" if scope else own


class _Partials:
    """The local derivatives' values: the op's own jvp along unit tangents."""

    def __init__(self, recording, edges):
        graph = recording.graph
        seeds, slopes = [], []
        for y, i, x in edges:
            tangents = [None] * len(y.node.inputs)
            tangents[i] = graph.input(x.shape, "real", "unit")
            seeds.append(tangents[i])
            found = (y.node.rule.jvp(y.node, tangents) or [None] * len(y.node.outputs))[y.slot]
            found = found.get() if isinstance(found, Deferred) else found
            slopes.append(full_like(y, 0.0) if found is None else found)
        self._edges, self._seeds = edges, seeds
        self._run = None
        if edges:
            program = Executable(graph, [*recording.inputs, *seeds], slopes)
            self._run = lambda units: program([*recording.arrays, *units])
        self._columns = self._all_columns()

    def _elementwise(self, k):
        y, _, x = self._edges[k]
        return x.shape == y.shape and y.node.op in ("unary", "binary", "where")

    def _shown(self, k):
        y, _, x = self._edges[k]
        return self._elementwise(k) or x.size * y.size <= _JACOBIAN_LIMIT

    def _all_columns(self):
        passes = max(
            (1 if self._elementwise(k) else x.size for k, (_, _, x) in enumerate(self._edges) if self._shown(k)),
            default=0,
        )
        columns = [[] for _ in self._edges]
        for j in range(passes):
            units = []
            for k, (_, _, x) in enumerate(self._edges):
                unit = np.ones(x.shape) if self._elementwise(k) else np.zeros(x.shape)
                if not self._elementwise(k) and j < x.size:
                    unit.reshape(-1)[j] = 1.0
                units.append(unit)
            for k, value in enumerate(self._run(units)):
                columns[k].append(value)
        return columns

    def of(self, k):
        """The local derivative of edge k, None if it is too large to show."""
        y, _, x = self._edges[k]
        if not self._shown(k):
            return None
        if self._elementwise(k):
            return self._columns[k][0]
        jacobian = np.stack(self._columns[k][: x.size], axis=-1)
        return jacobian.reshape((*y.shape, *x.shape))


def _reversed(rows):
    """Variables from the result to the arguments, the lines of each in their own order."""
    groups = []
    for row in rows:
        if not groups or groups[-1][0].variable != row.variable:
            groups.append([])
        groups[-1].append(row)
    return [row for group in reversed(groups) for row in group]


def _argument_names(fn, count):
    try:
        names = [p.name for p in inspect.signature(fn).parameters.values() if p.kind in (p.POSITIONAL_ONLY,
                 p.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    except (TypeError, ValueError):
        names = []
    return (names + [f"argument {i}" for i in range(len(names), count)])[:count]
