"""One peer in a process of its own, driven by ``report.py`` over pipes: one JSON object per line each way.

Requests: ``{"prepare": case}`` -> ``{"ready": bool}`` (and ``"error"`` if it raised); ``{"sample": n}`` ->
``{"seconds": [per call, n samples]}``; ``{"run": true}`` -> what the callable returns. The end of the input ends it.
The first line out is the peer's name and version.
"""

import json
import os
import sys
import time

SAMPLE_SECONDS = 5e-3  # short calls are timed many at a time
WARM_CALLS, WARM_SECONDS = 20, 0.05


def per_sample(call):
    """How many calls make a sample, after a warm-up that also lets lazy initialisation and compilation finish."""
    call()
    start, calls = time.perf_counter(), 0
    while calls < WARM_CALLS and time.perf_counter() - start < 2.0 or time.perf_counter() - start < WARM_SECONDS:
        call()
        calls += 1
    mean = (time.perf_counter() - start) / max(calls, 1)
    return max(1, round(SAMPLE_SECONDS / mean))


def samples(call, calls, count):
    """Seconds per call of each sample; a few calls first bring caches and sleeping threads back."""
    start = time.perf_counter()
    while time.perf_counter() - start < SAMPLE_SECONDS:
        call()
    result = []
    for _ in range(count):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        result.append((time.perf_counter() - start) / calls)
    return result


def serve(name, threads, replies):
    if hasattr(os, "sched_setaffinity"):  # before the libraries load: their thread pools look at it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import peers

    peer = peers.load(name)
    peer.setup(threads)
    call, calls = None, 1

    def reply(**content):
        replies.write(json.dumps(content) + "\n")
        replies.flush()

    reply(name=peer.NAME, version=peer.version())
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            call = None  # frees the previous case's operands before the next ones are made
            try:
                factory = peer.FACTORIES.get(request["prepare"]["kind"])
                call = factory(request["prepare"]) if factory else None
                if call is not None and request["prepare"]["kind"] != "fit":
                    calls = per_sample(call)
                reply(ready=call is not None)
            except Exception as error:  # one case that fails must not end a report of an hour
                call = None
                reply(ready=False, error=f"{type(error).__name__}: {error}")
        elif "sample" in request:
            reply(seconds=samples(call, calls, request["sample"]))
        else:
            reply(**call())


if __name__ == "__main__":
    stream, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not break the protocol
    serve(sys.argv[1], int(sys.argv[2]), stream)
