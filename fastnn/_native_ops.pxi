# The op table, the lists, and one op at a time.


def _split_slots(text):
    """Names and marks of a pointer list such as "x weight? y="."""
    names, marks = [], {}
    for word in text.split():
        name = word.rstrip("?=&*")
        names.append(name)
        marks[name] = word[len(name):]
    return tuple(names), marks


def ops():
    """{name: (code, pointer names, dim names, scalar names, {pointer: marks})} of every native op."""
    table = {}
    for code in range(_c.FNN_OP_COUNT):
        op = &_c.fnn_ops[code]
        pointers, marks = _split_slots(op.pointers.decode())
        table[op.name.decode()] = (code, pointers, tuple(op.dims.decode().split()),
                                   tuple(op.scalars.decode().split()), marks)
    return table


OP_CODES = {name: row[0] for name, row in ops().items()}


def list_rows(name):
    """Rows of one of the lists: "activations", "elementwise", "binary", "losses" or "optimizers".

    Each is a dict with name, code, cls, params, defaults, states, doc, citation and the texts of the formulas (forward,
    derivative and, where the output is kept, from_output, over simd/vec.h); optimizers' params are the names of their
    scalars. Losses also have function (the functional name), target (what targets may be), link (what an output says)
    and limits (of the parameters, an expression).
    """
    cdef int count = 0, first = 0
    cdef const _c.fnn_list_row *rows = _c.fnn_list(name.encode(), &count, &first)
    if rows == NULL:
        raise ValueError(f"no list named {name!r}")
    result = []
    for i in range(count):
        params = tuple(rows[i].parameters.decode().split())
        result.append({"name": rows[i].name.decode(), "code": first + i, "cls": rows[i].cls.decode(),
                       "params": params,
                       "defaults": tuple(rows[i].defaults[k] for k in range(min(len(params), _c.FNN_LIST_PARAMETERS))),
                       "states": tuple(rows[i].states.decode().split()), "doc": rows[i].doc.decode(),
                       "forward": rows[i].forward.decode(), "derivative": rows[i].derivative.decode(),
                       "from_output": rows[i].from_output.decode(),
                       "citation": rows[i].citation.decode(), "function": rows[i].function.decode(),
                       "target": rows[i].target.decode(), "link": rows[i].link.decode(),
                       "limits": rows[i].limits.decode()})
    return result


def run_op(op, tuple arrays, tuple dims, tuple scalars, int dtype_code):
    """Run one op now, with the GIL released, on as many threads as it is worth.

    Parameters
    ----------
    op : str or int
        Name or code.
    arrays : tuple of ndarray or None
        In the order of the op's slots; only the data pointers are used.
    dims, scalars : tuple
        In the order of the op's row; missing ones are 0.
    dtype_code : int
        0 float32, 1 float64.
    """
    cdef int code = OP_CODES[op] if isinstance(op, str) else op
    cdef _c.fnn_args args
    cdef Py_ssize_t i
    if (code < 0 or code >= _c.FNN_OP_COUNT or len(arrays) > _c.FNN_MAX_POINTERS or len(dims) > _c.FNN_MAX_DIMS
            or len(scalars) > _c.FNN_MAX_SCALARS):
        raise ValueError("no such op, or more operands than an op has slots")
    memset(&args, 0, sizeof(args))
    for i in range(len(arrays)):
        array = arrays[i]
        if array is not None:
            args.pointer[i] = cnp.PyArray_DATA(<cnp.ndarray?> array)
    for i in range(len(dims)):
        args.dim[i] = dims[i]
    for i in range(len(scalars)):
        args.scalar[i] = scalars[i]
    call(code, dtype_code, &args)


cdef int call(int code, int dtype_code, _c.fnn_args *args) except -1:
    """Run an op whose operands are set; the caller holds a reference to every array."""
    cdef double ns = _c.fnn_call_prepare(code, dtype_code, args)
    cdef _c.fnn_status status
    if ns < _c.FNN_BRIEF_NS:
        return check(_c.fnn_call_run(code, args, ns))
    with nogil:
        status = _c.fnn_call_run(code, args, ns)
    return check(status)
