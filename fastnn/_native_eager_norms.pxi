# Fast paths (see _native_eager.pxi) of batch norm, layer norm and what draws from a random stream.

cdef int batch_norm_code = OP_CODES["batch_norm"], batch_norm_inference_code = OP_CODES["batch_norm_inference"]
cdef int batch_norm_backward_code = OP_CODES["batch_norm_backward"], layer_norm_code = OP_CODES["layer_norm"]
cdef int layer_norm_backward_code = OP_CODES["layer_norm_backward"]


cdef bint rows_of_adjacent(object value, int kind, Walk *walk) noexcept:
    """Whether value is a non-empty matrix of this real type whose rows are runs of adjacent elements."""
    return walk_of(value, kind, walk) and (walk.cols == 1 or walk.col == 1)


cdef bint optional_vector(object value, int kind, Py_ssize_t size, void **data) noexcept:
    """Whether value is None (data is NULL then) or a plain vector of `size` elements."""
    data[0] = NULL
    if value is None:
        return True
    if not is_vector(value, kind, size):
        return False
    data[0] = cnp.PyArray_DATA(<cnp.ndarray> value)
    return True


cdef object vector_target(object out, cnp.npy_intp size, int kind):
    """A new vector, or `out` if C may write it. None if not."""
    if out is None:
        return cnp.PyArray_SimpleNew(1, &size, kind)
    if not is_vector(out, kind, size) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return None
    return out


cdef object norm_targets(object out, const Walk *x, Py_ssize_t size, int kind, Walk *matrix):
    """(a matrix like x, two vectors of `size`): new, or those in the tuple `out`. None if C may not write them."""
    if out is None:
        return (matrix_target(None, x.rows, x.cols, kind, matrix), vector_target(None, size, kind),
                vector_target(None, size, kind))
    if type(out) is not tuple or len(<tuple> out) != 3:
        return None
    y = matrix_target((<tuple> out)[0], x.rows, x.cols, kind, matrix)
    first, second = vector_target((<tuple> out)[1], size, kind), vector_target((<tuple> out)[2], size, kind)
    return None if y is None or first is None or second is None else (y, first, second)


cdef bint unshared(tuple targets, tuple inputs, object same):
    """Whether no target shares memory with an input or another target; the first may be the array `same` itself."""
    cdef Py_ssize_t i, j
    for i in range(len(targets)):
        target = <cnp.ndarray> targets[i]
        for given in inputs:
            if given is None or (i == 0 and target is given and given is same):
                continue
            if not apart(<cnp.ndarray> target, <cnp.ndarray> given):
                return False
        for j in range(i):
            if not apart(<cnp.ndarray> target, <cnp.ndarray> targets[j]):
                return False
    return True


cdef bint is_eps(object eps) noexcept:
    return type(eps) is float and <double> eps >= 0


cdef double *doubles(Py_ssize_t n) except NULL:
    cdef double *p = <double *> malloc(n * sizeof(double))
    if p == NULL:
        raise MemoryError("no memory for the statistics")
    return p


cdef void round_into(const double *exact, object target, int kind) noexcept:
    """Doubles into a vector of this real type."""
    cdef Py_ssize_t i, n = cnp.PyArray_SIZE(<cnp.ndarray> target)
    cdef void *to = cnp.PyArray_DATA(<cnp.ndarray> target)
    if kind == cnp.NPY_DOUBLE:
        memcpy(to, exact, n * sizeof(double))
        return
    for i in range(n):
        (<float *> to)[i] = <float> exact[i]


cdef bint widened(object vector, Py_ssize_t size, double *to) noexcept:
    """Doubles from a plain vector of either real type; False if it is none."""
    cdef Py_ssize_t i
    cdef const float *single
    if is_vector(vector, cnp.NPY_DOUBLE, size):
        memcpy(to, cnp.PyArray_DATA(<cnp.ndarray> vector), size * sizeof(double))
        return True
    if not is_vector(vector, cnp.NPY_FLOAT, size):
        return False
    single = <const float *> cnp.PyArray_DATA(<cnp.ndarray> vector)
    for i in range(size):
        to[i] = single[i]
    return True


cdef object norm(int code, x, weight, bias, eps, out, bint of_rows):
    """(y, mean, var) of batch norm (a statistic per column) or layer norm (of_rows)."""
    cdef _c.fnn_args args
    cdef Walk rows, to
    cdef int kind = real_type(x)
    memset(&args, 0, sizeof(args))
    if kind < 0 or not is_eps(eps) or not rows_of_adjacent(x, kind, &rows):
        return None
    if not optional_vector(weight, kind, rows.cols, &args.pointer[1]):
        return None
    if not optional_vector(bias, kind, rows.cols, &args.pointer[2]):
        return None
    cdef Py_ssize_t size = rows.rows if of_rows else rows.cols
    targets = norm_targets(out, &rows, size, kind, &to)
    if targets is None or (out is not None and not unshared(<tuple> targets, (x, weight, bias), x)):
        return None
    cdef double *exact = doubles(2 * size)
    try:
        args.pointer[0], args.pointer[3] = rows.data, to.data
        args.pointer[4], args.pointer[5] = exact, exact + size
        args.dim[0], args.dim[1], args.dim[2], args.dim[3] = rows.rows, rows.cols, rows.row, to.row
        args.scalar[0] = <double> eps
        call(code, dtype_code_of(kind), &args)
        round_into(exact, (<tuple> targets)[1], kind)
        round_into(exact + size, (<tuple> targets)[2], kind)
    finally:
        free(exact)
    return targets


def batch_norm(x, weight, bias, eps, out):
    """kernels.batch_norm of at least two rows."""
    if not cnp.PyArray_CheckExact(x) or cnp.PyArray_NDIM(<cnp.ndarray> x) != 2 or len(x) < 2:
        return None
    return norm(batch_norm_code, x, weight, bias, eps, out, False)


def layer_norm(x, weight, bias, eps, out):
    """kernels.layer_norm."""
    return norm(layer_norm_code, x, weight, bias, eps, out, True)


cdef object norm_backward(int code, grad, x, mean, var, weight, eps, out, bint of_rows):
    """(dx, dweight, dbias) of batch norm or layer norm."""
    cdef _c.fnn_args args
    cdef Walk g, rows, to
    cdef int kind = real_type(x)
    memset(&args, 0, sizeof(args))
    if kind < 0 or not is_eps(eps) or not rows_of_adjacent(x, kind, &rows) or not rows_of_adjacent(grad, kind, &g):
        return None
    if g.rows != rows.rows or g.cols != rows.cols or not optional_vector(weight, kind, rows.cols, &args.pointer[4]):
        return None
    cdef Py_ssize_t size = rows.rows if of_rows else rows.cols
    cdef double *exact = doubles(2 * size)
    try:
        if not widened(mean, size, exact) or not widened(var, size, exact + size):
            return None
        targets = norm_targets(out, &rows, rows.cols, kind, &to)
        if targets is None or (out is not None and not unshared(<tuple> targets, (grad, x, mean, var, weight), None)):
            return None
        args.pointer[0], args.pointer[1], args.pointer[5] = g.data, rows.data, to.data
        args.pointer[2], args.pointer[3] = exact, exact + size
        args.pointer[6] = cnp.PyArray_DATA(<cnp.ndarray> (<tuple> targets)[1])
        args.pointer[7] = cnp.PyArray_DATA(<cnp.ndarray> (<tuple> targets)[2])
        args.dim[0], args.dim[1] = rows.rows, rows.cols
        args.dim[2], args.dim[3], args.dim[4] = g.row, rows.row, to.row
        args.scalar[0] = <double> eps
        call(code, dtype_code_of(kind), &args)
    finally:
        free(exact)
    return targets


def batch_norm_backward(grad, x, mean, var, weight, eps, out):
    """kernels.batch_norm_backward."""
    return norm_backward(batch_norm_backward_code, grad, x, mean, var, weight, eps, out, False)


def layer_norm_backward(grad, x, mean, var, weight, eps, out):
    """kernels.layer_norm_backward."""
    return norm_backward(layer_norm_backward_code, grad, x, mean, var, weight, eps, out, True)


def batch_norm_inference(x, mean, var, weight, bias, eps, out):
    """kernels.batch_norm_inference."""
    cdef _c.fnn_args args
    cdef Walk rows, to
    cdef int kind = real_type(x)
    cdef int i = 1
    memset(&args, 0, sizeof(args))
    if kind < 0 or not is_eps(eps) or mean is None or var is None or not rows_of_adjacent(x, kind, &rows):
        return None
    for vector in (mean, var, weight, bias):
        if not optional_vector(vector, kind, rows.cols, &args.pointer[i]):
            return None
        i += 1
    y = matrix_target(out, rows.rows, rows.cols, kind, &to)
    if y is None or (out is not None and not unshared((y,), (x, mean, var, weight, bias), x)):
        return None
    args.pointer[0], args.pointer[5] = rows.data, to.data
    args.dim[0], args.dim[1], args.dim[2], args.dim[3] = rows.rows, rows.cols, rows.row, to.row
    args.scalar[0] = <double> eps
    call(batch_norm_inference_code, dtype_code_of(kind), &args)
    return y


def stream(int code, x, int64_t seed, int64_t offset, int64_t option, tuple scalars, out):
    """y = op(x) with the numbers offset, offset + 1, ... of a random stream, of a contiguous x in C order."""
    cdef _c.fnn_args args
    cdef Py_ssize_t i
    cdef int kind = real_type(x)
    if kind < 0 or not is_block(x, kind):
        return None
    y = like(out, <cnp.ndarray> x, None)
    if y is None:
        return None
    cdef int64_t size = cnp.PyArray_SIZE(<cnp.ndarray> x)
    memset(&args, 0, sizeof(args))
    args.pointer[0] = cnp.PyArray_DATA(<cnp.ndarray> x)
    args.pointer[1] = cnp.PyArray_DATA(<cnp.ndarray> y)
    args.dim[0] = 1
    args.dim[1] = args.dim[2] = args.dim[3] = args.dim[4] = size
    args.dim[5], args.dim[6], args.dim[8] = offset, seed, option
    for i in range(len(scalars)):
        args.scalar[2 + i] = scalars[i]
    call(code, dtype_code_of(kind), &args)
    return y
