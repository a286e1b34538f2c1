"""CachedStep: what a step on a batch has found out, so that the next ones like it are one native call."""

import numpy as np

from .. import _native
from ..optim.lr_scheduler.base import Schedule
from ..validation import check_threads
from .targets import LABELS

_MOST_ROWS = 64  # steps whose scalars are computed at once
#: attributes of a trainer that its steps follow: new objects make the cached step look at them
_SETTINGS = (
    "model", "loss", "seed", "optimizer", "scheduler", "clip_grad_norm", "clip_grad_value", "ema", "accumulate",
    "gradient_hook", "num_threads", "frozen", "state",
)  # fmt: skip


class CachedStep(_native.Step):
    """Steps on batches of one spec: dtypes, shapes and strides.

    ``run(trainer, x, y)`` is native. It asks `renew` here whenever something may have changed, and when the scalars
    that were computed for the steps to come are used up.
    """

    def __init__(self, trainer, program, x, y, classes):
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
            program.training.revisions,
            program.micro_step_column,
        )
        self.program = program
        self.made_for = self._circumstances(trainer)

    @staticmethod
    def _circumstances(trainer):
        """What the gradient program depends on."""
        return trainer.seed, trainer.frozen, id(trainer.model), id(trainer.loss)

    def fits(self, trainer):
        """Whether such a step may be made at all."""
        current = self.made_for == self._circumstances(trainer) and self.program.training.revisions.are_current()
        return current and trainer._runner.takes_cached_steps()

    def renew(self, trainer):
        """Follow the optimizer, the schedule and the limits of the trainer as they are now. False: this one is stale.

        Raises
        ------
        RuntimeError
            If the model holds its averaged weights.
        """
        if not self.fits(trainer):
            return False
        trainer._runner.refuse_averaged()
        self.program.refresh()
        programs, schedule = self.program.programs(), trainer._schedule()
        count = self._lookahead(trainer, schedule)
        training, table = programs.training, self.program.update.rows(count, trainer._rate())
        self.follow(
            training.program,
            (training.index_id, training.loss_id, training.inputs["x0"], training.inputs["y"]),
            programs.scalars(self.program.gradient_rows(count), table),
            programs.update,
            table,
            self.program.ledger,
            tuple([(name, getattr(trainer, name)) for name in _SETTINGS]),
            trainer.optimizer,
            schedule if isinstance(schedule, Schedule) else None,
            0 if trainer.num_threads is None else check_threads("num_threads", trainer.num_threads),
        )
        return True

    def _lookahead(self, trainer, schedule):
        """For how many steps to compute scalars: more the longer nothing interferes. One if changes could be missed."""
        if trainer.optimizer.groups or not (schedule is None or isinstance(schedule, Schedule)):
            return 1
        went_on = self.at == self.count > 0 and self.clock == trainer.state.optimizer_state.clock
        return min(2 * self.count, _MOST_ROWS) if went_on else 1


def remember(trainer, program, x, y, target, spec, shape):
    """The CachedStep for batches of this spec, or None unless arrays are read as they are."""
    if program.training.segmented or "x0" not in program.training.inputs or "y" not in program.training.inputs:
        return None
    if type(y) is not np.ndarray or max(x.ndim, y.ndim) > 8:
        return None
    classes = None
    if spec == LABELS:
        if shape is None:
            return None
        classes = shape[-1]
    elif not np.may_share_memory(target, y):
        return None
    elif getattr(trainer.loss, "domain", None) is not None and not _is_plain_real(y):
        return None
    return CachedStep(trainer, program, x, y, classes)


def _is_plain_real(y):
    return y.dtype in (np.float32, np.float64) and y.flags.c_contiguous
