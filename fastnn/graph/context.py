"""Which graph is being recorded on this thread: what tensors, parameters and modules ask while a model is traced."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

_local = threading.local()


def current() -> Any:
    """The graph being traced on this thread.

    Raises
    ------
    RuntimeError
        Outside tracing.
    """
    stack = getattr(_local, "stack", None)
    if not stack:
        raise RuntimeError("no model is being traced here")
    return stack[-1]


def is_tracing() -> bool:
    """Whether a model is being traced on this thread."""
    return bool(getattr(_local, "stack", None))


@contextlib.contextmanager
def tracing(graph: Any) -> Iterator[Any]:
    """Make `graph` the current one of this thread."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(graph)
    try:
        yield graph
    finally:
        stack.pop()
