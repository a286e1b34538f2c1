"""docs/products.md: the random sample of products, one thread against two, and shares of the peak."""

import statistics

import render

COUNTED = (("min", 0), ("5 %", 5), ("25 %", 25), ("median", 50), ("75 %", 75), ("max", 100))
MORE_ROWS = ((1, 7), (8, 63), (64, 4096))
SLOWER = 1.1  # more than this by a second thread is listed


def percentile(values, percent):
    """Linear between the two nearest of the sorted values."""
    values, place = sorted(values), (len(values) - 1) * percent / 100
    low = int(place)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)


def ratios(rows):
    """``[(ratio, best peer, row)]`` of the rows that have one."""
    found = [(render.ratio(row), row) for row in rows]
    return [(*against, row) for against, row in found if against]


def distribution(name, values):
    cells = [f"{percentile(values, percent):.2f}" for _, percent in COUNTED] if values else ["-"] * len(COUNTED)
    return [name, str(len(values)), *cells, str(sum(value < 1 for value in values))]


def sample_section(measured, chart_name):
    found = ratios(measured["rows"])
    lines = [["the best peer's time / fastnn's", "sizes", *(name for name, _ in COUNTED), "below 1"]]
    lines.append(distribution("all", [ratio for ratio, _, _ in found]))
    for least, most in MORE_ROWS:
        some = [ratio for ratio, _, row in found if least <= row["case"]["rows"] <= most]
        lines.append(distribution(f"{least} to {most} rows", some))
    names = ", ".join(f"{name} {version}" for name, version in measured["versions"] if name != "fastnn")
    text = [f"## A random sample, {measured['threads']} threads", ""]
    text.append(
        f"`kernels.linear(x, w, b, activation=\"relu\")` in float32 on {len(found)} sizes, rows, inputs and outputs "
        "each log-uniform between 1 and 4096, weights C-contiguous (out, in): any packing is part of the call. Against "
        f"the quickest of {names} at each size; medians of {measured['rounds']} interleaved rounds. "
        "Above 1, fastnn is ahead."
    )
    text += ["", *render.table(lines)]
    if chart_name:
        text += [f"![ratio against FLOPs]({chart_name})", ""]
    behind = sorted((ratio, peer, row) for ratio, peer, row in found if ratio < 1) if found else []
    if behind:
        text += ["Below 1, rows x in x out:", ""]
        text += [f"- {row['label']}: {ratio:.2f} ({peer})" for ratio, peer, row in behind]
    else:
        text.append("None is below 1.")
    return [*text, ""]


def teams_section(measured):
    text = [f"## {measured['threads']} threads against one", ""]
    text.append(
        "The sizes of the grid and of the sample, each on one thread and on the team in turn, in one process: "
        "time of the team / time of one thread."
    )
    lines = [["", "sizes", "median", "95 %", "max", f"above {SLOWER:.2f}"]]
    slower = []
    for kind, name in (("linear_plain", "kernels.linear"), ("layer", "compiled layer")):
        values = []
        for row in measured["rows"]:
            if row["case"]["kind"] == kind:
                alone, team = row["peers"]["1"]["seconds"], row["peers"][str(measured["threads"])]["seconds"]
                values.append(team / alone)
                if team > SLOWER * alone:
                    slower.append(f"- {name} {row['label']}: {team / alone:.2f} ({alone * 1e6:.1f} us on one thread)")
        if values:
            cells = [f"{percentile(values, percent):.2f}" for percent in (50, 95, 100)]
            lines.append([name, str(len(values)), *cells, str(sum(value > SLOWER for value in values))])
    return [*text, "", *render.table(lines), *slower, *([""] if slower else [])]


def resident_section(measured):
    text = ["## Share of the peak", ""]
    text.append(
        "Useful FLOPs of the product of a compiled layer (bias and ReLU included), repeated inside one parallel region "
        f"with a barrier after each, weights resident; medians of {measured['rounds']} rounds, as a share of the "
        "multiply-adds that the same instruction set does on registers alone, measured beside it."
    )
    columns = []
    for row in measured["layers"]:
        key = (row["isa"], row["dtype"], row["threads"])
        if key not in columns:
            columns.append(key)
    by_place = {(row["label"], row["isa"], row["dtype"], row["threads"]): row for row in measured["layers"]}
    lines = [["rows x in x out", *(f"{isa}, {dtype}, {threads} thr." for isa, dtype, threads in columns)]]
    for label in dict.fromkeys(row["label"] for row in measured["layers"]):
        cells = []
        for key in columns:
            row = by_place[(label, *key)]
            cells.append(f"{100 * row['gflops'] / row['peak']:.0f} % ({render.text(row['gflops'])})")
        lines.append([label, *cells])
    peaks = [render.text(next(r["peak"] for r in measured["layers"] if r["label"] == label and
             (r["isa"], r["dtype"], r["threads"]) == key)) for key in columns]  # fmt: skip
    lines.append(["peak, GFLOP/s", *peaks])
    return [*text, "", *render.table(lines)]


def gradients_section(measured):
    text = [f"## Gradients beside the forward product, {measured['threads']} threads", ""]
    text.append(
        "Every layer of seven training configurations, float32: the three products as the training program has them, "
        "measured in the same way; GFLOP/s, and the gradients' rate as a share of the forward product's."
    )
    lines = [["net", "layer", "forward", "weight gradient", "input gradient"]]
    for row in measured["gradients"]:
        cells = [render.text(row["forward"])]
        for what in ("weight gradient", "input gradient"):
            cells.append(f"{render.text(row[what])} ({100 * row[what] / row['forward']:.0f} %)" if what in row else "-")
        lines.append([row["net"], row["layer"], *cells])
    return [*text, "", *render.table(lines)]


def markdown(products, chart_name):
    lines = ["# Products", "", "Written by `python benchmarks/report.py --suites sample,teams,resident`; do not edit."]
    latest = max(products.values(), key=lambda measured: measured["date"])
    machine = dict(latest["hardware"])
    lines += ["", f"{machine['processor']}, {machine['cores']} cores, {latest['date']}. Against the libraries on the "]
    lines[-1] += "sizes that networks have: [benchmarks.md](benchmarks.md). What sums in which order: "
    lines[-1] += "[kernels.md](kernels.md)."
    lines.append("")
    if any(measured["quick"] for measured in products.values()):
        lines += ["**A quick run to see that the driver works: some of these figures mean nothing.**", ""]
    if "sample" in products:
        lines += sample_section(products["sample"], chart_name)
    if "teams" in products:
        lines += teams_section(products["teams"])
    if "resident" in products:
        lines += resident_section(products["resident"])
        lines += gradients_section(products["resident"])
    return "\n".join(lines).rstrip() + "\n"


def chart(products, path):
    """A PNG: the sample's ratios against FLOPs, and their histogram; None without matplotlib or without a sample."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return None
    found = ratios(products.get("sample", {}).get("rows", []))
    if not found:
        return None
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 4.2), sharey=True, gridspec_kw={"width_ratios": [3, 1], "wspace": 0.05}
    )
    for name in sorted({peer for _, peer, _ in found}):
        points = [(row["flops"], ratio) for ratio, peer, row in found if peer == name]
        left.scatter(*zip(*points, strict=True), s=14, label=f"best peer: {name}")
    values = [ratio for ratio, _, _ in found]
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlabel("FLOPs of the product")
    left.set_ylabel("the best peer's time / fastnn's")
    lowest, highest = min(*values, 0.9) / 1.05, max(*values, 1.1) * 1.05
    bins = [lowest * (highest / lowest) ** (i / 30) for i in range(31)]
    right.hist(values, bins=bins, orientation="horizontal", color="tab:blue")
    right.set_xlabel("sizes")
    middle = statistics.median(values)
    for axis in (left, right):
        axis.axhline(1, color="grey", linewidth=1)
        axis.axhline(middle, color="grey", linewidth=1, linestyle=":")
    ticks = [t for t in (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100) if lowest <= t <= highest]
    left.set_yticks(ticks, [str(t) for t in ticks])
    left.minorticks_off()
    left.set_title(f"Random sample of {len(values)} products, float32 (dotted: median {middle:.2f})", fontsize=10)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return path
