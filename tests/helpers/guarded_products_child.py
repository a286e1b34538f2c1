"""Run by test_guard_pages.py: products on operands next to PROT_NONE pages, rows, columns and depth swept over 0..130.

Operands end flush with the page behind them (or begin flush with the one before), or leave a gap of up to 15 elements,
full of NaN and compared afterwards. The values are small integers: every product is exact, any order of the sum.
"""

import sys

import numpy as np
from guard_pages_child import Guarded

from fastnn import kernels
from fastnn.threads import isa as use_isa
from fastnn.threads import num_threads

MOST, OFFSETS = 131, 16


class Placer:
    """Hands out guarded arrays, each in memory of its own, all with the same gap between them and the page."""

    def __init__(self, count, pages):
        self.memories = [Guarded(pages) for _ in range(count)]
        self.reset(True, 0, np.dtype(np.float32))

    def reset(self, at_end, gap, dtype):
        self.used, self.at_end, self.gap, self.dtype, self.gaps = 0, at_end, gap, dtype, []

    def place(self, values):
        """A guarded C-contiguous copy."""
        memory = self.memories[self.used]
        self.used += 1
        block = memory.array((values.size + self.gap,), self.dtype, self.at_end)
        part, gap = np.split(block, [values.size]) if self.at_end else np.split(block, [self.gap])[::-1]
        gap[...] = np.nan
        self.gaps.append(gap)
        part[...] = values.ravel()
        return part.reshape(values.shape)

    def empty(self, *shape):
        """An output full of NaN: overwriting must not read it."""
        return self.place(np.full(shape, np.nan))

    def gaps_are_untouched(self):
        return all(np.isnan(gap).all() for gap in self.gaps)


def sizes():
    """(rows, cols, depth, gap, at_end): each of them over 0..130 beside small and large partners, all gaps."""
    for n in range(MOST):
        gap, odd = n * 5 % OFFSETS, n % 7 + 1
        for rows, cols, depth in ((n, 17, odd), (odd, n, 33), (9, odd * 5, n), (n, odd, 64), (8, n, 3), (1, 40, n)):
            yield rows, cols, depth, 0, True
            yield rows, cols, depth, gap, n % 3 != 0
    for gap in range(OFFSETS):
        for size in ((1, 1, 1), (7, 31, 12), (8, 33, 65), (29, 16, 7), (15, 48, 130)):
            for at_end in (True, False):
                yield *size, gap, at_end
    for n in (64, 97, 130):
        yield n, n, n, 0, True


def calls(placer, rng, rows, cols, depth):
    """(name, result, exact result) of every product at this size."""

    def draw(*shape):
        return rng.integers(-4, 5, shape).astype(np.float64)

    def fresh():
        placer.used, placer.gaps = 0, []
        return placer.place

    a, b, bias, grad = draw(rows, depth), draw(depth, cols), draw(cols), draw(rows, cols)
    product = a @ b
    for left in ("", "transposed "):
        for right in ("", "transposed "):
            place = fresh()
            x = place(a.T).T if left else place(a)
            y = place(b.T).T if right else place(b)
            got = kernels.matmul(x, y, out=placer.empty(rows, cols))
            yield f"matmul of {left}a and {right}b", got, product
    for stored in ("(out, in)", "(in, out)"):
        place = fresh()
        weight = place(b).T if stored == "(in, out)" else place(b.T)
        out = placer.empty(rows, cols + 3)[:, 3:]
        got = kernels.linear(place(a), weight, place(bias), activation="relu", out=out)
        yield f"linear, weights {stored}", got, np.maximum(product + bias, 0)
        place = fresh()
        weight = place(b).T if stored == "(in, out)" else place(b.T)
        g = place(grad.T).T if rows % 2 else place(grad)
        out = (placer.empty(rows, depth), placer.empty(cols, depth), placer.empty(cols))
        got = kernels.linear_backward(g, place(a), weight, out=out)
        for name, gradient, exact in zip(("dx", "dweight", "dbias"), got, (grad @ b.T, grad.T @ a, grad.sum(0))):
            yield f"{name}, weights {stored}", gradient, exact


def run(isa, share):
    """Every `share`-th size."""
    rng, placer = np.random.default_rng(1), Placer(7, 40)
    with use_isa(isa):
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            for index, (rows, cols, depth, gap, at_end) in list(enumerate(sizes()))[::share]:
                where = f"{dtype} {rows}x{depth}x{cols} gap {gap} {'end' if at_end else 'start'}"
                print("before", where, flush=True)
                placer.reset(at_end, gap, dtype)
                with num_threads(1 + index % 2, force=True):
                    for name, got, exact in calls(placer, rng, rows, cols, depth):
                        assert np.array_equal(got, exact), f"{name}, {where}:\n{got}\nbut exactly\n{exact}"
                        assert placer.gaps_are_untouched(), f"{name}, {where}: written outside"


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
    print("done")
