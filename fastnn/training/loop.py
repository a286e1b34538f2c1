"""The loop of `Trainer.fit`: epochs, chunks of steps, evaluation, callbacks, and every way to end."""

import time
from contextlib import contextmanager

import numpy as np

from ..optim.penalties import penalty
from ..threads import num_threads
from ..validation import check_count, check_positive
from .batches import check_shuffle
from .callbacks.base import Callback
from .position import Position, restore_callbacks, resumed_fit
from .progress import make_progress
from .sources import ArraySource, BatchSource

_HOOKS = ("on_epoch_begin", "on_batch_end", "on_pause", "on_cut", "on_epoch_end")
_CHUNK_SECONDS = 0.02  # between two looks at Ctrl-C, the clock and the bar (decision 4)


def _is_batches(x):
    """True for an iterable of batches: it iterates, but is no array and no sample set."""
    if isinstance(x, (np.ndarray, tuple, dict, list)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__")


def fit(trainer, x, y, *, epochs, callbacks, progress, max_time, resume, **options):
    """See `Trainer.fit`."""
    trainer._stop_flag[0] = 0  # first of all: a stop() from now on ends this fit, even while it is being prepared
    epochs = check_count("", "epochs", epochs, 0)
    check_positive("", "max_time", max_time, "number of seconds")
    callbacks = _check_callbacks(callbacks)
    if isinstance(trainer.scheduler, Callback):  # ReduceLROnPlateau
        callbacks = (trainer.scheduler, *callbacks)
    options["shuffle"] = check_shuffle(options["shuffle"])
    continued = resume is not None and resumed_fit(trainer, resume)
    source = BatchSource if _is_batches(x) else ArraySource
    with num_threads(trainer.num_threads):
        source = source(trainer, x, y, epochs=epochs, **options)
        run = Fit(trainer, source, epochs, callbacks, progress, max_time, continued)
        trainer._fit = run
        try:
            run.run()
        finally:
            trainer._fit = None
    return trainer.history


def _check_callbacks(callbacks):
    if callbacks is None or isinstance(callbacks, (Callback, type)) or not hasattr(callbacks, "__iter__"):
        callbacks = () if callbacks is None else (callbacks,)
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be objects such as EarlyStopping(patience=5), got {callback!r}")
    return callbacks


def _overrides(callback, hook):
    method = getattr(callback, hook)
    return getattr(method, "__func__", method) is not getattr(Callback, hook)


def _looks(callback):
    """Whether it has a hook between the begin and the end of a fit."""
    return any(_overrides(callback, hook) for hook in _HOOKS)


class Fit:
    """One call of `fit`: runs epochs of a source until something ends it.

    Attributes
    ----------
    first_epoch : int
        Where this fit began; that of the interrupted fit if it is continued.
    seen : int or None
        While an epoch is being closed: how many callbacks have been told.
    """

    def __init__(self, trainer, source, epochs, callbacks, progress, max_time, continued):
        self.trainer = trainer
        self.source = source
        self.callbacks = callbacks
        self.position, trainer._position = trainer._position, None  # a checkpoint's, taken over by this fit
        going_on = continued and self.position is not None
        self.first_epoch = self.position.first_epoch if going_on else trainer.epoch
        self.until = self.first_epoch + epochs
        self.batch_hooks = [callback for callback in callbacks if _overrides(callback, "on_batch_end")]
        self.batch_hooks.sort(key=lambda callback: callback.saves)  # a checkpoint holds what the others have seen
        self.pause_hooks = [callback for callback in callbacks if _overrides(callback, "on_pause")]
        self.watchers = [callback for callback in callbacks if not callback.runs_behind and _looks(callback)]
        self.check_nan = any(getattr(callback, "stop_on_nan", False) for callback in callbacks)
        self.deadline = None if max_time is None else time.monotonic() + max_time
        self.bar = make_progress(progress, max(self.until - trainer.epoch, 0), source.steps)
        self.interrupted = False
        self.reason = ""
        self.seen = None
        self.logs = None

    def run(self):
        trainer = self.trainer
        for callback in self.callbacks:
            callback.trainer = trainer
        with trainer.model._guard.writing():
            self._run_guarded()
        if self.interrupted:
            trainer.history.stop_reason = "interrupted"
            raise KeyboardInterrupt

    def _run_guarded(self):
        trainer = self.trainer
        try:
            with self._catch_interrupt():
                try:
                    self._run_epochs()
                except BaseException as error:
                    self.reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
                    raise
                finally:
                    self._finish()
        finally:
            trainer.history.stop_reason = self.reason

    def _finish(self):
        """Close the bar and tell every callback, whatever another one raises; the first error goes on."""
        self.trainer.history.stop_reason = self.reason
        self.bar.close()
        first = None
        for callback in self.callbacks:
            try:
                callback.on_fit_end()
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first

    def _call(self, hook, *args):
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def _run_epochs(self):
        trainer = self.trainer
        rates = trainer.optimizer.to_config()
        self._call("on_fit_begin")
        self._go_on(rates)
        while trainer.epoch < self.until and (self.source.is_ahead() or not self.ended()):
            epoch = trainer.epoch
            if not self.source.at:
                self._call("on_epoch_begin", epoch)
            began = time.perf_counter()
            loss, rows = self.source.run_epoch(self, epoch)
            seconds = time.perf_counter() - began + self.source.elsewhere
            if loss is None:  # ended before the first step of this epoch
                break
            if self.source.is_inside():
                self._call("on_cut", self.reason)
            logs = {"loss": loss, **self.source.measure()}
            terms = penalty(trainer.optimizer, trainer.model.named_parameters())
            if terms is not None:
                logs["penalty"] = terms
            logs["lr"] = trainer.current_lr()
            logs["seconds"] = seconds
            logs["samples_per_second"] = rows / seconds if seconds > 0 else 0.0
            self._close_epoch(epoch, logs)
        self.reason = self.reason or "epochs"

    def _go_on(self, rates):
        """Continue where a checkpoint was written: inside an epoch, or between the callbacks at its end."""
        position = self.position
        if position is None:
            return
        self.position = None
        self.source.go_to(position)
        if self.source.at:
            self._call("on_epoch_begin", self.trainer.epoch)
        self.trainer.optimizer.load_config(rates)  # whatever the hooks have set: they had set it before
        restore_callbacks(self.callbacks, position)
        if position.seen is not None and self.trainer.history:
            self._tell(position.seen, self.trainer.epoch - 1, self.trainer.history.last())
        if position.stopping:
            self.trainer.stop()

    def _close_epoch(self, epoch, logs):
        """Enter the epoch into the history before anybody is told, so that a checkpoint by a callback holds it."""
        trainer = self.trainer
        trainer.epoch += 1
        trainer.history.add(epoch, logs)
        self.source.at = 0
        self._tell(0, epoch, logs)
        self.bar.epoch(epoch, logs)

    def _tell(self, first, epoch, logs):
        try:
            for i in range(first, len(self.callbacks)):
                self.seen = i + 1
                self.callbacks[i].on_epoch_end(epoch, logs)
                self.trainer.history.amend(logs)
        finally:
            self.trainer.history.amend(logs)
        self.seen = None

    def ended(self):
        """True when the fit has to end at this step boundary; notes why."""
        if self.interrupted:
            self.reason = self.reason or "interrupted"
        elif self.trainer._stop_flag[0]:
            self.reason = self.reason or "callback"
        elif self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = self.reason or "max_time"
        return bool(self.reason)

    def may_run_ahead(self):
        """Whether steps of the next epochs may be made before this one is closed: nobody looks at what is between."""
        return not self.watchers and self.trainer.scheduler is None and not self.trainer.optimizer.has_penalties()

    def steps_ahead(self, most):
        """How many steps the next native call may make before a callback wants to look."""
        step = self.trainer.step
        return min([most, *(hook.every_steps - step % hook.every_steps for hook in self.batch_hooks)])

    def after_steps(self, done, losses):
        """Between two native calls: hooks, bar, and the question whether to go on."""
        if done:
            if self.check_nan and not np.isfinite(losses).all():
                self.reason = self.reason or "nan"
            step = self.trainer.step
            for callback in self.batch_hooks:
                if step % callback.every_steps == 0:
                    callback.on_batch_end(step, float(losses[-1]))
            for callback in self.pause_hooks:
                callback.on_pause()
            self.bar.advance(done, losses[-1])
        return not self.ended() and done > 0

    def chunk_seconds(self):
        """The time that the next native call may take."""
        if self.deadline is None:
            return _CHUNK_SECONDS
        return max(1e-6, min(_CHUNK_SECONDS, self.deadline - time.monotonic()))

    def here(self):
        """The `Position` of this fit now, for a checkpoint."""
        if self.position is not None:  # nothing has happened since the checkpoint that this fit continues
            return self.position
        stopping = bool(self.trainer._stop_flag[0]) and not self.interrupted
        return Position.of(self, stopping)

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
