"""The text table of `Module.summary`."""

import math
from typing import Any

from .shapes import example_input, output_shapes


def summary(module: Any, x: Any = None) -> Any:
    """See `Module.summary`."""
    shapes = _output_shapes(module, x)
    rows, counted, totals = [], set(), {True: 0, False: 0}
    for path, inner in module.named_modules():
        own = list(inner._own_named_tensors())
        inside = any(True for _ in inner.named_children())
        if not own and inside:
            continue
        weights = ", ".join(f"{name} {tuple(value.shape)}" for name, value in own if not value.buffer)
        fresh = [value for _, value in own if not value.buffer and id(value) not in counted]
        counted.update(map(id, fresh))
        for value in fresh:
            totals[value.requires_grad] += math.prod(value.shape)
        count = sum(math.prod(value.shape) for value in fresh)
        row = [path, inner._describe(), weights, f"{count:,}" if count else ""]
        if shapes is not None:
            row.insert(2, _shape_text(shapes.get(path)))
        rows.append(row)
    header = ["name", "layer", "weights", "parameters"]
    if shapes is not None:
        header.insert(2, "output")
    lines = table(header, rows)
    frozen = f", {totals[False]:,} frozen" if totals[False] else ""
    lines.append(f"{totals[True]:,} trainable parameters{frozen}")
    return "\n".join(lines)


def _output_shapes(module, x):
    """{path: shape}; None if nobody says what the module takes."""
    if x is not None:
        return output_shapes(module, x)
    x = example_input(module)
    try:
        return None if x is None else output_shapes(module, x)
    except (ValueError, TypeError):  # it takes something else than one array of so many features
        return None


def _shape_text(shape):
    return "" if shape is None else "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def table(header: list[str], rows: list[list[str]]) -> Any:
    """Lines of a table whose last column is aligned to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(header, widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]).rstrip())
    return lines
