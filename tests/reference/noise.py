"""Normal and uniform numbers of a Philox stream, written apart from the kernel.

Element e takes word e mod 4 of block e div 4 (counter and key as in dropout.py). Bit 0 is the sign, the other 31 w give
t = (w + 1/2) / 2^31: uniform +-t, normal +- the quantile of the standard normal distribution at 1 - t/2.
"""

import numpy as np

from .philox import philox


def words(count, seed, offset=0, layer=0, step=0):
    first, last = offset // 4, (offset + count + 3) // 4
    blocks = np.arange(first, last, dtype=np.uint64)
    counter = np.empty((len(blocks), 4), np.uint64)
    counter[:, 0], counter[:, 1] = blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32)
    counter[:, 2], counter[:, 3] = layer, step
    return philox(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[offset - 4 * first :][:count]


def uniform(shape, seed, offset=0):
    w = words(int(np.prod(shape)), seed, offset)
    t = ((w >> np.uint32(1)) + 0.5) / 2.0**31
    return np.where(w & np.uint32(1), -t, t).reshape(shape)


def normal(shape, seed, offset=0):
    from scipy.special import ndtri

    u = uniform(shape, seed, offset)
    return -np.sign(u) * ndtri(np.abs(u) / 2)
