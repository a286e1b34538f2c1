"""``--report DIR``: one HTML page with tables and pictures inside it, that opens without a network."""

import html
import os
import time

import numpy as np

from fastnn.cli.report_pictures import as_html, predicted_against_true, roc

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
    """HTML of a Display's figure."""
    return as_html(display.figure_, title)


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


def shown(value):
    """A setting as one would type it."""
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    if isinstance(value, list):  # names, or names with numbers
        pairs = (item if isinstance(item, (list, tuple)) else [item] for item in value)
        return ",".join("=".join(map(shown, pair)) for pair in pairs)
    return str(value)


def _balance(data):
    """Rows of every class in every part, as lines of a table."""
    names = data.preprocessing.class_names
    lines = [["class", *data.parts]]
    for code, name in enumerate(names):
        counts = [(int(np.count_nonzero(y == code)), max(len(y), 1)) for _, y in data.parts.values()]
        lines.append([name, *(f"{count:,} ({100 * count / rows:.1f} %)" for count, rows in counts)])
    return lines


def _facts(options, data, trained):
    from fastnn import __version__

    made, trainer = data.preprocessing, trained.trainer
    rows = [(part, f"{len(x):,} rows") for part, (x, _) in data.parts.items()]
    return [
        *rows, ("features", f"{made.scale.features:,}"), ("task", made.task), ("seed", str(options.seed)),
        ("learning rate", f"{trainer.optimizer.lr:g}"), ("training", f"{trained.seconds:.2f} s"),
        ("best epoch", f"{trained.best_epoch} of {len(trainer.history)}" if len(trainer.history) else "-"),
        ("date", time.strftime("%Y-%m-%d %H:%M")), ("fastnn", str(__version__)),
    ]  # fmt: skip


def training_page(path, *, name, options, data, results, arrays, trained):
    """Everything about one ``fastnn train``: data, settings, results, pictures."""
    from fastnn import plot
    from fastnn.cli.options import READING
    from fastnn.cli.report import result_lines

    trainer, history = trained.trainer, trained.trainer.history
    search, bag, test = (trained.found[key] for key in ("search", "bag", "test"))
    made = data.preprocessing
    header, *lines = result_lines(results)
    sections = [section("Results", table(lines, header))]
    notes = [f"<p>{html.escape(note)}</p>" for note in data.notes]
    sections.append(section("Data", table(_facts(options, data, trained)), *notes))
    if made.schema is not None:
        sections.append(section("Columns", table(made.schema.describe())))
    if made.task == "classification" and made.outputs <= 40:
        header, *lines = _balance(data)
        sections.append(section("Class balance", table(lines, header)))
    untold = ("command", "data", "given", "words", "mark", "stdin", "report", "force",
              *(READING if made.kind != "table" else ()))  # fmt: skip
    told = {name: value for name, value in vars(options).items() if name not in untold}
    left_alone = {"decimal": ".", "delimiter": "auto", "encoding": "utf-8", "max_categories": 100, "task": "auto"}
    settings = [(name.replace("_", "-"), shown(value)) for name, value in sorted(told.items())
                if value not in (None, False, "", []) and left_alone.get(name) != value]  # fmt: skip
    sections.append(section("Settings", table(settings)))
    sections.append(section("Model", preformatted(str(trainer.model.summary()))))
    if len(history):
        curves = plot.HistoryDisplay.from_history(history).plot()
        sections.append(section("Learning curves", picture(curves, "learning curves")))
    if test is not None:
        sections.append(section("Range test", picture(test.plot(), "loss over learning rate")))
    if search is not None:
        sections.append(section("Search", picture(search.plot(), "search"), preformatted(search.table(20))))
    held = next((part for part in ("test", "validation", "training") if part in arrays), None)
    x, y = arrays[held]
    if bag is not None and len(bag) > 1:
        sections.append(section("Ensemble", picture(plot.BaggingDisplay.from_bagging(bag, x, y).plot(), "ensemble")))
    if made.task == "classification" and made.outputs <= 40:
        matrix = plot.ConfusionMatrixDisplay.from_model(trainer, x, y, display_labels=made.class_names).plot()
        sections.append(section(f"Confusion matrix, {held} part", picture(matrix, "confusion matrix")))
    output, truth = trainer.predict(x), data.parts[held][1]
    if made.task == "classification" and made.outputs == 2:
        figure = roc(truth, made.probabilities(output)[:, 1])
        sections.append(section(f"ROC curve, {held} part", as_html(figure, "ROC curve")))
    if made.task == "regression":
        figure = predicted_against_true(truth, made.answers(output))
        sections.append(section(f"Predicted against true, {held} part", as_html(figure, "predicted against true")))
    write_page(path, f"fastnn: {name}", sections)
