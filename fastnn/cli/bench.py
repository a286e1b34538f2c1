"""``fastnn bench``: where the time of a training step and of predictions goes, for your model, on this machine."""

import json

_ROW_REPEATS = 20


def _from_file(options):
    """(model, row shape, task) of a model file."""
    from fastnn.io.model_file import load_model_file

    file = load_model_file(options.model)
    task, inputs = None, options.inputs
    if file.preprocessing:
        from fastnn.io.preprocessing import Preprocessing

        made = Preprocessing.from_dict(file.preprocessing)
        task, inputs = made.task, inputs or made.scale.features
    return file.model, (inputs or _first_width(file.model, options.model),), task


def _first_width(model, path):
    """Input features of the first layer that has them."""
    for _, module in model.named_modules():
        width = getattr(module, "in_features", None)
        if width:
            return int(width)
    raise ValueError(f"{path} does not say how many features a row has: give --inputs N")


def _from_options(options):
    from fastnn.cli.network import make_model

    if options.inputs is None or options.outputs is None:
        raise ValueError("say what network: a model file, or --inputs N --outputs N with --layers N,…")
    options.layers = (128, 64) if options.layers is None else options.layers
    options.dropout = options.dropout or 0.0
    return make_model(options, options.inputs, options.outputs), (options.inputs,), None


def _data(rng, rows, shape, outputs, task, dtype):
    """Random rows: classes for more than one output unless the model is a regression."""
    x = rng.standard_normal((rows, *shape)).astype(dtype)
    if task == "regression" or (task is None and outputs == 1):
        return x, rng.standard_normal((rows, outputs)).astype(dtype), "regression"
    return x, rng.integers(0, outputs, rows), "classification"


def _predictions(model, x):
    """[(rows, median seconds of a call)] of predictions into an array that is there."""
    import numpy as np

    from fastnn.graph.profile import median_seconds

    found = []
    for rows in sorted({1, min(32, len(x)), len(x)}):
        part = np.ascontiguousarray(x[:rows])
        out = model.predict(part)
        found.append((rows, median_seconds(lambda part=part, out=out: model.predict(part, out=out), _ROW_REPEATS)))
    return found


def bench(options):
    """Run ``fastnn bench``; returns the exit code."""
    import numpy as np

    from fastnn import diagnostics, nn
    from fastnn.cli.network import loss_class, make_optimizer
    from fastnn.cli.outputs import text_path
    from fastnn.io.atomic import write_atomic
    from fastnn.training.trainer import Trainer

    path = None if options.output is None else text_path(options.output, options.force, (options.model,))
    model, shape, task = _from_file(options) if options.model else _from_options(options)
    rng = np.random.default_rng(options.seed)
    outputs = model.predict(np.zeros((1, *shape), model.dtype)).shape[1]
    x, y, task = _data(rng, 8 * options.batch_size, shape, outputs, task, model.dtype)
    trainer = Trainer(model, getattr(nn, loss_class(task))(), make_optimizer(options), seed=options.seed)
    profile = diagnostics.profile(trainer, x, y, batch_size=options.batch_size)
    print(f"{model.summary()}\n\n{profile}\n")
    predictions = _predictions(model, x)
    for rows, seconds in predictions:
        each = f", {seconds / rows * 1e9:,.0f} ns a row" if rows > 1 else ""
        print(f"predict of {rows} row{'s' if rows > 1 else ''}: {seconds * 1e6:.2f} us{each}")
    if path is not None:
        found = {**profile.to_dict(), "predict": [{"rows": rows, "seconds": s} for rows, s in predictions]}
        write_atomic(path, (json.dumps(found, indent=1) + "\n").encode())
        print(f"written to {path}")
    return 0
