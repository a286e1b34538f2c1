"""NumPy's own files as arrays that stay on the disk."""

import os
import tokenize

import numpy as np

from .files import check_is_file


def read_npy(path: str | os.PathLike, *, memory_map: bool = True) -> np.ndarray:
    """Open a NumPy file as an array that stays on the disk: `Trainer.fit` reads the rows of each batch.

    Parameters
    ----------
    path : str or path-like
        A ``.npy`` file of numbers. Arrays of Python objects are refused: reading them would run code.
    memory_map : bool, default True
        False reads it into memory.

    Returns
    -------
    numpy.memmap, read-only; or ndarray

    Raises
    ------
    ValueError
        If it is no such file, or is truncated.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        hint = "; np.load opens .npz archives" if magic[:2] == b"PK" else ""
        raise ValueError(f"{path} is not a .npy file{hint}")
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError, OverflowError, tokenize.TokenError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
