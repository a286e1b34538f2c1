"""Passes: graph to graph, each in its own file, each can be switched off.

A pass is a function (graph, outputs) -> outputs: it rebuilds what it changes and returns the tensors that now stand
for the given ones. Passes never change results beyond what their file says.
"""

from .common import merge_common
from .fuse import fuse_activation

PASSES = {"merge_common": merge_common, "fuse_activation": fuse_activation}


def run_passes(graph, outputs, disabled=()):
    """All passes but the disabled ones, in order."""
    unknown = set(disabled) - set(PASSES)
    if unknown:
        raise ValueError(f"there is no pass called {sorted(unknown)[0]!r}: they are {', '.join(PASSES)}")
    for name, run in PASSES.items():
        if name not in disabled:
            outputs = run(graph, outputs)
    return outputs
