"""``fastnn train``: data, network, fit, table of results, model file, learning curves."""

import argparse
import math
import sys
import time

import numpy as np

from fastnn.cli import as_typed, recipe, report, run_mark, tune
from fastnn.cli.outputs import model_path, picture_of
from fastnn.cli.sources import PARTS, STDIN, fit_preprocessing, load_training

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
        options.batch_size = 32 if rows < 5_000 else 64 if rows < 20_000 else 128
    if options.epochs is None:
        steps = math.ceil(rows / options.batch_size)
        options.epochs = {"digits": 50, "images": 10}.get(made.kind, min(200, max(10, round(_DEFAULT_STEPS / steps))))
    if options.weight_decay is None:
        options.weight_decay = 0.0
    if options.patience is None:
        options.patience = 20 if table else 0


def _name(options):
    return options.idx_dir or ("standard input" if options.data == STDIN else options.data)


def _describe(data, options):
    """The first line says what is trained on, what chooses and what tests; then what was noticed."""
    made, counts = data.preprocessing, [len(data.parts[name][0]) for name in PARTS]
    answer = f"{len(made.class_names)} classes" if made.task == "classification" else "a number to predict"
    parts = ", ".join(f"{name} {count:,}" for name, count in zip(PARTS, counts, strict=True))
    print(f"data       {_name(options)}: {sum(counts):,} rows ({parts}; seed {options.seed}), "
          f"{made.scale.features} features, {answer}")  # fmt: skip
    for note in data.notes:
        print(f"note       {as_typed(note)}")


def _arrays(data, dtype):
    """{part: (inputs, targets)} as the model takes them, for the parts that have rows."""
    made = data.preprocessing
    return {name: (made.inputs(x, dtype), made.targets(y, dtype)) for name, (x, y) in data.parts.items() if len(x)}


def _fit(trainer, arrays, data, options):
    """Train; returns (whether it was interrupted, the epoch whose weights are kept)."""
    resume = options.resume if not options.search else None
    if resume:
        options.mark = run_mark.mark(options, data.preprocessing, *arrays["training"])
        run_mark.check(resume, options.mark)
    callbacks = recipe.make_callbacks(options, arrays)
    try:
        trainer.fit(*arrays["training"], epochs=options.epochs, batch_size=options.batch_size,
                    validation_data=arrays.get("validation"), callbacks=callbacks, max_time=options.max_time,
                    feed=recipe.make_feed(options, data.preprocessing), resume=resume,
                    class_weight=options.class_weight,
                    eval_train=not options.no_plot and len(arrays["training"][0]) <= _CURVE_ROWS)  # fmt: skip
        interrupted = trainer.history.stop_reason == "interrupted"
    except KeyboardInterrupt:
        interrupted = True
    _check_finite(trainer, options)
    _say_stop(callbacks, options, len(trainer.history))
    best = [callback.best_epoch for callback in callbacks if getattr(callback, "stopped_epoch", 0) != 0]
    return interrupted, best[0] + 1 if best and best[0] is not None else len(trainer.history)


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


def _summary_for_file(options, data, results, history, best_epoch, interrupted):
    """The training summary of the model file: settings and results, no paths."""
    kept = ("layers", "activation", "dropout", "batch_norm", "dtype", "epochs", "batch_size", "optimizer", "lr",
            "momentum", "weight_decay", "patience", "seed", "schedule", "ema", "augment", "ensemble", "loss",
            "class_weight")  # fmt: skip
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
        "best_epoch": best_epoch,
        "interrupted": interrupted,
    }


def _measure_all(trainer, data, names):
    made, dtype = data.preprocessing, trainer.model.dtype
    return {
        name: (len(x), report.measure(trainer, made, made.inputs(x, dtype), y, names))
        for name, (x, y) in data.parts.items()
        if len(x)
    }


def _refit(options, data, trainer, epochs):
    """A model trained on all rows for so many epochs, its clip and scales measured on all rows; the trainer of it."""
    made = data.preprocessing
    x, y = (np.concatenate([part[i] for part in data.parts.values() if len(part[0])]) for i in (0, 1))
    if made.kind == "table":
        fit_preprocessing(made, x, y, clip=not options.no_clip)
    arrays = {"training": (made.inputs(x, options.dtype), made.targets(y, options.dtype))}
    again = argparse.Namespace(**{**vars(options), "epochs": epochs, "patience": 0, "resume": None})
    if options.ensemble:
        return tune.fit_ensemble(again, made, arrays)[0]
    trainer = recipe.make_trainer(again, made, len(x))
    trainer.fit(*arrays["training"], epochs=epochs, batch_size=options.batch_size, feed=recipe.make_feed(again, made),
                callbacks=recipe.make_callbacks(again, arrays), class_weight=options.class_weight)  # fmt: skip
    return trainer


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


class _Trained:
    """What training has given: the trainer, what was found on the way, seconds, the epoch whose weights are kept."""

    def __init__(self, trainer, seconds, interrupted, best_epoch, *, test=None, search=None, bag=None):
        self.trainer, self.seconds, self.interrupted, self.best_epoch = trainer, seconds, interrupted, best_epoch
        self.found = {"test": test, "search": search, "bag": bag}


def _train(options, data, arrays):
    """Tune and fit; returns what was trained."""
    made, found = data.preprocessing, {}
    if options.lr_find:
        found["test"] = tune.find_rate(options, made, arrays)
    if options.search:
        given = {name for name in _SEARCHED if name in options.given}
        found["search"] = tune.run_search(options, given, made, arrays)
    start = time.perf_counter()
    if options.ensemble:
        trainer, found["bag"] = tune.fit_ensemble(options, made, arrays)
        epochs = [len(member.history) for member in found["bag"].models]
        return _Trained(trainer, time.perf_counter() - start, False, round(float(np.median(epochs))), **found)
    trainer = recipe.make_trainer(options, made, len(arrays["training"][0]))
    options.lr = trainer.optimizer.lr
    print(f"\n{trainer.model.summary()}\n", flush=True)
    interrupted, best_epoch = _fit(trainer, arrays, data, options)
    return _Trained(trainer, time.perf_counter() - start, interrupted, best_epoch, **found)


def _prepare(options):
    """Check what was typed, and read the data: (model file, page, data, names of metrics)"""
    from fastnn.cli.html_report import page_path
    from fastnn.cli.network import find_activation, make_optimizer

    path = model_path(options.output, options.idx_dir or options.data, options.force)
    page = None if options.report is None else page_path(options.report, options.force)
    options.given = {name for name in _SEARCHED if getattr(options, name) is not None}
    make_optimizer(options)  # a wrong name is told before the data are read
    find_activation(options.activation)
    data = load_training(options)
    names = report.metric_names(data.preprocessing, options.metric)
    _set_defaults(options, data)
    recipe.check_together(options, data)
    recipe.make_feed(options, data.preprocessing)
    return path, page, data, names


def _finish(options, data, trained, path, results):
    """Refit if asked for, and write the model file."""
    from fastnn.io.model_file import save_model_file

    trainer, training = trained.trainer, {}
    summary = _summary_for_file(options, data, results, trainer.history, trained.best_epoch, trained.interrupted)
    if options.refit and not trained.interrupted:
        count = sum(len(x) for x, _ in data.parts.values())
        print(f"refit      on all {count:,} rows for {trained.best_epoch} epochs; the scores above are of the model "
              f"trained on {len(data.parts['training'][0]):,}", flush=True)  # fmt: skip
        trainer = _refit(options, data, trainer, trained.best_epoch)
        training = {"refit": trained.best_epoch}
    save_model_file(path, trainer.model, data.preprocessing.to_dict(), {**summary, **training})


def train(options):
    """Run ``fastnn train``; returns the exit code."""
    from fastnn.cli.html_report import training_page

    path, page, data, names = _prepare(options)
    made = data.preprocessing
    _describe(data, options)
    arrays = _arrays(data, options.dtype)
    trained = _train(options, data, arrays)
    trainer, history, seconds = trained.trainer, trained.trainer.history, trained.seconds
    results = _measure_all(trainer, data, names)

    epochs, rows = len(history), len(data.parts["training"][0])
    rate = ""
    if epochs and seconds > 0:
        rate = f", {epochs} epochs of batches of {options.batch_size}, {epochs * rows / seconds:,.0f} samples/s"
    print(report.table(results))
    if warning := report.disagreement(trainer, made, data.parts):
        print(f"warning    {warning}")
    print(f"\ntraining   {seconds:.2f} s{rate}")
    _plot(history, made, picture_of(path), options)
    if page is not None:
        training_page(page, name=_name(options), options=options, data=data, results=results, arrays=arrays,
                      trained=trained)  # fmt: skip
        print(f"report     {page}")
    _finish(options, data, trained, path, results)
    print(f"model      {path}")
    if trained.interrupted:
        print("fastnn train: interrupted; the model so far was saved", file=sys.stderr)
        return 130
    return 0
