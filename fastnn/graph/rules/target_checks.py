"""What has to hold of a loss's float targets: constants are judged while tracing, inputs before each run."""

import numpy as np

from ...kernels._labels import check_target

_VIEWS = {
    "reshape": lambda node, array: array.reshape(node.outputs[0].shape),
    "transpose": lambda node, array: array.transpose(node.attrs["axes"]),
    "slice": lambda node, array: array[_index(node)],
    "cast": lambda node, array: array,
}


def _index(node):
    """The slices of a slice node; a negative step may end before the first element."""
    index = []
    for start, step, length in zip(node.attrs["starts"], node.attrs["steps"], node.outputs[0].shape, strict=True):
        end = start + step * length
        index.append(slice(start, end if end >= 0 else None, step))
    return tuple(index)


def note_target(graph, target, domain):
    """Check a constant target now; note an input, or a view of one, for `validate_targets`.

    A target that the graph computes is not known before the run: its kernel takes whatever it is.
    """
    node, views = target.node, []
    while node.op in _VIEWS:
        views.append(node)
        node = node.inputs[0].node
    if node.op == "constant":
        validate_target(node.attrs["value"], views, domain)
    elif node.op == "input":
        graph.target_checks.append((node, tuple(views), domain))


def validate_target(array, views, domain):
    """Raise ValueError naming the first value of the target, as its views show it, that the loss cannot take."""
    for node in reversed(views):
        array = _VIEWS[node.op](node, array)
    check_target(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64), domain)
