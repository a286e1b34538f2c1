"""Errors of the element-wise functions over all 2^32 float32 inputs, at every instruction set; writes docs/accuracy.md.

    python benchmarks/accuracy.py [--functions exp,gelu] [--isas avx2] [--stride 1] [--part 0/16] [--json FILE]
    python benchmarks/accuracy.py --from-json WHOLE SAMPLED

The kernels are called as users call them; the references are double precision (``accuracy.c``, which this script
compiles with cc). A whole sweep takes an hour on two cores: ``--part i/n`` runs a share of the inputs and merges it
into the JSON file, ``--stride 1009`` looks at every 1009th input for a first impression. Ends with 1 if a bound is
broken.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 1 << 17
EVERYTHING = 1 << 32
ULP_BOUND = {"exp": 2, "log": 2}
FUNCTION_BOUND, DERIVATIVE_BOUND, ABSOLUTE_BOUND = 3, 6, 1.5
ARITHMETIC = "exp log expm1 log1p erf".split()
UNITS = "sigmoid tanh elu selu celu softplus softsign gelu gelu_tanh silu mish hardsigmoid hardswish".split()
FUNCTIONS = [*ARITHMETIC, *UNITS]
DERIVATIVES = "sigmoid tanh elu selu celu softplus softsign gelu gelu_tanh silu mish hardswish".split()
#: the true value passes through zero here: the error is absolute between these inputs
CANCELS = {
    "gelu_backward": (-2.5, 0.0),
    "gelu_tanh_backward": (-2.5, 0.0),
    "silu_backward": (-4.0, 0.0),
    "mish_backward": (-4.0, 0.0),
    "hardswish_backward": (-3.0, 0.0),
}


def compiled(folder):
    """The C side as a library."""
    target = Path(folder) / "accuracy.so"
    flags = "-O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=off -fopenmp-simd -shared -fPIC".split()
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", *flags, "-o", str(target), str(source), "-lm"], check=True)
    return target


def arrays(*values):
    return [value.ctypes.data_as(ctypes.c_void_p) for value in values]


def sweep(library, name, first, last, stride, isas):
    """ISA -> [worst ULP, where, worst absolute error, where] over the inputs with bits in [first, last)."""
    from fastnn import kernels, num_threads, threads

    c = ctypes.CDLL(str(library))
    c.check.restype = ctypes.c_int64
    size, signed = ctypes.c_int64, ctypes.c_int
    derivative = name.endswith("_backward")
    function = c.find(name.removesuffix("_backward").encode())
    if function < 0:
        raise LookupError(f"accuracy.c has no reference for {name}")
    low, high = (ctypes.c_double(edge) for edge in CANCELS.get(name, (1.0, -1.0)))
    x, y, ones = (np.empty(BLOCK, np.float32) for _ in range(3))
    want = np.empty(BLOCK)
    ones[:] = 1
    run = getattr(kernels, name)
    worst = {isa: np.zeros(2) for isa in isas}
    where = {isa: np.zeros(2, np.float32) for isa in isas}
    with num_threads(1):
        for start in range(first, last, BLOCK * stride):
            n = min(BLOCK, -(-(last - start) // stride))
            c.inputs(size(n), ctypes.c_uint32(start), ctypes.c_uint32(stride), *arrays(x))
            c.reference(signed(function), signed(derivative), size(n), *arrays(x, want))
            if c.check(signed(function), signed(derivative), size(n), *arrays(x, want)):
                raise RuntimeError(f"the references of {name} do not agree with libm near bits {start:#x}")
            for isa in isas:
                with threads.isa(isa):
                    if derivative:
                        run(ones[:n], x[:n], out=y[:n])
                    else:
                        run(x[:n], out=y[:n])
                c.compare(size(n), *arrays(x, want, y), low, high, *arrays(worst[isa], where[isa]))
    return {isa: [float(v) for pair in zip(worst[isa], where[isa], strict=True) for v in pair] for isa in isas}


def merged(old, new):
    """The worse of two records, each part by itself."""
    if old is None:
        return new
    return [*max(old[:2], new[:2], key=lambda v: v[0]), *max(old[2:], new[2:], key=lambda v: v[0])]


def run(options):
    """Sweeps the chosen part and merges it into the record."""
    record = {"stride": options.stride, "swept": {}, "errors": {}}
    if options.json and options.json.exists():
        record = json.loads(options.json.read_text())
        if record["stride"] != options.stride:
            raise SystemExit(f"{options.json} holds a sweep of stride {record['stride']}")
    part, parts = map(int, options.part.split("/"))
    edges = [EVERYTHING * k // parts for k in (part, part + 1)]
    unit = BLOCK * options.stride
    first, last = (min(-(-edge // unit) * unit, EVERYTHING) for edge in edges)
    middle = min(first + (last - first) // (2 * unit) * unit + unit, last)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.workers) as pool:
        library = compiled(folder)
        jobs = [
            (name, pool.submit(sweep, library, name, begin, end, options.stride, options.isas))
            for name in options.functions
            for begin, end in ((first, middle), (middle, last))
            if begin < end
        ]
        for name, job in jobs:
            for isa, found in job.result().items():
                table = record["errors"].setdefault(name, {})
                table[isa] = merged(table.get(isa), found)
        for name in options.functions:
            done = record["swept"].setdefault(name, {})
            for isa in options.isas:
                done[isa] = sorted({*done.get(isa, []), f"{part}/{parts}"})
    if options.json:
        options.json.write_text(json.dumps(record, indent=1))
    return record


def broken(record):
    """Lines for what exceeds its bound."""
    lines = []
    for name, table in record["errors"].items():
        for isa, (ulp, at, absolute, near) in table.items():
            if ulp > ULP_BOUND.get(name, DERIVATIVE_BOUND if name.endswith("_backward") else FUNCTION_BOUND):
                lines.append(f"{name} on {isa}: {ulp:.2f} ULP at {at!r}")
            if absolute > ABSOLUTE_BOUND:
                lines.append(f"{name} on {isa}: {absolute:.2f} eps absolute at {near!r}")
    return lines


def complete(record, name, isa):
    """Whether parts of one size cover everything."""
    done = [tuple(map(int, text.split("/"))) for text in record["swept"][name][isa]]
    return record["stride"] == 1 and any(
        {p for p, q in done if q == parts} == set(range(parts)) for parts in {q for _, q in done}
    )


HEAD = """# Accuracy of the element-wise functions

Written by `benchmarks/accuracy.py` ({date}). Largest errors, NaN, infinities, zeros and subnormal numbers included,
against double precision references that share no code with fastnn. An error is in units in the last place (ULP) of the
exact value's float32 neighbourhood: 0.5 is correct rounding; results that underflow count in units of the smallest
subnormal number.

Bounds: 2 ULP for exp and log, 3 ULP for every other function, in the tails too. `<name>_backward` is the derivative (a
gradient of 1), within 6 ULP in its tails; where it passes through zero the true value cancels, and between the inputs
named there the error is absolute, in units of eps = 2^-23, and within 1.5. Parameters have their defaults.
"""

TAIL = """
Special values: NaN in gives NaN out. Where the formula as written is infinity times 0 the result is the limit:
`gelu`, `silu`, `mish`, `hardswish` at -infinity give 0 and `softsign` at +-infinity gives +-1, where PyTorch has NaN.
A derivative of 0 gives a gradient of 0, whatever arrives. `<name>_backward(output=y)` takes the derivative from the
output: where the function saturates its error is absolute, that of the output's rounding. `log(0)` is -infinity,
`log(x < 0)` NaN. `softplus` follows PyTorch's threshold (x itself where beta x > 20): no float32 can tell, in float64
it costs up to 2e-9 there.

SSE2 and scalar have no fused multiply-add and agree with each other bit for bit; AVX2 and AVX-512 have one.

Float64 is sampled by `tests/c/ulp.c` against long double, and tested against twins and PyTorch at 1e-10.
"""


def rows_of(record, isas):
    """The table of one record, and names of what was not swept in whole though every input was meant."""
    lines = ["| function | " + " | ".join(f"{isa} | at" for isa in isas) + " |"]
    lines += ["| --- |" + " ---: | ---: |" * len(isas)]
    partial = []
    for name in [n for n in (*FUNCTIONS, *(f"{d}_backward" for d in DERIVATIVES)) if n in record["errors"]]:
        table, cells = record["errors"][name], []
        for isa in isas:
            cells += [f"{table[isa][0]:.2f}", f"{table[isa][1]:.7g}"] if isa in table else ["-", ""]
            if isa in table and record["stride"] == 1 and not complete(record, name, isa):
                partial.append(f"{name} on {isa}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines, partial


def absolute_rows(records, isas):
    """The table of derivatives where their true value cancels."""
    lines = ["Absolute errors where the true value cancels, in eps:", ""]
    lines += ["| derivative | inputs | largest error |", "| --- | ---: | --- |"]
    for name, (low, high) in CANCELS.items():
        for table in [record["errors"][name] for record in records if name in record["errors"]]:
            worst = ", ".join(f"{isa} {table[isa][2]:.2f}" for isa in isas if isa in table)
            lines.append(f"| {name} | {low} to {high} | {worst} |")
    return lines


def markdown(records):
    """The report: what was swept in whole, then what was sampled."""
    swept = {isa for record in records for table in record["errors"].values() for isa in table}
    isas = [isa for isa in ("scalar", "sse2", "avx2", "avx512", "neon") if isa in swept]
    lines = [HEAD.format(date=date.today().isoformat())]
    for record in sorted(records, key=lambda record: record["stride"]):
        stride = record["stride"]
        table, partial = rows_of(record, isas)
        lines += ["All 2^32 float32 inputs:" if stride == 1 else f"One float32 input in {stride}:", "", *table, ""]
        if partial:
            lines += ["Not all of them were swept: " + ", ".join(partial) + ".", ""]
    return "\n".join([*lines, *absolute_rows(records, isas), TAIL])


def parse(arguments):
    from fastnn import _native

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = ",".join((*FUNCTIONS, *(f"{name}_backward" for name in DERIVATIVES)))
    parser.add_argument("--functions", default=everything, type=lambda s: s.split(","), help="default: all")
    parser.add_argument("--isas", default=",".join(_native.available_isas()), type=lambda s: s.split(","))
    parser.add_argument("--stride", type=int, default=1, help="every so manieth input (default 1: all)")
    parser.add_argument("--part", default="0/1", help="this share of the inputs, as i/n")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, help="merge the results into this file")
    parser.add_argument("--from-json", type=Path, nargs="+", help="measure nothing, render these files")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "accuracy.md")
    parser.add_argument("--quiet", action="store_true", help="write no report")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    records = [json.loads(path.read_text()) for path in options.from_json] if options.from_json else [run(options)]
    if not options.quiet:
        options.output.write_text(markdown(records))
    lines = [line for record in records for line in broken(record)]
    print(*lines, sep="\n", end="\n" if lines else "")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
