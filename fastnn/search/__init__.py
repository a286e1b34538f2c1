"""Hyper-parameter search: random rather than grid, on the right scale, coarse to fine (Bergstra and Bengio 2012)."""

from .._lazy import attach

_NAMES = {
    "RandomSearch": "random_search",
    "uniform": "space",
    "log_uniform": "space",
    "one_minus_log_uniform": "space",
    "int_uniform": "space",
    "choice": "space",
    "sample": "space",
    "coarse_to_fine": "space",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
