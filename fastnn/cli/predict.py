"""``fastnn predict`` and ``fastnn evaluate``: a model file applied to data."""

import csv
import io
import sys

import numpy as np

from fastnn.cli import as_typed
from fastnn.cli.new_data import kept_columns, load_new
from fastnn.cli.outputs import text_path
from fastnn.data.cells import parse_number
from fastnn.io.atomic import write_atomic


def _load(options):
    from fastnn.io.model_file import load_model_file

    file = load_model_file(options.model)
    if not file.preprocessing:
        raise ValueError(f"{options.model} holds a model without preprocessing: use it from Python, with fastnn.load")
    return file


def harmless(text):
    """A text that no spreadsheet takes for a formula: a quote in front of =, +, -, @, tab and carriage return.

    Class names and kept cells come from the training file, or from whoever wrote the rows; numbers stay as they are.
    """
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and parse_number(text) is None:
        return "'" + text
    return text


def _text(made, output, data, probabilities, kept=()):
    """CSV text, one line for each row of the file; a row that was left out has empty cells.

    `kept`: (name, cells) of the columns that are repeated, in front of the predictions.
    """
    names = ["prediction"]
    if probabilities:
        if made.task != "classification":
            raise ValueError("--probabilities is for classes; this model predicts a number")
        names += [harmless(f"p({name})") for name in made.class_names]
    cells = [[""] * len(names) for _ in range(data.rows_read)]
    answers = made.answers(output)
    probabilities_ = made.probabilities(output) if probabilities else None
    for i, row in enumerate(data.rows):
        cells[row][0] = harmless(answers[i]) if isinstance(answers[i], str) else f"{answers[i]:.9g}"
        if probabilities:
            cells[row][1:] = [f"{p:.6f}" for p in probabilities_[i]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(harmless(name) for name, _ in kept), *names])
    writer.writerows([*map(harmless, own), *row] for own, row in zip(zip(*(c for _, c in kept)), cells)) if kept else (
        writer.writerows(cells)
    )
    return text.getvalue()


def predict(options):
    """Run ``fastnn predict``; returns the exit code."""
    path = None
    if options.output is not None:
        path = text_path(options.output, options.force, (options.model, options.data))
    file = _load(options)
    data, made = load_new(options, file, with_target=False)
    kept = kept_columns(options, made)
    text = _text(made, file.model.predict(np.ascontiguousarray(data.x)), data, options.probabilities, kept)
    for note in data.notes:
        print(f"note: {as_typed(note)}", file=sys.stderr)
    if path is None:
        sys.stdout.write(text)
        return 0
    write_atomic(path, text.encode())
    print(f"{len(data.rows):,} predictions in {path}")
    return 0


def evaluate(options):
    """Run ``fastnn evaluate``; returns the exit code."""
    from fastnn.cli import report
    from fastnn.optim import Adam
    from fastnn.training.trainer import Trainer

    file = _load(options)
    data, made = load_new(options, file, with_target=True)
    if len(data.x) == 0:
        raise ValueError(f"{options.idx_dir or options.data} holds no rows to evaluate")
    trainer = Trainer(file.model, made.meaning(), Adam())
    names = report.metric_names(made, options.metric)
    results = {options.idx_dir or options.data: (len(data.x), report.measure(trainer, made, data.x, data.y, names))}
    for note in data.notes:
        print(f"note: {as_typed(note)}", file=sys.stderr)
    print(report.table(results))
    return 0
