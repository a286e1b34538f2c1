"""Threads and instruction sets: how many, which one, and what this build is (decision 11)."""

from typing import Any

from . import _native
from .validation import check_threads

__all__ = [
    "available_isas",
    "get_include",
    "get_num_threads",
    "isa",
    "num_threads",
    "set_num_threads",
    "show_config",
]

def set_num_threads(n: int | None) -> None:
    """Set the number of threads of all fastnn calls of this process.

    Parameters
    ----------
    n : int or None
        1 to 1024; may exceed the number of cores. None returns to the default: the smallest of the CPUs this
        process may use, its cgroup quota and OpenMP's own maximum (so that ``threadpoolctl`` works).

    Raises
    ------
    ValueError
        If n is out of range.
    """
    _native.set_num_threads(0 if n is None else check_threads("set_num_threads", n))


def get_num_threads() -> Any:
    """Return the number of threads that an op may use in the calling thread, at least 1.

    The cost model may use fewer for small work; see ``num_threads(n, force=True)``.
    """
    return _native.get_num_threads()


def num_threads(n: int | None, *, force: bool = False) -> Any:
    """Use n threads for the fastnn calls of the calling Python thread inside the ``with`` block.

    Parameters
    ----------
    n : int or None
        1 to 1024. None changes nothing (handy for optional arguments).
    force : bool, default False
        Use all n even where the cost model finds that fewer are faster. Tests of determinism need this.

    Returns
    -------
    context manager
        Entered once. Ctrl-C inside the block leaves it in order.
    """
    return _native.LocalThreads(0 if n is None else check_threads("num_threads", n), bool(force))


def available_isas() -> tuple[Any, ...]:
    """Return the names of the instruction sets that this build has and this CPU can run, best first."""
    return tuple(_native.available_isas())


def isa(name: str) -> Any:
    """Use one instruction set for the calls of this Python thread inside the ``with`` block.

    ``FASTNN_ISA`` does the same for a whole process.

    Parameters
    ----------
    name : str
        One of ``available_isas()``.

    Returns
    -------
    context manager
        Entered once. Ctrl-C inside the block leaves it in order.

    Raises
    ------
    ValueError
        If this build or this CPU does not have it; the message lists the valid names.
    """
    valid = available_isas()
    if name not in valid:
        raise ValueError(f"unknown or unsupported instruction set {name!r}; available here: {', '.join(valid)}")
    return _native.LocalIsa(name)


def show_config(mode: str = "stdout") -> Any:
    """Show the instruction set and threads in use, and how this build was made.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print a short table, or return it as a dict.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"show_config: mode must be 'stdout' or 'dicts', got {mode!r}")
    import platform

    import numpy

    from . import __version__

    info = {
        "fastnn": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "isa": _native.get_isa(),
        "available_isas": list(available_isas()),
        "threads": get_num_threads(),
    }
    info.update((key, value) for key, value in _native.config().items() if key not in info)
    if mode == "dicts":
        return info
    width = max(map(len, info))
    for key, value in info.items():
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{key:<{width}}  {text}")
    return None


def get_include() -> Any:
    """Return the folder with the public C header ``fastnn.h``, for ``-I`` of a compiler.

    Raises
    ------
    FileNotFoundError
        If this version was installed without it.
    """
    import os

    folder = os.path.join(os.path.dirname(__file__), "include")
    if not os.path.exists(os.path.join(folder, "fastnn.h")):
        raise FileNotFoundError("this installation of fastnn comes without its C header")
    return folder
