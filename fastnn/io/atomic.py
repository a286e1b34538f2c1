"""Writing a file so that a crash, a full disk or a power cut leaves the old file or the new one, never a mix.

Order: write a temporary file in the same folder, fsync it, rename it over the target, fsync the folder. Without the
first fsync a rename can reach the disk before the data; without the second the rename itself can be lost.
"""

import contextlib
import os
import stat


def _write_all(descriptor, data):
    """os.write until every byte is out: one call may write less, and at most 2 GiB."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.write(descriptor, view[: 1 << 30])
        if written == 0:
            raise OSError(f"the system wrote 0 of {view.nbytes} bytes")
        view = view[written:]


def _fsync_folder(folder):
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder; its rename is durable by itself
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path):
    """Create a new file beside `path`, with the rights of the file it will replace."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mode = None
    for attempt in range(1000):
        name = f"{path}.{os.getpid()}.{attempt}.tmp"
        try:
            # 0o666 lets the umask decide for a new file.
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            continue
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode)
        return descriptor, name
    raise FileExistsError(f"no free name for a temporary file beside {path}")


def write_atomic(path, *pieces):
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
    """
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    descriptor, temporary = _temporary(path)
    try:
        try:
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
    _fsync_folder(folder)
