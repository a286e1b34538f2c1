"""How near to the peak the products of models come: each product repeated inside one parallel region.

    python benchmarks/resident.py THREADS [quick]        prints one JSON object; report.py calls it

The products are those of real programs: a compiled layer's, and the forward product, weight gradient and input gradient
of every layer of a training program. They are recorded while those are built, with the strides, blocks and epilogues
that the compiler of graphs chose, and each is put many times into a program of its own: operands stay in the cache
that holds them, no Python and no region start is timed, the barrier after each product is. Useful FLOPs only. The peak
of the same instruction set is measured before and after; the larger one counts.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cases
import machine

SHAPES = (
    (512, 512, 512), (1024, 1024, 1024), (128, 1024, 1024), (4096, 784, 1024), (8, 784, 256), (16, 256, 256),
    (64, 784, 256), (100, 333, 77),
)  # fmt: skip
NETS = (
    cases.network("train_step", (30, 64, 32, 2), 32),
    cases.network("train_step", (64, 128, 10), 64),
    cases.network("train_step", (784, 256, 128, 10), 64, dropout=0.2, batch_norm=True),
    cases.network("train_step", (784, 256, 128, 10), 256, dropout=0.2, batch_norm=True),
    cases.network("train_step", (784, 1024, 1024, 1024, 10), 128, dropout=0.5),
    cases.network("train_step", (1024, 4096, 4096, 1000), 512, batch_norm=True),
    cases.network("train_step", (128, *(128,) * 12, 5), 128, batch_norm=True),
)
RUN_SECONDS = 4e-3
SIZES = ("rows", "cols", "depth")


def measure_resident(options, threads, failures):
    """What main() prints, from a process of its own."""
    command = [sys.executable, __file__, str(threads), *(["quick"] if options.quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent)
    return {"threads": threads, **json.loads(done.stdout)}


# ---- which products there are -----------------------------------------------------------------------------------


def recorded(build, rows):
    """The product ops that ``build`` puts into native programs: ``(name, present pointers, sizes, scalars)``."""
    from fastnn import _native

    found, original = [], _native.Builder

    class Recorder(original):
        def op(self, name, buffers, dims=(), scalars=()):
            pointers, names = _native.ops()[name][1:3]
            values = [d[0] * rows + d[1] if isinstance(d, tuple) else d for d in dims]
            sizes = dict(zip(names, values, strict=False))
            if all(sizes.get(size) for size in SIZES):
                present = [pointers[i] for i, buffer in enumerate(buffers) if buffer is not None]
                constants = [s if isinstance(s, (int, float)) else 0.0 for s in scalars]
                found.append({"op": name, "present": present, "sizes": sizes, "scalars": constants})
            return super().op(name, buffers, dims, scalars)

    _native.Builder = Recorder
    try:
        build()
    finally:
        _native.Builder = original
    return found


def layer_product(shape, dtype):
    """The product of a compiled ``Linear`` and ``ReLU``."""
    from fastnn import compile, nn

    rows, n_in, n_out = shape
    model = nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU()).to(dtype)
    (product,) = recorded(lambda: compile(model, [[0.0] * n_in]), rows)
    return product


def role(product):
    """Which of a layer's three products it is: only a forward product has a bias, only a weight gradient this block."""
    if "bias" in product["present"]:
        return "forward"
    return "weight gradient" if product["sizes"]["block"] == 256 else "input gradient"


def belongs(product, n_in, n_out):
    """Whether it is a product of a layer of this size."""
    rows, cols, depth = (product["sizes"][size] for size in SIZES)
    inner = {"forward": (n_in, n_out), "input gradient": (n_out, n_in)}
    if role(product) == "weight gradient":
        return {rows, cols} == {n_in, n_out}
    return depth == inner[role(product)][0] and inner[role(product)][1] in (rows, cols)


def training_products(case):
    """``[((in, out), {role: product})]`` of a training program; layers of the same size once."""
    from peers import fastnn_peer

    found = recorded(fastnn_peer.train_step(case), case["batch"])
    sizes = dict.fromkeys(cases.layer_products(case))
    # reversed: of several alike, the first one stays
    return [(size, {role(p): p for p in reversed(found) if belongs(p, *size)}) for size in sizes]


# ---- timing -----------------------------------------------------------------------------------------------------


def repeated(product, dtype):
    """``(run, times, threads)``: a call that computes the product so many times in one region."""
    import numpy as np

    from fastnn import _native
    from fastnn.graph.parameter import aligned_zeros

    pointers, names = _native.ops()[product["op"]][1:3]
    sizes = {**product["sizes"], "accumulate": 0}
    rng, arrays = np.random.default_rng(1), {}
    for pointer in product["present"]:
        along = {"rows": f"{pointer}_row", "depth": f"{pointer}_depth", "cols": f"{pointer}_col"}
        extent = sum(sizes[size] * max(abs(sizes.get(stride, 0)), size == "cols") for size, stride in along.items())
        array = aligned_zeros((extent + 64,), dtype)
        array[:] = rng.uniform(0.5, 1, array.shape)
        arrays[pointer] = array
    flops = 2.0 * sizes["rows"] * sizes["cols"] * sizes["depth"]
    times = max(1, round(RUN_SECONDS / (flops / 200e9 + 2e-6)))
    builder = _native.Builder(0 if dtype == "float32" else 1)
    buffers = {pointer: builder.external(name=pointer) for pointer in arrays}
    operands = tuple(buffers.get(pointer) for pointer in pointers)
    dims = tuple(sizes.get(name, 0) for name in names)
    for _ in range(times):
        builder.op(product["op"], operands, dims, tuple(product["scalars"]))
    program = builder.finish(1)
    for pointer, array in arrays.items():
        program.bind(buffers[pointer], array)
    program.run(1, {})
    return (lambda: program.run(1, {})), times, program.op_report(1)[0]["threads"]


def rates(products, dtype, rounds):
    """GFLOP/s (median) and threads of each product, rounds interleaved."""
    runs = [repeated(product, dtype) for product in products]
    seconds = [[] for _ in runs]
    for _ in range(rounds):
        for of_product, (run, times, _) in zip(seconds, runs, strict=True):
            run()
            start = time.perf_counter()
            run()
            of_product.append((time.perf_counter() - start) / times)
    result = []
    for product, of_product, (_, _, threads) in zip(products, seconds, runs, strict=True):
        sizes = product["sizes"]
        flops = 2.0 * sizes["rows"] * sizes["cols"] * sizes["depth"]
        result.append({"gflops": flops / statistics.median(of_product) * 1e-9, "threads_used": threads})
    return result


def layers_table(probe, threads, rounds):
    """Rows of the shapes x instruction sets x dtypes x thread counts."""
    import fastnn

    rows = []
    for isa in [name for name in fastnn.available_isas() if name in ("avx512", "avx2", "neon")]:
        for count in sorted({1, threads}, reverse=True):
            for dtype in ("float32", "float64"):
                with fastnn.isa(isa), fastnn.num_threads(count):
                    before = machine.peak(probe, count, isa)[dtype]
                    found = rates([layer_product(shape, dtype) for shape in SHAPES], dtype, rounds)
                    peak = max(before, machine.peak(probe, count, isa)[dtype])
                for shape, figure in zip(SHAPES, found, strict=True):
                    label = "x".join(map(str, shape))
                    rows.append({"label": label, "isa": isa, "dtype": dtype, "threads": count, "peak": peak, **figure})
                print(f"  resident: {isa}, {dtype}, {count} threads", file=sys.stderr, flush=True)
    return rows


def gradients_table(threads, rounds):
    """Rows of every layer of the training configurations: forward, weight and input gradient in GFLOP/s."""
    import fastnn

    rows = []
    with fastnn.num_threads(threads):
        for case in NETS:
            for (n_in, n_out), products in training_products(case):
                figures = rates(list(products.values()), "float32", rounds)
                named = {what: figure["gflops"] for what, figure in zip(products, figures, strict=True)}
                rows.append({"net": cases.label(case), "batch": case["batch"], "layer": f"{n_in}x{n_out}", **named})
            print(f"  resident: {cases.label(case)}", file=sys.stderr, flush=True)
    return rows


def main(threads, quick):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    rounds = 1 if quick else 9
    with machine.built_probe() as (probe, _):
        layers = layers_table(probe, threads, rounds)
    print(json.dumps({"rounds": rounds, "layers": layers, "gradients": gradients_table(threads, rounds)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), "quick" in sys.argv[2:])
