# Which instruction set and how many threads: base/team.h and isa/dispatch.h.


cdef int check(_c.fnn_status status) except -1:
    """Raise what a status means."""
    if status == _c.FNN_OK:
        return 0
    if status == _c.FNN_ERROR_MEMORY:
        raise MemoryError("fastnn: out of memory")
    raise ValueError("fastnn: an argument of a native call is outside its range")


def available_isas():
    """Names of the instruction sets that can run here, best first."""
    cdef const char *names[16]
    cdef int count = _c.fnn_available_isas(names)
    return tuple(names[i].decode() for i in range(count))


def get_isa():
    """The instruction set in use by this thread."""
    return _c.fnn_get_isa().decode()


cdef int use_isa(name, bint local) except -1:
    cdef const char *chosen = NULL
    text = None if name is None else str(name).encode()
    if text is not None:
        chosen = text
    cdef _c.fnn_status status = _c.fnn_set_local_isa(chosen) if local else _c.fnn_set_isa(chosen)
    if status != _c.FNN_OK:
        raise ValueError(f"unknown or unsupported instruction set {name!r}; available here: "
                         f"{', '.join(available_isas())}")
    return 0


def set_isa(name):
    """Use this instruction set in the whole process; None is the default again."""
    use_isa(name, False)


_of_thread = threading.local()


@cython.final
@cython.auto_pickle(False)
cdef class LocalIsa:
    """Context manager, entered once: the calling thread uses this instruction set.

    Entering and leaving are one native call each, which no signal handler can come between.
    """

    cdef object name, before

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = getattr(_of_thread, "isa", None)
        use_isa(self.name, True)
        _of_thread.isa = self.name

    def __exit__(self, *_):
        use_isa(self.before, True)
        _of_thread.isa = self.before
        return False


def check_environment():
    """Raise if FASTNN_ISA names something that cannot run."""
    cdef const char *problem = _c.fnn_isa_problem()
    if problem != NULL:
        raise ValueError(problem.decode())


def get_num_threads():
    """Threads that the next call may use."""
    return _c.fnn_get_num_threads()


def set_num_threads(int n):
    """Set the threads of the process; 0 is the default again."""
    _c.fnn_set_num_threads(n)


@cython.final
@cython.auto_pickle(False)
cdef class LocalThreads:
    """Context manager, entered once: the calling thread's calls use n threads (0: no change).

    Entering and leaving are one native call each, which no signal handler can come between. `force` switches the cost
    model off.
    """

    cdef int n, n_before, force_before
    cdef bint force

    def __init__(self, int n, bint force=False):
        self.n, self.force = n, force

    def __enter__(self):
        _c.fnn_get_local_threads(&self.n_before, &self.force_before)
        if self.n:
            _c.fnn_set_local_threads(self.n, self.force)

    def __exit__(self, *_):
        if self.n:
            _c.fnn_set_local_threads(self.n_before, self.force_before)
        return False


def threads_forced():
    """Whether the cost model is switched off in the calling thread."""
    return bool(_c.fnn_threads_forced())


def probe_flops(int dtype_code, int threads, double seconds):
    """Measured floating-point operations per second of so many threads, multiply-adds in registers."""
    if threads < 1 or not 0 < seconds < 10:
        raise ValueError("a probe takes at least one thread and a time of less than 10 seconds")
    cdef double rate
    with nogil:
        rate = _c.fnn_probe_flops(dtype_code, threads, seconds)
    return rate


def probe_bandwidth(int dtype_code, int threads, cnp.ndarray memory not None, int64_t working_set, double seconds):
    """Measured bytes per second over a working set, the first bytes of a writeable array."""
    if threads < 1 or not 0 < seconds < 10:
        raise ValueError("a probe takes at least one thread and a time of less than 10 seconds")
    if not memory.flags.c_contiguous or not memory.flags.writeable or not 32768 <= working_set <= memory.nbytes:
        raise ValueError("a probe needs a contiguous, writeable array of at least the working set, 32 KiB or more")
    cdef double rate
    cdef void *data = cnp.PyArray_DATA(memory)
    with nogil:
        rate = _c.fnn_probe_bandwidth(dtype_code, threads, data, working_set, seconds)
    return rate


def config():
    """How the library was built and what it found on this machine."""
    return {"compiler": _c.fnn_compiler().decode(), "openmp": _c.fnn_openmp_version(), "isa": get_isa(),
            "available_isas": available_isas(), "threads": get_num_threads(), "usable_cores": _c.fnn_usable_cores(),
            "cache_bytes": tuple(_c.fnn_cache_size(level) for level in (1, 2, 3))}
