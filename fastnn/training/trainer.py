"""Trainer: a model, a loss and an optimizer, and the loop around the step."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..graph.loss_call import call_loss
from ..nn.losses import meaning_of
from ..nn.module import Module
from ..nn.predict import Samples, predict_mc
from ..optim.base import Optimizer
from ..optim.lr_scheduler.base import StepRates
from ..threads import num_threads as thread_limit
from ..validation import Strict
from .callbacks.base import Callback
from .evaluation import ArrayEvaluation, StreamEvaluation
from .feed.batch import is_batches
from .feed.dataset import Data
from .feed.options import Feed
from .history import History
from .metrics import measure, resolve
from .runner import StepRunner
from .settings import CHECKS
from .state import TrainerState
from .targets import LABELS, prepare_target, prepare_weight

Metrics = Sequence[str | Callable[..., Any]] | str | Callable[..., Any] | None


class Trainer(Strict):
    """Trains a model.

    Parameters
    ----------
    model : nn.Module
    loss : nn loss, or callable (output, target[, sample_weight=]) -> scalar over ``fastnn.functional``
    optimizer : optim.Optimizer
        Configuration, of which the trainer takes a copy: ``trainer.optimizer`` is its own, and its options may change
        at any time (``trainer.optimizer.lr = 1e-4``) and act at the next step. Its state (moments, step counts) lives
        here, per parameter name.
    scheduler : optim.lr_scheduler.Schedule, or callable (base_lr, step, epoch) -> lr, or ReduceLROnPlateau, optional
        A pure function: base_lr of the group, ``step`` an int64 array of step numbers from 0, ``epoch`` from 0.
    metrics : sequence of str or callable (target, output) -> float
        ``"accuracy", "top_5"`` (any number), ``"f1", "f1_macro", "f1_micro", "auc", "mse", "rmse", "mae", "r2"``;
        measured in inference mode on the validation data (`fit`) and by `evaluate`. The loss says what outputs mean.
    clip_grad_norm, clip_grad_value : float, optional
        Clip gradients by value to ``[-v, v]``, then by global norm, exactly ``g * u / ||g||`` if ``||g|| > u``.
    accumulate : int, default 1
        Batches per update, in `fit` on arrays and iterables and in `train_step`; fewer at the end of an epoch.
        Their gradients are added as sums over rows and divided once, before clipping, by the loss's own divisor of all
        their rows (weights counted, ignored labels not): the step of the one large batch.
    ema : float, optional
        Keep an average of the weights with this decay, such as 0.999: ``v = ema * v + (1 - ema) * w`` after every
        update, divided by ``1 - ema**t`` (see `averaged` and `averaged_state_dict`).
    gradient_hook : callable ({name: gradient array in logical shape}), optional
        May change the gradients (means, also with `accumulate`) in place before the update. Costs a return to Python
        per update.
    num_threads : int, optional
        Threads for this trainer's native calls; default: see ``fastnn.set_num_threads``.
    seed : int, default 0
        Keys the order of the rows, dropout, and validation splits. Initial weights have the model's seed.
    frozen : str or sequence of str, default ()
        Names of parameters, as globs such as ``"critic.*"``, that this trainer leaves alone, whatever others do with
        them: two trainers of one model can train its parts against each other.

    Attributes
    ----------
    epoch, step : int
        Epochs and updates made so far; a second `fit` continues them.
    history : History
    """

    _checks = CHECKS
    _kind = "trainer"

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        *,
        scheduler: Callable[..., Any] | Callback | None = None,
        metrics: Metrics = (),
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        gradient_hook: Callable[[dict[str, NDArray[Any]]], Any] | None = None,
        num_threads: int | None = None,
        seed: int = 0,
        frozen: str | Sequence[str] = (),
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.metrics = metrics
        self.clip_grad_norm = clip_grad_norm
        self.clip_grad_value = clip_grad_value
        self.accumulate = accumulate
        self.ema = ema
        self.gradient_hook = gradient_hook
        self.num_threads = num_threads
        self.seed = seed
        self.frozen = frozen
        self.state = TrainerState()
        self._runner = StepRunner(self)
        self._fit = None  # the Fit that is running
        self._stop_flag = np.zeros(1, np.int32)

    def __setattr__(self, name, value):
        if name == "metrics":
            value = resolve(() if value is None else value, self.loss)
        changed = name in ("loss", "model") and self.__dict__.get(name, value) is not value
        if changed and name == "loss":
            resolve([metric for _, metric in self.metrics], value)  # it has to answer them
        super().__setattr__(name, value)
        if changed:
            self._runner.forget()
            if name == "model":  # the moments and averages are those of the other one's parameters
                self.state.forget_moments()

    def __getstate__(self):
        # programs are compiled again where they are needed; a copy made by a callback is not inside the fit
        return {**self.__dict__, "_runner": None, "_fit": None}

    def __setstate__(self, values):
        self.__dict__.update(values)
        self._runner = StepRunner(self)

    # ---- what has been trained ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.state.epoch

    @property
    def step(self) -> int:
        """Updates made."""
        return self.state.step

    @property
    def history(self) -> History:
        """What happened in each epoch."""
        return self.state.history

    # ---- training ----------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int | str = 128,
        validation_data: Any = None,
        validation_split: float | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | str | None = None,
        shuffle: bool | str = True,
        callbacks: Callback | Iterable[Callback] | None = (),
        progress: bool = True,
        max_time: float | None = None,
        max_steps: int | None = None,
        eval_train: bool = False,
        validation_every: int = 1,
        resume: str | os.PathLike[str] | None = None,
        feed: Feed | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array (rows, ...), tuple or dict of arrays, memmap, or re-iterable of ``(x, y[, weight])`` batches
            Never copied as a whole (see ``nn.arrays`` for the few dtypes that are); rows are gathered and converted
            natively, batch by batch.
        y : array
            Class labels (rows,) for a class loss (or float rows of probabilities), else targets of the output's shape;
            (rows,) against (rows, 1) is reshaped, nothing else is.
        epochs : int
            How many more; a second call continues epochs, weights and moments.
        batch_size : int or "full"
            The last batch of an epoch takes the remainder; a remainder of one row joins the batch before it if the
            model has batch statistics.
        validation_data : (x, y) or (x, y, sample_weight), optional
        validation_split : float, optional
            Share of the rows to hold out, drawn with the seed, stratified for class labels.
        sample_weight : array (rows,), optional
            A batch's mean is divided by the sum of its weights.
        class_weight : dict, sequence or "balanced", optional
            Multiplies the sample weights by one weight per class; class labels only. The validation loss is weighted by
            class as well, so that both are one quantity; metrics never are.
        shuffle : {True, "once", False}
            A new order per epoch, one order for all epochs, the order given.
        callbacks : sequence of Callback
        progress : bool
            A bar on a terminal or in a notebook; elsewhere now and then a line through the logger "fastnn".
        max_time : float, optional
            Seconds after which the fit ends, at a step boundary.
        max_steps : int, optional
            Updates after which the fit ends.
        eval_train : bool
            Add the loss and metrics of the training rows in inference mode (``train_loss``, ...).
        validation_every : int, default 1
            Measure on the validation data after every so many epochs, and after the last.
        resume : str or path-like, optional
            Continue from this checkpoint if the file exists, else begin: a script that is run again after a crash goes
            on where it was. If the checkpoint was written inside a fit (by `ModelCheckpoint`), that fit is continued:
            ``epochs`` counts from its beginning.
        feed : training.Feed, optional
            Which rows an epoch trains on, in which order of difficulty, and how they are changed: ``Feed(rows=,
            augment=, curriculum=, check_finite=)``.

        Returns
        -------
        History
            All epochs so far (also in ``trainer.history``). After Ctrl-C the model is usable, callbacks have ended,
            and KeyboardInterrupt goes on to the caller.

        Raises
        ------
        ValueError, TypeError, IndexError
            About the data, before the first write.
        """
        from .fit import fit

        return fit(
            self,
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            sample_weight=sample_weight,
            class_weight=class_weight,
            shuffle=shuffle,
            callbacks=callbacks,
            progress=progress,
            max_time=max_time,
            max_steps=max_steps,
            eval_train=eval_train,
            validation_every=validation_every,
            resume=resume,
            feed=feed,
        )

    def stop(self) -> None:
        """End the running fit at the next step boundary. May be called by a callback or by another thread."""
        self._stop_flag[0] = 1

    def train_step(self, x: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Make one training step on all rows of x.

        Parameters
        ----------
        x : array (rows, ...), or a tuple or dict of arrays
        y : array
        sample_weight : array (rows,), optional

        Returns
        -------
        float
            The loss of the batch in training mode, before the update.
        """
        return self._runner.step(x, y, sample_weight)

    def end_epoch(self) -> None:
        """End an epoch of a loop of `train_step`: what is open is updated, and schedules by the epoch go on.

        Notes
        -----
        ``trainer.epoch`` grows by one. With ``accumulate=k`` the batches that wait for others make their update now.
        """
        if self._fit is not None:
            raise RuntimeError("end_epoch is for loops of train_step: fit ends its epochs itself")
        self._runner.close_update()
        self.state.epoch += 1

    def _output_shape(self, names, arrays):
        """Shape of the model's output without rows, or None for several outputs; one row is predicted to see it."""
        if isinstance(arrays[0], np.ndarray) and len(arrays[0]) == 0:
            raise ValueError("there are no rows to train on")
        first = tuple(array[:1] for array in arrays)
        output = self.model.predict(first if names is None else dict(zip(names, first, strict=True)))
        return output.shape[1:] if isinstance(output, np.ndarray) else None

    def current_lr(self) -> float:
        """The optimizer's own rate at the step made last, schedule included."""
        schedule = self._schedule()
        if schedule is None:
            return float(self.optimizer.lr)
        step = np.array([max(self.step - 1, 0)], dtype=np.int64)
        return float(np.ravel(schedule(self.optimizer.lr, step, self.epoch))[0])

    def _rate(self):
        """The schedule from the next step on, or None."""
        schedule = self._schedule()
        return None if schedule is None else StepRates(schedule, self.step, self.epoch)

    def _schedule(self):
        """The scheduler, unless it is one that watches the history: `fit` calls that one as a callback."""
        return None if isinstance(self.scheduler, Callback) else self.scheduler

    # ---- measuring ---------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any = None, *, sample_weight: ArrayLike | None = None) -> dict[str, float]:
        """Return {"loss": float, metric: float, ...} in inference mode.

        The loss is the mean per row, weighted by class and sample weights, whatever its reduction. Metrics count every
        row once, those with an ignored label not at all; all are NaN if the model's outputs are not finite.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`; x may be an iterable of ``(x, y[, weight])`` batches.

        """
        if y is None and is_batches(x):
            return StreamEvaluation(x).measure(self)
        return ArrayEvaluation.of(Data(self, x, y, sample_weight, what="evaluate: ")).measure(self)

    def _measure(self, x, target, spec, weight):
        with thread_limit(self.num_threads):
            return self._measured(self.model.predict(x), target, spec, weight)

    def _measure_outputs(self, output, y, sample_weight):
        """The same from outputs that are there and a target that was not looked at yet."""
        rows, dtype = len(output), self.model.dtype
        target, spec = prepare_target(y, self.loss, output.shape[1:], rows, dtype)
        weight = None if sample_weight is None else prepare_weight(sample_weight, rows, dtype, self.loss)
        with thread_limit(self.num_threads):
            return self._measured(output, target, spec, weight)

    def _measured(self, output, target, spec, weight):
        if spec != LABELS and isinstance(output, np.ndarray):
            target = np.ascontiguousarray(target, dtype=output.dtype)
        loss = call_loss(self.loss, output, target, weight)
        per_row = meaning_of(self.loss).per_row(float(loss), target, weight)
        return {"loss": per_row, **measure(self.metrics, self.loss, target, output)}

    def predict(self, x: Any, *, out: NDArray[Any] | None = None) -> Any:
        """The same as ``trainer.model.predict(x, out=out)``."""
        with thread_limit(self.num_threads):
            return self.model.predict(x, out=out)

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """Probabilities of the output's shape: what the loss says that the outputs stand for.

        Softmax of the outputs for `CrossEntropyLoss`, sigmoid for `BCEWithLogitsLoss`, the outputs for `BCELoss`.

        Raises
        ------
        ValueError
            If the loss knows of no probabilities (see ``nn.losses.meaning_of``).
        """
        meaning = meaning_of(self.loss)
        if not meaning.has_probabilities:
            meaning.probabilities(None)  # raises, before anything is computed
        return meaning.probabilities(self.predict(x))

    def overfit(self, batch: Sequence[Any], *, steps: int = 200) -> Any:
        """Try to learn a few rows by heart: a sound network, loss and rate can, and a fit may begin.

        The trainer and its model are afterwards what they were before.

        Parameters
        ----------
        batch : (x, y) or (x, y, sample_weight)
            Some ten rows.
        steps : int, default 200

        Returns
        -------
        training.overfit.Overfit
            True in a condition if every decision is right (values: R² of 0.99); ``print`` says what to look at.
        """
        from .overfit import overfit

        return overfit(self, batch, steps)

    def predict_mc(
        self, x: Any, n: int = 100, *, function: Callable[..., Any] | None = None, keep: bool = False, seed: int = 0
    ) -> Samples:
        """Predict `n` times with live dropout: mean and standard deviation. See `nn.predict_mc`."""
        with thread_limit(self.num_threads):
            return predict_mc(self.model, x, n, function=function, keep=keep, seed=seed)

    # ---- averaged weights --------------------------------------------------------------------------------------

    def averaged_state_dict(self) -> dict[str, NDArray[Any]]:
        """The model's ``state_dict()`` with averaged weights (see `ema`) in place of those that have been averaged."""
        from .average import averaged_state_dict

        return averaged_state_dict(self)

    def averaged(self) -> AbstractContextManager[Module]:
        """Context manager: inside it the model has the averaged weights, for predicting, evaluating and saving.

        The trained weights are back afterwards; training inside raises RuntimeError.
        """
        from .average import averaged

        return averaged(self)

    # ---- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return (arrays, values): weights and moments in logical shape, and JSON-able counters and history."""
        from .state import state_dict

        return state_dict(self)

    def load_state_dict(self, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, from any ISA and number of threads."""
        from .state import load_state_dict

        load_state_dict(self, arrays, values)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write everything that training needs to go on to one file, which is replaced in one step.

        Weights and running statistics, the optimizer's state and options, averaged weights, counters (which key the
        order of the rows and all random masks) and history; inside a fit (from a callback) also the place in the epoch
        and the callbacks' state. Safetensors with a SHA-256 and a JSON header; no pickle.

        Parameters
        ----------
        path : str or path-like
            A crash while writing leaves the file that was there before.
        """
        from .checkpoint import save

        save(self, path)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Load a checkpoint into this trainer: training goes on with the bits of an uninterrupted run.

        Parameters
        ----------
        path : str or path-like
            What `save_checkpoint` wrote, for the same model and kind of optimizer. The optimizer's options are those
            of the checkpoint; change ``trainer.optimizer.lr`` afterwards if you want another rate.

        Notes
        -----
        If it was written inside a fit, the next `fit` needs the same data, ``batch_size``, ``shuffle`` and callbacks.
        It first completes the epoch that was begun, which counts as one of its ``epochs`` (what is left are
        ``epochs=total - trainer.epoch``; or see ``fit(resume=)``), and callbacks get their state back.

        Raises
        ------
        ValueError
            Not a checkpoint, damaged, or of another model or optimizer. The trainer is then as it was.
        """
        from .checkpoint import resume

        resume(self, path)
