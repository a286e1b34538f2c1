# Programs: build, bind, run. See program/program.h.


class Slot:
    """Value `index` of the scalars that a step brings along, in place of a constant."""

    __slots__ = ("index",)

    def __init__(self, index):
        self.index = index


cdef _c.fnn_affine affine(size) except *:
    """An int, or (per_row, base)."""
    cdef _c.fnn_affine value
    if isinstance(size, tuple):
        value.per_row, value.base = size
    else:
        value.per_row = 0
        value.base = size
    return value


cdef class Builder:
    """Collects buffers and ops; finish() makes the immutable Program."""

    cdef _c.fnn_program *program
    cdef list names
    cdef set rows_bound

    def __cinit__(self, int dtype_code):
        self.program = _c.fnn_program_new(dtype_code)
        if self.program == NULL:
            raise MemoryError("fastnn: out of memory")
        self.names = []
        self.rows_bound = set()

    def __dealloc__(self):
        _c.fnn_program_free(self.program)

    cdef int buffer(self, _c.fnn_buffer_kind kind, size, int64_t rows_bytes, name) except -1:
        if self.program == NULL:
            raise ValueError("this builder is finished")
        cdef int index = _c.fnn_program_buffer(self.program, kind, affine(size), rows_bytes)
        if index < 0:
            raise MemoryError("fastnn: out of memory")
        self.names.append(name)
        return index

    def external(self, int64_t rows_bytes=0, name=""):
        """A buffer whose address is bound or given per run; rows_bytes > 0 if its axis 0 is the batch."""
        return self.buffer(_c.FNN_BUFFER_EXTERNAL, 0, rows_bytes, name)

    def workspace(self, size, name=""):
        """Planned scratch of `size` bytes (an int, or (per_row, base)); shares memory with others."""
        return self.buffer(_c.FNN_BUFFER_WORKSPACE, size, 0, name)

    def persistent(self, size, name=""):
        """Planned memory that nothing else shares, readable after a run."""
        return self.buffer(_c.FNN_BUFFER_KEPT, size, 0, name)

    def op(self, name, tuple buffers, tuple dims=(), tuple scalars=()):
        """Append an op and return its index.

        buffers: ids, (id, byte offset) or None, in slot order; dims and offsets are ints or (per_row, base).
        """
        cdef _c.fnn_node node
        cdef Py_ssize_t i
        if self.program == NULL:
            raise ValueError("this builder is finished")
        if (len(buffers) > _c.FNN_MAX_POINTERS or len(dims) > _c.FNN_MAX_DIMS
                or len(scalars) > _c.FNN_MAX_SCALARS):
            raise ValueError(f"{name}: more operands than an op has slots")
        memset(&node, 0, sizeof(node))
        node.op = OP_CODES[name] if isinstance(name, str) else name
        for i in range(_c.FNN_MAX_POINTERS):
            node.operand[i].buffer = -1
        for i in range(_c.FNN_MAX_SCALARS):
            node.slot[i] = -1
        for i in range(len(buffers)):
            item = buffers[i]
            if item is None:
                continue
            if isinstance(item, tuple):
                node.operand[i].buffer = item[0]
                node.operand[i].offset = affine(item[1])
            else:
                node.operand[i].buffer = item
        for i in range(len(dims)):
            node.dim[i] = affine(dims[i])
        for i in range(len(scalars)):
            item = scalars[i]
            if isinstance(item, Slot):
                node.slot[i] = item.index
            else:
                node.scalar[i] = item
        cdef int index = _c.fnn_program_append(self.program, &node)
        if index < 0:
            raise MemoryError("fastnn: out of memory")
        return index

    def finish(self, int64_t capacity_rows, int64_t chunk_rows=0):
        """Check everything, plan the memory and return the Program."""
        if self.program == NULL:
            raise ValueError("this builder is finished")
        cdef _c.fnn_status status = _c.fnn_program_finish(self.program, capacity_rows, chunk_rows)
        if status == _c.FNN_ERROR_ARGUMENT:
            raise ValueError(self.program.problem.decode())
        check(status)
        cdef Program program = Program.__new__(Program)
        program.program = self.program
        program.names = tuple(self.names)
        program.free_list = []
        program.bound = {}
        self.program = NULL
        return program


cdef class _Workspace:
    """One calling thread's memory of a program."""

    cdef _c.fnn_workspace *workspace
    cdef int64_t bindings  # of the program when its bound arrays were last pointed at

    def __cinit__(self, Program program):
        self.bindings = -1
        self.workspace = _c.fnn_workspace_new(program.program)
        if self.workspace == NULL:
            raise MemoryError("fastnn: out of memory")

    def __dealloc__(self):
        _c.fnn_workspace_free(self.workspace)

    cdef int point(self, Program program, dict externals) except -1:
        """Set the addresses of the externals for the coming run."""
        cdef _c.fnn_workspace *w = self.workspace
        cdef int index
        for index, array in externals.items():
            if index < 0 or index >= program.program.buffer_count:
                raise ValueError("no such buffer")
            w.pointers[index] = NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray?> array)
        return 0


cdef class Program:
    """An immutable plan. Weights and state are referenced, scratch comes from a free list of workspaces."""

    cdef _c.fnn_program *program
    cdef tuple names
    cdef list free_list
    cdef dict bound
    cdef int64_t bindings  # how often bind was called

    def __dealloc__(self):
        self.free_list = None  # workspaces point into the program
        _c.fnn_program_free(self.program)

    cdef _Workspace take(self):
        cdef _Workspace workspace = <_Workspace> self.free_list.pop() if self.free_list else _Workspace(self)
        cdef int index
        if workspace.bindings != self.bindings:
            for index, array in self.bound.items():
                workspace.workspace.pointers[index] = cnp.PyArray_DATA(<cnp.ndarray> array)
            workspace.bindings = self.bindings
            _c.fnn_layout_forget(workspace.workspace)
        return workspace

    cdef int go(self, _Workspace workspace, int64_t rows, const double *scalars) except -1:
        """One run of a workspace that points at its externals."""
        cdef _c.fnn_workspace *w = workspace.workspace
        cdef _c.fnn_status status = _c.fnn_workspace_prepare(w, rows, 0, _c.fnn_team_size())
        if status == _c.FNN_ERROR_ARGUMENT:
            raise ValueError(f"{rows} rows do not fit a program planned for {self.program.capacity}")
        check(status)
        cdef double chunks = <double> rows / self.program.chunk if self.program.chunk else 1
        if w.now.ns * chunks < _c.FNN_BRIEF_NS:
            _c.fnn_workspace_go(w, rows, scalars)
        else:
            with nogil:
                _c.fnn_workspace_go(w, rows, scalars)
        return 0

    def bind(self, int index, cnp.ndarray array not None):
        """Reference this array for life: its memory is read and written in place."""
        if index < 0 or index >= self.program.buffer_count:
            raise ValueError("no such buffer")
        self.bound[index] = array
        self.program.buffers[index].fixed = 1
        self.bindings += 1

    @property
    def capacity(self):
        """Most rows of one run (of one chunk when chunked)."""
        return self.program.capacity

    @property
    def chunk(self):
        """Rows per chunk of an inference program; 0 for the whole batch at once."""
        return self.program.chunk

    @property
    def op_count(self):
        return self.program.node_count

    @property
    def slot_count(self):
        """Scalars that each step or run brings along."""
        return self.program.slot_count

    @property
    def workspace_bytes(self):
        """Planned memory at full capacity."""
        return self.program.arena_bytes

    @property
    def lower_bound_bytes(self):
        """The most that is alive at one op: no plan can be smaller."""
        return self.program.lower_bound_bytes

    def run(self, int64_t rows, dict externals, scalars=(), dict read=None):
        """Run once over `rows` rows.

        externals: {buffer id: array}; scalars: the slots' values; read: {persistent buffer id: array to fill}.
        """
        cdef double few[64]
        cdef double *given = few
        cdef bytearray many  # frees itself
        cdef Py_ssize_t i, count = len(scalars)
        if count < self.program.slot_count:
            raise ValueError(f"this program takes {self.program.slot_count} scalars, got {count}")
        if count > 64:
            many = bytearray(count * sizeof(double))
            given = <double *> <char *> many
        for i in range(count):
            given[i] = scalars[i]
        cdef _Workspace workspace = self.take()
        workspace.point(self, externals)
        self.go(workspace, rows, given)
        if read is not None:
            self.read(workspace, read)
        self.free_list.append(workspace)

    cdef int read(self, _Workspace workspace, dict wanted) except -1:
        cdef int index
        for index, array in wanted.items():
            memcpy(cnp.PyArray_DATA(<cnp.ndarray?> array), workspace.workspace.pointers[index],
                   <size_t> (<cnp.ndarray> array).nbytes)
        return 0

    def bound_arrays(self):
        """{buffer id: array} of what is referenced for life: all that a run may change, besides its externals."""
        return dict(self.bound)

    @property
    def scratch_bytes(self):
        """Largest scratch of the workspaces that are not in use now."""
        return max([(<_Workspace> workspace).workspace.scratch_bytes for workspace in self.free_list], default=0)

    cdef int64_t buffer_bytes(self, int index, int64_t rows, dict externals) except -1:
        """Bytes of a buffer that a run over so many rows can reach at most; 0 where nobody knows."""
        cdef _c.fnn_buffer *buffer = &self.program.buffers[index]
        if buffer.kind != _c.FNN_BUFFER_EXTERNAL:
            return _c.fnn_affine_at(buffer.bytes, rows)
        array = self.bound.get(index, externals.get(index))
        return 0 if array is None else (<cnp.ndarray> array).nbytes

    def op_buffers(self, int64_t rows, dict externals):
        """Per op {buffer id: bytes of the buffer}."""
        report = []
        cdef int index
        for n in range(self.program.node_count):
            used = {}
            for i in range(_c.FNN_MAX_POINTERS):
                index = self.program.nodes[n].operand[i].buffer
                if index >= 0:
                    used[index] = self.buffer_bytes(index, rows, externals)
            report.append(used)
        return report

    def op_report(self, int64_t rows):
        """One dict per op for so many rows: name, sizes, FLOPs, bytes, estimated ns on one thread, threads and why."""
        cdef _Workspace workspace = self.take()
        cdef _c.fnn_workspace *w = workspace.workspace
        cdef _c.fnn_work work
        workspace.point(self, {})
        check(_c.fnn_workspace_prepare(w, rows, 0, _c.fnn_team_size()))
        report = []
        for n in range(self.program.node_count):
            op = &_c.fnn_ops[self.program.nodes[n].op]
            work = op.work(&w.args[n])
            names = op.dims.decode().split()
            if _c.fnn_threads_forced():
                reason = "forced"
            elif w.team_size == 1:
                reason = "one thread available"
            elif w.now.threads[n] > 1:
                reason = "long enough to share"
            elif w.now.region_size == 1:
                reason = "the whole call is too short for a region"
            else:
                reason = "shorter than two barriers are worth"
            report.append({"name": op.name.decode(), "index": n, "flops": work.flops, "bytes": work.bytes,
                           "ns_estimate": work.ns, "threads": w.now.threads[n], "reason": reason,
                           "barrier": bool(w.now.turns[n].barrier), "member": w.now.turns[n].owner,
                           "dims": {name: w.args[n].dim[i] for i, name in enumerate(names)}})
        self.free_list.append(workspace)
        return report

    def profile(self, int64_t rows, dict externals, scalars=(), int repeats=10):
        """Mean seconds per op over `repeats` runs after one warm-up; a barrier's wait counts with the op after it."""
        if <Py_ssize_t> len(scalars) < self.program.slot_count:
            raise ValueError(f"this program takes {self.program.slot_count} scalars, got {len(scalars)}")
        cdef _Workspace workspace = self.take()
        cdef _c.fnn_workspace *w = workspace.workspace
        cdef bytearray values = bytearray((len(scalars) + 1) * sizeof(double))
        cdef double *given = <double *> <char *> values
        for i in range(len(scalars)):
            given[i] = scalars[i]
        workspace.point(self, externals)
        check(_c.fnn_program_run(w, rows, given))
        w.seconds = <double *> calloc(<size_t> self.program.node_count + 1, sizeof(double))
        if w.seconds == NULL:
            raise MemoryError("fastnn: out of memory")
        try:
            for _ in range(repeats):
                with nogil:
                    _c.fnn_program_run(w, rows, given)
            return [w.seconds[n] / repeats for n in range(self.program.node_count)]
        finally:
            free(w.seconds)
            w.seconds = NULL
            self.free_list.append(workspace)


def run_steps(Program gradient not None, Program update, dict externals, int index_id, cnp.ndarray index,
              cnp.ndarray offsets not None, cnp.ndarray gradient_scalars, cnp.ndarray update_scalars,
              cnp.ndarray updates, int loss_id, cnp.ndarray losses not None, cnp.ndarray stop, double seconds,
              bint check_nan, Ledger ledger=None):
    """Many training steps in one native call; returns how many were done.

    index and offsets are int64, the scalars float64 (steps, slots), losses float64 (steps,), stop int32 (1,); updates
    is int8 (steps,), whether the update comes after the step, or None: after each. All C-contiguous. What was done is
    entered into the ledger.
    """
    cdef _c.fnn_steps steps
    cdef _c.fnn_status status
    memset(&steps, 0, sizeof(steps))
    cdef _Workspace first = gradient.take()
    cdef _Workspace second = None
    first.point(gradient, externals)
    steps.gradient = first.workspace
    if update is not None:
        second = update.take()
        second.point(update, {})
        steps.update = second.workspace
    steps.index_buffer = index_id
    if index is not None:
        steps.index = <const int64_t *> cnp.PyArray_DATA(index)
    steps.offsets = <const int64_t *> cnp.PyArray_DATA(offsets)
    steps.steps = offsets.shape[0] - 1
    if losses.shape[0] < steps.steps:
        raise ValueError("losses is shorter than the number of steps")
    if gradient_scalars is not None:
        steps.gradient_scalars = <const double *> cnp.PyArray_DATA(gradient_scalars)
        steps.gradient_slots = gradient_scalars.shape[1]
    if update_scalars is not None:
        steps.update_scalars = <const double *> cnp.PyArray_DATA(update_scalars)
        steps.update_slots = update_scalars.shape[1]
    if steps.gradient_slots < gradient.program.slot_count or (
            update is not None and steps.update_slots < update.program.slot_count):
        raise ValueError("a program needs more scalars per step than were given")
    if updates is not None:
        if updates.dtype != INT8 or updates.shape[0] < steps.steps:
            raise ValueError("updates must be int8, one number per step")
        steps.updates = <const signed char *> cnp.PyArray_DATA(updates)
    steps.loss_buffer = loss_id
    steps.losses = <double *> cnp.PyArray_DATA(losses)
    if stop is not None:
        steps.stop = <const int32_t *> cnp.PyArray_DATA(stop)
    steps.seconds = seconds
    steps.check_nan = check_nan
    with nogil:
        status = _c.fnn_run_steps(&steps)
    if status == _c.FNN_ERROR_ARGUMENT:
        raise ValueError(f"a step has more rows than the program's capacity of {gradient.program.capacity}")
    check(status)
    gradient.free_list.append(first)
    if update is not None:
        update.free_list.append(second)
    if ledger is not None:
        ledger.enter_steps(&steps)
    return steps.done


def run_update(Program update not None, scalars, Ledger ledger not None):
    """The update alone, of gradients that are there; entered into the ledger as the end of what was open."""
    update.run(1, {}, scalars)
    ledger.enter(1, 0, 0, 0)
