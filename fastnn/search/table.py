"""The trials of a search as a text table."""


def _text(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def format_trials(trials, names, monitor):
    """A line for each trial: number, score, epochs, seconds, parameters, and why it ended if it did not run through."""
    header = ["trial", monitor, "epochs", "seconds", *names, ""]
    lines = [header]
    for trial in trials:
        why = "" if trial["status"] == "done" else trial["status"]
        cells = [trial["number"], trial["score"], trial["epochs"], round(trial["seconds"], 2)]
        lines.append([*(_text(v) for v in cells), *(_text(trial["params"][name]) for name in names), why])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
