"""StepRunner: makes every training step of a trainer.

`fit`, `train_step`, resumed fits and the diagnostics hand it lists of batches, or one batch. It finds the compiled
program, decides which batches share an update, lets the hook look at gradients, and runs; the native calls enter what
they have made into the trainer's counters themselves (`_native.Ledger`), so that no interrupt can part weights from
counts.
"""

import time
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _native, graph
from ..nn.arrays import spec_of, split_inputs
from ..nn.losses import meaning_of
from ..nn.predict import with_names
from ..nn.symmetry import warn_of_equal_units
from ..threads import num_threads as thread_limit
from .cached_step import remember
from .groups import Batches, UpdateGroups
from .step_program import StepProgram
from .targets import prepare_target, prepare_weight

_CACHE_LIMIT = 8
_CACHED_STEPS = 16
_NO_ENDS = np.zeros(0, np.int64)


class PreparedBatch(NamedTuple):
    """One batch, checked, and its program; arrays as `targets.prepare_target` and `prepare_weight` give them."""

    program: StepProgram
    names: tuple | None
    arrays: tuple
    target: NDArray
    spec: tuple
    weight: NDArray | None
    shape: tuple | None


class StepRunner:
    """See the module.

    Parameters
    ----------
    trainer : Trainer
        Its attributes are followed at every call.
    """

    def __init__(self, trainer):
        self.trainer = trainer
        self._programs = {}
        self._cached_steps = []
        self._open = None  # the program whose arena holds gradients that wait for their update

    def forget(self) -> None:
        """Drop everything compiled, because arrays of the trainer's state are about to be replaced."""
        self._programs, self._cached_steps, self._open = {}, [], None

    def forget_cached(self) -> None:
        """Let the next step of each batch spec be looked at anew."""
        self._cached_steps = []

    # ---- programs ----------------------------------------------------------------------------------------------
    def refuse_averaged(self) -> None:
        """Raise RuntimeError while the model holds its averaged weights."""
        if self.trainer.state.holds_average:
            raise RuntimeError(
                "the model holds its averaged weights: train after the with trainer.averaged() block"
            )

    def program(self, names, arrays, target, target_spec, weighted: bool, rows: int) -> StepProgram:
        """The program for data of this form with at least `rows` rows per batch: cached, or compiled now."""
        self.refuse_averaged()
        trainer, cache = self.trainer, self._programs
        accumulates = trainer.accumulate > 1
        specs = tuple(spec_of(array) for array in arrays)
        key = (names, specs, target_spec, weighted, _native.get_isa(), trainer.seed, accumulates, trainer.frozen)
        program = cache.get(key)
        if program is not None and program.training.capacity >= rows and program.training.revisions.are_current():
            program.refresh()
            return program
        trainer.state.optimizer_state.start(trainer.optimizer)
        training = graph.build_training(
            with_names(trainer.model, names),
            trainer.loss,
            specs,
            target_spec,
            trainer.model.dtype,
            capacity=rows,
            seed=trainer.seed,
            frozen=self._frozen(),
            sample_weight=weighted,
            gather=True,
            accumulate=accumulates,
        )
        program = StepProgram(trainer, training, accumulates)
        if trainer.step == 0:
            warn_of_equal_units(trainer.model)
        cache.pop(key, None)
        cache[key] = program
        while len(cache) > _CACHE_LIMIT:
            cache.pop(next(iter(cache)))
        return program

    def _frozen(self):
        """id of the parameters that the trainer's patterns name."""
        names, found = dict(self.trainer.model.named_parameters()), set()
        for pattern in self.trainer.frozen:
            matching = {id(parameter) for name, parameter in names.items() if fnmatchcase(name, pattern)}
            if not matching:
                raise ValueError(f"Trainer: frozen {pattern!r} matches no parameter; there are {', '.join(names)}")
            found |= matching
        return found

    # ---- lists of batches --------------------------------------------------------------------------------------
    def run(self, program, externals, batches: Batches, *, seconds=0.0, check_nan=False, stop=None) -> int:
        """Train on a list of batches, in as few native calls as there can be.

        Parameters
        ----------
        program : StepProgram
        externals : dict
            The data sets, from ``program.externals``.
        batches : Batches
        seconds : float, default 0
            Time after which no further update is begun; 0: no limit.
        check_nan : bool
            End at a loss that is not finite.
        stop : int32 array (1,), optional
            A flag that ends the run at the next update.

        Returns
        -------
        int
            Batches that were trained on; an update is never left half done but at the end of the list.
        """
        trainer, state = self.trainer, self.trainer.state
        if state.open_batches >= trainer.accumulate:
            self.close_update()
        if trainer.accumulate == 1 and trainer.gradient_hook is None:
            return program.run(externals, batches, seconds=seconds, check_nan=check_nan, stop=stop)
        if program.accumulates:
            self._open_in(program)
        groups = UpdateGroups(state, trainer.accumulate, batches)
        if trainer.gradient_hook is None:
            return program.run_groups(externals, batches, groups, seconds=seconds, check_nan=check_nan, stop=stop)
        return self._run_hooked(program, externals, batches, groups, seconds, check_nan, stop)

    def _run_hooked(self, program, externals, batches, groups, seconds, check_nan, stop):
        """A native call and a look at the gradients per update."""
        deadline = time.monotonic() + seconds if seconds > 0 else None
        table = groups.gradient_rows(program)
        for begin, end in groups.bounds():
            window, losses = batches.offsets[begin : end + 1], batches.losses[begin:end]
            program.add_gradients(externals, batches.index, window, table[begin:end], losses)
            if groups.updates[end - 1]:
                self._apply_hooked(program)
            late = deadline is not None and time.monotonic() >= deadline
            if late or (stop is not None and stop[0]) or (check_nan and not np.isfinite(losses).all()):
                return end
        return len(batches.offsets) - 1

    def _apply_hooked(self, program):
        """Show the gradients of the update, as means, to the hook; then make it."""
        state = self.trainer.state
        try:
            if program.accumulates and not program.sums and state.open_divisor > 0:
                program.training.arena[...] *= 1.0 / state.open_divisor
            self.trainer.gradient_hook(program.named_gradients())
        except BaseException:
            self.drop_open()
            raise
        program.apply(None)

    # ---- gradients that wait -----------------------------------------------------------------------------------
    def _open_in(self, program):
        """Let the gradients that wait for an update lie in this program's arena."""
        state = self.trainer.state
        if state.open_batches and (self._open is not program or state.open_gradients is not None):
            held = self.open_gradients()
            for name, view in program.named_gradients().items():
                if name in held:
                    view[...] += held[name]
            if self._open is not None and self._open is not program:
                self._open.training.arena[...] = 0
        self._open, state.open_gradients = program, None

    def open_gradients(self):
        """{name: gradient in logical shape} of the batches that wait for their update; {} if none does."""
        state = self.trainer.state
        if not state.open_batches:
            return {}
        if state.open_gradients is not None:
            return state.open_gradients
        return dict(self._open.named_gradients())

    def close_update(self) -> None:
        """Make the update of the batches that wait for one, however few they are."""
        trainer, state = self.trainer, self.trainer.state
        if not state.open_batches:
            return
        program = self._open
        if program is None:
            raise RuntimeError(
                "the gradients of a checkpoint wait for the rest of their update: train on its next batch first"
            )
        program.refresh()
        with thread_limit(trainer.num_threads):
            if trainer.gradient_hook is not None:
                self._apply_hooked(program)
            else:
                program.apply(state.open_divisor)

    def drop_open(self) -> None:
        """Forget the gradients that wait for an update."""
        state = self.trainer.state
        if self._open is not None:
            self._open.training.arena[...] = 0
        state.open_batches = state.open_rows = 0
        state.open_divisor, state.open_gradients = 0.0, None

    # ---- one batch ---------------------------------------------------------------------------------------------
    def step(self, x, y, sample_weight=None) -> float:
        """Train on one batch and return its loss; see `Trainer.train_step`."""
        if sample_weight is None:
            for cached in self._cached_steps:
                loss = cached.run(self.trainer, x, y)
                if loss is not None:
                    return loss
        return self._uncached_step(x, y, sample_weight)

    def prepare(self, x, y, sample_weight=None) -> "PreparedBatch":
        """Check a batch and find its program; nothing is changed."""
        trainer = self.trainer
        names, arrays = split_inputs(x)
        rows = len(arrays[0])
        if rows == 0:
            raise ValueError("train_step: x has no rows")
        shape = trainer._output_shape(names, arrays)
        target, spec = prepare_target(y, trainer.loss, shape, rows, trainer.model.dtype)
        weight = sample_weight
        if weight is not None:
            weight = prepare_weight(weight, rows, trainer.model.dtype, trainer.loss, zeros=True)
        program = self.program(names, arrays, target, spec, weight is not None, rows)
        return PreparedBatch(program, names, arrays, target, spec, weight, shape)

    def _uncached_step(self, x, y, sample_weight):
        trainer = self.trainer
        with trainer.model._guard.writing(), thread_limit(trainer.num_threads):
            return self._guarded_step(x, y, sample_weight)

    def _guarded_step(self, x, y, sample_weight):
        trainer, batch = self.trainer, self.prepare(x, y, sample_weight)
        program, rows = batch.program, len(batch.arrays[0])
        program.check_rows(rows)
        per_row = meaning_of(trainer.loss).row_weights(batch.target, batch.weight)
        batches = Batches(
            np.arange(rows, dtype=np.int64),
            np.array([0, rows], dtype=np.int64),
            np.zeros(1),
            np.array([float(rows) if per_row is None else float(np.sum(per_row))]),
            _NO_ENDS,
        )
        self.run(program, program.externals(batch.arrays, batch.target, batch.weight), batches)
        plain = batch.names is None and batch.arrays[0] is x and batch.weight is None
        if plain and self.takes_cached_steps():
            cached = remember(trainer, program, x, y, batch.target, batch.spec, batch.shape)
            if cached is not None:
                self._cached_steps = [cached, *(c for c in self._cached_steps if c.fits(trainer))][:_CACHED_STEPS]
        return float(batches.losses[0])

    def takes_cached_steps(self) -> bool:
        """Whether a step is one native call: nothing looks at gradients or collects them."""
        return self.trainer.accumulate == 1 and self.trainer.gradient_hook is None
