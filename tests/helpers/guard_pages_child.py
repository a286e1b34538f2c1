"""Run by test_guard_pages.py: every kernel on arrays flush against PROT_NONE pages, at many lengths."""

import ctypes
import mmap
import sys
from functools import partial

import numpy as np

from fastnn import _native, kernels
from fastnn.threads import isa as use_isa
from fastnn.threads import num_threads

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """Memory between two pages that may not be touched; hands out arrays flush against either of them."""

    def __init__(self, pages):
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self.bytes = np.frombuffer(self.memory, np.uint8)
        base = self.bytes.ctypes.data
        for guard in (base, base + (pages + 1) * PAGE):
            if libc.mprotect(guard, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.usable = self.bytes[PAGE:-PAGE]

    def array(self, shape, dtype, at_end):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        part = self.usable[len(self.usable) - size :] if at_end else self.usable[:size]
        return part.view(dtype).reshape(shape)


POOL = []


def guarded(values, at_end):
    """A guarded copy of the values; each array of a call has memory of its own."""
    values = np.asarray(values)
    memory = POOL[guarded.used]
    guarded.used += 1
    copy = memory.array(values.shape, values.dtype, at_end)
    copy[...] = values
    return copy


guarded.used = 0


def calls(rng, dtype, rows, cols, place):
    """(name, function without arguments) of every kernel at this size, its arrays placed by ``place``."""

    def draw(*shape):
        return place(rng.uniform(0.1, 1.0, shape).astype(dtype))

    def out(*shape):
        return place(np.zeros(shape, dtype))

    depth = max(1, (rows * 7 + cols) % 37)
    x, other, y, vector = draw(rows, cols), draw(rows, cols), out(rows, cols), draw(cols)
    left, right, weight, bias = draw(rows, depth), draw(depth, cols), draw(cols, depth), draw(cols)
    one, both = place(np.ones((rows, cols), dtype)), (out(rows, cols), y)
    labels = place(rng.integers(0, max(cols, 1), rows))
    states = [draw(rows, cols) for _ in range(3)]
    column, row_out, dweight, dx = out(rows), out(cols), out(cols, depth), out(rows, depth)
    for name in ("relu", "tanh", "sigmoid", "exp", "log", "sqrt", "sign"):
        yield name, partial(getattr(kernels, name), x, out=y)
    for name in ("relu_backward", "tanh_backward", "sigmoid_backward"):
        yield name, partial(getattr(kernels, name), other, x, out=y)
    yield "add", lambda: kernels.add(x, other, out=y)
    yield "add row", lambda: kernels.add(x, vector, out=y)
    yield "where", lambda: kernels.where(x, other, vector, out=y)
    yield "matmul", lambda: kernels.matmul(left, right, out=y)
    yield "matmul transposed", lambda: kernels.matmul(left, weight.T, out=y)
    yield "linear", lambda: kernels.linear(left, weight, bias, activation="tanh", out=y)
    yield "linear_backward", lambda: kernels.linear_backward(other, left, weight, out=(dx, dweight, row_out))
    yield "sum 0", lambda: kernels.sum(x, 0, out=row_out)
    yield "dropout", lambda: kernels.dropout(x, 0.4, seed=3, offset=5, out=y)
    for row in _native.list_rows("optimizers"):
        options = {"momentum": 0.9} if row["name"] in ("sgd", "rmsprop") else {}
        step = partial(getattr(kernels, row["name"]), y, x, *states[: len(row["states"])], step=2, weight_decay=0.1)
        yield row["name"], partial(step, **options)
    yield "alpha_dropout", lambda: kernels.alpha_dropout(x, 0.4, seed=3, offset=5, out=y)
    yield "gaussian_noise", lambda: kernels.gaussian_noise(x, 0.4, seed=3, offset=5, out=y)
    if cols:
        yield "sum 1", lambda: kernels.sum(x, 1, out=column)
        yield "max 1", lambda: kernels.max(x, 1, out=column)
        yield "softmax", lambda: kernels.softmax(x, out=y)
        yield "log_softmax", lambda: kernels.log_softmax(x, out=y)
        yield "softmax_backward", lambda: kernels.softmax_backward(other, None, output=x, out=y)
        yield "log_softmax_backward", lambda: kernels.log_softmax_backward(other, None, output=x, out=y)
        yield (
            "cross entropy",
            lambda: kernels.softmax_cross_entropy(
                x,
                labels,
                class_weight=vector,
                sample_weight=column,
                label_smoothing=0.1,
                reduction="none",
                out=(None, y),
            ),
        )
        yield "cross entropy plain", lambda: kernels.softmax_cross_entropy(x, labels, out=(None, y))
        yield "probabilities", lambda: kernels.softmax_cross_entropy(x, other, out=(None, y))
        for row in _native.list_rows("losses"):
            target = one if row["target"] == "sign" else other
            loss = getattr(kernels, row["name"])
            yield row["name"], partial(loss, x, target, out=(None, y))
            yield row["name"] + " weighted", partial(loss, x, target, sample_weight=column, reduction="none", out=both)
        yield "quantile of columns", lambda: kernels.quantile(x, other, vector / 2, out=(None, y))
    if rows > 1:
        yield "batch_norm", lambda: kernels.batch_norm(x, vector, bias, out=(y, row_out, None))
        yield "batch_norm_inference", lambda: kernels.batch_norm_inference(x, vector, bias, vector, bias, out=y)
        yield (
            "batch_norm_backward",
            lambda: kernels.batch_norm_backward(other, x, vector, bias, vector, out=(y, row_out, None)),
        )


def run(isa, dtype):
    rng = np.random.default_rng(1)
    most = 131 if dtype.itemsize == 4 else 67
    sizes = [(1, n) for n in range(0, most)] + [
        (rows, cols) for rows in (2, 3, 9, 15) for cols in (1, 2, 5, 8, 13, 17, 31, 33)
    ]
    sizes += [(n, 3) for n in (5, 16, 29, 65)] + [(70, 67)]
    with use_isa(isa), num_threads(1):
        for at_end in (True, False):
            for rows, cols in sizes if at_end else sizes[::4]:  # vectors overrun at the end; the start is simpler
                guarded.used = 0
                for name, call in calls(rng, dtype, rows, cols, partial(guarded, at_end=at_end)):
                    print(name, dtype, rows, cols, "end" if at_end else "start", flush=True)
                    call()


def bite(side):
    memory = Guarded(1)
    array = memory.array((4,), np.float32, side == "after")
    ctypes.string_at(array.ctypes.data + (16 if side == "after" else -1), 1)


if __name__ == "__main__":
    if sys.argv[1] == "bite":
        bite(sys.argv[2])
    else:
        POOL.extend(Guarded(24) for _ in range(22))
        run(sys.argv[2], np.dtype(np.float32))
        run(sys.argv[2], np.dtype(np.float64))
        print("done")
