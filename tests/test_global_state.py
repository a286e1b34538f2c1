"""Importing and using fastnn changes nothing global: floating-point mode, random states, environment, signals."""

import json
import subprocess
import sys

import numpy as np
import pytest

from fastnn import kernels
from fastnn.threads import num_threads

SNAPSHOT = """
import ctypes, json, locale, os, random, signal, sys, threading
import numpy as np

libm = ctypes.CDLL(None)

def denormals_live():
    tiny = np.full(64, np.finfo(np.float64).smallest_normal)
    small = np.full(64, np.finfo(np.float32).smallest_normal)
    return bool((tiny * 0.25 != 0).all() and (small * np.float32(0.25) != 0).all()
                and 0.25 * 2.0**-1022 != 0 and (np.full(64, 5e-324) + 5e-324 != 0).all())

def float_state():
    try:
        rounding = libm.fegetround()
        control = (ctypes.c_uint32 * 8)()
        libm.fegetenv(ctypes.byref(control))
        mode = [control[0] & 0xffff, control[7] & ~0x3f]  # x87 control word and MXCSR without its sticky flags
    except AttributeError:
        rounding, mode = None, None
    return [rounding, mode, denormals_live()]

def in_thread(function):
    box = []
    member = threading.Thread(target=lambda: box.append(function()))
    member.start()
    member.join()
    return box[0]

def snapshot():
    return {
        "float": float_state(),
        "float in a thread": in_thread(float_state),
        "np.random": repr(np.random.get_state()[1].tolist()) + repr(np.random.get_state()[2:]),
        "random": repr(random.getstate()),
        "np.geterr": np.geterr(),
        "printoptions": {k: repr(v) for k, v in np.get_printoptions().items()},
        "environ": dict(os.environ),
        "signals": {str(s): repr(signal.getsignal(s)) for s in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "python threads": threading.active_count(),
    }
"""

USE = """
import fastnn.kernels as k
from fastnn.threads import num_threads
rng = np.random.default_rng(0)
x = rng.standard_normal((300, 64)).astype("f4")
w = rng.standard_normal((128, 64)).astype("f4")
def use():
    for threads in (1, 2, 3):
        with num_threads(threads, force=True):
            y = k.linear(x, w, activation="tanh")
            k.linear_backward(y, x, w)
            k.softmax_cross_entropy(y, np.zeros(300, int))
            k.batch_norm(y)
            k.dropout(y, 0.5, seed=3)
            k.adam(w.copy(), w, w.copy(), w * w, step=1)
            k.exp(x.astype("f8"))
"""


def differences(statement):
    code = f"{SNAPSHOT}\nbefore = snapshot()\n{statement}\nafter = snapshot()\n"
    code += "print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("statement", ["import fastnn", "import fastnn.kernels", USE + "use()", USE + "in_thread(use)"])
def test_nothing_global_changes(statement):
    assert differences(statement) == {}


def test_the_snapshot_sees_changes():
    """The guard itself: a change of each kind is noticed."""
    seen = differences("np.random.rand(); random.random(); os.environ['A_NEW_ONE'] = '1'; np.seterr(all='raise')")
    assert set(seen) == {"np.random", "random", "environ", "np.geterr"}
    flush = "mode = (ctypes.c_uint32 * 8)(); libm.fegetenv(mode); mode[7] |= 0x8040; libm.fesetenv(mode)"
    assert "float" in differences(flush)


def test_denormals_survive_elementwise_kernels(isa, dtype):
    """Element-wise kernels run in IEEE mode: denormals in, denormals out."""
    tiny = np.full(130, np.finfo(dtype).smallest_subnormal * 5, dtype)
    assert np.array_equal(kernels.identity(tiny), tiny)
    assert np.array_equal(kernels.add(tiny, tiny), tiny + tiny)
    assert np.array_equal(kernels.tanh(tiny), tiny)
    assert np.array_equal(kernels.multiply(tiny, np.full(130, 2, dtype)), tiny * 2)
    assert kernels.sum(tiny) == tiny.sum()


def test_products_and_updates_flush_denormals(isa, dtype):
    """Products and optimizer updates flush them (they would crawl otherwise); the mode ends with the call."""
    tiny = np.full((40, 40), np.finfo(dtype).smallest_subnormal * 5, dtype)
    for threads in (1, 2):
        with num_threads(threads, force=True):
            assert not kernels.matmul(tiny, np.eye(40, dtype=dtype)).any()
    assert (tiny * dtype.type(2) != 0).all()
    param = tiny.copy()
    kernels.sgd(param, np.zeros_like(param), step=1)
    assert np.all((param == 0) | (param == tiny))
    assert (tiny + tiny != 0).all()


def test_fork_after_parallel_work():
    """A forked child never enters the parent's pool: it computes on, serially, with the same bits."""
    code = USE + (
        "import os\nuse()\nexpected = k.linear(x, w)\nchild = os.fork()\n"
        "if child == 0:\n    use()\n    os._exit(0 if np.array_equal(k.linear(x, w), expected) else 3)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\nuse()\nprint('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import numpy as np" + code], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "fine\n", done.stderr
