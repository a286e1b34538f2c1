"""One module per library. Each has ``NAME``, ``version()``, ``setup(threads)`` and ``FACTORIES``: kind -> function of a
case (see ``cases.py``) that returns a callable of no arguments doing the whole operation once, its result complete when
it returns. Inputs come from ``peers.inputs``, the same for all. A kind that a library lacks is simply not there; a
factory returns None for a case it cannot do.
"""

import importlib

ORDER = ("fastnn", "numpy", "numpy_skylakex", "torch", "jax", "onnxruntime", "sklearn", "scipy")


def load(name):
    """The peer's module; ImportError if its library is not installed."""
    return importlib.import_module(f"peers.{name}_peer")
