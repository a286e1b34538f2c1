"""Guard: many threads may predict on a model, one may train it, and not both at once (decision 3)."""

import threading
from contextlib import ExitStack, contextmanager


class Guard:
    """Readers and one writer. Nobody waits: a conflict raises, because waiting would hide a mistake.

    The thread that trains may predict between steps (callbacks do).
    """

    __slots__ = ("_lock", "_readers", "_writer", "_depth")

    def __init__(self):
        self._lock = threading.Lock()
        self._readers = 0
        self._writer = 0
        self._depth = 0

    def start_reading(self):
        with self._lock:
            if self._writer and self._writer != threading.get_ident():
                raise RuntimeError(
                    "this model is being trained by another thread; predict on a copy (copy.deepcopy(model)) or wait"
                )
            self._readers += 1

    def stop_reading(self):
        with self._lock:
            self._readers -= 1

    def start_writing(self):
        me = threading.get_ident()
        with self._lock:
            if self._writer and self._writer != me:
                raise RuntimeError("this model is being trained by another thread already")
            if self._readers:
                raise RuntimeError("another thread is predicting on this model; training must wait until it has ended")
            self._writer = me
            self._depth += 1

    def stop_writing(self):
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._writer = 0


@contextmanager
def writing(guards):
    """Hold several guards as their writer; if one refuses, none is held."""
    with ExitStack() as held:
        for guard in guards:
            guard.start_writing()
            held.callback(guard.stop_writing)
        yield
