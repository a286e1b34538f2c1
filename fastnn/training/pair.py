"""The two programs of a step as they run: gradients and update apart, or updates inside the gradients' program."""

import numpy as np


class Pair:
    """Programs that make steps together.

    Parameters
    ----------
    plain : graph.TrainingProgram
        Computes all gradients. Buffers of data sets are named by its ids.
    update : optim.update.Update

    Attributes
    ----------
    training : graph.TrainingProgram
        `plain`, or one that updates the large weights itself (graph/passes/update.py).
    update : native program
        The update of all other parameters.
    """

    def __init__(self, plain, update, *, fuse=True):
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

    def run_steps(self, externals, index, offsets, rows, update_rows, losses, stop=None, seconds=0.0, check_nan=False):
        """Many steps in one call, in terms of the plain programs; returns how many were made."""
        return self.training.run_steps(
            self.update, self.externals(externals), index, offsets, self.scalars(rows, update_rows), update_rows, 1,
            losses, stop, seconds, check_nan,
        )  # fmt: skip
