"""Fewer threads than were asked for: OpenMP's limit, a system that has none left, a child without the pool.

Each case is a process of its own; what it prints must be the bits of one thread.
"""

import os
import subprocess
import sys
import textwrap

import pytest

CALLS = """
import hashlib, numpy as np, fastnn
from fastnn import kernels, nn
from fastnn.optim import Adam
from fastnn.training import Trainer
rng = np.random.default_rng(0)
fastnn.manual_seed(0)
def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]
def calls():
    x = rng.normal(size=(2048, 600)).astype("f4")
    print(digest(kernels.sum(x, axis=0), kernels.max(x, axis=0), kernels.sum(x[:3], axis=1)))
    for rows, cols, depth in (8, 96, 33), (300, 70, 600), (1, 500, 2048):
        a, b = (rng.normal(size=shape).astype("f4") for shape in ((rows, depth), (depth, cols)))
        print(digest(kernels.matmul(a, b)))
    print(digest(*kernels.batch_norm(x[:, :130])))
def training():
    model = nn.Sequential(nn.Linear(30, 200), nn.BatchNorm1d(200), nn.ReLU(), nn.Linear(200, 3))
    x, y = rng.normal(size=(1000, 30)).astype("f4"), rng.integers(0, 3, 1000)
    Trainer(model, nn.CrossEntropyLoss(), Adam(), seed=1).fit(x, y, epochs=2, batch_size=256, progress=False)
    print(digest(*model.state_dict().values()), digest(model.predict(np.tile(x, (4, 1)))))
"""
FORCED = "with fastnn.num_threads({threads}, force=True):\n    calls(); training()"


def run(code, **environment):
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "FASTNN_"))}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=variables | environment,
        text=True,
        capture_output=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr[-2000:] or result.returncode
    return result.stdout


def test_fewer_threads_than_planned_neither_write_past_scratch_nor_change_a_bit():
    alone = run(CALLS + FORCED.format(threads=1))
    for limit, asked in ("2", 8), ("3", 4):
        assert run(CALLS + FORCED.format(threads=asked), OMP_THREAD_LIMIT=limit) == alone


def test_the_number_of_threads_sees_openmps_limit():
    assert run("import fastnn; print(fastnn.get_num_threads())", OMP_THREAD_LIMIT="2", FASTNN_NUM_THREADS="8") == "2\n"
    assert run("import fastnn; print(fastnn.get_num_threads())", OMP_THREAD_LIMIT="1") == "1\n"


def test_a_thread_that_cannot_be_made_does_not_end_the_process():
    limited = """
    import resource
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20), -1))
    """
    code = CALLS + textwrap.dedent(limited) + FORCED.format(threads=8)
    assert run(code, OMP_STACKSIZE="64M") == run(CALLS + FORCED.format(threads=1))


def test_a_child_of_a_process_that_only_imported_fastnn_does_not_enter_anothers_pool():
    code = """
    import ctypes, os, signal, sys
    import fastnn, numpy as np
    from fastnn import kernels
    gomp = ctypes.CDLL("libgomp.so.1")
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    gomp.GOMP_parallel(body, None, 4, 0)  # another library's region
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        x = np.ones((2000, 2000), "f4")
        os._exit(0 if fastnn.get_num_threads() == 1 and kernels.sum(kernels.relu(x), axis=0)[0] == 2000 else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(code, OMP_NUM_THREADS="4") == "0\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_is_read_again():
    code = """
    import os, time, fastnn
    fastnn.get_num_threads()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    time.sleep(0.2)
    print(fastnn.get_num_threads())
    """
    assert run(code) == "1\n"
