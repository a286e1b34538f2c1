"""StepProgram: the compiled training step of one model, loss and optimizer for one kind of data.

A gradient program (from the graph), an update program (from optim), or one that has large updates inside, and the
scalars that they need for the next steps. Python does nothing per batch: `run` is one native call for many steps
(decision 4).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..graph.build import TrainingProgram
from ..graph.parameter import Parameter, logical_view
from ..nn.losses import meaning_of
from ..optim.update import Limits, Update
from .targets import target_kind


class FusedPrograms:
    """The two programs of a step as they run: gradients and update apart, or updates inside the gradients' program.

    Parameters
    ----------
    plain : graph.TrainingProgram
        Computes all gradients. Buffers of data sets are named by its ids.
    update : optim.update.Update
    fuse : bool

    Attributes
    ----------
    training : graph.TrainingProgram
        `plain`, or one that updates the large weights itself (graph/passes/update.py).
    update : native program
        The update of all other parameters.
    """

    def __init__(self, plain: TrainingProgram, update: Update, *, fuse: bool = True):
        fused = plain.with_steps(update.steps(len(plain.scalar_names))) if fuse else None
        self.is_fused = fused is not None
        self.training = fused if self.is_fused else plain
        self.update = update.compile(fused.updated) if self.is_fused else update.program
        self._ids = {id_: self.training.inputs[name] for name, id_ in plain.inputs.items()}

    def externals(self, externals):
        """{buffer of `training`: array} from {buffer of `plain`: array}."""
        return {self._ids[id_]: array for id_, array in externals.items()} if self.is_fused else externals

    def scalars(self, rows, update_rows):
        """The rows of `training`'s scalars, from those of the plain gradients and of the update."""
        return np.hstack([rows, update_rows]) if self.is_fused else rows

    def run_steps(
        self, externals, index, offsets, rows, update_rows, losses, *, updates=None, stop=None, seconds=0.0,
        check_nan=False, ledger=None,
    ):  # fmt: skip
        """Many steps in one call, in terms of the plain programs; returns how many were made."""
        return self.training.run_steps(
            self.update, self.externals(externals), index, offsets, self.scalars(rows, update_rows), update_rows,
            updates, losses, stop, seconds, check_nan, ledger,
        )  # fmt: skip


class StepProgram:
    """See the module. Made by `StepRunner.program`.

    Attributes
    ----------
    training : graph.TrainingProgram
    update : optim.update.Update
    accumulates : bool
        Gradients are those of sums over rows, added to the arena until an update.
    sums : bool
        The loss is a sum over rows already: it has no divisor.
    """

    def __init__(self, trainer, training: TrainingProgram, accumulates: bool):
        self.trainer, self.training, self.accumulates = trainer, training, accumulates
        self.sums = meaning_of(trainer.loss).reduction == "sum"
        model = trainer.model
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        if not training.gradients:
            raise ValueError("nothing to train: every parameter of the model is frozen or unused by the loss")
        trainer.optimizer.check_groups(list(self.names.values()))
        self.tensors = [parameter for parameter, _ in training.gradients]
        self.tensors += [buffer for _, buffer in model.named_buffers()]
        self.micro_step_column = training.scalar_names.index("micro_step")
        self._make_update()

    def _make_update(self):
        trainer, training = self.trainer, self.training
        self.items: list[tuple[str, Parameter, NDArray]] = [
            (self.names.get(id(parameter), parameter.name or f"parameter{i}"), parameter, gradient)
            for i, (parameter, gradient) in enumerate(training.gradients)
        ]
        self.update = Update(
            trainer.optimizer,
            trainer.state.optimizer_state,
            self.items,
            trainer.model.dtype,
            arena=training.arena,
            limits=self._limits(),
            averages=trainer.state.average,
            clears=self.accumulates,
        )
        self.ledger = _native.Ledger(
            trainer.state, trainer.state.optimizer_state, tuple(self.tensors), self.update.counters()
        )
        self.update.ledger = self.ledger
        self._programs = None

    def programs(self) -> FusedPrograms:
        """The programs of a step whose gradients nothing looks at."""
        if self._programs is None:
            self._programs = FusedPrograms(self.training, self.update, fuse=not self.accumulates)
        return self._programs

    def _limits(self):
        trainer = self.trainer
        return Limits(trainer.clip_grad_norm, trainer.clip_grad_value, trainer.ema)

    def refresh(self) -> None:
        """Follow the optimizer and the trainer's limits; and parameters that were trained apart."""
        optimizer, update, limits = self.trainer.optimizer, self.update, self._limits()
        self.trainer.state.optimizer_state.start(optimizer)
        followed = update.follows(optimizer, limits)
        if not followed and update.signature != Update.signature_of(optimizer, limits):
            optimizer.check_groups(list(self.names.values()))
            self._make_update()
        elif not update.is_current():
            self._make_update()
        elif not followed:
            update.follow(optimizer, limits)

    def externals(self, arrays, target, weight) -> dict[int, NDArray]:
        """{buffer id: array} of a data set."""
        ids = self.training.inputs
        result = {ids[f"x{i}"]: array for i, array in enumerate(arrays) if f"x{i}" in ids}
        if "y" in ids:
            if target_kind(self.trainer.loss) != "class":  # else its labels were checked with the data
                self.training.validate_labels("y", target)
            result[ids["y"]] = target
        if weight is not None and "w" in ids:
            result[ids["w"]] = weight
        return result

    def check_rows(self, rows: int) -> None:
        """Raise ValueError if a step cannot be made on so few rows."""
        if rows == 1 and self.training.needs_two_rows:
            raise ValueError("batch norm needs at least 2 rows to train on: the statistics of one row do not exist")

    def gradient_rows(self, count: int) -> NDArray[np.float64]:
        """Scalar rows of the gradient program for the next `count` batches, each with an update of its own."""
        table = np.zeros((count, len(self.training.scalar_names)))
        table[:, self.micro_step_column] = self.trainer.state.micro_step + np.arange(count)
        table[:, 2:] = 1.0
        return table

    def run(self, externals, batches, *, seconds, check_nan, stop) -> int:
        """Make the steps of a list whose batches have an update each, in one native call; how many were made."""
        count = len(batches.offsets) - 1
        return self.programs().run_steps(
            externals, batches.index, batches.offsets, self.gradient_rows(count),
            self.update.rows(count, self.trainer._rate()), batches.losses,
            stop=stop, seconds=seconds, check_nan=check_nan, ledger=self.ledger,
        )  # fmt: skip

    def run_groups(self, externals, batches, groups, *, seconds, check_nan, stop) -> int:
        """The same for batches that share updates."""
        table = groups.gradient_rows(self)
        totals = groups.totals()
        updates = np.zeros((len(groups.updates), self.update.width))
        updates[groups.updates] = self.update.rows(len(totals), self.trainer._rate(), None if self.sums else totals)
        return self.programs().run_steps(
            externals, batches.index, batches.offsets, table, updates, batches.losses,
            updates=groups.updates.view(np.int8), stop=stop, seconds=seconds, check_nan=check_nan, ledger=self.ledger,
        )  # fmt: skip

    def add_gradients(self, externals, index, offsets, table, losses) -> None:
        """Compute the gradients of some batches and leave them in the arena, to be looked at."""
        self.training.run_steps(
            None, externals, index, offsets, table, None, None, losses, None, 0.0, False, self.ledger
        )  # fmt: skip

    def apply(self, divisor: float | None) -> None:
        """Make the update of the gradients in the arena; divisor: what these sums are divided by."""
        totals = None if divisor is None or self.sums else np.array([divisor])
        row = self.update.rows(1, self.trainer._rate(), totals)[0]
        _native.run_update(self.update.program, tuple(row[: self.update.width]), self.ledger)

    def named_gradients(self) -> Mapping[str, NDArray]:
        """{name: writable view of the gradient in logical shape}."""
        return {name: logical_view(gradient, parameter.shape) for name, parameter, gradient in self.items}
