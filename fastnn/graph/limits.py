"""What this machine can do: measured on demand, once per process, instruction set and number of threads.

The roofline of an op is max(FLOPs / peak, bytes / bandwidth) (Williams, Waterman & Patterson 2009), where the bandwidth
is that of the memory level which holds what was touched since the op's operands were last used.
"""

import functools

import numpy as np

from .. import _native

_SECONDS = 0.001  # of a trial, short enough that one in a dozen meets no other process
_MOST = 256 << 20  # bytes of the largest working set


class Limits:
    """Measured limits of some threads.

    Attributes
    ----------
    threads : int
    flops : float
        Floating-point operations per second: multiply-adds in registers, by the instruction set in use.
    levels : list of (bytes, bytes per second)
        Working sets of all threads together, and how fast they were read and written: what is smaller goes at least so
        fast; the last one stands for everything larger.
    """

    def __init__(self, threads, flops, levels):
        self.threads, self.flops, self.levels = threads, flops, levels

    def bandwidth(self, working_set):
        """Bytes per second at a working set."""
        return next((rate for size, rate in self.levels if working_set <= size), self.levels[-1][1])

    def __str__(self):
        rates = ", ".join(f"{rate * 1e-9:.0f} GB/s in {_size(size)}" for size, rate in self.levels)
        return f"{self.flops * 1e-9:.0f} GFLOP/s, {rates}; {self.threads} thread{'s' if self.threads > 1 else ''}"


def _size(count):
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def limits(dtype, threads=None):
    """The limits of so many threads (default: those in use now) for a dtype; the first call takes half a second."""
    code = 0 if np.dtype(dtype) == np.float32 else 1
    return _measured(code, _native.get_isa(), _native.get_num_threads() if threads is None else threads)


@functools.lru_cache(maxsize=16)
def _measured(code, isa, threads):
    """isa is part of the key: the native probes take the one in use."""
    flops = _native.probe_flops(code, threads, _SECONDS)
    memory = np.ones(max(_working_sets(threads)), np.uint8)
    levels = [
        (working_set, _native.probe_bandwidth(code, threads, memory, working_set, _SECONDS))
        for working_set in _working_sets(threads)
    ]
    return Limits(threads, flops, levels)


def _working_sets(threads):
    """Bytes to try: most of each cache, two sizes between the second and the third, and four times the third.

    Caches of the first two levels belong to a core each.
    """
    one, two, three = _native.config()["cache_bytes"]
    one, two = threads * one, threads * two
    tried = [one * 3 // 4, two * 3 // 4, 2 * two, 8 * two, three * 3 // 4, max(4 * three, 64 << 20)]
    return sorted({min(max(32768, working_set), _MOST) for working_set in tried})
