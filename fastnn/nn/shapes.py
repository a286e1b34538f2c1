"""What a model takes and what its layers give, from a trace without data."""

from typing import Any

import numpy as np

from ..graph.context import tracing
from ..graph.symbols import ROWS
from ..graph.trace import Graph
from .arrays import split_inputs
from .hooks import forward_hook
from .predict import with_names


def example_input(model: Any) -> np.ndarray | None:
    """One row of zeros for the first layer that says how many features it takes; None if none does."""
    for module in model.modules():
        features = getattr(module, "in_features", None) or getattr(module, "num_features", None)
        shape = (features,) if features else getattr(module, "normalized_shape", None)
        if shape:
            return np.zeros((1, *shape), np.float32)
        if hasattr(module, "num_embeddings"):
            return None
    return None


def output_shapes(model: Any, x: Any) -> dict[str, tuple[Any, ...] | None]:
    """{path: shape of the layer's output, "rows" for the batch axis} from the shape of x alone."""
    names, arrays = split_inputs(x)
    graph = Graph(model.dtype)
    inputs = [graph.input((ROWS, *array.shape[1:])) for array in arrays]
    shapes: dict[str, tuple[Any, ...] | None] = {}

    def note(layer: Any, path: str, inputs: Any, value: Any) -> Any:
        shapes.setdefault(path, getattr(value, "shape", None))
        return value

    with tracing(graph), forward_hook(note):
        with_names(model, names)(*inputs)
    return shapes
