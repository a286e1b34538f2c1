"""Products of random sizes, and one thread against two.

The sizes are log-uniform between 1 and 4096, the same in every run. Many sizes share a turn of a library, so that the
pauses between libraries do not dominate: a round over a block of sizes, fastnn, NumPy, ..., then the next round.
"""

import math
import random

import cases
import measure

COUNT, LARGEST, SEED = 200, 4096, 2026
BLOCK = 10  # sizes that share a turn
TIMING = {"sample_seconds": 2e-3, "warm_calls": 3}
PEERS = ("fastnn", "numpy", "numpy_skylakex", "torch", "jax")


def shapes(count=COUNT):
    """(rows, in, out) of the sample."""
    numbers = random.Random(SEED)
    return [tuple(int(math.exp(numbers.uniform(0, math.log(LARGEST + 1)))) for _ in range(3)) for _ in range(count)]


def blocks(of_cases):
    return [of_cases[i : i + BLOCK] for i in range(0, len(of_cases), BLOCK)]


def row(case, figures):
    return {"label": cases.label(case), "case": case, "flops": cases.work(case)[0], "peers": figures}


def measure_sample(options, threads, failures):
    """Rows of the random sample: ``kernels.linear`` on plain arrays beside the libraries that do the same."""
    of_cases = [cases.product(*shape, kind="linear_plain") for shape in shapes(options.count)]
    keys = [key for key in options.peers.split(",") if key in PEERS]
    running, absent = measure.start(keys, threads)
    rows = []
    try:
        for block in blocks(of_cases):
            ready = measure.prepare(block, running, failures, **TIMING)
            figures = measure.measure(block, ready, options.rounds, 3, measure.settle_seconds(threads))
            rows += map(row, block, figures)
            measure.progress(f"sample: {len(rows)} of {len(of_cases)} sizes")
        versions = [(peer.name, peer.version) for peer in running]
    finally:
        for peer in running:
            peer.close()
    return {"threads": threads, "rounds": options.rounds, "rows": rows, "versions": versions, "absent": absent}


def measure_teams(options, threads, failures):
    """The same products and compiled layers on one thread and on ``threads``, interleaved in one process."""
    sizes = [*cases.PRODUCTS, *shapes(options.count)]
    of_cases = [cases.product(*size, kind=kind) for kind in ("linear_plain", "layer") for size in sizes]
    running, _ = measure.start(["fastnn"], threads)
    rows, rounds = [], options.rounds + 2
    try:
        (fastnn,) = running
        for block in blocks(of_cases):
            fastnn.ask(threads=threads)
            measure.prepare(block, running, failures, **TIMING)
            seconds = [{1: [], threads: []} for _ in block]
            for _ in range(rounds):
                for count in (1, threads):
                    fastnn.ask(threads=count)
                    for of_case, new in zip(seconds, fastnn.ask(sample=1)["seconds"], strict=True):
                        of_case[count] += new or []
            for case, of_case in zip(block, seconds, strict=True):
                rows.append(row(case, {str(n): measure.summary(values) for n, values in of_case.items()}))
            measure.progress(f"teams: {len(rows)} of {len(of_cases)} products")
    finally:
        for peer in running:
            peer.close()
    return {"threads": threads, "rounds": rounds, "rows": rows}
