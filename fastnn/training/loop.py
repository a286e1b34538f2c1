"""The loop of `Trainer.fit`: epochs, chunks of steps, evaluation, callbacks, and every way to end."""

import time
from contextlib import contextmanager

import numpy as np

from ..nn.guard import writing
from ..threads import num_threads
from .batches import check_shuffle
from .callbacks import Callback
from .progress import make_progress
from .sources import ArraySource, BatchSource

_CHUNK_SECONDS = 0.02  # between two looks at Ctrl-C, the clock and the bar (decision 4)


def _is_batches(x):
    """True for an iterable of batches: it iterates, but is no array and no sample set."""
    if isinstance(x, (np.ndarray, tuple, dict, list)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__")


def fit(trainer, x, y, *, epochs, callbacks, progress, max_time, **options):
    """See `Trainer.fit`."""
    trainer._stop_flag[0] = 0  # first of all: a stop() from now on ends this fit, even while it is being prepared
    if isinstance(epochs, bool) or int(epochs) != epochs or epochs < 0:
        raise ValueError(f"epochs must be an integer >= 0, got {epochs!r}")
    if max_time is not None and not max_time > 0:
        raise ValueError(f"max_time must be a positive number of seconds, got {max_time!r}")
    callbacks = _check_callbacks(callbacks)
    options["shuffle"] = check_shuffle(options["shuffle"])
    source = BatchSource if _is_batches(x) else ArraySource
    with num_threads(trainer.num_threads):
        source = source(trainer, x, y, epochs=epochs, **options)
        Fit(trainer, source, int(epochs), callbacks, progress, max_time).run()
    return trainer.history


def _check_callbacks(callbacks):
    callbacks = (callbacks,) if isinstance(callbacks, Callback) else tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be fastnn.Callback objects, got {type(callback).__name__}")
    return callbacks


class Fit:
    """One call of `fit`: runs epochs of a source until something ends it."""

    def __init__(self, trainer, source, epochs, callbacks, progress, max_time):
        self.trainer = trainer
        self.source = source
        self.epochs = epochs
        self.callbacks = callbacks
        self.batch_hooks = [
            callback
            for callback in callbacks
            if getattr(callback.on_batch_end, "__func__", callback.on_batch_end) is not Callback.on_batch_end
        ]
        self.check_nan = any(getattr(callback, "stop_on_nan", False) for callback in callbacks)
        self.deadline = None if max_time is None else time.monotonic() + max_time
        self.bar = make_progress(progress, epochs, source.steps)
        self.interrupted = False
        self.reason = ""

    def run(self):
        trainer = self.trainer
        for callback in self.callbacks:
            callback.trainer = trainer
        with writing(module._guard for module in trainer.model.modules()):
            self._run_guarded()
        if self.interrupted:
            raise KeyboardInterrupt

    def _run_guarded(self):
        trainer = self.trainer
        try:
            with self._catch_interrupt():
                self._run_epochs()
        except BaseException as error:
            self.reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            raise
        finally:
            trainer.history.stop_reason = self.reason
            self.bar.close()
            for callback in self.callbacks:
                callback.on_fit_end()

    def _run_epochs(self):
        trainer = self.trainer
        for callback in self.callbacks:
            callback.on_fit_begin()
        for _ in range(self.epochs):
            epoch = trainer.epoch
            for callback in self.callbacks:
                callback.on_epoch_begin(epoch)
            began = time.perf_counter()
            loss, rows = self.source.run_epoch(self, epoch)
            seconds = time.perf_counter() - began
            if loss is None:  # ended before the first step of this epoch
                break
            logs = {"loss": loss, **self.source.measure()}
            logs["lr"] = trainer.current_lr()
            logs["seconds"] = seconds
            logs["samples_per_second"] = rows / seconds if seconds > 0 else 0.0
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, logs)
            trainer.history.add(epoch, logs)
            trainer.epoch += 1
            self.bar.epoch(epoch, logs)
            if self.ended():
                break
        self.reason = self.reason or "epochs"

    def ended(self):
        """True when the fit has to end at this step boundary; notes why."""
        if self.interrupted:
            self.reason = self.reason or "interrupted"
        elif self.trainer._stop_flag[0]:
            self.reason = self.reason or "callback"
        elif self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = self.reason or "max_time"
        return bool(self.reason)

    def after_steps(self, done, losses):
        """Between two native calls: hooks, bar, and the question whether to go on."""
        if done:
            for callback in self.batch_hooks:
                callback.on_batch_end(self.trainer.step, float(losses[-1]))
            self.bar.advance(done, losses[-1])
            if self.check_nan and not np.isfinite(losses).all():
                self.reason = self.reason or "nan"
        return not self.ended() and done > 0

    def chunk_seconds(self):
        """The time that the next native call may take."""
        if self.deadline is None:
            return _CHUNK_SECONDS
        return max(1e-6, min(_CHUNK_SECONDS, self.deadline - time.monotonic()))

    @contextmanager
    def _catch_interrupt(self):
        """Turn Ctrl-C into a request to end at a step boundary, where weights, moments and counters agree.

        A second Ctrl-C acts at once. Only in the main thread, and only over Python's own handler.
        """
        import signal
        import threading

        own = threading.current_thread() is threading.main_thread()
        if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def request(signum, frame):
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            self.trainer._stop_flag[0] = 1

        signal.signal(signal.SIGINT, request)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
