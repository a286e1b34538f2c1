"""Rules: everything the graph knows of an op, in one place.

RULES maps the op of a node to its Rule. `recorder(name)` gives the function that records a public name (several names
may record the same op: relu and exp are both `unary`). Names of the native lists (activations, elementwise, binary)
need no entry here.
"""

from .base import RECORDERS, RULES, Rule

__all__ = ["RULES", "Rule", "recorder"]

_FAMILIES = (
    "leaves", "elementwise", "binary", "shape", "reduce", "dense", "dense_gradients", "softmax", "losses",
    "normalization", "layer_norm", "random", "python_op",
)  # fmt: skip


_loaded = False


def _load():
    global _loaded
    from importlib import import_module

    for family in _FAMILIES:
        import_module("." + family, __name__)
    _loaded = True


def has(name):
    """Whether there is a public op of this name."""
    if not _loaded:
        _load()
    return name in RECORDERS


def recorder(name):
    """The function (graph, *tensors, **attrs) -> tensor(s) that records the public op `name`."""
    if not _loaded:
        _load()
    try:
        return RECORDERS[name]
    except KeyError:
        raise ValueError(f"there is no op called {name!r}") from None
