"""``--report DIR``: one HTML page with tables and pictures inside it, that opens without a network."""

import base64
import html
import io
import os

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } img { max-width: 100%; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #e5e7eb; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } pre { overflow-x: auto; background: #f9fafb; padding: .7rem; }
.wide { overflow-x: auto; }
"""


def page_path(folder, force):
    """Name of the page in `folder`, which is made if it is not there; ValueError if a page is there already."""
    path = os.path.join(folder, "index.html")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise NotADirectoryError(f"--report {folder}: it is a file, and must be a folder")
    if os.path.exists(path) and not force:
        raise ValueError(f"{path} exists; --force replaces it, or --report names another folder")
    os.makedirs(folder, exist_ok=True)
    return path


def table(rows, header=None):
    """HTML of a table of texts."""
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    lines = ([line(header, "th")] if header else []) + [line(row, "td") for row in rows]
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def picture(display, title):
    """HTML of a Display's figure, as a PNG inside the page."""
    data = io.BytesIO()
    display.figure_.savefig(data, dpi=110, format="png")
    text = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{text}">'


def section(title, *parts):
    return f"<h2>{html.escape(title)}</h2>\n" + "\n".join(parts)


def preformatted(text):
    return f"<pre>{html.escape(text)}</pre>"


def write_page(path, title, sections):
    """Write the page, in one step."""
    from fastnn.io.atomic import write_atomic

    text = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n" + "\n".join(sections) + "\n</html>\n"
    )
    write_atomic(path, text.encode())


def _shown(value):
    """A setting as one would type it."""
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    if isinstance(value, list):  # names, or names with numbers
        return ",".join(item if isinstance(item, str) else "=".join(map(_shown, item)) for item in value)
    return str(value)


def training_page(path, *, name, options, data, results, trainer, history, arrays, search, bag, test, seconds):
    """Everything about one ``fastnn train``: data, settings, results, pictures."""
    from fastnn import plot
    from fastnn.cli.options import READING
    from fastnn.cli.report import result_lines
    from fastnn.cli.sources import PARTS

    made = data.preprocessing
    header, *lines = result_lines(results)
    sections = [section("Results", table(lines, header))]
    rows = [(part, f"{len(data.parts[part][0]):,}") for part in PARTS]
    rows += [("features", f"{made.scale.features:,}"), ("task", made.task), ("training", f"{seconds:.2f} s")]
    sections.append(section("Data", table(rows), *(f"<p>{html.escape(note)}</p>" for note in data.notes)))
    untold = ("command", "data", "given", "words", "report", "force", *(READING if made.kind != "table" else ()))
    told = {name: value for name, value in vars(options).items() if name not in untold}
    settings = [(n.replace("_", "-"), _shown(v)) for n, v in sorted(told.items()) if v not in (None, False, "", [])]
    sections.append(section("Settings", table(settings)))
    sections.append(section("Model", preformatted(str(trainer.model.summary()))))
    if len(history):
        shown = plot.HistoryDisplay.from_history(history).plot()
        sections.append(section("Learning curves", picture(shown, "learning curves")))
    if test is not None:
        sections.append(section("Range test", picture(test.plot(), "loss over learning rate")))
    if search is not None:
        sections.append(section("Search", picture(search.plot(), "search"), preformatted(search.table(20))))
    held = next((part for part in ("test", "validation", "training") if part in arrays), None)
    x, y = arrays[held]
    if bag is not None and len(bag) > 1:
        sections.append(section("Ensemble", picture(plot.BaggingDisplay.from_bagging(bag, x, y).plot(), "ensemble")))
    if made.task == "classification" and made.outputs <= 40:
        shown = plot.ConfusionMatrixDisplay.from_model(trainer, x, y, display_labels=made.class_names).plot()
        sections.append(section(f"Confusion matrix, {held} part", picture(shown, "confusion matrix")))
    write_page(path, f"fastnn: {name}", sections)
