# The op table, the lists, and one op at a time.


def _split_slots(text):
    """Names and marks of a pointer list such as "x weight? y="."""
    names, marks = [], {}
    for word in text.split():
        name = word.rstrip("?=&")
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

    Each is a dict with name, code, cls, params, defaults, states, doc, citation and the texts of the formulas (forward
    and derivative, over simd/vec.h); optimizers' params are the names of their scalars.
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
                       "citation": rows[i].citation.decode()})
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
    cdef void *pointers[16]
    cdef int64_t sizes[32]
    cdef double values[16]
    cdef Py_ssize_t i
    cdef _c.fnn_status status
    if len(arrays) > _c.FNN_MAX_POINTERS or len(dims) > _c.FNN_MAX_DIMS or len(scalars) > _c.FNN_MAX_SCALARS:
        raise ValueError("more operands than an op has slots")
    memset(pointers, 0, sizeof(pointers))
    memset(sizes, 0, sizeof(sizes))
    memset(values, 0, sizeof(values))
    for i in range(len(arrays)):
        array = arrays[i]
        if array is not None:
            pointers[i] = cnp.PyArray_DATA(<cnp.ndarray?> array)
    for i in range(len(dims)):
        sizes[i] = dims[i]
    for i in range(len(scalars)):
        values[i] = scalars[i]
    with nogil:
        status = _c.fnn_call(code, dtype_code, pointers, sizes, values)
    check(status)
