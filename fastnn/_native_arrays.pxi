# What an array looks like to C: its walk in elements and the bytes that it may touch. No check here raises: whoever
# finds an array unusual leaves it to fastnn/kernels/_arrays.py, which converts, copies or refuses it.

FLOAT32 = cnp.PyArray_DescrFromType(cnp.NPY_FLOAT)
FLOAT64 = cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)
INT8 = cnp.PyArray_DescrFromType(cnp.NPY_INT8)


cdef struct Walk:
    char *data
    Py_ssize_t rows, cols  # both at least 1
    Py_ssize_t row, col  # strides in elements
    char *low  # the bytes [low, high) hold every element
    char *high


cdef inline int real_type(object value) noexcept:
    """NPY_FLOAT or NPY_DOUBLE of an ndarray (no subclass) that is aligned and in native byte order; else -1."""
    if not cnp.PyArray_CheckExact(value) or not cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray> value):
        return -1
    cdef int kind = cnp.PyArray_TYPE(<cnp.ndarray> value)
    return kind if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE else -1


cdef inline int dtype_code_of(int kind) noexcept:
    return 0 if kind == cnp.NPY_FLOAT else 1


cdef inline Py_ssize_t item_size(int kind) noexcept:
    return 4 if kind == cnp.NPY_FLOAT else 8


cdef void byte_range(cnp.ndarray array, char **low, char **high) noexcept:
    """The bytes [low, high) in which every element lies; of an empty array too much at most."""
    cdef Py_ssize_t i, reach
    low[0] = high[0] = <char *> cnp.PyArray_DATA(array)
    high[0] += cnp.PyArray_ITEMSIZE(array)
    for i in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach


cdef bint apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two arrays surely share no element: their byte ranges do not meet."""
    cdef char *a_low
    cdef char *a_high
    cdef char *b_low
    cdef char *b_high
    byte_range(a, &a_low, &a_high)
    byte_range(b, &b_low, &b_high)
    return a_high <= b_low or b_high <= a_low


@cython.cdivision(True)
cdef bint walk_of(object value, int kind, Walk *walk) noexcept:
    """Whether value is a non-empty 2-D array of this real type whose strides are whole elements."""
    if real_type(value) != kind or cnp.PyArray_NDIM(<cnp.ndarray> value) != 2:
        return False
    cdef cnp.ndarray array = <cnp.ndarray> value
    cdef Py_ssize_t item = item_size(kind), row = cnp.PyArray_STRIDE(array, 0), col = cnp.PyArray_STRIDE(array, 1)
    walk.rows = cnp.PyArray_DIM(array, 0)
    walk.cols = cnp.PyArray_DIM(array, 1)
    if walk.rows == 0 or walk.cols == 0 or (row | col) & (item - 1):
        return False
    walk.data = <char *> cnp.PyArray_DATA(array)
    walk.row = row // item
    walk.col = col // item
    byte_range(array, &walk.low, &walk.high)
    return True


cdef inline bint walks_apart(const Walk *a, const Walk *b) noexcept:
    return a.high <= b.low or b.high <= a.low


cdef inline bint is_vector(object value, int kind, Py_ssize_t size) noexcept:
    """Whether value is a contiguous 1-D array of `size` elements of this real type."""
    return (real_type(value) == kind and cnp.PyArray_NDIM(<cnp.ndarray> value) == 1
            and cnp.PyArray_DIM(<cnp.ndarray> value, 0) == size
            and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> value))


cdef bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for i in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, i) != cnp.PyArray_DIM(b, i):
            return False
    return True


def plain_reals(tuple names, tuple values):
    """``(values, dtype, code)`` if all are plain real arrays of one dtype (or None where the name ends in "?").

    None if any is unusual.
    """
    cdef int kind = -1
    cdef Py_ssize_t i
    cdef cnp.ndarray first = None
    for i in range(len(values)):
        value = values[i]
        if value is None:
            if not (<str> names[i]).endswith("?"):
                return None
            continue
        if not cnp.PyArray_CheckExact(value) or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray> value):
            return None
        if first is None:
            first = <cnp.ndarray> value
            kind = cnp.PyArray_TYPE(first)
            if kind != cnp.NPY_FLOAT and kind != cnp.NPY_DOUBLE:
                return None
        elif cnp.PyArray_TYPE(<cnp.ndarray> value) != kind:
            return None
    if first is None:
        return None
    return values, FLOAT32 if kind == cnp.NPY_FLOAT else FLOAT64, dtype_code_of(kind)


def plain_out(out, tuple shape, dtype, tuple inputs):
    """Whether C may write `out` as it is: contiguous, aligned, writeable, of this shape and dtype, no input in it."""
    cdef Py_ssize_t i
    if real_type(out) < 0 or (cnp.PyArray_TYPE(<cnp.ndarray> out) == cnp.NPY_FLOAT) != (dtype is FLOAT32):
        return False
    cdef cnp.ndarray array = <cnp.ndarray> out
    if (not cnp.PyArray_ISWRITEABLE(array) or not cnp.PyArray_IS_C_CONTIGUOUS(array)
            or cnp.PyArray_NDIM(array) != len(shape)):
        return False
    for i in range(len(shape)):
        if cnp.PyArray_DIM(array, i) != <Py_ssize_t> shape[i]:
            return False
    for given in inputs:
        if given is not None and not apart(array, <cnp.ndarray?> given):
            return False
    return True


def is_ready_vector(cnp.ndarray array not None, Py_ssize_t size):
    """Whether an array is 1-D, contiguous and aligned, of so many elements."""
    return (cnp.PyArray_NDIM(array) == 1 and cnp.PyArray_DIM(array, 0) == size
            and cnp.PyArray_CHKFLAGS(array, cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED))


cdef bint collapsed(cnp.ndarray array, int axes, Py_ssize_t *step) noexcept:
    """One stride in bytes that walks the first `axes` axes in C order; False if there is none."""
    cdef Py_ssize_t count = 1, size
    cdef bint found = False
    cdef int i
    step[0] = 0
    for i in range(axes - 1, -1, -1):
        size = cnp.PyArray_DIM(array, i)
        if size == 1:
            continue
        if not found:
            step[0] = cnp.PyArray_STRIDE(array, i)
            found = True
        elif cnp.PyArray_STRIDE(array, i) != step[0] * count:
            return False
        count *= size
    return True


@cython.cdivision(True)
cdef bint row_step(cnp.ndarray array, Py_ssize_t *row) noexcept:
    """Elements between rows when read as (leading axes collapsed, last axis adjacent); False if impossible."""
    cdef int ndim = cnp.PyArray_NDIM(array)
    cdef Py_ssize_t item = cnp.PyArray_ITEMSIZE(array), step
    if not cnp.PyArray_CHKFLAGS(array, cnp.NPY_ARRAY_ALIGNED):
        return False
    if cnp.PyArray_IS_C_CONTIGUOUS(array):
        row[0] = cnp.PyArray_DIM(array, ndim - 1) if ndim else 1
        return True
    if ndim == 0 or (cnp.PyArray_DIM(array, ndim - 1) > 1 and cnp.PyArray_STRIDE(array, ndim - 1) != item):
        return False
    if not collapsed(array, ndim - 1, &step) or step % item:
        return False
    row[0] = step // item
    return True


def row_stride(cnp.ndarray array not None):
    """Elements between rows when read as (leading axes collapsed, last axis adjacent); None if that is impossible."""
    cdef Py_ssize_t row = 0
    return row if row_step(array, &row) else None


def rows_of(cnp.ndarray array not None):
    """``(array, stride)`` with ``stride`` elements between rows of adjacent elements; a copy where needed."""
    cdef Py_ssize_t row = 0
    if not row_step(array, &row):
        array = cnp.PyArray_NewCopy(array, cnp.NPY_CORDER)
        row_step(array, &row)
    return array, row


@cython.cdivision(True)
def grid_of(cnp.ndarray array not None):
    """``(array, row, column)`` strides in elements of an array read as (leading axes collapsed, last axis)."""
    cdef int ndim = cnp.PyArray_NDIM(array)
    cdef Py_ssize_t item = cnp.PyArray_ITEMSIZE(array), step, last
    if ndim == 0:
        raise ValueError("grid_of needs at least one axis")
    last = cnp.PyArray_STRIDE(array, ndim - 1)
    if (cnp.PyArray_CHKFLAGS(array, cnp.NPY_ARRAY_ALIGNED) and last % item == 0
            and collapsed(array, ndim - 1, &step) and step % item == 0):
        return array, step // item, last // item
    array = cnp.PyArray_NewCopy(array, cnp.NPY_CORDER)
    return array, cnp.PyArray_DIM(array, ndim - 1), 1
