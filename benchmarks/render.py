"""Turns the results of ``report.py`` into Markdown and a chart."""

from pathlib import Path

import machine

BEGIN, END = "<!-- benchmarks: begin (written by benchmarks/report.py) -->", "<!-- benchmarks: end -->"


def value(row, figure, unit):
    """A peer's figure in the suite's unit."""
    if unit == "GFLOP/s":
        return row["flops"] / figure["seconds"] * 1e-9
    if unit == "GB/s":
        return row["bytes"] / figure["seconds"] * 1e-9
    return figure["seconds"] * 1e6


def text(number):
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def share(row, suite, limits):
    """fastnn's share of what the machine allows, and which limit that is: ``"84 % of peak"``; None without fastnn.

    The limit is the slower of the arithmetic at the FMA peak and the bytes at the triad bandwidth of a working set of
    this size (the roofline).
    """
    if "fastnn" not in row["peers"]:
        return None
    seconds, threads = row["peers"]["fastnn"]["seconds"], suite["threads"]
    arithmetic = row["flops"] * 1e-9 / limits.peak(threads, row["case"]["dtype"])
    memory = row["bytes"] * 1e-9 / limits.bandwidth(threads, row["working_set"])
    limit = "peak" if arithmetic >= memory else "bandwidth"
    return f"{100 * max(arithmetic, memory) / seconds:.0f} % of {limit}"


def ratio(row):
    """The fastest peer's time over fastnn's: above 1, fastnn is ahead. ``(ratio, peer)`` or None."""
    others = {name: figure["seconds"] for name, figure in row["peers"].items() if name != "fastnn"}
    if "fastnn" not in row["peers"] or not others:
        return None
    best = min(others, key=others.get)
    return others[best] / row["peers"]["fastnn"]["seconds"], best


def peer_names(rows, order):
    present = {name for row in rows for name in row["peers"]}
    return [name for name in order if name in present]


def table(lines):
    head, *body = lines
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *body)] + [""]


def suite_table(suite, order, limits):
    names, unit = peer_names(suite["rows"], order), suite["unit"]
    lines = [["", *names, "fastnn's share", "best peer / fastnn"]]
    for row in suite["rows"]:
        best = min(row["peers"], key=lambda name: row["peers"][name]["seconds"])
        cells = [row["label"]]
        for name in names:
            figure = row["peers"].get(name)
            shown = text(value(row, figure, unit)) if figure else "-"
            cells.append(f"**{shown}**" if name == best else shown)
        part, against = share(row, suite, limits), ratio(row)
        cells.append(part or "-")
        cells.append(f"{against[0]:.2f}x ({against[1]})" if against else "-")
        lines.append(cells)
    return table(lines)


def fit_table(suite, order):
    row = suite["rows"][0]
    lines = [["", "training, s", "test accuracy", "lowest of the seeds", "seeds"]]
    for name in peer_names([row], order):
        figure = row["peers"][name]
        accuracy = [f"{100 * figure[key]:.2f} %" for key in ("accuracy", "lowest")]
        lines.append([name, f"{figure['seconds']:.1f}", *accuracy, str(figure["seeds"])])
    return [row["label"] + ":", "", *table(lines)]


def losses(report):
    """A line for each case in which a peer is faster than fastnn."""
    lines = []
    for suite in report["suites"]:
        for row in suite["rows"]:
            against = ratio(row)
            if against and against[0] < 1:
                where = f"{suite['title']}, {suite['threads']} threads, {row['label']}"
                lines.append(f"- {where}: {against[1]} takes {against[0]:.2f} of fastnn's time")
    return lines


def _limits_section(measured):
    lines = [["threads", "float32 peak, GFLOP/s", "float64 peak, GFLOP/s"]]
    lines += [[str(row["threads"]), text(row["float32"]), text(row["float64"])] for row in measured["peak"]]
    result = ["## What the machine can do", ""]
    result.append(f"Measured by `benchmarks/probe` with {measured['isa']} vectors, nothing but registers for the peak;")
    result.append(f"an empty OpenMP region of {measured['threads']} threads costs {measured['region_ns']:.0f} ns.")
    result += ["", *table(lines)]
    lines = [["working set", "threads", "read, GB/s", "copy, GB/s", "triad, GB/s"]]
    for row in measured["bandwidth"]:
        size = f"{row['bytes'] >> 20} MiB" if row["bytes"] >= 1 << 20 else f"{row['bytes'] >> 10} KiB"
        lines.append([size, str(row["threads"]), *(text(row[kind]) for kind in ("read", "copy", "triad"))])
    return result + table(lines)


def markdown(report, chart_name):
    order = [name for name, _ in report["versions"]]
    limits = machine.Limits(report["limits"])
    lines = ["# Benchmarks", "", "Written by `python benchmarks/report.py`; do not edit by hand.", ""]
    if report["quick"]:
        lines += ["**A quick run to see that the driver works: these figures mean nothing.**", ""]
    lines += table([["", "this run"], ["date", report["date"]], *report["hardware"], *report["versions"]])
    lines.append(
        "Every library runs in a process of its own on the same processors with the same number of threads. Figures "
        f"are medians of {report['rounds'] * report['samples']} samples in {report['rounds']} interleaved rounds, "
        "after a warm-up; the best of each row is bold. Shares are of this machine's own limits, measured in the "
        "same run: the slower of the arithmetic at the FMA peak and the bytes at the triad bandwidth of that size. "
    )
    lines += ["Products of random sizes and shares of the peak: [products.md](products.md).", ""]
    if report["absent"]:
        lines += ["Not measured: " + "; ".join(report["absent"]) + ".", ""]
    if chart_name:
        lines += [f"![fastnn beside its peers]({chart_name})", ""]
    for suite in report["suites"]:
        plural = "s" if suite["threads"] > 1 else ""
        unit = "" if suite["unit"] == "fit" else f" ({suite['unit']})"
        lines += [f"## {suite['title']}{unit}, {suite['threads']} thread{plural}", "", suite["note"], ""]
        lines += fit_table(suite, order) if suite["unit"] == "fit" else suite_table(suite, order, limits)
    behind = losses(report)
    lines += ["## Where fastnn is behind", ""]
    lines += behind or ["Nowhere in this run."]
    if report["failures"]:
        lines += ["", "## Cases that failed", "", *(f"- {failure}" for failure in report["failures"])]
    lines += ["", *_limits_section(report["limits"])]
    return "\n".join(lines).rstrip() + "\n"


def readme_block(report):
    """The short table of the README: training steps and Fashion-MNIST at the first thread count."""
    order = [name for name, _ in report["versions"]]
    fields = dict(report["hardware"])
    lines = []
    for suite in report["suites"]:
        if suite["title"] == "Training step" and not lines:
            names = peer_names(suite["rows"], order)
            lines = [[f"training step, microseconds, {suite['threads']} threads", *names]]
            for row in suite["rows"]:
                figures = [row["peers"].get(name) for name in names]
                lines.append([row["label"], *(text(f["seconds"] * 1e6) if f else "-" for f in figures)])
    result = table(lines) if lines else []
    for suite in report["suites"]:
        if suite["unit"] == "fit":
            lines = [[f"Fashion-MNIST, {suite['threads']} threads", "training, s", "test accuracy"]]
            for name in peer_names(suite["rows"], order):
                figure = suite["rows"][0]["peers"][name]
                lines.append([name, f"{figure['seconds']:.1f}", f"{100 * figure['accuracy']:.2f} %"])
            result += table(lines)
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"])
    result.append(
        f"{fields['processor']}, {fields['cores']} cores; {versions}; {report['date']}; medians of interleaved rounds "
        "with the same threads. All cases, also those that fastnn loses: [docs/benchmarks.md](docs/benchmarks.md)."
    )
    return "\n".join(result)


def replace_block(path, block):
    """Put ``block`` between the two marks of a Markdown file."""
    content = Path(path).read_text()
    if BEGIN not in content or END not in content:
        raise SystemExit(f"{path} has no lines {BEGIN!r} and {END!r} to write between")
    before, after = content.split(BEGIN)[0], content.split(END)[1]
    Path(path).write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}")


def chart(report, path):
    """A PNG of the first products and training-step suites; None without matplotlib or without such suites."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return None
    chosen = []
    for title in ("Products", "Training step"):
        chosen += [
            suite for suite in report["suites"]
            if suite["title"] == title and any("fastnn" in row["peers"] for row in suite["rows"])
        ][:1]  # fmt: skip
    if not chosen:
        return None
    figure, axes = pyplot.subplots(len(chosen), 1, figsize=(11, 4.2 * len(chosen)), squeeze=False)
    for axis, suite in zip(axes[:, 0], chosen, strict=True):
        _bars(axis, suite, [name for name, _ in report["versions"]], machine.Limits(report["limits"]))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _bars(axis, suite, order, limits):
    names, rows = peer_names(suite["rows"], order), suite["rows"]
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        found = [(i, row) for i, row in enumerate(rows) if name in row["peers"]]
        if suite["unit"] == "us":  # steps per second of fastnn = 1: comparable over sizes
            found = [(i, row) for i, row in found if "fastnn" in row["peers"]]
            heights = [row["peers"]["fastnn"]["seconds"] / row["peers"][name]["seconds"] for _, row in found]
        else:
            heights = [value(row, row["peers"][name], suite["unit"]) for _, row in found]
        places = [i + (index - (len(names) - 1) / 2) * width for i, _ in found]
        axis.bar(places, heights, width, label=name, color=f"C{order.index(name)}")
    if suite["unit"] == "us":
        axis.set_ylabel("steps per second, fastnn = 1")
    else:
        axis.axhline(limits.peak(suite["threads"]), color="grey", linestyle=":", label="measured peak")
        axis.set_ylabel(suite["unit"])
    axis.set_xticks(range(len(rows)), [row["label"] for row in rows], rotation=30, ha="right", fontsize=8)
    axis.set_title(f"{suite['title']}, float32, {suite['threads']} threads")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
