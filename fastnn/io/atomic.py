"""Writing a file so that a crash, a full disk or a power cut leaves the old file or the new one, never a mix.

Order: write a temporary file in the same folder, fsync it, rename it over the target, fsync the folder. Without the
first fsync a rename can reach the disk before the data; without the second the rename itself can be lost.
"""

import contextlib
import os
import stat
import warnings
from typing import Any


def _write_all(descriptor, data):
    """os.write until every byte is out: one call may write less, and at most 2 GiB."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.write(descriptor, view[: 1 << 30])
        if written == 0:
            raise OSError(f"the system wrote 0 of {view.nbytes} bytes")
        view = view[written:]


def _fsync_folder(folder, path):
    """The new file is in its place by now: what fails here is a warning, not an error."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder; its rename is durable by itself
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        warnings.warn(f"{path} is written, but may not outlive a power cut: {error.strerror}", stacklevel=3)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _mode_of(path):
    """Rights of an existing file, None if there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def _temporary(folder, mode):
    """Create a new file in `folder`, whose name is short however long the target's is.

    It has no rights beyond `mode`; None lets the umask decide.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for attempt in range(1000):
        name = os.path.join(folder, f".fastnn-{os.getpid()}-{attempt}.tmp")
        try:
            return os.open(name, flags, 0o666 if mode is None else mode | 0o200), name
        except FileExistsError:
            continue
    raise FileExistsError(f"no free name for a temporary file in {folder}")


def _set_mode(descriptor, mode):
    """Give the new file the rights of the old one; where that cannot be, it must not have more."""
    try:
        os.fchmod(descriptor, mode)
    except OSError:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & ~mode & 0o077:
            raise


def write_atomic(path: str | os.PathLike[str], *pieces: Any) -> None:
    """Write bytes to `path`, replacing an existing file in one step.

    Parameters
    ----------
    path : str or path-like
        Target file. A symbolic link is followed: the file it points to is replaced. An existing file keeps its mode.
    *pieces : bytes-like
        Written one after the other.

    Raises
    ------
    OSError
        If anything fails: the old file is then unchanged, and no temporary file is left.

    Warns
    -----
    UserWarning
        If the file is in its place, but the folder's entry could not be flushed to the disk.
    """
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    mode = _mode_of(path)
    descriptor, temporary = _temporary(folder, mode)
    try:
        try:
            if mode is not None and hasattr(os, "fchmod"):
                _set_mode(descriptor, mode)
            for piece in pieces:
                _write_all(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:  # a KeyboardInterrupt must not leave the temporary file either
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _fsync_folder(folder, path)
