"""A tensor in memory: a buffer of the program, an offset, and strides, all in elements.

Sizes and strides may mention rows. Reshaping, transposing, slicing and broadcasting make new views of the same
memory; `None` from a method means that no stride can say it, so that the caller must copy.
"""

from ..symbols import Dim, times


class View:
    """Where the elements of a tensor lie."""

    __slots__ = ("buffer", "kind", "offset", "shape", "strides")

    def __init__(self, buffer, offset, shape, strides, kind="real"):
        self.buffer = buffer
        self.offset = offset
        self.shape = tuple(shape)
        self.strides = tuple(strides)
        self.kind = kind

    @property
    def ndim(self):
        return len(self.shape)

    def transpose(self, axes):
        return View(self.buffer, self.offset, [self.shape[a] for a in axes], [self.strides[a] for a in axes], self.kind)

    def broadcast_to(self, shape):
        strides = [0] * (len(shape) - self.ndim)
        for size, stride, wanted in zip(self.shape, self.strides, shape[len(strides) :], strict=True):
            strides.append(stride if size == wanted else 0)
        return View(self.buffer, self.offset, shape, strides, self.kind)

    def slice(self, starts, steps, shape):
        offset = self.offset
        for start, stride in zip(starts, self.strides, strict=True):
            offset = offset + start * stride if start != 0 else offset
        strides = [stride * step for stride, step in zip(self.strides, steps, strict=True)]
        return View(self.buffer, offset, shape, strides, self.kind)

    def is_contiguous(self):
        """C order without gaps."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if isinstance(size, int) and size == 1:
                continue
            if expected is None or stride != expected:
                return False
            expected = times(size, stride)
        return True

    def reshape(self, shape):
        """The view in another shape, or None."""
        if self.is_contiguous():
            return View(self.buffer, self.offset, shape, contiguous_strides(shape), self.kind)
        if all(stride == 0 for size, stride in zip(self.shape, self.strides, strict=True) if size != 1):
            return View(self.buffer, self.offset, shape, [0] * len(shape), self.kind)
        real = [(size, stride) for size, stride in zip(self.shape, self.strides, strict=True) if size != 1]
        if [size for size, _ in real] != [size for size in shape if size != 1]:
            return None
        rest = iter(real)
        strides = [0 if size == 1 else next(rest)[1] for size in shape]
        return View(self.buffer, self.offset, shape, strides, self.kind)

    def as_matrix(self):
        """Leading axes as one, the last axis as columns: a 2-d view, or None. Vectors become one row."""
        if self.ndim <= 2:
            lead = 2 - self.ndim
            return View(self.buffer, self.offset, (1,) * lead + self.shape, (0,) * lead + self.strides, self.kind)
        axes = coalesce(self.shape[:-1], [self.strides[:-1]])
        if len(axes) > 1:
            return None
        size, (stride,) = axes[0] if axes else (1, (0,))
        return View(self.buffer, self.offset, (size, self.shape[-1]), (stride, self.strides[-1]), self.kind)


def contiguous_strides(shape):
    """C-order strides; the strides of axes of size 1 do not matter."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return strides[::-1]


def permuted_strides(shape, order):
    """Strides of a gapless array whose axes lie in memory in `order` (outermost first)."""
    inner = contiguous_strides([shape[a] for a in order])
    strides = [0] * len(shape)
    for axis, stride in zip(order, inner, strict=True):
        strides[axis] = stride
    return strides


def coalesce(shape, all_strides):
    """Merge neighbouring axes that every operand walks as one.

    Returns
    -------
    list of (size, strides per operand), outermost first; axes of size 1 are gone.
    """
    axes = []
    for axis, size in enumerate(shape):
        if isinstance(size, int) and size == 1:
            continue
        strides = tuple(s[axis] for s in all_strides)
        if axes:
            outer_size, outer = axes[-1]
            merged = times(outer_size, size)
            if merged is not None and all(o == times(s, size) for o, s in zip(outer, strides, strict=True)):
                axes[-1] = (merged, strides)
                continue
        axes.append((size, strides))
    return axes


def memory_order(view):
    """Axes of a view, outermost (largest stride) first."""

    def key(axis):
        stride = view.strides[axis]
        return (-stride.a, -stride.b) if isinstance(stride, Dim) else (0, -stride)

    return sorted(range(view.ndim), key=key)
