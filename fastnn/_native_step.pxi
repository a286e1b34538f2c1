# Trainer.train_step called again: a step on a batch like the last one, with whatever such steps share settled once.

cdef enum:
    STEP_AXES = 8


cdef struct Form:
    int kind, axes
    cnp.npy_intp shape[STEP_AXES]
    cnp.npy_intp strides[STEP_AXES]


cdef int form_of(Form *form, cnp.ndarray array) except -1:
    cdef int i
    form.kind, form.axes = cnp.PyArray_TYPE(array), cnp.PyArray_NDIM(array)
    if form.axes > STEP_AXES:
        raise ValueError("Step takes arrays of at most 8 axes")
    for i in range(form.axes):
        form.shape[i] = cnp.PyArray_DIM(array, i)
        form.strides[i] = cnp.PyArray_STRIDE(array, i)
    return 0


cdef bint has_form(const Form *form, value) noexcept:
    """Whether value is an ndarray (no subclass) that C may read as it read the one of which the form was taken."""
    cdef int i
    if not cnp.PyArray_CheckExact(value) or not cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray> value):
        return False
    if cnp.PyArray_TYPE(<cnp.ndarray> value) != form.kind or cnp.PyArray_NDIM(<cnp.ndarray> value) != form.axes:
        return False
    for i in range(form.axes):
        if (cnp.PyArray_DIM(<cnp.ndarray> value, i) != form.shape[i]
                or cnp.PyArray_STRIDE(<cnp.ndarray> value, i) != form.strides[i]):
            return False
    return True


cdef bint are_labels(const int64_t *labels, Py_ssize_t count, int64_t classes, int64_t ignored) noexcept:
    """Whether each is a class or the ignored one."""
    cdef Py_ssize_t i
    cdef bint good = True
    for i in range(count):
        good &= (<unsigned long long> labels[i] < <unsigned long long> classes) | (labels[i] == ignored)
    return good


cdef bint within(cnp.ndarray array, double low, double high, bint ends) noexcept:
    """Whether all of a contiguous real array lies in [low, high], or on one of the two if `ends`."""
    cdef Py_ssize_t i, count = cnp.PyArray_SIZE(array)
    cdef const float *singles = <const float *> cnp.PyArray_DATA(array)
    cdef const double *doubles = <const double *> cnp.PyArray_DATA(array)
    cdef bint is_single = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT, good = True
    cdef double value
    for i in range(count):
        value = singles[i] if is_single else doubles[i]
        good &= (value == low or value == high) if ends else (low <= value <= high)
    return good


cdef class Step:
    """Steps of one trainer on batches of one form: base of `training.cached_step.CachedStep`, which
    knows what Python must know.

    Parameters
    ----------
    x, y : array
        Of the first batch; the others have its dtypes, shapes and strides, labels their shape only.
    index : int64 array
        0, 1, ... rows - 1.
    labels : (classes, label that is ignored), optional
        If y holds class labels.
    domain : (low, high, ends), optional
        What else y must lie in.
    guard : Guard
    revisions : Revisions
        Of what the gradient program was traced from.
    micro_step_column : int
        Of the gradient programs' scalars.
    """

    cdef Program gradient, update
    cdef Guard guard
    cdef Revisions revisions
    cdef cnp.ndarray index, rows, table
    cdef tuple settings
    cdef Ledger ledger
    cdef object optimizer, schedule
    cdef Form x, y
    cdef int index_id, loss_id, x_id, y_id, micro_step_column
    cdef int64_t offsets[2]
    cdef bint labels, bounded, ends
    cdef int64_t classes, ignored
    cdef double low, high
    cdef int64_t changes, schedule_changes, generation, next_step, epoch
    cdef readonly int64_t clock
    cdef readonly Py_ssize_t at, count  # in the table
    cdef Py_ssize_t slots, width
    cdef int threads  # 0: as the calling thread has them

    def __init__(self, cnp.ndarray x not None, cnp.ndarray y not None, cnp.ndarray index not None, labels, domain,
                 Guard guard not None, Revisions revisions not None, int micro_step_column):
        self.guard, self.revisions, self.index, self.micro_step_column = guard, revisions, index, micro_step_column
        form_of(&self.x, x)
        form_of(&self.y, y)
        self.offsets[0], self.offsets[1] = 0, index.shape[0]
        self.labels = labels is not None
        if self.labels:
            self.classes, self.ignored = labels
        self.bounded = domain is not None
        if self.bounded:
            self.low, self.high, self.ends = domain

    def follow(self, Program gradient not None, tuple buffers, rows, Program update not None, table,
               Ledger ledger not None, tuple settings, optimizer, schedule, int threads):
        """Take the next steps from these, until any of them changes.

        Parameters
        ----------
        gradient, update : Program
        buffers : (int, int, int, int)
            Of the gradient program: row numbers, loss, x and y.
        rows, table : float64 array (steps, scalars)
            Of the gradient program and of the update, for the steps from now on.
        ledger : Ledger
            What each step is entered into.
        settings : tuple of (name, object)
            Attributes of the trainer that must stay these objects.
        optimizer
            Whose `changes` and `groups` must stay what they are.
        schedule : optional
            Whose `changes` must stay.
        threads : int
            0: as the calling thread has them.
        """
        for program, scalars in ((gradient, rows), (update, table)):
            if scalars.shape[1] < (<Program> program).program.slot_count or len(scalars) != len(table):
                raise ValueError("a program needs more scalars per step than were given")
            if scalars.dtype != FLOAT64 or not scalars.flags.c_contiguous:
                raise ValueError("scalars must be contiguous float64 arrays")
        if not 0 <= self.micro_step_column < rows.shape[1]:
            raise ValueError("the gradient program has no such scalar")
        self.gradient, self.rows, self.slots = gradient, rows, rows.shape[1]
        self.index_id, self.loss_id, self.x_id, self.y_id = buffers
        self.update, self.table, self.ledger, self.settings = update, table, ledger, settings
        self.optimizer, self.changes = optimizer, optimizer.changes
        self.clock, self.generation = ledger.clocked.clock, ledger.clocked.generation
        self.schedule, self.schedule_changes = schedule, 0 if schedule is None else schedule.changes
        self.next_step, self.epoch, self.threads = ledger.counts.step, ledger.counts.epoch, threads
        self.at, self.count, self.width = 0, table.shape[0], table.shape[1]

    def renew(self, trainer):
        """Call `follow` for the trainer as it is now; False if this plan does not fit it any more."""
        raise NotImplementedError

    cdef bint is_current(self, dict trainer) except -1:
        """Whether the table's next row is for this step, and nothing has changed that it and the programs follow."""
        cdef tuple pair
        cdef Py_ssize_t i
        cdef PyObject *now
        if self.at >= self.count or not self.revisions.hold():
            return False
        for i in range(len(self.settings)):
            pair = <tuple> self.settings[i]
            now = PyDict_GetItem(trainer, <object> pair[0])
            if now != <PyObject *> pair[1]:
                return False
        if <int64_t> self.optimizer.changes != self.changes or self.optimizer.groups:
            return False
        if self.schedule is not None and <int64_t> self.schedule.changes != self.schedule_changes:
            return False
        if self.ledger.clocked.clock != self.clock or self.ledger.clocked.generation != self.generation:
            return False
        return self.ledger.counts.step == self.next_step and self.ledger.counts.epoch == self.epoch

    cdef cnp.ndarray target(self, y):
        """y as the program reads it, or None if it needs the slow path."""
        cdef cnp.ndarray array
        if not self.labels:
            if not has_form(&self.y, y):
                return None
            if self.bounded and not within(<cnp.ndarray> y, self.low, self.high, self.ends):
                return None
            return <cnp.ndarray> y
        if not cnp.PyArray_CheckExact(y):
            return None
        array = <cnp.ndarray> y
        cdef int axes = cnp.PyArray_NDIM(array)
        if not 1 <= axes <= 2 or cnp.PyArray_DIM(array, 0) != self.offsets[1]:
            return None
        if axes == 2 and cnp.PyArray_DIM(array, 1) != 1:
            return None
        if not cnp.PyTypeNum_ISINTEGER(cnp.PyArray_TYPE(array)) and not cnp.PyTypeNum_ISBOOL(cnp.PyArray_TYPE(array)):
            return None
        if (cnp.PyArray_TYPE(array) != cnp.NPY_INT64 or not cnp.PyArray_ISBEHAVED_RO(array)
                or not cnp.PyArray_IS_C_CONTIGUOUS(array)):
            array = <cnp.ndarray> cnp.PyArray_FROMANY(
                array, cnp.NPY_INT64, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)
        if not are_labels(<const int64_t *> cnp.PyArray_DATA(array), self.offsets[1], self.classes, self.ignored):
            return None
        return array

    def run(self, trainer, x, y):
        """Make a step and return its loss; or None (and nothing done) for a batch that needs the slow path.

        Raises
        ------
        RuntimeError
            If another thread trains the model, or predicts on it.
        """
        cdef cnp.ndarray target
        cdef double loss
        if not has_form(&self.x, x):
            return None
        target = self.target(y)
        if target is None:
            return None
        self.guard.start_writing()
        try:
            if not self.is_current(trainer.__dict__) and not self.renew(trainer):
                return None
            self.compute(<cnp.ndarray> x, target, &loss)
        finally:
            self.guard.stop_writing()
        return loss

    cdef int compute(self, cnp.ndarray x, cnp.ndarray target, double *loss) except -1:
        cdef _c.fnn_steps steps
        cdef _c.fnn_status status
        cdef double *scalars = <double *> cnp.PyArray_DATA(self.rows) + self.at * self.slots
        cdef int threads = 0, force = 0
        cdef _Workspace first = self.gradient.take(), second = self.update.take()
        memset(&steps, 0, sizeof(steps))
        scalars[self.micro_step_column] = <double> self.ledger.counts.micro_step
        first.workspace.pointers[self.x_id] = cnp.PyArray_DATA(x)
        first.workspace.pointers[self.y_id] = cnp.PyArray_DATA(target)
        steps.gradient, steps.update = first.workspace, second.workspace
        steps.index_buffer = self.index_id
        steps.index = <const int64_t *> cnp.PyArray_DATA(self.index)
        steps.offsets = self.offsets
        steps.steps = 1
        steps.gradient_scalars, steps.gradient_slots = scalars, self.slots
        steps.update_scalars = <const double *> cnp.PyArray_DATA(self.table) + self.at * self.width
        steps.update_slots = self.width
        steps.loss_buffer, steps.losses = self.loss_id, loss
        if self.threads:
            _c.fnn_get_local_threads(&threads, &force)
            _c.fnn_set_local_threads(self.threads, 0)
        with nogil:
            status = _c.fnn_run_steps(&steps)
        if self.threads:
            _c.fnn_set_local_threads(threads, force)
        check(status)
        self.gradient.free_list.append(first)
        self.update.free_list.append(second)
        self.ledger.enter_step(self.offsets[1], 0, True)
        self.at += 1
        self.next_step += 1
        self.clock = self.ledger.clock
        return 0
