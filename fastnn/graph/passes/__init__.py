"""Passes: graph to graph, each in its own file, each can be switched off.

A pass is a function (graph, outputs) -> outputs: it rebuilds what it changes and returns the tensors that now stand
for the given ones. Passes never change results beyond what their file says. fuse_update is one over the pair of
gradients and update, for which a training program asks (graph/build.py).
"""

import contextlib
import contextvars

from .common import merge_common
from .constants import fold_constants
from .dropout import fuse_dropout
from .fuse import fuse_activation
from .gradients import fuse_bias_gradient, fuse_input_gradient
from .update import fuse_update

PASSES = {
    "fold_constants": fold_constants,
    "merge_common": merge_common,
    "fuse_activation": fuse_activation,
    "fuse_input_gradient": fuse_input_gradient,
    "fuse_bias_gradient": fuse_bias_gradient,
    "fuse_dropout": fuse_dropout,
}

PAIR_PASSES = {"fuse_update": fuse_update}

_switched_off = contextvars.ContextVar("switched_off", default=())


def _check(names):
    unknown = set(names) - set(PASSES) - set(PAIR_PASSES)
    if unknown:
        known = ", ".join((*PASSES, *PAIR_PASSES))
        raise ValueError(f"there is no pass called {sorted(unknown)[0]!r}: they are {known}")


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


def is_on(name, disabled=()):
    """Whether a pass is among those that run now."""
    return name not in disabled and name not in _switched_off.get()


def run_passes(graph, outputs, disabled=()):
    """All passes but the disabled ones, in order."""
    _check(disabled)
    for name, run in PASSES.items():
        if is_on(name, disabled):
            outputs = run(graph, outputs)
    return outputs
