# Who may use a model's arrays now: many readers or one writer of each, whatever they reach it by.


@cython.auto_pickle(False)
cdef class Versioned(Revised):
    """Base of what owns an array: counts its writes, and who is at work on it."""

    cdef public int64_t version
    cdef int64_t readers, depth
    cdef unsigned long writer  # the thread that writes, 0: none


@cython.final
@cython.auto_pickle(False)
cdef class Guard:
    """Readers and one writer of some arrays. Nobody waits: a conflict raises, because waiting would hide a mistake.

    The arrays themselves count, so that models which share a layer, a module and its parts, and a tied weight see each
    other. The thread that writes may read as well (callbacks predict between steps). The GIL is the lock: no method
    gives it up, so all arrays are taken or none.

    Parameters
    ----------
    tensors : tuple of Versioned
        All distinct.
    """

    cdef readonly tuple tensors
    cdef PyObject **items  # of the tuple, read without counting references
    cdef Py_ssize_t count

    def __cinit__(self, tuple tensors not None):
        cdef Py_ssize_t i
        for tensor in tensors:
            <Versioned?> tensor
        self.tensors, self.count = tensors, len(tensors)
        self.items = <PyObject **> malloc(<size_t> (self.count + 1) * sizeof(PyObject *))
        if self.items == NULL:
            raise MemoryError("fastnn: out of memory")
        for i in range(self.count):
            self.items[i] = <PyObject *> tensors[i]

    def __dealloc__(self):
        free(self.items)

    cdef int start_reading(self) except -1:
        cdef unsigned long me = 0
        cdef Py_ssize_t i, j
        for i in range(self.count):
            if (<Versioned> self.items[i]).writer:
                me = me or PyThread_get_thread_ident()
                if (<Versioned> self.items[i]).writer != me:
                    for j in range(i):
                        (<Versioned> self.items[j]).readers -= 1
                    raise RuntimeError("this model is being trained by another thread: "
                                       "predict, copy and save from its callbacks, or wait")
            (<Versioned> self.items[i]).readers += 1
        return 0

    cdef void stop_reading(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.count):
            (<Versioned> self.items[i]).readers -= 1

    cdef int start_writing(self) except -1:
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef Py_ssize_t i
        cdef bint trained = False, read = False
        for i in range(self.count):
            trained |= (<Versioned> self.items[i]).writer != 0 and (<Versioned> self.items[i]).writer != me
            read |= (<Versioned> self.items[i]).readers != 0
        if trained:
            raise RuntimeError("this model is being trained by another thread already")
        if read:
            raise RuntimeError(
                "another thread is predicting on this model; training and other changes must wait until it has ended"
            )
        for i in range(self.count):
            (<Versioned> self.items[i]).writer = me
            (<Versioned> self.items[i]).depth += 1
        return 0

    cdef void stop_writing(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.count):
            (<Versioned> self.items[i]).depth -= 1
            if (<Versioned> self.items[i]).depth == 0:
                (<Versioned> self.items[i]).writer = 0

    def reading(self):
        """A context manager, entered once: inside it nobody else writes."""
        return Hold(self, False)

    def writing(self):
        """A context manager, entered once: inside it nobody else reads or writes."""
        return Hold(self, True)


@cython.final
@cython.auto_pickle(False)
cdef class Hold:
    """Entering and leaving are one native call each, which no signal handler can come between."""

    cdef Guard guard
    cdef bint writes, entered

    def __init__(self, Guard guard not None, bint writes):
        self.guard, self.writes = guard, writes

    def __enter__(self):
        if self.entered:
            raise RuntimeError("a Hold is entered once")
        if self.writes:
            self.guard.start_writing()
        else:
            self.guard.start_reading()
        self.entered = True
        return self.guard.tensors

    def __exit__(self, *_):
        if self.writes:
            self.guard.stop_writing()
        else:
            self.guard.stop_reading()
        return False
