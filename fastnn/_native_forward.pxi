# A model called again and again: whether its program still is what the model says, and the call.

cdef enum:
    FORWARD_AXES = 8
    FORWARD_ROWS = 8192  # more rows of another dtype or order are converted in parts, by the slow path


cdef bint converts_at_once(cnp.ndarray array) noexcept:
    """Whether NumPy's cast is the conversion: reals and integers that a double holds, in native byte order."""
    cdef int kind = cnp.PyArray_TYPE(array)
    if not cnp.PyArray_ISNOTSWAPPED(array):
        return False
    if cnp.PyTypeNum_ISUNSIGNED(kind):
        return cnp.PyArray_ITEMSIZE(array) <= 4
    return (kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE or cnp.PyTypeNum_ISBOOL(kind)
            or cnp.PyTypeNum_ISSIGNED(kind))


@cython.final
cdef class Forward:
    """A program of one input and one output, with whatever its calls have in common settled once.

    Parameters
    ----------
    program : Program
        Works row by row and takes no scalars.
    feed, result : int
        Buffers of the input and the output.
    features, tail : tuple of int
        Shapes of a row of the input and of the output; at most 7 axes.
    dtype_code : int
        0 float32, 1 float64.
    guard : Guard
        Of the parameters that the program reads.
    revisions : Revisions
        Of what the program was traced from.
    """

    cdef Program program
    cdef readonly Guard guard
    cdef Revisions revisions
    cdef int feed, result, kind, in_axes, out_axes
    cdef cnp.npy_intp features[FORWARD_AXES]
    cdef cnp.npy_intp tail[FORWARD_AXES]

    def __init__(self, Program program not None, int feed, int result, tuple features, tuple tail, int dtype_code,
                 Guard guard not None, Revisions revisions not None):
        cdef Py_ssize_t i
        if len(features) >= FORWARD_AXES or len(tail) >= FORWARD_AXES or program.program.slot_count:
            raise ValueError("Forward takes a program without scalars and rows of at most 7 axes")
        self.program, self.guard, self.revisions = program, guard, revisions
        self.feed, self.result = feed, result
        self.kind = cnp.NPY_FLOAT if dtype_code == 0 else cnp.NPY_DOUBLE
        self.in_axes, self.out_axes = len(features), len(tail)
        for i in range(self.in_axes):
            self.features[i] = features[i]
        for i in range(self.out_axes):
            self.tail[i] = tail[i]

    cdef bint fits(self, cnp.ndarray array, int axes, const cnp.npy_intp *shape) noexcept:
        """Whether an array has rows of this shape, and at least one."""
        cdef int i
        if cnp.PyArray_NDIM(array) != axes + 1:
            return False
        for i in range(axes):
            if cnp.PyArray_DIM(array, i + 1) != shape[i]:
                return False
        return cnp.PyArray_DIM(array, 0) > 0

    def run(self, x, out):
        """The output, or None (and nothing done) for a call that needs the slow path.

        Raises
        ------
        RuntimeError
            If another thread is training the model now.
        """
        if not self.revisions.hold():
            return None
        self.guard.start_reading()  # before x is converted, which can let another thread run
        try:
            return self.try_run(x, out)
        finally:
            self.guard.stop_reading()

    cdef try_run(self, x, out):
        cdef cnp.npy_intp shape[FORWARD_AXES]
        cdef int i
        if not cnp.PyArray_CheckExact(x) or not self.fits(<cnp.ndarray> x, self.in_axes, self.features):
            return None
        if real_type(x) != self.kind or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> x):
            if not converts_at_once(<cnp.ndarray> x) or cnp.PyArray_DIM(<cnp.ndarray> x, 0) > FORWARD_ROWS:
                return None
            x = cnp.PyArray_FROMANY(x, self.kind, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)
        cdef int64_t rows = cnp.PyArray_DIM(<cnp.ndarray> x, 0)
        if out is None:
            shape[0] = rows
            for i in range(self.out_axes):
                shape[i + 1] = self.tail[i]
            out = cnp.PyArray_SimpleNew(self.out_axes + 1, shape, self.kind)
        elif (real_type(out) != self.kind or not self.fits(<cnp.ndarray> out, self.out_axes, self.tail)
                or cnp.PyArray_DIM(<cnp.ndarray> out, 0) != rows or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out)
                or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> out) or not apart(<cnp.ndarray> out, <cnp.ndarray> x)):
            return None
        self.compute(rows, <cnp.ndarray> x, <cnp.ndarray> out)
        return out

    cdef int compute(self, int64_t rows, cnp.ndarray x, cnp.ndarray out) except -1:
        cdef _Workspace workspace = self.program.take()
        workspace.workspace.pointers[self.feed] = cnp.PyArray_DATA(x)
        workspace.workspace.pointers[self.result] = cnp.PyArray_DATA(out)
        self.program.go(workspace, rows, NULL)
        self.program.free_list.append(workspace)
        return 0
