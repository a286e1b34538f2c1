"""Passes: graph to graph, each in its own file, each can be switched off.

A pass is a function (graph, outputs) -> outputs: it rebuilds what it changes and returns the tensors that now stand
for the given ones. Passes never change results beyond what their file says.
"""

import contextlib
import contextvars

from .common import merge_common
from .dropout import fuse_dropout
from .fuse import fuse_activation
from .gradients import fuse_bias_gradient, fuse_input_gradient

PASSES = {
    "merge_common": merge_common,
    "fuse_activation": fuse_activation,
    "fuse_input_gradient": fuse_input_gradient,
    "fuse_bias_gradient": fuse_bias_gradient,
    "fuse_dropout": fuse_dropout,
}

_switched_off = contextvars.ContextVar("switched_off", default=())


def _check(names):
    unknown = set(names) - set(PASSES)
    if unknown:
        raise ValueError(f"there is no pass called {sorted(unknown)[0]!r}: they are {', '.join(PASSES)}")


@contextlib.contextmanager
def disabled(*names):
    """While the block lasts, whatever is compiled is compiled without these passes.

    Examples
    --------
    >>> from fastnn.graph import passes
    >>> with passes.disabled("fuse_activation"):
    ...     program = fastnn.compile(model, [x])
    """
    _check(names)
    token = _switched_off.set((*_switched_off.get(), *names))
    try:
        yield
    finally:
        _switched_off.reset(token)


def run_passes(graph, outputs, disabled=()):
    """All passes but the disabled ones, in order."""
    _check(disabled)
    off = {*disabled, *_switched_off.get()}
    for name, run in PASSES.items():
        if name not in off:
            outputs = run(graph, outputs)
    return outputs
