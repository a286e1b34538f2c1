"""Opening data files, plain or gzip, with errors that name the file."""

import gzip
import os
import zlib

GZIP_MAGIC = b"\x1f\x8b"


def check_is_file(path):
    """Raise the OSError that fits unless `path` is an existing file that is not a folder."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")


def is_gzip(path):
    with open(path, "rb") as file:
        return file.read(2) == GZIP_MAGIC


def open_binary(path):
    """Open `path` for reading bytes; gzip is recognised by its first two bytes, not by the name.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    binary file object
    """
    check_is_file(path)
    return gzip.open(path, "rb") if is_gzip(path) else open(path, "rb")


def read_at_most(file, size, path):
    """Up to `size` bytes of `file`; a damaged gzip stream is a ValueError that names `path`.

    The bytes are collected in pieces, so that a header that promises terabytes costs only what the file really holds.
    """
    pieces, left = [], size
    try:
        while left > 0:
            piece = file.read(min(left, 1 << 24))
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from None
    return b"".join(pieces)
