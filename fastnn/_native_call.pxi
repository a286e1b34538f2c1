# A compiled function called again: its program, with whatever the calls of one signature have in common settled once.

cdef enum:
    CALL_AXES = 8


cdef struct Place:
    int buffer  # -1: the program does not need it
    int kind  # NumPy's type number
    int axes
    cnp.npy_intp shape[CALL_AXES]
    int64_t classes, ignore  # of labels; 0: nothing to check


@cython.final
cdef class Call:
    """A program of fixed shapes as a function of nested arguments.

    Parameters
    ----------
    program : Program
        Of one run of one row; takes at most 2 scalars, which are 0.
    structure, result_structure
        As `graph.structure.flatten` gives them, for the tuple of all arguments and for the result.
    inputs : sequence of (buffer or -1, shape, dtype, type of a number or None, (classes, ignore_index) or None)
        One per leaf. A leaf of which a type is given is a Python or NumPy number of exactly that type.
    outputs : sequence of (buffer, shape)
        One per leaf of the result; all of them differ.
    dtype : numpy.dtype
    guard : Guard
        Of the parameters that the program reads, or (`writes`) changes.
    revisions : Revisions
        Of what the program was traced from.
    """

    cdef Program program
    cdef Guard guard
    cdef Revisions revisions
    cdef bint writes
    cdef object structure, result_structure
    cdef tuple number_types
    cdef Place *inputs
    cdef Place *outputs
    cdef Py_ssize_t input_count, output_count

    def __cinit__(self, Program program not None, structure, result_structure, inputs, outputs, dtype,
                  Guard guard not None, bint writes, Revisions revisions not None):
        if program.program.slot_count > 2 or any(len(item[1]) > CALL_AXES for item in (*inputs, *outputs)):
            raise ValueError("Call takes a program of at most 2 scalars and arrays of at most 8 axes")
        self.program, self.guard, self.writes, self.revisions = program, guard, writes, revisions
        self.structure, self.result_structure = structure, result_structure
        self.number_types = tuple([item[3] for item in inputs])
        self.input_count, self.output_count = len(inputs), len(outputs)
        self.inputs = <Place *> calloc(<size_t> self.input_count + 1, sizeof(Place))
        self.outputs = <Place *> calloc(<size_t> self.output_count + 1, sizeof(Place))
        if self.inputs == NULL or self.outputs == NULL:
            raise MemoryError("fastnn: out of memory")
        cdef Py_ssize_t i
        cdef int real = (<cnp.dtype?> dtype).type_num
        for i in range(self.input_count):
            self.place(&self.inputs[i], inputs[i][0], inputs[i][1], (<cnp.dtype?> inputs[i][2]).type_num)
            if inputs[i][4] is not None:
                self.inputs[i].classes, self.inputs[i].ignore = inputs[i][4]
        for i in range(self.output_count):
            self.place(&self.outputs[i], outputs[i][0], outputs[i][1], real)

    def __dealloc__(self):
        free(self.inputs)
        free(self.outputs)

    cdef int place(self, Place *place, int buffer, tuple shape, int kind) except -1:
        cdef int i
        if buffer >= self.program.program.buffer_count:
            raise ValueError("no such buffer")
        place.buffer, place.kind, place.axes = buffer, kind, <int> len(shape)
        for i in range(place.axes):
            place.shape[i] = shape[i]
        return 0

    cdef bint flatten(self, structure, value, list leaves) except -1:
        """Append the leaves of a value of exactly this structure; False if it has another."""
        if structure is None:
            leaves.append(value)
            return True
        cdef type kind = <type> (<tuple> structure)[0]
        cdef list items = <list> (<tuple> structure)[1]
        cdef Py_ssize_t i
        if type(value) is not kind or len(value) != len(items):
            return False
        if kind is dict:
            for key, item in items:
                if key not in <dict> value or not self.flatten(item, (<dict> value)[key], leaves):
                    return False
            return True
        for i in range(len(items)):
            if not self.flatten(items[i], value[i], leaves):
                return False
        return True

    cdef build(self, structure, list values, Py_ssize_t *at):
        """The inverse."""
        if structure is None:
            at[0] += 1
            return values[at[0] - 1]
        kind = (<tuple> structure)[0]
        cdef list items = <list> (<tuple> structure)[1]
        if kind is dict:
            return {key: self.build(item, values, at) for key, item in items}
        made = [self.build(item, values, at) for item in items]
        if kind is list:
            return made
        return tuple(made) if kind is tuple or not hasattr(kind, "_fields") else kind(*made)

    cdef bint fits(self, const Place *place, cnp.ndarray array) noexcept:
        cdef int64_t i, label
        cdef const int64_t *labels
        if cnp.PyArray_TYPE(array) != place.kind or cnp.PyArray_NDIM(array) != place.axes:
            return False
        if not cnp.PyArray_ISBEHAVED_RO(array) or not cnp.PyArray_IS_C_CONTIGUOUS(array):
            return False
        for i in range(place.axes):
            if cnp.PyArray_DIM(array, i) != place.shape[i]:
                return False
        if place.classes:
            labels = <const int64_t *> cnp.PyArray_DATA(array)
            for i in range(cnp.PyArray_SIZE(array)):
                label = labels[i]
                if (label < 0 or label >= place.classes) and label != place.ignore:
                    return False
        return True

    def run(self, tuple args):
        """The result, or None (and nothing done) for arguments that need the slow path.

        Raises
        ------
        RuntimeError
            If another thread is training what the program reads.
        """
        if not self.revisions.hold():
            return None
        if self.writes:
            self.guard.start_writing()
        else:
            self.guard.start_reading()
        try:
            return self.try_run(args)
        finally:
            if self.writes:
                self.guard.stop_writing()
            else:
                self.guard.stop_reading()

    cdef try_run(self, tuple args):
        cdef list leaves = [], results = []
        cdef Py_ssize_t i, at = 0
        cdef double scalars[2]
        cdef cnp.ndarray array
        if not self.flatten(self.structure, args, leaves):
            return None
        for i in range(self.input_count):
            leaf = leaves[i]
            number_type = <object> self.number_types[i]
            if number_type is not None:
                if type(leaf) is not number_type:
                    return None
                leaves[i] = leaf = cnp.PyArray_FROMANY(
                    leaf, self.inputs[i].kind, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)
            if not cnp.PyArray_CheckExact(leaf) or not self.fits(&self.inputs[i], <cnp.ndarray> leaf):
                return None
        cdef _Workspace workspace = self.program.take()
        for i in range(self.input_count):
            if self.inputs[i].buffer >= 0:
                workspace.workspace.pointers[self.inputs[i].buffer] = cnp.PyArray_DATA(<cnp.ndarray> leaves[i])
        for i in range(self.output_count):
            array = cnp.PyArray_SimpleNew(self.outputs[i].axes, self.outputs[i].shape, self.outputs[i].kind)
            workspace.workspace.pointers[self.outputs[i].buffer] = cnp.PyArray_DATA(array)
            results.append(array)
        scalars[0] = scalars[1] = 0
        self.program.go(workspace, 1, scalars)
        self.program.free_list.append(workspace)
        for i in range(self.output_count):
            if not self.outputs[i].axes:
                results[i] = results[i][()]
        if self.result_structure is None:
            return results[0]
        return self.build(self.result_structure, results, &at)
