"""Forward hooks: functions that see, and may replace, what modules return while a model is traced."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: of the trace that is running on this thread: graph, paths (id(module) -> path), hook
trace_state = threading.local()


@contextmanager
def forward_hook(hook: Callable[..., Any]) -> Iterator[None]:
    """While models are traced inside the block, what a module returns is ``hook(module, path, inputs, y)``."""
    before, trace_state.hook = getattr(trace_state, "hook", None), hook
    try:
        yield
    finally:
        trace_state.hook = before
