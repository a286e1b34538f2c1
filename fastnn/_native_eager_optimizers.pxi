# The fast path (see _native_eager.pxi) of optimizer steps, and the scalars of Adam.

from libc.math cimport HUGE_VAL, pow, sqrt

cdef int optimizer_code = OP_CODES["optimizer"]
cdef enum:
    ROW_SCALARS = 8  # h0..h7 of the op, then those that every optimizer has


def optimizer_step(int64_t kind, tuple arrays, tuple scalars, double weight_decay, bint maximize):
    """One optimizer pass over param, grad and states (None: absent), of one shape and apart; True if it was made."""
    cdef _c.fnn_args args
    cdef int real = real_type(arrays[0])
    cdef Py_ssize_t i, j
    if real < 0:
        return False
    cdef cnp.ndarray param = <cnp.ndarray> arrays[0]
    memset(&args, 0, sizeof(args))
    for i in range(len(arrays)):
        value = arrays[i]
        if value is None:
            continue
        if real_type(value) != real or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> value):
            return False
        if not same_shape(<cnp.ndarray> value, param) or (i != 1 and not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> value)):
            return False
        for j in range(i):
            if arrays[j] is not None and not apart(<cnp.ndarray> value, <cnp.ndarray> arrays[j]):
                return False
        args.pointer[i] = cnp.PyArray_DATA(<cnp.ndarray> value)
    args.dim[0] = cnp.PyArray_SIZE(param)
    args.dim[1] = kind
    if len(scalars) > ROW_SCALARS:
        raise ValueError(f"an optimizer has at most {ROW_SCALARS} scalars of its own, got {len(scalars)}")
    for i in range(len(scalars)):
        args.scalar[i] = scalars[i]
    args.scalar[ROW_SCALARS] = -1 if maximize else 1  # scale
    args.scalar[ROW_SCALARS + 1] = HUGE_VAL  # clip
    args.scalar[ROW_SCALARS + 3] = weight_decay
    call(optimizer_code, dtype_code_of(real), &args)
    return True


def adam_scalars(step, lr, tuple betas, eps):
    """(lr, beta1, beta2, eps, 1 - beta1**step, sqrt(1 - beta2**step)), or None where the slow path has to look.

    Python's power of a float and an int is C's of two doubles, so that both ways give the same bits.
    """
    cdef double beta1, beta2
    cdef int64_t t
    if type(step) is not int or len(betas) != 2 or type(betas[0]) is not float or type(betas[1]) is not float:
        return None
    if not 1 <= step <= 1 << 53:
        return None
    t, beta1, beta2 = step, betas[0], betas[1]
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        return None
    return lr, betas[0], betas[1], eps, 1.0 - pow(beta1, <double> t), sqrt(1.0 - pow(beta2, <double> t))
