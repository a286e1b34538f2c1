"""Reading a table of 1,000,000 rows and 20 columns: time and peak memory of both readers beside pandas.

    python benchmarks/tables.py [--rows N] [--repeats N] [--json FILE]

Every measurement is a process of its own, taken in turns; times are medians, memory is the growth of the process' peak
over what it had after its imports, divided by the size of the arrays. Needs pandas and pyarrow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np

COLUMNS = 20
CASES = ("pandas", "pyarrow", "csv", "blocks")


def write_table(path: str, rows: int) -> None:
    """Numbers of several sizes, whole numbers, and a target of fractions."""
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        file.write(",".join([*(f"f{i}" for i in range(COLUMNS - 1)), "y"]) + "\n")
        for start in range(0, rows, 50_000):
            count = min(50_000, rows - start)
            columns = [np.round(rng.normal(size=count) * 10 ** (i % 4), 5) for i in range(COLUMNS - 3)]
            columns += [rng.integers(0, 1000, count), rng.integers(0, 10**6, count)]
            columns.append(np.round(rng.normal(size=count), 4))
            file.writelines(",".join(map(str, row)) + "\n" for row in zip(*(c.tolist() for c in columns)))


def _peak() -> int:
    """Bytes; not ru_maxrss, which a process inherits from its parent."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024


def run(case: str, path: str) -> dict:
    """One reading in this process."""
    import pyarrow.csv  # noqa: F401

    if case == "pandas":
        import pandas

        before, start = _peak(), time.perf_counter()
        frame = pandas.read_csv(path, engine="pyarrow")
        x, y = frame.iloc[:, :-1].to_numpy(np.float32), frame.iloc[:, -1].to_numpy(np.float32)
    else:
        from fastnn.data.dataset import open_dataset
        from fastnn.data.table import read_csv

        before, start = _peak(), time.perf_counter()
        table = open_dataset(path, "y").load() if case == "blocks" else read_csv(path, "y", reader=case)
        x, y = table.x, table.y
    seconds, grown = time.perf_counter() - start, _peak() - before
    digest = [zlib.crc32(np.ascontiguousarray(a)) for a in (x, y)]
    return {"seconds": seconds, "memory": grown / (x.nbytes + y.nbytes), "digest": digest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run(*options.case)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table.csv")
        write_table(path, options.rows)
        size = os.path.getsize(path) / 1e6
        found: dict[str, list[dict]] = {case: [] for case in CASES}
        for _ in range(options.repeats):
            for case in CASES:
                command = [sys.executable, __file__, "--case", case, path]
                found[case].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    if any(one["digest"] != found["csv"][0]["digest"] for case in CASES[1:] for one in found[case]):
        raise SystemExit("the readers give different arrays")
    base = statistics.median(one["seconds"] for one in found["pandas"])
    print(f"{options.rows:,} rows, {COLUMNS} columns, {size:.0f} MB of text; medians of {options.repeats}")
    print(f"{'':<10}{'seconds':>9}{'of pandas':>11}{'peak / arrays':>15}")
    for case in CASES:
        seconds = statistics.median(one["seconds"] for one in found[case])
        memory = statistics.median(one["memory"] for one in found[case])
        print(f"{case:<10}{seconds:>9.2f}{seconds / base:>11.2f}{memory:>15.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
