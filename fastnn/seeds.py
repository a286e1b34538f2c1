"""Seeds for what is given none: another at every call, and all of them repeatable after `manual_seed`.

A seed is SplitMix64 (Steele, Lea & Flood 2014) of (base, how many were drawn before). The base comes from the system
unless `manual_seed` has set it. NumPy's global state is neither read nor written.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .validation import check_seed

_MASK = 2**64 - 1


class _Stream:
    """Seeds in a row; any number of threads may draw from it."""

    def __init__(self, base):
        self.base, self._count = base, itertools.count(1)

    def next(self):
        z = (self.base + next(self._count) * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return (z ^ (z >> 31)) >> 1


_process = _Stream(int.from_bytes(os.urandom(8), "little"))
_block: ContextVar[_Stream | None] = ContextVar("seeds", default=None)


def manual_seed(seed: int | None) -> None:
    """Make everything repeatable that is random and was given no seed of its own.

    Initial weights of layers, ``functional.dropout`` and noise on arrays, `nn.init` functions: each takes the next seed
    of one sequence, in the order of the calls. What has a seed (``Sequential(seed=)``, `Trainer`, splits) keeps it.

    Parameters
    ----------
    seed : int
        0 to 2**63 - 1.

    Examples
    --------
    >>> fastnn.manual_seed(1)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))  # the same weights in every process
    """
    global _process
    _process = _Stream(check_seed("manual_seed", "seed", seed))


def next_seed() -> Any:
    """The next seed for something that was given none, from 0 to 2**63 - 1."""
    return (_block.get() or _process).next()


@contextmanager
def seeded(seed: int | None) -> Iterator[Any]:
    """Inside the block, seeds come from a sequence of their own: a job's do not depend on what other threads draw."""
    token = _block.set(_Stream(seed))
    try:
        yield
    finally:
        _block.reset(token)
