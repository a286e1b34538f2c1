"""The text table of `Module.summary`."""


def summary(module):
    """See `Module.summary`."""
    counted, rows = set(), []
    trainable = fixed = 0
    for path, inner in module.named_modules():
        own = [(n, v) for n, v in inner.__dict__.items() if hasattr(v, "storage") and hasattr(v, "requires_grad")]
        if path == "" and not own:
            continue
        if any(True for _ in inner.named_children()) and not own:
            continue
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in own if not value.buffer)
        count = 0
        for _, value in own:
            if id(value) in counted or value.buffer:
                continue
            counted.add(id(value))
            size = 1
            for extent in value.shape:
                size *= extent
            count += size
            if value.requires_grad:
                trainable += size
            else:
                fixed += size
        rows.append((path, inner._describe(), shapes, f"{count:,}" if count else ""))
    header = ("name", "layer", "weights", "parameters")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header]]
    lines.append("  ".join("-" * width for width in widths))
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        lines.append("  ".join([*cells, row[3].rjust(widths[3])]).rstrip())
    lines.append(f"{trainable:,} trainable parameters" + (f", {fixed:,} frozen" if fixed else ""))
    return "\n".join(lines)
