"""One trial of a search: a model made from parameters, trained up to a number of epochs, and measured."""

import inspect
import math
import time

import numpy as np

from ..seeds import seeded
from ..training.callbacks import EarlyStopping, TerminateOnNaN
from ..training.feed.options import as_feed

# Parameters of this name go to Trainer.fit, and to the factory too if it takes them.
_FIT_PARAMETERS = ("batch_size", "class_weight", "shuffle")


def larger_is_better(monitor, mode):
    """Whether a larger value of the quantity is a better one, by `EarlyStopping`'s rule."""
    return EarlyStopping(monitor, mode=mode).larger


def _finite(value):
    return float(value) if value is not None and math.isfinite(value) else None


def best_of(curve, larger, until=math.inf):
    """[epochs, score] of the best epoch of a curve (the earliest of equals), None for a score that never was finite."""
    found = [point for point in curve if point[0] <= until and point[1] is not None]
    return min(found, key=lambda point: -point[1] if larger else point[1], default=[0, None])


class Job:
    """Which trial, its parameters, up to which epoch, and its trainer if it has been trained already.

    ``curve`` holds [epochs, score] of every epoch, ``done`` the epochs made.
    """

    __slots__ = ("number", "params", "epochs", "model", "curve", "done", "seconds")

    def __init__(self, number, params, epochs):
        self.number, self.params, self.epochs = number, params, epochs
        self.model, self.curve, self.done, self.seconds = None, [], 0, 0.0

    def __getstate__(self):
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state):
        for name, value in state.items():
            setattr(self, name, value)


class RunTrial:
    """``run(job, slot)`` trains a job's model and returns (trial record, model), or None when the time is over.

    Can be pickled if the factory can.
    """

    def __init__(self, factory, x, y, rows, validation, options, *, monitor, larger, patience, seed, deadline):
        self.factory, self.x, self.y, self.rows, self.validation = factory, x, y, rows, validation
        self.options, self.monitor, self.patience = options, monitor, patience
        self.seed, self.deadline = seed, deadline
        self.larger = larger
        self.first_error = None  # of a trial that has failed in this process

    def __call__(self, job, slot):
        left = None if self.deadline is None else self.deadline - time.time()
        if left is not None and left <= 0:
            return None
        began, failure = time.perf_counter(), {}
        try:
            score, status, model = self._made(job, left, slot)
        except Exception as error:  # of these parameters: the other trials go on
            score, status, model = None, "failed", None
            failure = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            self.first_error = self.first_error or error
        record = {
            "number": job.number,
            "params": job.params,
            "score": score,
            "epochs": job.done,
            "seconds": round(job.seconds + time.perf_counter() - began, 4),
            "status": status,
            "curve": job.curve,
            **failure,
        }
        return record, model

    def _made(self, job, left, slot):
        """(score, status, model) of a job."""
        params, options = self._share_out(job.params)
        model = job.model
        if model is None:
            model = self._make(params)
        if hasattr(model, "train_step"):
            return *self._train(model, job, options, left, slot), model
        return self._fit_estimator(model, options), "done", model

    def _share_out(self, params):
        """(arguments of the factory, options of the fit)"""
        params, options = dict(params), dict(self.options)
        accepted = inspect.signature(self.factory).parameters
        takes_all = any(p.kind == p.VAR_KEYWORD for p in accepted.values())
        for name in _FIT_PARAMETERS:
            if name in params:
                options[name] = params[name]
                if not takes_all and name not in accepted:
                    del params[name]
        if "seed" in accepted and "seed" not in params:
            params["seed"] = self.seed
        return params, options

    def _make(self, params):
        try:
            inspect.signature(self.factory).bind(**params)
        except TypeError as error:
            raise TypeError(f"the factory and the space do not fit: {error}") from None
        with seeded(self.seed):  # trials differ by their parameters only
            model = self.factory(**params)
        if not (hasattr(model, "fit") and (hasattr(model, "train_step") or hasattr(model, "score"))):
            raise TypeError(f"the factory must return a Trainer or an estimator with fit and score, not {model!r}")
        return model

    def _train(self, trainer, job, options, left, slot):
        if job.epochs < 1:
            raise ValueError("say how many epochs a trial shall train: search.fit(x, y, epochs=...)")
        own = options.pop("callbacks", None)
        feed = as_feed(options.pop("feed", None)).with_rows(self.rows)
        callbacks = [TerminateOnNaN(), *(() if own is None else own()), *slot.callbacks()]
        stop = None
        if self.patience is not None:
            stop = EarlyStopping(self.monitor, patience=self.patience)
            callbacks.append(stop)
        if left is not None:
            options["max_time"] = min(left, options.get("max_time") or left)
        with slot.watch(trainer):
            trainer.fit(self.x, self.y, feed=feed, validation_data=self.validation, epochs=job.epochs - job.done,
                        callbacks=callbacks, progress=False, **options)  # fmt: skip
        history = trainer.history
        job.done = trainer.epoch
        job.curve = self._columns(history)
        # a limit of the trial's own is part of the trial; the search's cuts it short
        cut = history.stop_reason == "max_time" and self.deadline is not None and time.time() >= self.deadline
        if history.stop_reason == "nan" or not job.curve or job.curve[-1][1] is None:
            return None, "time" if cut else "diverged"
        return best_of(job.curve, self.larger)[1], "time" if cut else "done"

    def _columns(self, history):
        if len(history) and self.monitor not in history:
            self._refuse(history.keys())
        values = history[self.monitor] if len(history) else []
        return [[epoch + 1, _finite(value)] for epoch, value in zip(history.epoch, values)]

    def _refuse(self, known):
        raise ValueError(
            f"the search monitors {self.monitor!r}, which the trials do not produce; they have {', '.join(known)}"
        )

    def _fit_estimator(self, estimator, options):
        options = {name: value for name, value in options.items() if name not in ("callbacks", *_FIT_PARAMETERS)}
        x, y = (self.x, self.y) if self.rows is None else (self.x[self.rows], self.y[self.rows])
        estimator.fit(x, y, **options)
        held, target = self.validation[:2]
        score = float(estimator.score(held, target))
        return score if np.isfinite(score) else None
