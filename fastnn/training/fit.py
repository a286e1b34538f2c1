"""The loop of `Trainer.fit`: epochs, chunks of steps, evaluation, callbacks, and every way to end."""

import math
import time
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..nn.losses import meaning_of
from ..optim.penalties import penalty
from ..threads import num_threads
from ..validation import check_count, check_positive
from .callbacks.base import Callback, TerminateOnNaN
from .checkpoint import resume_if_there
from .evaluation import ArrayEvaluation, evaluation_of
from .feed.arrays import ArrayFeed
from .feed.batch import is_batches
from .feed.epoch_steps import mean_loss
from .feed.options import as_feed
from .feed.rows import check_shuffle
from .feed.streams import StreamFeed
from .progress import make_progress
from .resume_state import ResumeState, restore_callbacks

_HOOKS = ("on_epoch_begin", "on_batch_end", "on_poll", "on_interrupt", "on_epoch_end")
_CALL_SECONDS = 0.02  # between two looks at Ctrl-C, the clock and the bar (decision 4)


def fit(
    trainer, x, y, *, epochs, batch_size, validation_data, validation_split, sample_weight, class_weight, shuffle,
    callbacks, progress, max_time, max_steps, eval_train, validation_every, resume, feed,
):  # fmt: skip
    """See `Trainer.fit`."""
    trainer._stop_flag[0] = 0  # first of all: a stop() from now on ends this fit, even while it is being prepared
    epochs = check_count("", "epochs", epochs, 0)
    check_positive("", "max_time", max_time, "number of seconds")
    limits = Limits(
        None if max_time is None else time.monotonic() + max_time,
        None if max_steps is None else trainer.step + check_count("", "max_steps", max_steps, 0),
        check_count("", "validation_every", validation_every, 1),
    )
    callbacks = _check_callbacks(callbacks)
    if isinstance(trainer.scheduler, Callback):  # ReduceLROnPlateau
        callbacks = (trainer.scheduler, *callbacks)
    feed = as_feed(feed)
    continued = resume is not None and resume_if_there(trainer, resume)
    with num_threads(trainer.num_threads):
        if is_batches(x) and (y is None or not isinstance(x, list)):
            if y is not None:
                raise TypeError("x is an iterable of (x, y) batches, so y must be None")
            check_shuffle(shuffle)
            source = StreamFeed(
                trainer, x, feed, epochs=epochs, validation_split=validation_split, sample_weight=sample_weight,
                class_weight=class_weight, eval_train=eval_train,
            )  # fmt: skip
            training, per_class = None, None
        else:
            if validation_split is not None and (validation_data is not None or feed.rows is not None):
                raise ValueError("give validation_split, or validation_data and perhaps Feed(rows=...), not both")
            source = ArrayFeed(
                trainer, x, y, feed, batch_size=batch_size, validation_split=validation_split,
                sample_weight=sample_weight, class_weight=class_weight, shuffle=check_shuffle(shuffle),
            )  # fmt: skip
            per_class = source.data.per_class
            training = _TrainingPart(source) if eval_train else None
        if source.held is not None:
            validation = ArrayEvaluation.of(source.data, source.held)
        else:
            validation = evaluation_of(trainer, validation_data, feed.check_finite, per_class)
        run = Fit(trainer, source, epochs, callbacks, progress, limits, continued)
        run.measured = [("train_", training), ("val_", validation)]
        trainer._fit = run
        try:
            run.run()
        finally:
            trainer._fit = None
    return trainer.history


class Limits(NamedTuple):
    """When a fit ends, besides its epochs, and when it measures: a time of `time.monotonic`, a number of steps, and
    every how many epochs."""

    deadline: float | None
    last_step: int | None
    validation_every: int


class _TrainingPart:
    """The training rows, to be measured in inference mode; taken from the data only then."""

    def __init__(self, feed):
        self._feed = feed

    def measure(self, trainer):
        """{"loss": float, metric: float, ...}"""
        x, target, weight = self._feed.training_part()
        return ArrayEvaluation(x, target, self._feed.data.spec, weight).measure(trainer)


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
    """One call of `fit`: trains epochs of a feed until something ends it.

    Attributes
    ----------
    feed : ArrayFeed or StreamFeed
    queue : list of EpochSteps or StreamEpoch
        The running epoch, and those behind it of which steps have been made.
    first_epoch : int
        Where this fit began; that of the interrupted fit if it is continued.
    notified : int or None
        While an epoch is being closed: how many callbacks have been told.
    """

    def __init__(self, trainer, feed, epochs, callbacks, progress, limits, continued):
        self.trainer = trainer
        self.feed = feed
        self.queue = []
        self.measured = []  # (prefix of the columns, evaluation or None)
        self.callbacks = callbacks
        self.place, trainer.state.resume = trainer.state.resume, None  # a checkpoint's, taken over by this fit
        going_on = continued and self.place is not None
        self.first_epoch = self.place.first_epoch if going_on else trainer.epoch
        self.until = self.first_epoch + epochs
        self.batch_hooks = [callback for callback in callbacks if _overrides(callback, "on_batch_end")]
        self.batch_hooks.sort(key=lambda callback: callback.saves)  # a checkpoint holds what the others have seen
        self.poll_hooks = [callback for callback in callbacks if _overrides(callback, "on_poll")]
        self.watchers = [callback for callback in callbacks if not callback.allows_lookahead and _looks(callback)]
        self.recorders = [callback for callback in callbacks if _overrides(callback, "on_losses")]
        self.nan_rule = next((c.when for c in callbacks if isinstance(c, TerminateOnNaN)), "epoch")
        self.saw_nan = False
        self.limits = limits
        self.sums = meaning_of(trainer.loss).reduction == "sum"
        self.bar = make_progress(progress, max(self.until - trainer.epoch, 0), feed.steps_per_epoch)
        self.interrupted = False
        self.reason = ""
        self.notified = None
        self._resumed = None  # the epoch in which a checkpoint stood
        self._told_step = trainer.step  # the latest step that the hooks of batches were told of

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
                    self._close_complete()
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
        while trainer.epoch < self.until and (self._looked_ahead() or not self.ended()):
            if not self.queue:
                self.queue.append(self.feed.epoch(trainer.epoch))
            epoch = self.queue[0]
            if epoch is not self._resumed:
                self._call("on_epoch_begin", epoch.number)
            self._train(epoch)
            if not epoch.made:  # ended before the first step of this epoch
                break
            if epoch.made < epoch.count:
                self._call("on_interrupt", self.reason)
            elif self.nan_rule == "epoch" and not np.isfinite(epoch.mean_loss(self.sums)):
                self._end_for_nan(epoch)
            self._close_epoch(epoch)
        self.reason = self.reason or "epochs"

    def _end_for_nan(self, epoch):
        """End with this epoch, as it cannot become better; callbacks know it when they are told of the epoch."""
        self.reason = self.reason or "nan"
        warnings.warn(
            f"epoch {epoch.number}: the training loss is {epoch.mean_loss(self.sums)}, so training has ended: look for "
            "NaN in the data (feed=Feed(check_finite=True)), lower the rate or clip gradients; "
            "TerminateOnNaN('never') among the callbacks goes on",
            RuntimeWarning,
            stacklevel=2,
        )

    @property
    def check_nan(self):
        """Whether the next native call ends at a loss that is not finite."""
        return self.nan_rule == "step" or (self.nan_rule == "epoch" and not self.saw_nan)

    def _looked_ahead(self):
        """Whether steps of the coming epoch have been made by the calls of the one before."""
        return bool(self.queue) and self.queue[0] is not self._resumed and self.queue[0].made > 0

    def _train(self, epoch):
        """Train to the end of the epoch, or until something ends the fit."""
        looked_ahead = self._looked_ahead()
        while epoch.made < epoch.count and not (looked_ahead and self.ended()):
            if not self.after_steps(self.feed.advance(self, self.queue)):
                break

    def _measures(self, epoch):
        """Columns of the history that are measured in inference mode; None in epochs without validation."""
        names = ("loss", *(name for name, _ in self.trainer.metrics))
        logs = {}
        for prefix, evaluation in self.measured:
            if evaluation is None:
                continue
            due = prefix == "train_" or (epoch + 1) % self.limits.validation_every == 0 or epoch + 1 == self.until
            values = evaluation.measure(self.trainer) if due else dict.fromkeys(names)
            logs.update((prefix + name, value) for name, value in values.items())
        return logs

    def _logs(self, epoch):
        """The row of the history of an epoch."""
        trainer, seconds = self.trainer, epoch.seconds
        if epoch.number == 0:
            first = mean_loss(np.array(epoch.losses[:1]), np.array(epoch.divisors[:1]), self.sums)
            trainer.history.initial_loss = first
        logs = {"loss": epoch.mean_loss(self.sums), **self._measures(epoch.number)}
        terms = penalty(trainer.optimizer, trainer.model.named_parameters())
        if terms is not None:
            logs["penalty"] = terms
        logs["lr"] = trainer.current_lr()
        logs["seconds"] = seconds
        logs["samples_per_second"] = epoch.rows / seconds if seconds > 0 else 0.0
        return logs

    def _go_on(self, rates):
        """Continue where a checkpoint was written: inside an epoch, or between the callbacks at its end."""
        place = self.place
        if place is None:
            return
        epoch = self.feed.epoch(self.trainer.epoch)
        self.feed.go_to(epoch, place)
        self.place = None
        if epoch.made:
            self.queue.append(epoch)
            self._resumed = epoch
            self._call("on_epoch_begin", epoch.number)
        self.trainer.optimizer.load_config(rates)  # whatever the hooks have set: they had set it before
        restore_callbacks(self.callbacks, place)
        if place.notified is not None and self.trainer.history:
            self._tell(place.notified, self.trainer.epoch - 1, self.trainer.history.last())
        if place.stopping:
            self.trainer.stop()

    def _close_epoch(self, epoch):
        """Enter the epoch into the history before anybody is told, so that a checkpoint by a callback holds it."""
        logs = self._logs(epoch)
        self._enter(epoch, logs)
        self._tell(0, epoch.number, logs)
        self.bar.epoch(epoch.number, logs)

    def _enter(self, epoch, logs):
        """Enter a complete epoch; again, after an exception that came between, changes nothing."""
        history = self.trainer.history
        if not history.epoch or history.epoch[-1] != epoch.number:
            history.add(epoch.number, logs)
        self.trainer.state.epoch = epoch.number + 1
        if epoch in self.queue:
            self.queue.remove(epoch)

    def _close_complete(self):
        """After an error: epochs whose steps have all been made are behind, though nobody was told of them."""
        self.feed.settle()
        while self.queue and self.queue[0].made and self.queue[0].made == self.queue[0].count:
            epoch = self.queue[0]
            self._enter(epoch, {"loss": epoch.mean_loss(self.sums), "seconds": epoch.seconds})
        self.trainer._runner.drop_open()

    def progress_inside(self):
        """(batches made of the running epoch, arrays that the rest of it needs), for a checkpoint."""
        if not self.queue or self.notified is not None:
            return 0, {}
        epoch = self.queue[0]
        return epoch.made, self.feed.progress(epoch)

    def _tell(self, first, epoch, logs):
        try:
            for i in range(first, len(self.callbacks)):
                self.notified = i + 1
                self.callbacks[i].on_epoch_end(epoch, logs)
                self.trainer.history.amend(logs)
        finally:
            self.trainer.history.amend(logs)
        self.notified = None

    def ended(self):
        """True when the fit has to end at this step boundary; notes why."""
        limits = self.limits
        if self.interrupted:
            self.reason = self.reason or "interrupted"
        elif self.trainer._stop_flag[0]:
            self.reason = self.reason or "callback"
        elif limits.deadline is not None and time.monotonic() >= limits.deadline:
            self.reason = self.reason or "max_time"
        elif limits.last_step is not None and self.trainer.step >= limits.last_step:
            self.reason = self.reason or "max_steps"
        return bool(self.reason)

    def may_lookahead(self):
        """Whether steps of the next epochs may be made before this one is closed: nobody looks at what is between."""
        if self.watchers or self.saw_nan or any(evaluation is not None for _, evaluation in self.measured):
            return False
        trainer = self.trainer
        quiet = trainer.scheduler is None and not trainer.optimizer.has_penalties() and trainer.gradient_hook is None
        return quiet and self.limits.last_step is None and self.feed.allows_lookahead

    def most_batches(self, most):
        """How many batches the next call may train on before a callback wants to look or the last step is made."""
        trainer, step = self.trainer, self.trainer.step
        updates = [hook.every_steps - step % hook.every_steps for hook in self.batch_hooks]
        if self.limits.last_step is not None:
            updates.append(self.limits.last_step - step)
        if not updates:
            return most
        return max(1, min(most, min(updates) * trainer.accumulate - trainer.state.open_batches))

    def after_steps(self, losses):
        """Between two native calls: hooks, bar, and the question whether to go on."""
        if len(losses):
            # one batch of an iterable: NumPy on a list of one number takes microseconds
            if not (math.isfinite(losses[0]) if len(losses) == 1 else np.isfinite(losses).all()):
                self.saw_nan = True
                self.reason = self.reason or ("nan" if self.nan_rule == "step" else "")
            for recorder in self.recorders:
                recorder.on_losses(losses)
            step = self.trainer.step
            for callback in self.batch_hooks if step != self._told_step else ():
                if step % callback.every_steps == 0:
                    callback.on_batch_end(step, float(losses[-1]))
            self._told_step = step
            for callback in self.poll_hooks:
                callback.on_poll()
            self.bar.advance(len(losses), losses[-1])
        if self.trainer.state.open_batches:
            return True  # an update is not left half done
        return not self.ended() and len(losses) > 0

    def call_seconds(self):
        """The time that the next native call may take."""
        if self.limits.deadline is None:
            return _CALL_SECONDS
        return max(1e-6, min(_CALL_SECONDS, self.limits.deadline - time.monotonic()))

    def here(self):
        """The `ResumeState` of this fit now, for a checkpoint."""
        if self.place is not None:  # nothing has happened since the checkpoint that this fit continues
            return self.place
        stopping = bool(self.trainer._stop_flag[0]) and not self.interrupted
        return ResumeState.of(self, stopping)

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
