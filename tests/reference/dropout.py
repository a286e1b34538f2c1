"""Inverted dropout (Srivastava et al. 2014) with the mask of a Philox stream, written apart from the kernel.

Element e of a stream takes 16-bit lane e mod 8 of block e div 8. The block is Philox4x32-10 of the counter
(low and high word of the block number, layer, step) under the key (low and high word of the seed); its four words are
eight lanes, low half first. Kept if lane < threshold = round((1 - p) 65536); y = x * 65536 / threshold where kept.
"""

import numpy as np

from .philox import philox
from .precision import wide


def lanes(count, seed, offset=0, layer=0, step=0):
    """uint16 random lanes of elements offset .. offset + count - 1."""
    first, last = offset // 8, (offset + count + 7) // 8
    blocks = np.arange(first, last, dtype=np.uint64)
    counter = np.empty((len(blocks), 4), np.uint64)
    counter[:, 0] = blocks & np.uint64(0xFFFFFFFF)
    counter[:, 1] = blocks >> np.uint64(32)
    counter[:, 2], counter[:, 3] = layer, step
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1).reshape(-1).astype(np.uint16)
    return halves[offset - 8 * first :][:count]


def threshold(p):
    return round((1 - p) * 65536)


def keep_mask(shape, p, seed, offset=0, layer=0, step=0):
    count = int(np.prod(shape))
    return (lanes(count, seed, offset, layer, step) < threshold(p)).reshape(shape)


def dropout(x, p, seed, offset=0, layer=0, step=0):
    x = wide(x)
    keep = keep_mask(x.shape, p, seed, offset, layer, step)
    return np.where(keep, x * (65536 / max(threshold(p), 1)), 0)
