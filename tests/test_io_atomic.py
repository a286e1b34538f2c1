"""Atomic writes: the order of system calls, faults at every one of them, file modes and links."""

import errno
import os
import stat

import pytest

from fastnn.io.atomic import write_atomic

CALLS = ("open", "write", "fsync", "replace", "close")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    return tmp_path


def test_replaces_and_creates(folder):
    write_atomic(folder / "file", b"new", b"", b" text")
    write_atomic(str(folder / "other"), bytearray(b"x"))
    assert (folder / "file").read_bytes() == b"new text" and (folder / "other").read_bytes() == b"x"
    assert sorted(os.listdir(folder)) == ["file", "other"]


def test_order_fsync_rename_fsync_folder(folder, monkeypatch):
    log, real = [], {name: getattr(os, name) for name in CALLS}

    def spy(name):
        def call(*args, **kwargs):
            if name == "fsync":
                log.append("fsync folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "fsync file")
            elif name in ("write", "replace"):
                log.append(name)
            return real[name](*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, spy(name))
    write_atomic(folder / "file", b"a", b"b")
    assert log == ["write", "write", "fsync file", "replace", "fsync folder"]


@pytest.mark.filterwarnings("ignore:.*may not outlive a power cut")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_fault_at_every_call_leaves_the_old_or_the_new_file(folder, monkeypatch, code, persistent):
    real = {name: getattr(os, name) for name in CALLS}
    faults = 0
    for fail_at in range(1, 100):
        (folder / "file").write_bytes(b"old")
        count = 0

        def faulty(name, fail_at=fail_at):
            def call(*args, **kwargs):
                nonlocal count
                if name == "close":  # the descriptor is released even when close reports an error
                    real[name](*args)
                count += 1
                if count == fail_at or (persistent and count > fail_at):
                    raise OSError(code, os.strerror(code))
                return None if name == "close" else real[name](*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, faulty(name))
            try:
                write_atomic(folder / "file", b"new 1", b"new 2")
                failed = False
            except OSError:
                failed = True
        held = (folder / "file").read_bytes()
        assert held in (b"old", b"new 1new 2")
        assert failed or held == b"new 1new 2"
        assert os.listdir(folder) == ["file"], f"a temporary file is left after fault {fail_at}"
        faults += failed
        if count < fail_at:
            break
    assert faults >= 6 and count < fail_at


def test_short_writes(folder, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_atomic(folder / "file", b"0123456789")
    assert (folder / "file").read_bytes() == b"0123456789"


def test_a_write_of_nothing_does_not_hang(folder, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    with pytest.raises(OSError, match="wrote 0"):
        write_atomic(folder / "file", b"new")
    assert (folder / "file").read_bytes() == b"old" and os.listdir(folder) == ["file"]


def test_interrupt_leaves_no_temporary_file(folder, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(folder / "file", b"new")
    assert (folder / "file").read_bytes() == b"old" and os.listdir(folder) == ["file"]


def test_mode_is_kept(folder):
    os.chmod(folder / "file", 0o640)
    write_atomic(folder / "file", b"new")
    assert stat.S_IMODE(os.stat(folder / "file").st_mode) == 0o640
    umask = os.umask(0o027)
    try:
        write_atomic(folder / "fresh", b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(folder / "fresh").st_mode) == 0o640


def test_links_are_followed(folder):
    (folder / "link").symlink_to(folder / "file")
    write_atomic(folder / "link", b"new")
    assert (folder / "link").is_symlink() and (folder / "file").read_bytes() == b"new"


def test_a_strangers_temporary_file_is_left_alone(folder):
    taken = folder / f".fastnn-{os.getpid()}-0.tmp"
    taken.write_bytes(b"theirs")
    write_atomic(folder / "file", b"new")
    assert taken.read_bytes() == b"theirs" and (folder / "file").read_bytes() == b"new"


def test_errors(folder):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomic(folder, b"x")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_atomic(folder / "absent" / "file", b"x")


_SAVE_OVER_AND_OVER = """
import sys
from fastnn.io.atomic import write_atomic
print("ready", flush=True)
n = 0
while True:
    write_atomic(sys.argv[1], *[bytes([n % 251]) * 4096] * 16)
    n += 1
"""


def test_sigkill_at_random_moments(folder):
    """The file is always one that was written whole, whenever the process dies."""
    import random
    import subprocess
    import sys
    import time

    (folder / "file").write_bytes(b"\0" * 65536)
    moments = random.Random(0)
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", _SAVE_OVER_AND_OVER, folder / "file"], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.05))
        child.kill()
        child.wait()
        child.stdout.close()
        held = (folder / "file").read_bytes()
        assert len(held) == 65536 and len(set(held)) == 1


# A process number that is known before makes the temporary file's name one that strace can be told to watch.
_SAVE_ONCE = """
import os, sys
from fastnn.io.atomic import write_atomic
os.getpid = lambda: 1
write_atomic(sys.argv[1], b"n" * 5000, b"n" * 5000)
"""
_CALLS_OF_A_SAVE = "openat,write,fsync,rename,renameat,renameat2,fchmod,close"


def _strace(folder, *options):
    """Run a save under strace, which sees only what concerns the file, its temporary file and the folder."""
    import subprocess
    import sys

    paths = [word for path in (folder, folder / "file", folder / ".fastnn-1-0.tmp") for word in ("-P", str(path))]
    command = ["strace", "-f", *paths, "-o", str(folder.parent / "trace"), *options]
    return subprocess.run([*command, sys.executable, "-c", _SAVE_ONCE, str(folder / "file")], capture_output=True)


@pytest.fixture
def traced(tmp_path):
    """A folder whose system calls can be traced, with an old file in it."""
    import shutil

    folder = tmp_path / "traced"
    folder.mkdir()
    (folder / "file").write_bytes(b"o" * 10000)
    if shutil.which("strace") is None or _strace(folder, "-e", "trace=fsync").returncode != 0:
        pytest.skip("strace is not here, or must not trace")
    (folder / "file").write_bytes(b"o" * 10000)
    return folder


def test_system_calls_come_in_the_right_order(traced):
    import re

    assert _strace(traced, "-y", "-e", "trace=fsync,rename,renameat,renameat2").returncode == 0
    trace = (traced.parent / "trace").read_text()
    order = re.findall(r"(fsync)\(\d+<.*/([^/]+)>\)|(rename)\w*\(", trace)
    assert order == [("fsync", ".fastnn-1-0.tmp", ""), ("", "", "rename"), ("fsync", "traced", "")]


def test_sigkill_at_every_system_call(traced):
    """Killed at each call on the folder or the file: the old file or the new one is there, never a mix."""
    import signal

    kills = 0
    for call in _CALLS_OF_A_SAVE.split(","):
        for k in range(1, 20):  # strace counts each kind of call by itself
            (traced / "file").write_bytes(b"o" * 10000)
            (traced / ".fastnn-1-0.tmp").unlink(missing_ok=True)
            inject = f"inject={call}:signal=SIGKILL:when={k}"
            code = _strace(traced, "-e", f"trace={_CALLS_OF_A_SAVE}", "-e", inject).returncode
            assert (traced / "file").read_bytes() in (b"o" * 10000, b"n" * 10000)
            if code == 0:
                break
            assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
            kills += 1
    assert kills >= 9  # open, 2 writes, sync, close, rename, and open, sync, close of the folder
