"""Measures fastnn beside NumPy, PyTorch, JAX, ONNX Runtime and scikit-learn, and writes docs/benchmarks.md.

    python benchmarks/report.py [--fashion-dir DIR] [--threads 2,1] [--peers fastnn,torch] [--suites products,steps]
                                [--json FILE] [--quick]

Suites: products, layers, backward, steps, prediction, memory, elementwise, losses, optimizers, augmentation, fashion
(docs/benchmarks.md); sample, teams, resident (docs/products.md). With ``--json FILE`` the raw results are kept, and
what a run does not measure stays as it was in the file: a report can be made in pieces. Whatever is not installed is
left out. Each library runs in a process of its own on the same processors with the same number of threads. Every case
is measured in interleaved rounds (fastnn, NumPy, ..., fastnn, NumPy, ...); the figure is the median over all samples of
all rounds. Shares refer to the machine's own peak and bandwidth, measured by ``probe/probe.c`` just before. Run it on
an idle machine.
"""

import argparse
import json
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import cases
import machine
import measure
import peers
import render
import render_products
import resident
import sample

HERE = Path(__file__).resolve().parent
#: what docs/products.md shows, measured at the largest number of threads only
PRODUCT_SUITES = {
    "sample": sample.measure_sample,
    "teams": sample.measure_teams,
    "resident": resident.measure_resident,
}


def run_fits(fits, running, failures):
    """One row for all seeds: mean seconds and accuracy of each peer, seeds interleaved."""
    collected = {}
    for case in fits:
        for peer in measure.prepare([case], running, failures):
            time.sleep(measure.SETTLE_DEFAULT)
            collected.setdefault(peer.name, []).append(peer.ask(run=True))
            measure.progress(f"{peer.name}, seed {case['seed']}: {collected[peer.name][-1]}")
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
                ready, settle = measure.prepare([case], running, failures), measure.settle_seconds(threads)
                (row["peers"],) = measure.measure([case], ready, options.rounds, options.samples, settle)
                row["flops"], row["bytes"], row["working_set"] = cases.work(case)
                rows.append(row)
                figures = {name: f"{figure['seconds'] * 1e6:.1f} us" for name, figure in row["peers"].items()}
                measure.progress(f"{threads} threads  {row['label']}: {figures}")
        results.append({**suite, "threads": threads, "rows": rows})
    return results


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default_threads = sorted({1, machine.cpu_count()}, reverse=True)
    parser.add_argument("--threads", default=",".join(map(str, default_threads)), help="counts, comma separated")
    parser.add_argument("--peers", default=",".join(peers.ORDER), help="libraries, comma separated")
    parser.add_argument("--suites", default="", help="keys or titles, comma separated (default: all)")
    parser.add_argument("--fashion-dir", help="the Fashion-MNIST IDX files; that run is left out without them")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--samples", type=int, default=5, help="samples a round and library (default 5)")
    parser.add_argument("--count", type=int, default=sample.COUNT, help="sizes of the random sample (default 200)")
    parser.add_argument("--quick", action="store_true", help="one round, a rough probe: to see that it works")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs", help="folder of the pages (default docs)")
    parser.add_argument("--readme", type=Path, help="also replace the marked block of this file")
    parser.add_argument("--json", type=Path, help="keep the raw results here, and add to what is there")
    parser.add_argument("--from-json", type=Path, help="measure nothing, render these results")
    options = parser.parse_args(arguments)
    known = {*PRODUCT_SUITES}.union(*((s["key"], s["title"].lower()) for s in cases.suites(fashion_dir=".")))
    if unknown := [name for name in wanted(options) if name not in known]:
        parser.error(f"unknown suite {unknown[0]!r}; known: {', '.join(sorted(known))}")
    if options.quick:
        options.rounds = options.samples = 1
        options.count = min(options.count, 10)
    return options


def wanted(options):
    return [word.strip().lower() for word in options.suites.split(",") if word.strip()]


def chosen(options, name, title):
    return not wanted(options) or name in wanted(options) or title.lower() in wanted(options)


def run(options):
    """What was measured, as one JSON-able dictionary."""
    threads = [int(count) for count in options.threads.split(",")]
    report = {"rounds": options.rounds, "samples": options.samples, "quick": options.quick, "failures": []}
    report |= {"date": date.today().isoformat(), "hardware": machine.hardware(), "suites": [], "products": {}}
    table = [s for s in cases.suites(options.fashion_dir) if chosen(options, s["key"], s["title"])]
    if table:
        measure.progress("measuring the machine")
        report["limits"] = machine.probe(max(threads), quick=options.quick)
    for index, count in enumerate(threads if table else ()):
        running, absent = measure.start(options.peers.split(","), count)
        report["versions"] = [(peer.name, peer.version) for peer in running]
        report["absent"] = absent
        try:  # whole training runs are measured once, at the first thread count
            of_count = [suite for suite in table if index == 0 or suite["unit"] != "fit"]
            report["suites"] += run_suites(of_count, running, count, options, report["failures"])
        finally:
            for peer in running:
                peer.close()
    for key, function in PRODUCT_SUITES.items():
        if chosen(options, key, key):
            measured = function(options, max(threads), report["failures"])
            head = {name: report[name] for name in ("date", "hardware", "quick")}
            report["products"][key] = {**measured, **head}
    return report


def merged(old, new):
    """``new``, and from ``old`` what it has not measured."""
    measured = {(suite["key"], suite["threads"]) for suite in new["suites"]}
    kept = [suite for suite in old["suites"] if (suite["key"], suite["threads"]) not in measured]
    order = [suite["key"] for suite in cases.suites(fashion_dir=".")]
    both = sorted(kept + new["suites"], key=lambda suite: (-suite["threads"], order.index(suite["key"])))
    result = {**old, **new, "suites": both, "products": {**old["products"], **new["products"]}}
    if old["suites"] and not new["suites"]:  # the page's head belongs to its suites
        result |= {key: old[key] for key in ("date", "hardware", "limits", "rounds", "samples", "quick")}
    return result


def write_pages(report, options):
    options.output.mkdir(exist_ok=True)
    if report["suites"]:
        page = options.output / "benchmarks.md"
        chart = render.chart(report, page.with_suffix(".png"))
        page.write_text(render.markdown(report, chart.name if chart else None))
        print(f"wrote {page}" + (f" and {chart}" if chart else ""), file=sys.stderr)
    if report["products"]:
        page = options.output / "products.md"
        chart = render_products.chart(report["products"], page.with_suffix(".png"))
        page.write_text(render_products.markdown(report["products"], chart.name if chart else None))
        print(f"wrote {page}" + (f" and {chart}" if chart else ""), file=sys.stderr)


def main(arguments=None):
    options = parse(arguments)
    report = json.loads(options.from_json.read_text()) if options.from_json else run(options)
    if options.json:
        if options.json.exists() and not options.from_json:
            report = merged(json.loads(options.json.read_text()), report)
        options.json.write_text(json.dumps(report, indent=1))
    write_pages(report, options)
    if options.readme:
        render.replace_block(options.readme, render.readme_block(report))


if __name__ == "__main__":
    main()
