# Whether what a program was traced from is still as it was.

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(object mapping, object key)
    PyObject *PyCell_GET(PyObject *cell)
    bint PyCell_Check(object cell)


@cython.auto_pickle(False)
cdef class Revised:
    """Base of what a trace reads (modules, their lists, parameters, losses): counts the changes of itself."""

    cdef readonly int64_t _revision

    def _touch(self):
        """Count a change."""
        self._revision += 1


@cython.final
@cython.auto_pickle(False)
cdef class Revisions:
    """The circumstances of a trace; a program holds while they do.

    Parameters
    ----------
    sources : tuple of (Revised, int)
        What was read, and the revision that it had.
    watched : tuple of (dict, key, value), (dict, None, size), (cell, None, content)
        Attributes of plain objects, and variables of functions, that must stay these objects.

    Notes
    -----
    The calling thread's instruction set must stay as well.
    """

    cdef readonly tuple sources, watched
    cdef PyObject **items
    cdef int64_t *seen
    cdef Py_ssize_t count
    cdef const char *isa

    def __cinit__(self, tuple sources not None, tuple watched=()):
        cdef Py_ssize_t i
        self.count, self.sources, self.watched = len(sources), sources, watched
        self.items = <PyObject **> malloc(<size_t> (self.count + 1) * sizeof(PyObject *))
        self.seen = <int64_t *> malloc(<size_t> (self.count + 1) * sizeof(int64_t))
        if self.items == NULL or self.seen == NULL:
            raise MemoryError("fastnn: out of memory")
        for i in range(self.count):
            source, revision = sources[i]
            self.items[i], self.seen[i] = <PyObject *> (<Revised?> source), revision
        for container, _, _ in watched:
            if type(container) is not dict and not PyCell_Check(container):
                raise TypeError("what is watched is a dict or a cell")
        self.isa = _c.fnn_get_isa()

    def __dealloc__(self):
        free(self.items)
        free(self.seen)

    cdef bint hold(self) except -1:
        cdef Py_ssize_t i
        cdef tuple entry
        cdef PyObject *now
        if self.isa != _c.fnn_get_isa():
            return False
        for i in range(self.count):
            if (<Revised> self.items[i])._revision != self.seen[i]:
                return False
        for i in range(len(self.watched)):
            entry = <tuple> self.watched[i]
            if type(<object> entry[0]) is not dict:
                now = PyCell_GET(<PyObject *> entry[0])
            elif entry[1] is None:
                if len(<dict> entry[0]) != <Py_ssize_t> entry[2]:
                    return False
                continue
            else:
                now = PyDict_GetItem(<object> entry[0], <object> entry[1])
            if now != <PyObject *> entry[2]:
                return False
        return True

    def are_current(self):
        """Whether nothing of it has changed."""
        return self.hold()
