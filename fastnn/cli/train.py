"""``fastnn train``: data, network, fit, table of results, model file, learning curves."""

import math
import sys
import time

from fastnn.cli import recipe, report, tune
from fastnn.cli.outputs import model_path, picture_of
from fastnn.cli.sources import PARTS, load_training

# A run of default length makes about so many steps, unless early stopping ends it.
_DEFAULT_STEPS = 8000

# Options that a search chooses where they are not given.
_SEARCHED = ("lr", "layers", "batch_size", "dropout", "weight_decay")

# Up to so many rows the curves show the training part's scores in inference mode as well; it costs a pass an epoch.
_CURVE_ROWS = 20_000


def _set_defaults(options, data):
    """Fill in what was not said, from the kind and size of the data."""
    made, rows = data.preprocessing, len(data.parts["training"][0])
    table = made.kind == "table"
    if options.layers is None:
        options.layers = (128, 64) if table else (256, 128)
    if options.dropout is None:
        options.dropout = {"digits": 0.3}.get(made.kind, 0.2) if made.task == "classification" else 0.0
    if options.batch_norm is None:
        options.batch_norm = made.kind == "digits"
    if options.batch_size is None:
        options.batch_size = 32 if rows < 10_000 else 128
    if options.epochs is None:
        steps = math.ceil(rows / options.batch_size)
        options.epochs = {"digits": 50, "images": 10}.get(made.kind, min(200, max(10, round(_DEFAULT_STEPS / steps))))
    if options.weight_decay is None:
        options.weight_decay = 0.0
    if options.patience is None:
        options.patience = 20 if table else 0


def _describe(data, options):
    made, counts = data.preprocessing, [len(data.parts[name][0]) for name in PARTS]
    answer = f"{len(made.class_names)} classes" if made.task == "classification" else "a number to predict"
    parts = ", ".join(f"{name} {count:,}" for name, count in zip(PARTS, counts, strict=True))
    print(
        f"data       {options.idx_dir or options.data}: {sum(counts):,} rows, {made.scale.features} features, {answer}"
    )
    print(f"parts      {parts} (seed {options.seed})")
    for note in data.notes:
        print(f"note       {note}")


def _arrays(data, dtype):
    """{part: (inputs, targets)} as the model takes them, for the parts that have rows."""
    made = data.preprocessing
    return {name: (made.inputs(x, dtype), made.targets(y, dtype)) for name, (x, y) in data.parts.items() if len(x)}


def _fit(trainer, arrays, data, options):
    """Train; returns whether it was interrupted."""
    callbacks = recipe.make_callbacks(options, arrays)
    resume = options.resume if not options.search else None
    try:
        trainer.fit(*arrays["training"], epochs=options.epochs, batch_size=options.batch_size,
                    validation_data=arrays.get("validation"), callbacks=callbacks, max_time=options.max_time,
                    feed=recipe.make_feed(options, data.preprocessing), resume=resume,
                    eval_train=not options.no_plot and len(arrays["training"][0]) <= _CURVE_ROWS)  # fmt: skip
        interrupted = trainer.history.stop_reason == "interrupted"
    except KeyboardInterrupt:
        interrupted = True
    _check_finite(trainer, options)
    _say_stop(callbacks, options, len(trainer.history))
    return interrupted


def _check_finite(trainer, options):
    losses = trainer.history.columns.get("loss", [])
    if trainer.history.stop_reason == "nan" or (losses and not math.isfinite(losses[-1])):
        rate = trainer.optimizer.lr
        raise ValueError(
            f"the loss became infinite or NaN in epoch {max(len(losses), 1)}; try a lower --lr (it was {rate:g})"
        )


def _say_stop(stop, options, epochs):
    """Tell where early stopping ended, and whose weights are kept."""
    for callback in stop:
        if getattr(callback, "kept", None) is not None:
            print(f"average    of the weights: {'kept' if callback.kept else 'not better, left out'}")
        best = getattr(callback, "best_epoch", None) if hasattr(callback, "stopped_epoch") else None
        if best is None or best + 1 == epochs:
            continue
        why = "" if callback.stopped_epoch is None else f": no better validation loss for {options.patience} epochs"
        print(f"best       epoch {best + 1} by validation loss, weights kept; stopped after epoch {epochs}{why}")


def _summary_for_file(options, data, results, history, seconds, interrupted):
    """The training summary of the model file: settings and results, no paths."""
    kept = ("layers", "activation", "dropout", "batch_norm", "dtype", "epochs", "batch_size", "optimizer", "momentum",
            "weight_decay", "patience", "seed", "schedule", "ema", "augment", "ensemble")  # fmt: skip
    values = history.to_dict()
    for column in ("seconds", "samples_per_second"):
        values.pop(column, None)  # times differ from run to run; equal models shall give equal files
    return {
        "settings": {name: getattr(options, name) for name in kept},
        "seed": options.seed,
        "shares": list(data.shares),
        "rows": {name: len(data.parts[name][0]) for name in PARTS},
        "results": {part: figures for part, (_, figures) in results.items()},
        "history": values,
        "interrupted": interrupted,
    }


def _measure_all(trainer, data):
    made, dtype = data.preprocessing, trainer.model.dtype
    return {
        name: (len(x), report.measure(trainer, made, made.inputs(x, dtype), y))
        for name, (x, y) in data.parts.items()
        if len(x)
    }


def _plot(history, made, path, options):
    if options.no_plot or not len(history):
        return
    values = history.to_dict()
    if made.target_scale is not None:  # errors in the units of the target, not in deviations of it
        unit = float(made.target_scale.std[0])
        values = {name: [unit * v for v in column] if "rmse" in name else column for name, column in values.items()}
    try:
        from fastnn.plot import HistoryDisplay

        HistoryDisplay.from_history(values).plot().figure_.savefig(path, dpi=120)
    except ImportError:
        print('curves     pip install matplotlib gives a picture of the learning curves')
        return
    print(f"curves     {path}")


def _train(options, data, arrays):
    """Tune and fit; returns (trainer, what was found on the way, seconds of the fit, whether it was interrupted)."""
    made, found = data.preprocessing, {"test": None, "search": None, "bag": None}
    if options.lr_find:
        found["test"] = tune.find_rate(options, made, arrays)
    if options.search:
        given = {name for name in _SEARCHED if name in options.given}
        found["search"] = tune.run_search(options, given, made, arrays)
    start = time.perf_counter()
    if options.ensemble:
        trainer, found["bag"] = tune.fit_ensemble(options, made, arrays)
        return trainer, found, time.perf_counter() - start, False
    trainer = recipe.make_trainer(options, made, len(arrays["training"][0]))
    print(f"\n{trainer.model.summary()}\n", flush=True)
    interrupted = _fit(trainer, arrays, data, options)
    return trainer, found, time.perf_counter() - start, interrupted


def train(options):
    """Run ``fastnn train``; returns the exit code."""
    from fastnn.cli.html_report import page_path, training_page
    from fastnn.cli.network import find_activation, make_optimizer
    from fastnn.io.model_file import save_model_file

    path = model_path(options.output, options.idx_dir or options.data, options.force)
    page = None if options.report is None else page_path(options.report, options.force)
    options.given = {name for name in _SEARCHED if getattr(options, name) is not None}
    make_optimizer(options)  # a wrong name is told before the data are read
    find_activation(options.activation)
    data = load_training(options)
    _set_defaults(options, data)
    recipe.check_together(options, data)
    made = data.preprocessing
    recipe.make_feed(options, made)
    _describe(data, options)

    arrays = _arrays(data, options.dtype)
    trainer, found, seconds, interrupted = _train(options, data, arrays)
    history = trainer.history
    results = _measure_all(trainer, data)
    training = _summary_for_file(options, data, results, history, seconds, interrupted)
    save_model_file(path, trainer.model, made.to_dict(), training)

    epochs, rows = len(history), len(data.parts["training"][0])
    rate = ""
    if epochs and seconds > 0:
        rate = f", {epochs} epochs of batches of {options.batch_size}, {epochs * rows / seconds:,.0f} samples/s"
    print(report.table(results))
    print(f"\ntraining   {seconds:.2f} s{rate}")
    print(f"model      {path}")
    _plot(history, made, picture_of(path), options)
    if page is not None:
        training_page(page, name=options.idx_dir or options.data, options=options, data=data, results=results,
                      trainer=trainer, history=history, arrays=arrays, seconds=seconds, **found)  # fmt: skip
        print(f"report     {page}")
    if interrupted:
        print("fastnn train: interrupted; the model so far was saved", file=sys.stderr)
        return 130
    return 0
