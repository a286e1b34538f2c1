"""One training step of `Trainer.train_step`: the careful way, and the plan that lets the next steps go a short one."""

import numpy as np

from .. import _native
from ..nn.arrays import split_inputs
from ..optim.lr_scheduler.base import Schedule
from ..threads import num_threads as thread_limit
from ..validation import check_threads
from .engine import find_engine
from .targets import LABELS, prepare_target, prepare_weight
from .visible import is_visible, run_visible

_MOST_PLANS = 16
_MOST_AHEAD = 64  # steps whose scalars are computed at once
#: attributes of a trainer that its steps follow: new objects make the plan look at them
_SETTINGS = (
    "model", "loss", "seed", "optimizer", "scheduler", "clip_grad_norm", "clip_grad_value", "ema", "accumulate",
    "gradient_hook", "num_threads", "_holds_average", "_optimizer_state", "_average",
)  # fmt: skip


class StepPlan(_native.Step):
    """What `train_step` has found out about batches of one form.

    ``run(trainer, x, y)`` is native. It asks `renew` here whenever something may have changed, and when the scalars
    that were computed ahead are used up.
    """

    def __init__(self, trainer, engine, x, y, classes):
        loss = trainer.loss
        ignored = getattr(loss, "ignore_index", None)
        domain = getattr(loss, "domain", None)
        super().__init__(
            x,
            y,
            np.arange(len(x), dtype=np.int64),
            None if classes is None else (classes, 0 if ignored is None else ignored),
            None if domain is None else (domain.low, domain.high, bool(domain.ends)),
            trainer.model._guard,
            engine.training.revisions,
            engine.micro_step_column,
        )
        self.engine = engine
        self.made_for = self._circumstances(trainer)

    @staticmethod
    def _circumstances(trainer):
        """What the gradient program depends on."""
        return trainer.seed, id(trainer.model), id(trainer.loss)

    def fits(self, trainer):
        """Whether such a step may be made by this plan at all."""
        current = self.made_for == self._circumstances(trainer) and self.engine.training.revisions.are_current()
        return current and not is_visible(trainer)

    def renew(self, trainer):
        """Follow the optimizer, the schedule and the limits of the trainer as they are now. False: make another plan.

        Raises
        ------
        RuntimeError
            If the model holds its averaged weights.
        """
        if not self.fits(trainer):
            return False
        engine, state = self.engine, trainer._optimizer_state
        engine.refresh()
        pair, schedule = engine.pair(), trainer._schedule()
        ahead = self._steps_ahead(trainer, schedule)
        training, table = pair.training, engine.update.rows(ahead, trainer._rate())
        self.follow(
            training.program,
            (training.index_id, training.loss_id, training.inputs["x0"], training.inputs["y"]),
            pair.scalars(engine.gradient_rows(ahead), table),
            pair.update,
            table,
            tuple(engine.tensors),
            engine.update.counters(),
            tuple([(name, getattr(trainer, name)) for name in _SETTINGS]),
            trainer.optimizer,
            state,
            schedule if isinstance(schedule, Schedule) else None,
            trainer.step,
            trainer.epoch,
            0 if trainer.num_threads is None else check_threads("num_threads", trainer.num_threads),
        )
        return True

    def _steps_ahead(self, trainer, schedule):
        """For how many steps to compute scalars: more the longer nothing interferes. One if changes could be missed."""
        if trainer.optimizer.groups or not (schedule is None or isinstance(schedule, Schedule)):
            return 1
        went_on = self.at == self.count > 0 and self.clock == trainer._optimizer_state.clock
        return min(2 * self.count, _MOST_AHEAD) if went_on else 1


def careful_step(trainer, x, y, sample_weight):
    """A step on a batch of any form; see `Trainer.train_step`."""
    with trainer.model._guard.writing(), thread_limit(trainer.num_threads):
        return _guarded_step(trainer, x, y, sample_weight)


def _guarded_step(trainer, x, y, sample_weight):
    names, arrays = split_inputs(x)
    rows = len(arrays[0])
    if rows == 0:
        raise ValueError("train_step: x has no rows")
    shape = trainer._output_shape(names, arrays)
    target, spec = prepare_target(y, trainer.loss, shape, rows, trainer.model.dtype)
    weight = None if sample_weight is None else prepare_weight(sample_weight, rows, trainer.model.dtype, trainer.loss)
    engine = find_engine(trainer, names, arrays, target, spec, weight is not None, rows)
    externals = engine.externals(arrays, target, weight)
    engine.check_rows(rows)
    index, offsets = np.arange(rows, dtype=np.int64), np.array([0, rows], dtype=np.int64)
    losses, visible = np.zeros(1), is_visible(trainer)
    if visible:
        run_visible(engine, externals, index, offsets, losses, [1.0])
    else:
        engine.run(externals, index, offsets, losses, stop=None)
    if names is None and arrays[0] is x and weight is None and not visible:
        _remember(trainer, engine, x, y, target, spec, shape)
    return float(losses[0])


def _remember(trainer, engine, x, y, target, spec, shape):
    """Let the next step on a batch of this form go the short way, if its arrays are read as they are."""
    if engine.training.segmented or "x0" not in engine.training.inputs or "y" not in engine.training.inputs:
        return
    if type(y) is not np.ndarray or max(x.ndim, y.ndim) > 8:
        return
    classes = None
    if spec == LABELS:
        if shape is None:
            return
        classes = shape[-1]
    elif not np.may_share_memory(target, y):
        return
    elif getattr(trainer.loss, "domain", None) is not None and not _is_plain_real(y):
        return
    plans = [plan for plan in trainer._step_plans if plan.fits(trainer)]
    trainer._step_plans = [StepPlan(trainer, engine, x, y, classes), *plans][:_MOST_PLANS]


def _is_plain_real(y):
    return y.dtype in (np.float32, np.float64) and y.flags.c_contiguous
