"""The diagram of a model as Mermaid text: layers as boxes, tensors as arrows, from one trace of `forward`."""

from typing import Any

from ..graph.context import tracing
from ..graph.symbols import ROWS
from ..graph.tensor import Tensor
from ..graph.trace import Graph
from .arrays import split_inputs
from .predict import with_names
from .shapes import example_input


def diagram(model: Any, x: Any = None, direction: str = "TD") -> str:
    """See `Module.diagram`."""
    if direction not in ("TD", "LR"):
        raise ValueError(f"diagram: direction must be 'TD' (down) or 'LR' (to the right), got {direction!r}")
    x = example_input(model) if x is None else x
    if x is None:
        raise ValueError("diagram: give an input x (one row is enough): no layer says how many features it takes")
    names, arrays = split_inputs(x)
    graph = Graph(model.dtype)
    specs = [((ROWS, *a.shape[1:]), "int" if a.dtype.kind in "iu" and a.ndim == 1 else "real") for a in arrays]
    inputs = [graph.input(shape, kind) for shape, kind in specs]
    with tracing(graph):
        outputs = with_names(model, names)(*inputs)
    drawn = _Drawing(model, names or ["x" if len(inputs) == 1 else f"x{i}" for i in range(len(inputs))])
    return drawn.text(graph, inputs, outputs, direction)


class _Drawing:
    """Boxes (one per layer, or per function outside of layers) and arrows."""

    def __init__(self, model, names):
        self.modules = dict(model.named_modules())
        self.names = names
        self.boxes, self.arrows = {}, []  # key -> label; (key, key, text)

    def text(self, graph, inputs, outputs, direction):
        keys = {}  # id of a tensor -> box that made it
        for name, tensor in zip(self.names, inputs, strict=True):
            keys[id(tensor)] = key = ("input", name)
            self.boxes[key] = f"([{_quoted(name)}])"
        for node in graph.nodes:
            sources = [(keys[id(t)], t) for t in node.inputs if t is not None and id(t) in keys]
            if not sources:  # parameters and constants
                continue
            key = self._box(node)
            for source, tensor in sources:
                arrow = (source, key, _shape(tensor))
                if source != key and arrow not in self.arrows:
                    self.arrows.append(arrow)
            keys.update((id(t), key) for t in node.outputs)
        self._end(keys, outputs)
        numbers = {key: f"n{i}" for i, key in enumerate(self.boxes)}
        lines = [f"flowchart {direction}", *(f"    {numbers[key]}{label}" for key, label in self.boxes.items())]
        lines += [f"    {numbers[a]} -->|{_quoted(text)}| {numbers[b]}" for a, b, text in self.arrows]
        return "\n".join(lines)

    def _box(self, node):
        """The box of a node: its layer, or itself in a block or a function."""
        module = self.modules.get(node.scope or "")
        if module is None or any(True for _ in module.named_children()):
            key, label = ("op", node.index), node.label
        else:
            key, label = ("layer", node.scope), f"{node.scope}: {module!r}" if node.scope else repr(module)
        self.boxes.setdefault(key, f"[{_quoted(label)}]")
        return key

    def _end(self, keys, outputs):
        leaves = [leaf for leaf in _leaves(outputs) if isinstance(leaf, Tensor) and id(leaf) in keys]
        for i, leaf in enumerate(leaves):
            key = ("output", i)
            self.boxes[key] = f"([{_quoted('output' if len(leaves) == 1 else f'output {i}')}])"
            self.arrows.append((keys[id(leaf)], key, _shape(leaf)))


def _leaves(value):
    if isinstance(value, dict):
        value = tuple(value.values())
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, (tuple, list)) else [value]


def _quoted(text):
    return '"' + str(text).replace('"', "'") + '"'


def _shape(tensor):
    return "(" + ", ".join(map(str, tensor.shape)) + ("," if tensor.ndim == 1 else "") + ")"
