"""One peer in a process of its own, driven by ``report.py`` over pipes: one JSON object per line each way.

Requests and their answers:

- ``{"prepare": [case, ...], "sample_seconds": s, "warm_calls": n}``: ``{"ready": [bool, ...], "errors": {index:
  text}}``
- ``{"sample": n}``: ``{"seconds": [[per call, n samples] or null, for each case]}``
- ``{"threads": n}``: ``{}``
- ``{"run": true}``: what the first case's callable returns

The end of the input ends it. The first line out is the peer's name and version.
"""

import json
import os
import sys
import time

SAMPLE_SECONDS = 5e-3  # short calls are timed many at a time
WARM_CALLS = 20


class Timed:
    """A case's callable, warm, and how many of its calls make a sample."""

    def __init__(self, call, sample_seconds, warm_calls):
        self.call, self.sample_seconds = call, sample_seconds
        call()  # lazy initialisation and compilation
        start, calls, elapsed = time.perf_counter(), 0, 0.0
        while calls < warm_calls and elapsed < 2.0 or elapsed < 10 * sample_seconds:
            call()
            calls, elapsed = calls + 1, time.perf_counter() - start
        self.calls = max(1, round(sample_seconds / (elapsed / calls)))

    def samples(self, count):
        """Seconds per call of each sample; a few calls first bring caches and sleeping threads back."""
        call, calls, start = self.call, self.calls, time.perf_counter()
        while time.perf_counter() - start < self.sample_seconds:
            call()
        result = []
        for _ in range(count):
            start = time.perf_counter()
            for _ in range(calls):
                call()
            result.append((time.perf_counter() - start) / calls)
        return result


def prepare(peer, cases, sample_seconds, warm_calls):
    """(a Timed, a plain callable for whole fits, or None per case, {index: error})."""
    prepared, errors = [], {}
    for index, case in enumerate(cases):
        call = None
        try:
            factory = peer.FACTORIES.get(case["kind"])
            call = factory(case) if factory else None
            if call is not None and case["kind"] != "fit":
                call = Timed(call, sample_seconds, warm_calls)
        except Exception as error:  # one case that fails must not end a report of an hour
            call, errors[index] = None, f"{type(error).__name__}: {error}"
        prepared.append(call)
    return prepared, errors


def serve(name, threads, replies):
    if hasattr(os, "sched_setaffinity"):  # before the libraries load: their thread pools look at it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import peers

    peer = peers.load(name)
    peer.setup(threads)
    prepared = []

    def reply(**content):
        replies.write(json.dumps(content) + "\n")
        replies.flush()

    reply(name=peer.NAME, version=peer.version())
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            prepared = []  # frees the previous cases' operands before the next ones are made
            seconds, calls = request.get("sample_seconds", SAMPLE_SECONDS), request.get("warm_calls", WARM_CALLS)
            prepared, errors = prepare(peer, request["prepare"], seconds, calls)
            reply(ready=[call is not None for call in prepared], errors=errors)
        elif "sample" in request:
            reply(seconds=[call and call.samples(request["sample"]) for call in prepared])
        elif "threads" in request:
            peer.setup(request["threads"])
            reply()
        else:
            reply(**prepared[0]())


if __name__ == "__main__":
    stream, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not break the protocol
    serve(sys.argv[1], int(sys.argv[2]), stream)
