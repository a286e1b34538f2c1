"""Opening data files, plain or gzip, with errors that name the file and bounds on what a file can ask for."""

import gzip
import io
import os
import stat
import zlib
from typing import BinaryIO

GZIP_MAGIC = b"\x1f\x8b"

# A gzip file may expand this many times before it is refused; the first bytes are free, whatever the ratio. Tables
# reach 5 to 30, files made to exhaust memory 1,000.
_MOST_EXPANSION = 100
_FREE_BYTES = 32 << 20


def check_is_file(path) -> None:
    """Raise the OSError that fits unless `path` is an existing regular file: devices and pipes never end, or block."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except ValueError as error:  # a zero byte in the name
        raise ValueError(f"{str(path)!r} is not a file name: {error}") from None
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is not a regular file but a pipe or a device; save its contents to a file first")


def is_gzip(path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP_MAGIC


class _BoundedGzip(io.RawIOBase):
    """A gzip file whose errors are ValueErrors with its name, and which refuses to expand without end."""

    def __init__(self, path):
        self._path = path
        self._file = gzip.open(path, "rb")
        self._most = max(_FREE_BYTES, _MOST_EXPANSION * os.path.getsize(path))
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._file.read1(min(len(buffer), 1 << 20))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{self._path}: damaged or truncated gzip file ({error})") from None
        self._read += len(data)
        if self._read > self._most:
            raise ValueError(
                f"{self._path} expands to more than {_MOST_EXPANSION} times its size; decompress it yourself if it is "
                "meant to"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_binary(path) -> BinaryIO:
    """Open `path` for reading bytes; gzip is recognised by its first two bytes, not by the name.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    binary file object
        Reading a damaged gzip file, or one that expands more than a hundredfold, is a ValueError that names it.
    """
    check_is_file(path)
    return io.BufferedReader(_BoundedGzip(path), 1 << 16) if is_gzip(path) else open(path, "rb")


def read_at_most(file: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes of `file`.

    The bytes are collected in pieces, so that a header that promises terabytes costs only what the file really holds.
    """
    pieces, left = [], size
    while left > 0:
        piece = file.read(min(left, 1 << 24))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
