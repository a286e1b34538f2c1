"""The update program (decision 5): one "optimizer" op per parameter, its scalars taken from the step's scalar row.

    [scale, clip, limits of the norm] [one segment per kind of parameter: the row's scalars, what all rows share]

Clipping by global norm is an op before them, over the arena that holds all gradients; max-norm one behind the update
of its parameter.
"""

from math import inf
from typing import Any, NamedTuple

import numpy as np

from .. import _native
from ..graph.passes.update import Step
from .ewma import WeightAverage
from .state import code_of, row_of

_DTYPE_CODES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}
_ROW_SCALARS = 8  # h0..h7 of the native op
_STATE_SLOTS = 3
_SCALE, _CLIP, _CLIP_NORM, _CLIP_OF_NORM = range(4)  # columns that all segments share
_SHARED_COLUMNS = 4
_L1, _DECAY, _DECOUPLED, _SHARE, _MAX_NORM = range(5)  # of a segment, behind the row's own scalars
_COMMON_COLUMNS = 5


class Limits(NamedTuple):
    """What a trainer adds to every update: clipping, and the decay of averaged weights."""

    clip_norm: float | None = None
    clip_value: float | None = None
    average: float | None = None


class Update:
    """The compiled update of a set of parameters, and the scalars of its next steps.

    Parameters that share a group, the rule for decay and the number of steps they have had share one segment of the
    scalar row. All hyper-parameters live in that row, so that a change acts at the next step without a new program.

    Attributes
    ----------
    program : native program
    width : int
        Scalars per step.
    ledger : _native.Ledger
        What its steps are entered into; set by whoever makes them.
    """

    def __init__(
        self, optimizer: Any, state: Any, items: Any, dtype: Any, *, arena: Any = None, limits: Any = None,
        averages: Any = None, clears: bool = False,
    ) -> None:  # fmt: skip
        """items: list of (name, parameter, gradient array in the parameter's storage layout); arena: the array that
        holds these gradients, for clipping by norm; averages: WeightAverage, for averaged weights; clears: the arena
        is zero after the update, for gradients that are added to it."""
        self.state, self.clears = state, clears
        self.follow(optimizer, limits or Limits())
        self.signature = self.signature_of(optimizer, self.limits)
        self.averages = averages if averages is not None else WeightAverage()
        self.row = row_of(optimizer)
        self.own = len(self.row["params"])
        self.columns = self.own + _COMMON_COLUMNS
        self.segments = []  # (group, decays, slots, average slot) of each segment's first parameter
        self.slots = []  # (slots, average slot, segment) of all parameters
        self.parts = []  # (parameter, segment, arrays in the op's order, whether its units' norms are limited)
        self.arena, self._dtype_code = arena, _DTYPE_CODES[np.dtype(dtype)]
        for name, parameter, gradient in items:
            self._add_parameter(state, name, parameter, gradient)
        self.width = _SHARED_COLUMNS + self.columns * len(self.segments)
        self.program = self.compile()
        self._generation = state.generation

    def compile(self, without: Any = frozenset()) -> Any:
        """The program; without: id of parameters that are updated elsewhere, by `steps`."""
        self.builder = _native.Builder(self._dtype_code)
        self.bindings, self.factor = [], None
        if self.limits.clip_norm is not None:
            self._add_clip(self.arena)
        for parameter, segment, arrays, limited in self.parts:
            if id(parameter) not in without:
                self._add_ops(parameter, segment, arrays, limited)
        if self.clears:
            self.builder.op("fill", (self._external(self.arena),), (self.arena.size,), (0.0,))
        program = self.builder.finish(1)
        for buffer, array in self.bindings:
            program.bind(buffer, array)
        del self.builder, self.bindings
        return program

    def steps(self, first_column: Any) -> Any:
        """{id(parameter): Step} of the parameters whose update needs nothing but each element's gradient. The scalars
        of a step begin at this column of its row."""
        if self.limits.clip_norm is not None or self.optimizer.per_layer:
            return {}
        return {
            id(parameter): Step(self.row["code"], arrays[2:5], arrays[5], self._scalars(segment, first_column))
            for parameter, segment, arrays, limited in self.parts
            if not limited
        }

    def follow(self, optimizer: Any, limits: Any) -> None:
        """Take the scalars of the next steps from these."""
        self.optimizer, self.limits, self._changes = optimizer, limits, optimizer.changes
        self._options = {}

    def follows(self, optimizer: Any, limits: Any) -> Any:
        """Whether nothing has changed since `follow`. False if there are groups: their dictionaries count nothing."""
        same = self.optimizer is optimizer and self._changes == optimizer.changes
        return same and self.limits == limits and not optimizer.groups

    @staticmethod
    def signature_of(optimizer: Any, limits: Any) -> Any:
        """What the program (not its scalars) depends on."""
        groups = [optimizer.options_of(group) for group in range(-1, len(optimizer.groups))]
        return (
            optimizer.kind,
            tuple(tuple(group["params"]) for group in optimizer.groups),
            tuple((optimizer.states(options), options["max_norm"] is None) for options in groups),
            limits.clip_norm is None,
            limits.average is None,
        )

    def _external(self, array):
        self.bindings.append((self.builder.external(0), array))
        return self.bindings[-1][0]

    def _add_clip(self, arena):
        self.factor = self.builder.persistent(16, "clip factor")
        scalars = (_native.Slot(_CLIP_NORM), _native.Slot(_CLIP_OF_NORM))
        self.builder.op("clip_norm", (self._external(arena), self.factor), (arena.size,), scalars)

    def _add_parameter(self, state, name, parameter, gradient):
        group, decays = self.optimizer.group_of(name), parameter.ndim >= 2
        options = self.optimizer.options_of(group)
        slots = state.slots_for(name, parameter, self.optimizer, options)
        average = None if self.limits.average is None else self.averages.slot_for(name, parameter)
        segment = self._segment(group, decays, slots, average)
        self.slots.append((slots, average, segment))
        needed = self.optimizer.states(options)
        arrays = [parameter.storage, gradient, *[slots.arrays[s] if s in needed else None for s in self.row["states"]]]
        arrays += [None] * (2 + _STATE_SLOTS - len(arrays))
        arrays.append(None if average is None else average.array)
        if any(array is not None and array.size != parameter.storage.size for array in arrays):
            raise ValueError(f"parameter {parameter.name}: gradient or state is not in the storage layout")
        limited = parameter.ndim >= 2 and options["max_norm"] is not None
        self.parts.append((parameter, segment, arrays, limited))

    def _add_ops(self, parameter, segment, arrays, limited):
        buffers = [None if array is None else self._external(array) for array in arrays]
        if limited:
            self._add_op(segment, parameter, [*buffers[:-1], None])
            self._add_max_norm(segment, parameter, buffers)
        else:
            self._add_op(segment, parameter, buffers)

    def _segment(self, group, decays, slots, average):
        seen = 0 if average is None else average.steps
        for i, (its_group, its_decays, its_slots, its_average) in enumerate(self.segments):
            its_seen = 0 if its_average is None else its_average.steps
            if (its_group, its_decays, its_slots.steps, its_seen) == (group, decays, slots.steps, seen):
                return i
        self.segments.append((group, decays, slots, average))
        return len(self.segments) - 1

    def _column(self, segment, index, first=0):
        return _native.Slot(first + _SHARED_COLUMNS + segment * self.columns + index)

    def _scalars(self, segment, first=0):
        """The op's scalars: columns of a step's row, where ours begin at `first`."""
        own = [self._column(segment, i, first) for i in range(self.own)] + [0.0] * (_ROW_SCALARS - self.own)
        shared = [_native.Slot(first + _SCALE), _native.Slot(first + _CLIP)]
        common = [self._column(segment, self.own + i, first) for i in (_L1, _DECAY, _DECOUPLED, _SHARE)]
        return (*own, *shared, *common)

    def _add_op(self, segment, parameter, buffers):
        dims = (parameter.storage.size, self.row["code"])
        self.builder.op("optimizer", (*buffers, self.factor), dims, self._scalars(segment))

    def _add_max_norm(self, segment, parameter, buffers):
        rows, stride = parameter.storage.shape
        limit = self._column(segment, self.own + _MAX_NORM)
        self.builder.op("max_norm", (buffers[0],), (rows, parameter.shape[0], stride), (limit,))
        if buffers[-1] is not None:  # averaged behind the limit: a step of SGD that goes nowhere
            share = self._column(segment, self.own + _SHARE)
            still = (*[0.0] * _ROW_SCALARS, 0.0, inf, 0.0, 0.0, 0.0, share)
            dims = (parameter.storage.size, code_of("sgd"))
            self.builder.op("optimizer", (buffers[0], buffers[0], None, None, None, buffers[-1]), dims, still)

    def is_current(self) -> bool:
        """False if another program has since trained only some of a segment's parameters: their counts differ now; or
        if the slots were forgotten, because the trainer has had another kind of optimizer."""
        if self._generation != self.state.generation:
            return False
        if self.ledger.clock == self.state.clock:
            return True
        for slots, average, segment in self.slots:
            first, its_average = self.segments[segment][2:]
            if slots.steps != first.steps or (average is not None and average.steps != its_average.steps):
                return False
        return True

    def _shared(self, divisors):
        """The columns that all segments share. The norm is that of the gradients as they lie in memory: its limits are
        multiplied by what these are divided by."""
        limits, sign = self.limits, -1.0 if self.optimizer.maximize else 1.0
        clip = inf if limits.clip_value is None else limits.clip_value
        norm = inf if limits.clip_norm is None else limits.clip_norm
        if divisors is None:
            return [sign, clip, norm, clip]
        divisors = np.where(divisors > 0, divisors, 1.0)  # of no rows: their gradients are zero
        return [sign / divisors, clip, norm * divisors, clip * divisors]

    def _values(self, segment, count, rate=None):
        """A segment's columns: a number for all steps, or one for each."""
        group, decays, slots, average = segment
        options = self._options.get((group, decays))
        if options is None:
            options = self._options[group, decays] = self.optimizer.options_of(group, decays)
        optimizer, first = self.optimizer, slots.steps + 1
        momenta = None if rate is None else rate.momentum(optimizer.momentum_of(options), count)
        if momenta is None:
            values = optimizer.scalars(options, first, count)
        else:
            values = optimizer.moving_scalars(options, first, momenta)
        if rate is not None:
            values[0] = rate.lr(options["lr"], count)  # lr is the first scalar of every row
        beta, limit = self.limits.average, options["max_norm"]
        shares = 0.0 if average is None else self.averages.shares(beta, average.steps + 1, count)
        decoupled = 1.0 if options["decoupled_weight_decay"] else 0.0
        return values + [options["l1"], options["weight_decay"], decoupled, shares, inf if limit is None else limit]

    def rows(self, count: int, rate: Any = None, divisors: Any = None) -> Any:
        """The scalar rows of the next `count` steps, float64 (count, width).

        rate : StepRates, optional
            The schedule: one rate per step for a group's base rate, and one momentum if it moves that too.
        divisors : float64 array (count,), optional
            What the gradients in memory are divided by.
        """
        table = np.empty((count, self.width))
        for column, value in enumerate(self._shared(divisors)):
            table[:, column] = value
        column = _SHARED_COLUMNS
        for segment in self.segments:
            values = self._values(segment, count, rate)
            for i, value in enumerate(values):
                table[:, column + i] = value
            column += self.columns
        return table

    def counters(self) -> tuple[Any, ...]:
        """Whatever counts the steps of a parameter, as a tuple of _native.Stepped."""
        return tuple([slots for slots, _, _ in self.slots] + [own for _, own, _ in self.slots if own is not None])
