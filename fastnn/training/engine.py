"""Engine: the compiled training step of one model, loss and optimizer for one kind of data.

A gradient program (from the graph) and an update program (from optim), and the scalars that they need for the next
steps. Python does nothing per batch here: `run` is one native call for many steps (decision 4).
"""

import numpy as np

from .. import _native, graph
from ..nn.arrays import spec_of
from ..nn.predict import with_names
from ..nn.symmetry import warn_of_equal_units
from ..optim.update import Limits, Update
from .pair import Pair
from .targets import LABELS, target_kind

_CACHE_LIMIT = 8
_NO_LIMIT = 0.0


class Engine:
    """See the module. Made by `find_engine`.

    Attributes
    ----------
    training : graph.TrainingProgram
    update : optim.update.Update
    """

    def __init__(self, trainer, training):
        self.trainer = trainer
        self.training = training
        model = trainer.model
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        if not training.gradients:
            raise ValueError("nothing to train: every parameter of the model is frozen or unused by the loss")
        trainer.optimizer.check_groups(list(self.names.values()))
        self.tensors = [parameter for parameter, _ in training.gradients]
        self.tensors += [buffer for _, buffer in model.named_buffers()]
        self.micro_step_column = training.scalar_names.index("micro_step")
        self.first_row_column = training.scalar_names.index("first_row")
        self._make_update()

    def _make_update(self):
        trainer, training = self.trainer, self.training
        items = [
            (self.names.get(id(parameter), parameter.name or f"parameter{i}"), parameter, gradient)
            for i, (parameter, gradient) in enumerate(training.gradients)
        ]
        self.items = items
        self.update = Update(
            trainer.optimizer,
            trainer._optimizer_state,
            items,
            trainer.model.dtype,
            arena=training.arena,
            limits=self._limits(),
            averages=trainer._average,
        )
        self._pair = None

    def pair(self):
        """The programs of a step whose gradients nothing looks at."""
        if self._pair is None:
            self._pair = Pair(self.training, self.update)
        return self._pair

    def _limits(self):
        trainer = self.trainer
        return Limits(trainer.clip_grad_norm, trainer.clip_grad_value, trainer.ema)

    def refresh(self):
        """Follow the optimizer and the trainer's limits; and parameters that were trained apart."""
        _refuse_averaged(self.trainer)
        optimizer, update, limits = self.trainer.optimizer, self.update, self._limits()
        self.trainer._optimizer_state.start(optimizer)
        followed = update.follows(optimizer, limits)
        if not followed and update.signature != Update.signature_of(optimizer, limits):
            optimizer.check_groups(list(self.names.values()))
            self._make_update()
        elif not update.is_current():
            self._make_update()
        elif not followed:
            update.follow(optimizer, limits)

    def externals(self, arrays, target, weight):
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

    def check_rows(self, rows):
        """Raise ValueError if a step cannot be made on so few rows."""
        if rows == 1 and self.training.needs_two_rows:
            raise ValueError("batch norm needs at least 2 rows to train on: the statistics of one row do not exist")

    def gradient_rows(self, count):
        """Scalar rows of the gradient program for the next `count` batches."""
        table = np.zeros((count, len(self.training.scalar_names)))
        table[:, self.micro_step_column] = self.trainer.micro_step + np.arange(count)
        return table

    def part_row(self, first_row):
        """The scalar row of a part of the next batch that begins at this row of it."""
        row = self.gradient_rows(1)
        row[0, self.first_row_column] = first_row
        return row

    def run(self, externals, index, offsets, losses, seconds=_NO_LIMIT, check_nan=False, *, stop):
        """Make up to len(offsets) - 1 training steps in one native call; returns how many were made.

        index: int64 rows of the data; offsets: int64, where each step's rows begin in index; losses: float64, filled;
        stop: the trainer's flag, or None.
        """
        trainer, count = self.trainer, len(offsets) - 1
        rows, updates = self.gradient_rows(count), self.update.rows(count, trainer._rate())
        done = self.pair().run_steps(externals, index, offsets, rows, updates, losses, stop, seconds, check_nan)
        self.made(done, done)
        return done

    def made(self, steps, micro_steps):
        """Count what has been done; derived copies of the weights are stale now."""
        self.update.advance(steps)
        self.trainer.step += steps
        self.trainer.micro_step += micro_steps
        for tensor in self.tensors:
            tensor.version += 1


def _refuse_averaged(trainer):
    if trainer._holds_average:
        raise RuntimeError("the model holds its averaged weights: train after the with trainer.averaged() block")


def find_engine(trainer, names, arrays, target, target_spec, weighted, rows):
    """The engine for data of this form with at least `rows` rows per step: cached, or compiled now."""
    _refuse_averaged(trainer)
    cache, model = trainer._engines, trainer.model
    specs = tuple(spec_of(array) for array in arrays)
    isa = _native.get_isa()
    key = (names, specs, target_spec, weighted, isa, trainer.seed)
    engine = cache.get(key)
    if engine is not None and engine.training.capacity >= rows and engine.training.revisions.are_current():
        engine.refresh()
        return engine
    trainer._optimizer_state.start(trainer.optimizer)
    training = graph.build_training(
        with_names(model, names),
        trainer.loss,
        specs,
        target_spec,
        model.dtype,
        capacity=rows,
        seed=trainer.seed,
        sample_weight=weighted,
        gather=True,
        accumulate=False,
    )
    engine = Engine(trainer, training)
    if trainer.step == 0:
        warn_of_equal_units(model)
    cache.pop(key, None)
    cache[key] = engine
    while len(cache) > _CACHE_LIMIT:
        cache.pop(next(iter(cache)))
    return engine


def labels_of(target, target_spec):
    """The labels, if the target is class labels."""
    return target if target_spec is LABELS or target_spec == LABELS else None
