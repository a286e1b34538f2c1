# What training steps are entered into: counters that the native calls keep themselves.

cdef enum:
    DIVISOR_COLUMN = 2  # of the scalars of a program that accumulates gradients (graph/build.py)


@cython.auto_pickle(False)
cdef class Stepped:
    """Base of what counts the steps it has had."""

    cdef public int64_t steps


@cython.auto_pickle(False)
cdef class StepCounts:
    """Base of a trainer's state: what has been trained.

    Attributes
    ----------
    epoch, step, micro_step : int
        Epochs and updates completed; the number that keys the random masks of the next update's batches.
    batches : int
        Batches trained on since the object was made.
    open_batches, open_rows : int
        Batches and rows whose gradients wait for the update that they share with others.
    open_divisor : float
        What these batches add to the divisor of that update.
    """

    cdef public int64_t epoch, step, micro_step, batches, open_batches, open_rows
    cdef public double open_divisor


@cython.auto_pickle(False)
cdef class Clocked:
    """Base of an optimizer's state: `clock` counts the advances of all programs together, `generation` the times that
    slots were forgotten."""

    cdef public int64_t clock, generation


cdef class Ledger:
    """What steps are entered into, before their native call comes back: no interrupt can part them from their counts.

    Parameters
    ----------
    counts : StepCounts
    clocked : Clocked
    written : tuple of Versioned
        What a step writes.
    stepped : tuple of Stepped
        What counts its updates.

    Attributes
    ----------
    clock : int
        Of `clocked` after the latest entry.
    """

    cdef StepCounts counts
    cdef Clocked clocked
    cdef tuple written, stepped
    cdef readonly int64_t clock

    def __init__(self, StepCounts counts not None, Clocked clocked not None, tuple written, tuple stepped):
        self.counts, self.clocked, self.written, self.stepped = counts, clocked, written, stepped
        self.clock = clocked.clock
        for tensor in written:
            <Versioned?> tensor
        for counter in stepped:
            <Stepped?> counter

    cpdef int enter(self, int64_t updates, int64_t open_batches, int64_t open_rows, double open_divisor) except -1:
        """Count updates that were made, and say what is open behind them."""
        cdef Py_ssize_t i
        for i in range(len(self.written)):
            (<Versioned> self.written[i]).version += 1
        self.counts.open_batches, self.counts.open_rows = open_batches, open_rows
        self.counts.open_divisor = open_divisor
        if not updates:
            return 0
        self.counts.step += updates
        self.counts.micro_step += updates
        self.clocked.clock += 1
        self.clock = self.clocked.clock
        for i in range(len(self.stepped)):
            (<Stepped> self.stepped[i]).steps += updates
        return 0

    cpdef int enter_step(self, int64_t rows, double divisor, bint updated) except -1:
        """Count one batch, whose gradients wait for an update unless it has been made."""
        self.counts.batches += 1
        if updated:
            return self.enter(1, 0, 0, 0)
        else:
            return self.enter(0, self.counts.open_batches + 1, self.counts.open_rows + rows,
                              self.counts.open_divisor + divisor)

    cdef int enter_steps(self, const _c.fnn_steps *steps) except -1:
        """Count what a native call has made."""
        cdef int64_t i, updates = 0, batches = self.counts.open_batches, rows = self.counts.open_rows
        cdef double divisor = self.counts.open_divisor
        if not steps.done:
            return 0
        self.counts.batches += steps.done
        if steps.updates == NULL and steps.update != NULL:
            return self.enter(steps.done, 0, 0, 0)
        for i in range(steps.done):
            batches, rows = batches + 1, rows + steps.offsets[i + 1] - steps.offsets[i]
            if steps.gradient_slots > DIVISOR_COLUMN:
                divisor += steps.gradient_scalars[i * steps.gradient_slots + DIVISOR_COLUMN]
            if steps.update != NULL and steps.updates[i]:
                updates, batches, rows, divisor = updates + 1, 0, 0, 0
        return self.enter(updates, batches, rows, divisor)
