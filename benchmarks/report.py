"""Measures fastnn beside NumPy, PyTorch, JAX, ONNX Runtime and scikit-learn, and writes docs/benchmarks.md.

    python benchmarks/report.py [--fashion-dir DIR] [--threads 1,2] [--peers fastnn,torch] [--suites Products] [--quick]

Whatever is not installed is left out. Each library runs in a process of its own on the same processors with the same
number of threads, every case is measured in interleaved rounds (fastnn, NumPy, ..., fastnn, NumPy, ...), and the
figure is the median over all samples of all rounds. Shares refer to the machine's own peak and bandwidth, measured by
``probe/probe.c`` just before. Run it on an idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import cases
import machine
import peers
import render

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


def prepared(case, running, failures):
    """The peers that have the case, ready to be timed; those that raised add a line to ``failures``."""
    ready = []
    for peer in running:
        answer = peer.ask(prepare=case)
        if "error" in answer:
            failures.append(f"{peer.name}, {cases.label(case)}: {answer['error']}")
            print(f"  FAILED {failures[-1]}", file=sys.stderr, flush=True)
        elif answer["ready"]:
            ready.append(peer)
    return ready


def measure(ready, rounds, samples, settle):
    """Peer name -> ``{"seconds": median, "spread": interquartile range / median}`` of a prepared case."""
    seconds = {peer.name: [] for peer in ready}
    for _ in range(rounds):
        for peer in ready:
            time.sleep(settle)
            seconds[peer.name] += peer.ask(sample=samples)["seconds"]
    result = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        quartiles = statistics.quantiles(values, n=4) if len(values) > 3 else (median, median, median)
        result[name] = {"seconds": median, "spread": (quartiles[2] - quartiles[0]) / median}
    return result


def run_fits(fits, running, failures):
    """One row for all seeds: mean seconds and accuracy of each peer, seeds interleaved."""
    collected = {}
    for case in fits:
        for peer in prepared(case, running, failures):
            time.sleep(SETTLE_DEFAULT)
            collected.setdefault(peer.name, []).append(peer.ask(run=True))
            print(f"  {peer.name}, seed {case['seed']}: {collected[peer.name][-1]}", file=sys.stderr, flush=True)
    peers_row = {
        name: {
            "seconds": statistics.mean(run["seconds"] for run in runs),
            "accuracy": statistics.mean(run["accuracy"] for run in runs),
            "lowest": min(run["accuracy"] for run in runs),
            "seeds": len(runs),
        }
        for name, runs in collected.items()
    }
    return {"label": cases.label(fits[0]), "case": fits[0], "peers": peers_row}


def run_suites(suites, running, threads, options, failures):
    """Rows of results for each suite at one number of threads."""
    results = []
    for suite in suites:
        if suite["unit"] == "fit":
            rows = [run_fits(suite["cases"], running, failures)]
        else:
            rows = []
            for case in suite["cases"]:
                row = {"label": cases.label(case), "case": case}
                settle = SETTLE_SECONDS.get(threads, SETTLE_DEFAULT)
                row["peers"] = measure(prepared(case, running, failures), options.rounds, options.samples, settle)
                row["flops"], row["bytes"], row["working_set"] = cases.work(case)
                rows.append(row)
                figures = {name: f"{figure['seconds'] * 1e6:.1f} us" for name, figure in row["peers"].items()}
                print(f"  {threads} threads  {row['label']}: {figures}", file=sys.stderr, flush=True)
        results.append({**suite, "threads": threads, "rows": rows})
    return results


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default_threads = sorted({1, machine.cpu_count()}, reverse=True)
    parser.add_argument("--threads", default=",".join(map(str, default_threads)), help="counts, comma separated")
    parser.add_argument("--peers", default=",".join(peers.ORDER), help="comma separated, of: %(default)s")
    parser.add_argument("--suites", default="", help="titles to run, comma separated (default: all)")
    parser.add_argument("--fashion-dir", help="the Fashion-MNIST IDX files; that run is left out without them")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--samples", type=int, default=5, help="samples a round and library (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round, a rough probe: to see that it works")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    parser.add_argument("--readme", type=Path, help="also replace the marked block of this file")
    parser.add_argument("--json", type=Path, help="also write the raw results here; --from-json renders them again")
    parser.add_argument("--from-json", type=Path, help="measure nothing, render these results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = options.samples = 1
    return options


def run(options):
    """Everything that the report shows, as one JSON-able dictionary."""
    wanted = [title.strip().lower() for title in options.suites.split(",") if title.strip()]
    threads = [int(count) for count in options.threads.split(",")]
    print("measuring the machine", file=sys.stderr)
    report = {
        "date": date.today().isoformat(),
        "hardware": machine.hardware(),
        "limits": machine.probe(max(threads), quick=options.quick),
        "rounds": options.rounds,
        "samples": options.samples,
        "quick": options.quick,
        "suites": [],
        "failures": [],
    }
    suites = [s for s in cases.suites(options.fashion_dir) if not wanted or s["title"].lower() in wanted]
    for index, count in enumerate(threads):
        running, absent = start(options.peers.split(","), count)
        report["versions"] = [(peer.name, peer.version) for peer in running]
        report["absent"] = absent
        try:  # whole training runs are measured once, at the first thread count
            chosen = [suite for suite in suites if index == 0 or suite["unit"] != "fit"]
            report["suites"] += run_suites(chosen, running, count, options, report["failures"])
        finally:
            for peer in running:
                peer.close()
    return report


def main(arguments=None):
    options = parse(arguments)
    report = json.loads(options.from_json.read_text()) if options.from_json else run(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    chart = render.chart(report, options.output.with_suffix(".png"))
    options.output.write_text(render.markdown(report, chart.name if chart else None))
    if options.readme:
        render.replace_block(options.readme, render.readme_block(report))
    print(f"wrote {options.output}" + (f" and {chart}" if chart else ""), file=sys.stderr)


if __name__ == "__main__":
    main()
