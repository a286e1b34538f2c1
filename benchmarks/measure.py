"""Libraries in processes of their own, and cases timed in interleaved rounds over them."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cases

HERE = Path(__file__).resolve().parent
SETTLE_SECONDS = {1: 0.03}  # by number of threads: thread pools of the library before have gone to sleep by then
SETTLE_DEFAULT = 0.15  # OpenBLAS keeps its idle threads spinning for about a tenth of a second


class Peer:
    """A library in a process of its own (``worker.py``)."""

    def __init__(self, key, threads):
        self.key = key
        self.errors = tempfile.TemporaryFile("w+")  # not a pipe: nobody reads it while the worker runs
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), key, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=HERE,
            env=pinned_environment(threads),
        )  # fmt: skip
        hello = self.process.stdout.readline()
        if not hello:
            raise RuntimeError(self.last_words().splitlines()[-1])
        self.name, self.version = (json.loads(hello)[field] for field in ("name", "version"))

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.name} failed on {request}:\n{self.last_words()}")
        return json.loads(line)

    def last_words(self):
        self.process.wait(30)
        self.errors.seek(0)
        return self.errors.read()[-2000:].strip() or "it ended without a word"

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.errors.close()


def pinned_environment(threads):
    """The same number of threads for every library, set before it loads."""
    count = str(threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "FASTNN_NUM_THREADS")
    xla = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    return {**os.environ, **dict.fromkeys(names, count), "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu"}


def start(keys, threads):
    """The peers that are installed, and a line for each that is not."""
    running, absent = [], []
    for key in keys:
        try:
            running.append(Peer(key, threads))
        except RuntimeError as error:
            absent.append(f"{key}: {error}")
    return running, absent


def prepare(block, running, failures, **timing):
    """The peers that have any of the cases, ready to be timed; cases that raised add a line to ``failures``."""
    ready = []
    for peer in running:
        answer = peer.ask(prepare=block, **timing)
        for index, error in answer["errors"].items():
            failures.append(f"{peer.name}, {cases.label(block[int(index)])}: {error}")
            print(f"  FAILED {failures[-1]}", file=sys.stderr, flush=True)
        if any(answer["ready"]):
            ready.append(peer)
    return ready


def measure(block, ready, rounds, samples, settle):
    """For each case of a prepared block: peer name -> ``{"seconds": median, "spread": interquartile range / median}``.

    A peer goes through the whole block before the next one has its turn.
    """
    seconds = [{} for _ in block]
    for _ in range(rounds):
        for peer in ready:
            time.sleep(settle)
            for of_case, new in zip(seconds, peer.ask(sample=samples)["seconds"], strict=True):
                if new is not None:
                    of_case.setdefault(peer.name, []).extend(new)
    return [{name: summary(values) for name, values in of_case.items()} for of_case in seconds]


def summary(values):
    median = statistics.median(values)
    quartiles = statistics.quantiles(values, n=4) if len(values) > 3 else (median, median, median)
    return {"seconds": median, "spread": (quartiles[2] - quartiles[0]) / median}


def settle_seconds(threads):
    return SETTLE_SECONDS.get(threads, SETTLE_DEFAULT)


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)
