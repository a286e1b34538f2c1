"""Guard: many threads may predict on a model, one may train it, and not both at once (decision 3)."""

from contextlib import ExitStack, contextmanager

from .._native import Guard

__all__ = ["Guard", "writing"]


@contextmanager
def writing(guards):
    """Hold several guards as their writer; if one refuses, none is held."""
    with ExitStack() as held:
        for guard in guards:
            guard.start_writing()
            held.callback(guard.stop_writing)
        yield
