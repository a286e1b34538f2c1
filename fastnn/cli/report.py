"""What is measured and how it is shown."""

from fastnn.training.metrics import METRICS

CLASSIFICATION = ("accuracy",)
REGRESSION = ("rmse", "mae", "r2")
_TITLES = {"loss": "loss", "accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}


def measure(trainer, made, x, y):
    """Loss and scores of one part of the data.

    Parameters
    ----------
    trainer : Trainer
    made : Preprocessing
    x : array of shape (rows, features)
        Scaled.
    y : array of shape (rows,)
        Class numbers, or numbers in their own units.

    Returns
    -------
    dict of str to float
        ``loss`` as trained on; then ``accuracy``, or ``rmse``, ``mae`` (in the target's units) and ``r2``.
    """
    dtype = trainer.model.dtype
    values = {"loss": float(trainer.evaluate(x, made.targets(y, dtype))["loss"])}
    output = trainer.predict(x)
    if made.task == "classification":
        values["accuracy"] = METRICS["accuracy"](y, output, trainer.loss)
    else:
        answers = made.answers(output)
        values.update((name, METRICS[name](y, answers, trainer.loss)) for name in REGRESSION)
    return values


def _cell(name, value):
    if name == "accuracy":
        return f"{100.0 * value:.2f} %"
    if name in ("loss", "r2"):
        return f"{value:.4f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def result_lines(results):
    """A header and one line of texts for each part.

    Parameters
    ----------
    results : dict of str to (int, dict)
        Part -> (rows, values of `measure`).
    """
    names = list(next(iter(results.values()))[1])
    lines = [["", "rows", *(_TITLES[name] for name in names)]]
    for part, (rows, values) in results.items():
        lines.append([part, f"{rows:,}", *(_cell(name, values[name]) for name in names)])
    return lines


def table(results):
    """`result_lines` as a text table."""
    lines = result_lines(results)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
