# Eager calls on plain arrays, where the checks cost more than the arithmetic. Each function either runs the whole call
# or returns None before it has written anything; then the slow path in fastnn/kernels converts, copies or raises.

cdef enum:
    ROWS, COLS, DEPTH, A_ROW, A_DEPTH, B_DEPTH, B_COL, C_ROW, BLOCK, ACTIVATION, DOT_ROWS, GEMM_DIMS

# Eager products of fewer rows may use dot products where both operands run on along the depth (docs/kernels.md).
EAGER_DOT_ROWS = 8

# places of the operands in the rows of ops.def
cdef int gemm_dim[GEMM_DIMS]
cdef int gemm_code = OP_CODES["gemm"], sum_rows_code = OP_CODES["sum_rows"], unary_code = OP_CODES["unary"]
cdef int unary_backward_code = OP_CODES["unary_backward"], binary_code = OP_CODES["binary"]
cdef int where_code = OP_CODES["where"]
cdef int reduce_cols_code = OP_CODES["reduce_cols"], max_rows_code = OP_CODES["max_rows"], copy_code = OP_CODES["copy"]
cdef dict EPILOGUES = {row["name"]: (1 + row["code"], *(*row["defaults"], 0.0, 0.0)[:2])
                       for row in list_rows("activations")}


cdef int find_places() except -1:
    dims = ops()["gemm"][2]
    for i, name in enumerate("rows cols depth a_row a_depth b_depth b_col c_row block activation dot_rows".split()):
        gemm_dim[i] = dims.index(name)
    return 0


find_places()


cdef struct Epilogue:
    int64_t kind  # 0 none, else 1 + FNN_UNARY_<name>
    double p0, p1


cdef bint epilogue_of(object activation, Epilogue *epilogue):
    """Whether activation is None or a known name."""
    epilogue.kind = 0
    epilogue.p0 = epilogue.p1 = 0
    if activation is None:
        return True
    if type(activation) is not str:
        return False
    found = EPILOGUES.get(activation)
    if found is None:
        return False
    epilogue.kind, epilogue.p0, epilogue.p1 = <tuple> found
    return True


cdef int gemm(const Walk *a, const Walk *b, const void *bias, const Walk *c, int kind, int64_t block,
              int64_t dot_rows, const Epilogue *epilogue) except -1:
    """c = epilogue(a @ b + bias); products of fewer than dot_rows rows may be summed in another order."""
    cdef _c.fnn_args args
    memset(&args, 0, sizeof(args))
    args.pointer[0] = a.data
    args.pointer[1] = b.data
    args.pointer[2] = <void *> bias
    args.pointer[3] = c.data
    args.dim[gemm_dim[ROWS]] = a.rows
    args.dim[gemm_dim[COLS]] = b.cols
    args.dim[gemm_dim[DEPTH]] = a.cols
    args.dim[gemm_dim[A_ROW]] = a.row
    args.dim[gemm_dim[A_DEPTH]] = a.col
    args.dim[gemm_dim[B_DEPTH]] = b.row
    args.dim[gemm_dim[B_COL]] = b.col
    args.dim[gemm_dim[C_ROW]] = c.row
    args.dim[gemm_dim[BLOCK]] = block
    args.dim[gemm_dim[DOT_ROWS]] = dot_rows
    if epilogue != NULL:
        args.dim[gemm_dim[ACTIVATION]] = epilogue.kind
        args.scalar[0] = epilogue.p0
        args.scalar[1] = epilogue.p1
    return call(gemm_code, dtype_code_of(kind), &args)


@cython.cdivision(True)
cdef bint rows_walk(object value, int kind, Walk *walk) noexcept:
    """The same for any number of leading axes, if the array is contiguous."""
    if real_type(value) != kind:
        return False
    cdef cnp.ndarray array = <cnp.ndarray> value
    cdef int axes = cnp.PyArray_NDIM(array)
    if axes == 2:
        return walk_of(value, kind, walk)
    if axes == 0 or not cnp.PyArray_IS_C_CONTIGUOUS(array) or cnp.PyArray_SIZE(array) == 0:
        return False
    walk.data = walk.low = <char *> cnp.PyArray_DATA(array)
    walk.high = walk.low + cnp.PyArray_NBYTES(array)
    walk.cols = walk.row = cnp.PyArray_DIM(array, axes - 1)
    walk.rows = cnp.PyArray_SIZE(array) // walk.cols
    walk.col = 1
    return True


cdef inline Walk transposed(const Walk *walk) noexcept:
    cdef Walk result = walk[0]
    result.rows, result.cols, result.row, result.col = walk.cols, walk.rows, walk.col, walk.row
    return result


cdef object matrix_target(object out, Py_ssize_t rows, Py_ssize_t cols, int kind, Walk *walk):
    """A new array, or `out` if C may write it: rows of adjacent elements that do not overlap. None if not."""
    cdef cnp.npy_intp shape[2]
    if out is None:
        shape[0], shape[1] = rows, cols
        out = cnp.PyArray_SimpleNew(2, shape, kind)
    if not walk_of(out, kind, walk) or walk.rows != rows or walk.cols != cols:
        return None
    if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return None
    if cols > 1 and walk.col != 1:
        return None
    if rows == 1:
        walk.row = cols
    return out if walk.row >= cols else None


cdef object rows_target(object out, cnp.ndarray x, Py_ssize_t rows, Py_ssize_t cols, int kind, Walk *walk):
    """matrix_target with the leading axes of x; None also for more than 8 axes."""
    cdef cnp.npy_intp shape[8]
    cdef int i, axes = cnp.PyArray_NDIM(x)
    if axes == 2:
        return matrix_target(out, rows, cols, kind, walk)
    if axes > 8:
        return None
    for i in range(axes - 1):
        shape[i] = cnp.PyArray_DIM(x, i)
    shape[axes - 1] = cols
    if out is None:
        out = cnp.PyArray_SimpleNew(axes, shape, kind)
    if not rows_walk(out, kind, walk) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return None
    if cnp.PyArray_NDIM(<cnp.ndarray> out) != axes:
        return None
    for i in range(axes):
        if cnp.PyArray_DIM(<cnp.ndarray> out, i) != shape[i]:
            return None
    return out


def matmul(a, b, out):
    """kernels.matmul of two matrices."""
    cdef Walk left, right, target
    cdef int kind = real_type(a)
    if kind < 0 or not walk_of(a, kind, &left) or not walk_of(b, kind, &right) or left.cols != right.rows:
        return None
    result = matrix_target(out, left.rows, right.cols, kind, &target)
    if result is None or (out is not None and not (walks_apart(&target, &left) and walks_apart(&target, &right))):
        return None
    gemm(&left, &right, NULL, &target, kind, 0, EAGER_DOT_ROWS, NULL)
    return result


def linear(x, weight, bias, activation, out):
    """kernels.linear of a matrix x, or of a contiguous x of any number of axes."""
    cdef Walk rows, w, target
    cdef Epilogue epilogue
    cdef int kind = real_type(x)
    cdef void *b = NULL
    if kind < 0 or not rows_walk(x, kind, &rows) or not walk_of(weight, kind, &w) or rows.cols != w.cols:
        return None
    if bias is not None:
        if not is_vector(bias, kind, w.rows):
            return None
        b = cnp.PyArray_DATA(<cnp.ndarray> bias)
    if not epilogue_of(activation, &epilogue):
        return None
    result = rows_target(out, <cnp.ndarray> x, rows.rows, w.rows, kind, &target)
    if result is None:
        return None
    if out is not None:
        if not walks_apart(&target, &rows) or not walks_apart(&target, &w):
            return None
        if bias is not None and not apart(<cnp.ndarray> out, <cnp.ndarray> bias):
            return None
    w = transposed(&w)
    gemm(&rows, &w, b, &target, kind, 0, EAGER_DOT_ROWS, &epilogue)
    return result


def linear_backward(grad, x, weight, bint bias, bint input_grad, int64_t block):
    """kernels.linear_backward of matrices into new arrays."""
    cdef Walk g, rows, w, to
    cdef int kind = real_type(grad)
    if kind < 0 or not walk_of(grad, kind, &g) or not walk_of(x, kind, &rows) or not walk_of(weight, kind, &w):
        return None
    if g.rows != rows.rows or g.cols != w.rows or rows.cols != w.cols or (g.cols > 1 and g.col != 1):
        return None
    dx = dbias = None
    if input_grad:
        dx = matrix_target(None, rows.rows, rows.cols, kind, &to)
        gemm(&g, &w, NULL, &to, kind, 0, 0, NULL)
    dweight = matrix_target(None, w.rows, w.cols, kind, &to)
    cdef Walk turned = transposed(&g)
    gemm(&turned, &rows, NULL, &to, kind, block, 0, NULL)
    if bias:
        dbias = column_sums(&g, kind)
    return dx, dweight, dbias


cdef object column_sums(const Walk *walk, int kind):
    cdef _c.fnn_args args
    cdef cnp.npy_intp size = walk.cols
    result = cnp.PyArray_SimpleNew(1, &size, kind)
    memset(&args, 0, sizeof(args))
    args.pointer[0] = walk.data
    args.pointer[1] = cnp.PyArray_DATA(<cnp.ndarray> result)
    args.dim[0] = walk.rows
    args.dim[1] = walk.cols
    args.dim[2] = walk.row
    call(sum_rows_code, dtype_code_of(kind), &args)
    return result


# ---- element by element --------------------------------------------------------------------------------------------


cdef object like(object out, cnp.ndarray x, object same):
    """A new array like the contiguous x, or `out` if C may write it: `same` itself or apart from x. None if not."""
    if out is None:
        return cnp.PyArray_SimpleNew(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x))
    if real_type(out) != cnp.PyArray_TYPE(x) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return None
    if out is same or out is x:
        return out
    if (not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> out) or not same_shape(<cnp.ndarray> out, x)
            or not apart(<cnp.ndarray> out, x)):
        return None
    return out


cdef inline bint is_block(object x, int kind) noexcept:
    """Whether x is a non-empty contiguous array of this real type."""
    return (real_type(x) == kind and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> x)
            and cnp.PyArray_SIZE(<cnp.ndarray> x) > 0)


def unary(int64_t function, x, double p0, double p1, out):
    """y = f(x), f by its number in the native list."""
    cdef _c.fnn_args args
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
    args.dim[1] = args.dim[2] = args.dim[3] = size
    args.dim[4] = function
    args.scalar[0] = p0
    args.scalar[1] = p1
    call(unary_code, dtype_code_of(kind), &args)
    return y


def unary_backward(int64_t function, grad, x, double p0, double p1, out, bint from_output=False):
    """dx = grad f'(x), or from the output in the place of x."""
    cdef _c.fnn_args args
    cdef int kind = real_type(x)
    if kind < 0 or not is_block(x, kind) or not is_block(grad, kind):
        return None
    if not same_shape(<cnp.ndarray> x, <cnp.ndarray> grad):
        return None
    dx = like(out, <cnp.ndarray> x, grad)
    if dx is None or (out is not None and not harmless(out, <cnp.ndarray> x, <cnp.ndarray> grad)):
        return None
    cdef int64_t size = cnp.PyArray_SIZE(<cnp.ndarray> x)
    memset(&args, 0, sizeof(args))
    args.pointer[0] = cnp.PyArray_DATA(<cnp.ndarray> grad)
    args.pointer[1] = cnp.PyArray_DATA(<cnp.ndarray> x)
    args.pointer[2] = cnp.PyArray_DATA(<cnp.ndarray> dx)
    args.dim[0] = 1
    args.dim[1] = args.dim[2] = args.dim[3] = args.dim[4] = size
    args.dim[5] = function
    args.dim[6] = from_output
    args.scalar[0] = p0
    args.scalar[1] = p1
    call(unary_backward_code, dtype_code_of(kind), &args)
    return dx


cdef bint harmless(object out, cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether out is one of two blocks element by element, or apart from it, and the same for the other."""
    return (out is a or apart(<cnp.ndarray> out, a)) and (out is b or apart(<cnp.ndarray> out, b))


cdef struct Operand:
    void *data
    int64_t row, col
    double number  # where data is a Python number: its value in the op's dtype


cdef bint is_small_number(object value, double *number):
    """Whether value is a Python float or int that is finite in float32, so that no conversion can warn."""
    if type(value) is float:
        number[0] = <double> value
    elif type(value) is int and -(1 << 24) <= value <= 1 << 24:
        number[0] = <double> value
    else:
        return False
    return -3e38 < number[0] < 3e38


cdef bint operand_of(object value, cnp.ndarray block, int64_t cols, Operand *operand):
    """How to read value as if broadcast to the contiguous block: its own shape, one row for all, or one number."""
    cdef int kind = cnp.PyArray_TYPE(block)
    cdef float single
    operand.row = operand.col = 0
    if is_small_number(value, &operand.number):
        if kind == cnp.NPY_FLOAT:
            single = <float> operand.number
            memcpy(&operand.number, &single, sizeof(single))
        operand.data = &operand.number
        return True
    if not is_block(value, kind):
        return False
    operand.data = cnp.PyArray_DATA(<cnp.ndarray> value)
    operand.col = 1
    if same_shape(<cnp.ndarray> value, block):
        operand.row = cols
        return True
    return (cnp.PyArray_NDIM(<cnp.ndarray> value) == 1 and cnp.PyArray_NDIM(block) > 1
            and cnp.PyArray_DIM(<cnp.ndarray> value, 0) == cols)


@cython.cdivision(True)
def binary(int64_t function, a, b, out):
    """y = a (function) b of a block and an operand of its shape, of its rows' shape, or a number, in either order."""
    cdef _c.fnn_args args
    cdef Operand left, right
    cdef object large = a
    if not cnp.PyArray_CheckExact(a) or (
            cnp.PyArray_CheckExact(b) and cnp.PyArray_NDIM(<cnp.ndarray> b) > cnp.PyArray_NDIM(<cnp.ndarray> a)):
        large = b
    cdef int kind = real_type(large)
    if kind < 0 or not is_block(large, kind) or cnp.PyArray_NDIM(<cnp.ndarray> large) == 0:
        return None
    cdef cnp.ndarray block = <cnp.ndarray> large
    cdef int64_t size = cnp.PyArray_SIZE(block), cols = cnp.PyArray_DIM(block, cnp.PyArray_NDIM(block) - 1)
    if not operand_of(a, block, cols, &left) or not operand_of(b, block, cols, &right):
        return None
    y = like(out, block, a if large is b else b)
    if y is None or (out is not None and not (spared(out, a, block) and spared(out, b, block))):
        return None
    memset(&args, 0, sizeof(args))
    args.pointer[0] = left.data
    args.pointer[1] = right.data
    args.pointer[2] = cnp.PyArray_DATA(<cnp.ndarray> y)
    if left.row == left.col * cols and right.row == right.col * cols:  # no row is read again: one long row
        cols = size
    args.dim[0] = size // cols
    args.dim[1] = cols
    args.dim[2] = cols if left.row else 0
    args.dim[3] = left.col
    args.dim[4] = cols if right.row else 0
    args.dim[5] = right.col
    args.dim[6] = cols
    args.dim[7] = function
    call(binary_code, dtype_code_of(kind), &args)
    return y


@cython.cdivision(True)
def where(mask, a, b, out):
    """y = mask ? a : b of a contiguous boolean mask and operands as in binary, of which one has the mask's shape."""
    cdef _c.fnn_args args
    cdef Operand left, right
    if not cnp.PyArray_CheckExact(mask) or cnp.PyArray_TYPE(<cnp.ndarray> mask) != cnp.NPY_BOOL:
        return None
    cdef object large = a if cnp.PyArray_CheckExact(a) and same_shape(<cnp.ndarray> a, <cnp.ndarray> mask) else b
    cdef int kind = real_type(large)
    if kind < 0 or not is_block(large, kind) or not same_shape(<cnp.ndarray> large, <cnp.ndarray> mask):
        return None
    cdef cnp.ndarray block = <cnp.ndarray> large
    if cnp.PyArray_NDIM(block) == 0 or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> mask):
        return None
    cdef int64_t size = cnp.PyArray_SIZE(block), cols = cnp.PyArray_DIM(block, cnp.PyArray_NDIM(block) - 1)
    if not operand_of(a, block, cols, &left) or not operand_of(b, block, cols, &right):
        return None
    y = like(out, block, a if large is b else b)
    if y is None or (out is not None and not (spared(out, a, block) and spared(out, b, block)
                                              and apart(<cnp.ndarray> out, <cnp.ndarray> mask))):
        return None
    memset(&args, 0, sizeof(args))
    args.pointer[0] = cnp.PyArray_DATA(<cnp.ndarray> mask)
    args.pointer[1] = left.data
    args.pointer[2] = right.data
    args.pointer[3] = cnp.PyArray_DATA(<cnp.ndarray> y)
    if left.row == left.col * cols and right.row == right.col * cols:  # no row is read again: one long row
        cols = size
    args.dim[0] = size // cols
    args.dim[1] = args.dim[2] = args.dim[8] = cols
    args.dim[3] = 1
    args.dim[4] = cols if left.row else 0
    args.dim[5] = left.col
    args.dim[6] = cols if right.row else 0
    args.dim[7] = right.col
    args.dim[9] = True
    call(where_code, dtype_code_of(kind), &args)
    return y


cdef bint spared(object out, object value, cnp.ndarray block):
    """Whether writing out element by element spares value: a number, out itself, or apart."""
    if not cnp.PyArray_CheckExact(value):
        return True
    if out is value and same_shape(<cnp.ndarray> value, block):
        return True
    return apart(<cnp.ndarray> out, <cnp.ndarray> value)


@cython.cdivision(True)
def reduce(x, axis, int64_t kind, bint mean, out):
    """Sum (kind 0), mean or maximum (kind 1) of a contiguous block over everything, or over one end of its axes."""
    cdef _c.fnn_args args
    cdef int real = real_type(x)
    if real < 0 or not is_block(x, real):
        return None
    cdef cnp.ndarray block = <cnp.ndarray> x
    cdef int i, axes = cnp.PyArray_NDIM(block)
    cdef int64_t size = cnp.PyArray_SIZE(block), cols = size
    cdef cnp.npy_intp shape[8]
    cdef bint over_rows = False
    if axes == 0 or axes > 8:
        return None
    if axis is not None:
        if type(axis) is not int:
            return None
        if axis == -1 or axis == axes - 1:
            cols = cnp.PyArray_DIM(block, axes - 1)
            for i in range(axes - 1):
                shape[i] = cnp.PyArray_DIM(block, i)
        elif axis == 0:
            over_rows = True
            cols = size // cnp.PyArray_DIM(block, 0)
            for i in range(axes - 1):
                shape[i] = cnp.PyArray_DIM(block, i + 1)
        else:
            return None
        axes -= 1
    else:
        axes = 0
    if out is None:
        y = cnp.PyArray_SimpleNew(axes, shape, real)
    else:
        y = out
        if (real_type(y) != real or cnp.PyArray_NDIM(<cnp.ndarray> y) != axes
                or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> y) or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> y)
                or not apart(<cnp.ndarray> y, block)):
            return None
        for i in range(axes):
            if cnp.PyArray_DIM(<cnp.ndarray> y, i) != shape[i]:
                return None
    memset(&args, 0, sizeof(args))
    args.pointer[0] = cnp.PyArray_DATA(block)
    args.pointer[1] = cnp.PyArray_DATA(<cnp.ndarray> y)
    args.dim[0] = size // cols
    args.dim[1] = args.dim[2] = cols
    if over_rows:
        args.dim[3] = args.dim[0] if mean else 0
        call(max_rows_code if kind else sum_rows_code, dtype_code_of(real), &args)
    else:
        args.dim[3] = 1
        args.dim[4] = kind
        args.dim[5] = cols if mean else 0
        call(reduce_cols_code, dtype_code_of(real), &args)
    return y


cdef enum:
    SIZES = 0, X_STRIDES = 6, Y_STRIDES = 12  # of the op copy, six each; the last two are rows and columns


cdef bint is_block_of(object x, int real, int axes, const cnp.npy_intp *shape, int free) noexcept:
    """Whether x is a block of this type and shape, whatever its size along the axis `free`."""
    cdef int i
    if not is_block(x, real) or cnp.PyArray_NDIM(<cnp.ndarray> x) != axes:
        return False
    for i in range(axes):
        if i != free and cnp.PyArray_DIM(<cnp.ndarray> x, i) != shape[i]:
            return False
    return True


def concatenate(arrays, axis, out):
    """Blocks of one real type joined along an axis: one copy of rows for each."""
    cdef _c.fnn_args args
    cdef cnp.npy_intp shape[8]
    cdef int i, axes, along, real
    cdef int64_t rows = 1, inner = 1, total = 0, width
    if type(arrays) not in (list, tuple) or len(arrays) == 0 or type(axis) is not int:
        return None
    first = arrays[0]
    real = real_type(first)
    if real < 0 or not is_block(first, real):
        return None
    axes = cnp.PyArray_NDIM(<cnp.ndarray> first)
    if not 0 < axes <= 8 or not -axes <= axis < axes:
        return None
    along = axis + axes if axis < 0 else axis
    for i in range(axes):
        shape[i] = cnp.PyArray_DIM(<cnp.ndarray> first, i)
        if i < along:
            rows *= shape[i]
        elif i > along:
            inner *= shape[i]
    for x in arrays:
        if not is_block_of(x, real, axes, shape, along):
            return None
        total += cnp.PyArray_DIM(<cnp.ndarray> x, along)
    shape[along] = total
    if out is None:
        y = cnp.PyArray_SimpleNew(axes, shape, real)
    else:
        y = out
        if not is_block_of(y, real, axes, shape, -1) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> y):
            return None
        for x in arrays:
            if not apart(<cnp.ndarray> y, <cnp.ndarray> x):
                return None
    cdef char *to = <char *> cnp.PyArray_DATA(<cnp.ndarray> y)
    for x in arrays:
        width = cnp.PyArray_DIM(<cnp.ndarray> x, along) * inner
        memset(&args, 0, sizeof(args))
        args.pointer[0] = cnp.PyArray_DATA(<cnp.ndarray> x)
        args.pointer[1] = to
        for i in range(4):
            args.dim[SIZES + i] = 1
        args.dim[SIZES + 4] = rows
        args.dim[SIZES + 5] = args.dim[X_STRIDES + 4] = width
        args.dim[X_STRIDES + 5] = args.dim[Y_STRIDES + 5] = 1
        args.dim[Y_STRIDES + 4] = total * inner
        call(copy_code, dtype_code_of(real), &args)
        to += width * cnp.PyArray_ITEMSIZE(<cnp.ndarray> y)
    return y
