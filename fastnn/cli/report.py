"""What is measured and how it is shown."""

import math

import numpy as np

from fastnn.training.metrics import METRICS

# What is shown without --metric.
DEFAULTS = {"two classes": ("accuracy", "auc", "f1"), "classification": ("accuracy", "balanced_accuracy"),
            "regression": ("rmse", "mae", "r2")}  # fmt: skip
KNOWN = {
    "classification": ("accuracy", "balanced_accuracy", "auc", "f1", "f1_macro", "precision", "recall", "log_loss"),
    "regression": ("rmse", "mae", "r2", "mse"),
}
_TITLES = {"balanced_accuracy": "balanced", "auc": "AUC", "f1": "F1", "f1_macro": "F1 macro", "log_loss": "log loss",
           "rmse": "RMSE", "mae": "MAE", "r2": "R2", "mse": "MSE"}  # fmt: skip
_SHARES = ("accuracy", "balanced_accuracy")


def metric_names(made, asked):
    """Names of the metrics to measure: the defaults, then those asked for; a ValueError lists what there is."""
    known = KNOWN[made.task]
    names = list(DEFAULTS["two classes" if made.task == "classification" and made.outputs == 2 else made.task])
    for text in asked:
        name = text.strip().lower().replace(" ", "_").replace("-", "_").replace("r²", "r2")
        if name not in known:
            raise ValueError(f"--metric {text!r} is not for a {made.task}; choose one of {', '.join(known)}")
        if name not in names:
            names.append(name)
    return names


def score(name, made, y, output):
    """A metric of raw outputs: of classes, or of numbers in the target's own units."""
    from fastnn import nn

    if made.task == "regression":
        return METRICS[name](y, made.answers(output), nn.MSELoss())
    if name == "log_loss":
        own = made.probabilities(output)[np.arange(len(y)), y]
        return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean())
    return METRICS[name](y, output, made.meaning())


def measure(trainer, made, x, y, names):
    """Loss and scores of one part of the data.

    Parameters
    ----------
    trainer : Trainer
    made : Preprocessing
    x : array of shape (rows, features)
        Scaled.
    y : array of shape (rows,)
        Class numbers, or numbers in their own units.
    names : list of str
        Of `metric_names`.

    Returns
    -------
    dict of str to float
        ``loss`` as trained on (for numbers: of the scaled target), then the metrics.
    """
    values = {"loss": float(trainer.evaluate(x, made.targets(y, trainer.model.dtype))["loss"])}
    output = trainer.predict(x)
    values.update((name, float(score(name, made, y, output))) for name in names)
    return values


def disagreement(trainer, made, parts):
    """A line about validation and test parts whose scores differ far beyond their noise; None if they agree.

    Of numbers: the logarithm of the ratio of RMSEs beside its error, from squared errors without the largest hundredth,
    which would hide what a few wild rows do to the rest. Of classes: the difference of accuracies beside its error.
    """
    if any(len(parts[part][0]) < 20 for part in ("validation", "test")):
        return None
    wrong = {}
    for part in ("validation", "test"):
        x, y = parts[part]
        output = trainer.predict(made.inputs(x, trainer.model.dtype))
        if made.task == "classification":
            wrong[part] = (output.argmax(axis=1) != y).astype(np.float64)
        else:
            wrong[part] = (made.answers(output) - y) ** 2
    means = {part: values.mean() for part, values in wrong.items()}
    if made.task == "classification":
        error = math.sqrt(sum(m * (1 - m) / len(wrong[part]) for part, m in means.items())) or 1.0
        if abs(means["validation"] - means["test"]) < 5.0 * error:
            return None
        shown = " and ".join(f"{part} {100 * (1 - means[part]):.1f} %" for part in wrong)
        return f"{shown} differ far beyond noise: the parts are not alike (groups, time, duplicates?)"
    if not all(means.values()):
        return None
    error = 0.0
    for values in wrong.values():
        bulk = np.sort(values)[: len(values) - max(1, len(values) // 100)]
        error += (bulk.std() / max(bulk.mean(), 1e-300)) ** 2 / len(bulk)
    if abs(math.log(means["validation"] / means["test"])) < 5.0 * math.sqrt(error):
        return None
    worst = max(wrong, key=lambda part: means[part])
    values = np.sort(wrong[worst])[::-1]
    few = int(np.searchsorted(np.cumsum(values), values.sum() / 2)) + 1
    share = values[:few].sum() / values.sum()
    shown = " and ".join(f"{part} RMSE {_cell('rmse', math.sqrt(means[part]))}" for part in wrong)
    return (f"{shown} differ far beyond noise: {few} of {len(values):,} {worst} rows make {100 * share:.0f} % of the "
            "squared error; look at these rows")  # fmt: skip


def _cell(name, value):
    if name in _SHARES:
        return f"{100.0 * value:.2f} %"
    if name in ("rmse", "mae", "mse"):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{value:.4f}"


def result_lines(results):
    """A header and one line of texts for each part.

    Parameters
    ----------
    results : dict of str to (int, dict)
        Part -> (rows, values of `measure`).
    """
    names = list(next(iter(results.values()))[1])
    lines = [["", "rows", *(_TITLES.get(name, name) for name in names)]]
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
