"""Tables of a program's ops, as text, and what they say about each op."""

from .errors import shape_text


def describe_ops(plan, rows):
    """One dict per native op: the native report plus the graph's name and output shape."""
    table = []
    for segment in plan.segments:
        if segment.program is not None:
            table += describe_segment(segment, rows)
    return table


def describe_segment(segment, rows):
    """`describe_ops` for one native program of a plan."""
    table = []
    step = min(rows, segment.program.capacity)
    for entry, node in zip(segment.program.op_report(step), segment.lowering.nodes, strict=True):
        label, shape = "layout", ""
        if node is not None:
            activation = node.attrs.get("activation")
            label = node.attrs.get("label") or node.label
            label += f"+{activation}" if activation else ""
            label = f"{node.scope} {label}" if node.scope else label
            shape = shape_text(node.outputs[0].shape)
        table.append({**entry, "label": label, "shape": shape})
    return table


def count_text(value):
    """A count with a unit: 31.4k."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 1000:
            return f"{value:.0f}" if unit == "" else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}P"


def text_table(header, lines):
    """Columns of text; the first three to the left, numbers to the right."""
    widths = [max(len(str(line[i])) for line in [header, *lines]) for i in range(len(header))]
    text = []
    for line in [header, ["-" * w for w in widths], *lines]:
        cells = [str(c).ljust(w) for c, w in zip(line[:3], widths, strict=False)]
        cells += [str(c).rjust(w) for c, w in zip(line[3:], widths[3:], strict=True)]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def summary(plan, rows):
    """The op table of a plan."""
    ops = describe_ops(plan, rows)
    chunked = f" in chunks of {plan.chunk}" if plan.chunk else ""
    lines = [
        [
            op["label"], op["name"], op["shape"], count_text(op["flops"]), count_text(op["bytes"]), op["threads"],
            op["reason"],
        ]
        for op in ops
    ]  # fmt: skip
    programs = [segment.program for segment in plan.segments if segment.program is not None]
    planned = sum(program.workspace_bytes for program in programs)
    least = sum(program.lower_bound_bytes for program in programs)
    python_ops = sum(map(len, plan.python_ops))
    foot = [
        f"{len(ops)} ops for {min(rows, plan.chunk) if plan.chunk else rows} rows{chunked}: "
        f"{count_text(sum(op['flops'] for op in ops))} FLOPs, {count_text(sum(op['bytes'] for op in ops))} bytes moved",
        f"workspace {planned} bytes, lower bound {least} bytes",
    ]
    if python_ops:
        foot.append(f"{python_ops} Python-defined ops split it into {len(programs)} native programs")
    header = ["op", "kernel", "output", "FLOPs", "bytes", "threads", "why"]
    return text_table(header, lines) + "\n" + "\n".join(foot)
