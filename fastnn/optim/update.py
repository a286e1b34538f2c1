"""The update program (decision 5): one "optimizer" op per parameter, its scalars taken from the step's scalar row."""

import numpy as np

from .. import _native
from .state import row_of

_DTYPE_CODES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}
_OP_SCALARS = 10  # h0..h9 of the native op


class Update:
    """The compiled update of a set of parameters, and the scalars of its next steps.

    Parameters that share a group, the rule for decay and the number of steps they have had share one segment of the
    scalar row. All hyper-parameters live in that row, so that a change acts at the next step without a new program.

    Attributes
    ----------
    program : native program
    width : int
        Scalars per step.
    """

    def __init__(self, optimizer, state, items, dtype):
        """items: list of (name, parameter, gradient array in the parameter's storage layout)."""
        row = row_of(optimizer)
        self.optimizer = optimizer
        self.columns = len(row["params"])
        self.segments = []  # (group, decays, slots of one of its parameters: they count the steps of all)
        self.slots = []
        self.signature = self.signature_of(optimizer)
        builder = _native.Builder(_DTYPE_CODES[np.dtype(dtype)])
        bindings = []
        for name, parameter, gradient in items:
            slots = state.slots_for(name, parameter, row)
            segment = self._segment(optimizer.group_of(name), parameter.ndim >= 2, slots)
            self._add_op(builder, bindings, row, parameter, gradient, slots, segment)
            self.slots.append((slots, segment))
        self.width = self.columns * len(self.segments)
        self.program = builder.finish(1)
        for buffer, array in bindings:
            self.program.bind(buffer, array)
        self._one_row = np.zeros((1, max(self.width, 1)))

    @staticmethod
    def signature_of(optimizer):
        """What the program (not its scalars) depends on."""
        return optimizer.kind, tuple(tuple(group["params"]) for group in optimizer.groups)

    def _segment(self, group, decays, slots):
        for i, (its_group, its_decays, its_slots) in enumerate(self.segments):
            if (its_group, its_decays, its_slots.steps) == (group, decays, slots.steps):
                return i
        self.segments.append((group, decays, slots))
        return len(self.segments) - 1

    def is_current(self):
        """False if another program has since trained only some of a segment's parameters: their counts differ now."""
        return all(slots.steps == self.segments[segment][2].steps for slots, segment in self.slots)

    def _add_op(self, builder, bindings, row, parameter, gradient, slots, segment):
        arrays = [parameter.storage, gradient, *[slots.arrays[state] for state in row["states"]]]
        size = parameter.storage.size
        if any(array.size != size for array in arrays):
            raise ValueError(f"parameter {parameter.name}: gradient or state is not in the storage layout")
        buffers = []
        for array in arrays:
            buffers.append(builder.external(0))
            bindings.append((buffers[-1], array))
        buffers += [None] * (5 - len(buffers))
        first = segment * self.columns
        scalars = [_native.Slot(first + i) for i in range(self.columns)]
        scalars += [0.0] * (_OP_SCALARS - len(scalars))
        builder.op("optimizer", tuple(buffers), (size, row["code"]), tuple(scalars))

    def rows(self, count, rate=None):
        """The scalar rows of the next `count` steps, float64 (count, width).

        rate : callable (base_lr, first step index) -> rates, optional
            The schedule: gives one rate per step for a group's base rate.
        """
        table = np.empty((count, max(self.width, 1)))
        column = 0
        for group, decays, slots in self.segments:
            options = self.optimizer.options_of(group, decays)
            if rate is not None:
                base = options["lr"]
                options["lr"] = 0.0
            values = self.optimizer.scalars(options, slots.steps + 1, count)
            for i, value in enumerate(values):
                table[:, column + i] = value
            if rate is not None:
                table[:, column] = rate(base, count)  # lr is the first scalar of every row
            column += self.columns
        return table

    def one_row(self):
        """`rows(1)` in a reused array: the fast path of a single step."""
        row = []
        for group, decays, slots in self.segments:
            for value in self.optimizer.scalars(self.optimizer.options_of(group, decays), slots.steps + 1, 1):
                row.append(value[0] if type(value) is list else value)
        self._one_row[0, : len(row)] = row
        return self._one_row

    def advance(self, count):
        """Count steps that have been made."""
        for slots, _ in self.slots:
            slots.steps += count
