"""``fastnn info MODEL``: what a model file holds, in words."""


def _settings(training):
    from fastnn.cli.html_report import shown

    values = training.get("settings", {})
    told = {name: value for name, value in values.items() if value not in (None, False, "", [], 0, 0.0)}
    return ", ".join(f"{name.replace('_', '-')} {shown(value)}" for name, value in told.items())


def _lines(file, path):
    """(title, text) of every line of the card."""
    from fastnn.cli.report import table
    from fastnn.io.preprocessing import Preprocessing

    training = file.training
    yield "model", f"{path}, written by fastnn {file.version or '?'}" + (
        f" on {training['date']}" if "date" in training else ""
    )
    if not file.preprocessing:
        yield "answers", "the network's outputs, for scaled inputs: there is no preprocessing in the file"
    else:
        made = Preprocessing.from_dict(file.preprocessing)
        what = f"one of {made.outputs} classes" if made.task == "classification" else "a number"
        names = f": {', '.join(made.class_names[:8])}{', …' if made.outputs > 8 else ''}" if made.class_names else ""
        yield "answers", what + names
        if made.schema is not None:
            yield "target", repr(made.schema.target.name)
            for name, text in made.schema.describe():
                if not text.startswith("the target"):
                    yield "column", f"{name!r}: {text}"
    if "rows" in training:
        rows = ", ".join(f"{part} {count:,}" for part, count in training["rows"].items())
        refit = training.get("refit")
        yield "rows", rows + (f"; refitted on all of them for {refit} epochs" if refit else "")
    if training.get("settings"):
        yield "settings", _settings(training)
    if training.get("best_epoch"):
        yield "best epoch", str(training["best_epoch"])
    if training.get("interrupted"):
        yield "note", "the training was interrupted"
    if training.get("results"):
        results = {part: (training["rows"].get(part, 0), values) for part, values in training["results"].items()}
        for number, line in enumerate(table(results).splitlines()):
            yield "" if number else "scores", line


def print_card(path):
    """Print the card of a model file; returns the exit code."""
    from fastnn.io.model_file import load_model_file

    file = load_model_file(path)
    for title, text in _lines(file, path):
        print(f"{title:<11}{text}")
    print()
    print(file.model.summary())
    return 0
