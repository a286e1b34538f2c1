"""What happens before and instead of one plain fit: range test, search, ensemble."""

import argparse

import numpy as np

from fastnn.cli.recipe import make_callbacks, make_feed, make_trainer


def find_rate(options, made, arrays):
    """Set ``options.lr`` to what the range test suggests; returns the test."""
    from fastnn.diagnostics import lr_find

    probe = argparse.Namespace(**{**vars(options), "schedule": "constant", "ema": None})
    trainer = make_trainer(probe, made, len(arrays["training"][0]))
    test = lr_find(trainer, *arrays["training"], batch_size=options.batch_size)
    options.lr = float(f"{test.suggestion:.2g}")
    print(f"lr-find    rate {options.lr:g}, where the loss falls fastest; it falls from {test.bounds[0]:.2g} to "
          f"{test.bounds[1]:.2g}", flush=True)  # fmt: skip
    return test


def free_space(options, given):
    """Distributions of those options that were not given, in the order of their importance."""
    from fastnn.search import choice, int_uniform, log_uniform, uniform

    sgd = options.optimizer.lower() == "sgd"
    space = {
        "lr": log_uniform(1e-3, 1.0) if sgd else log_uniform(1e-4, 3e-2),
        "width": int_uniform(32, 512),
        "depth": int_uniform(1, 3),
        "batch_size": choice(32, 64, 128, 256),
        "dropout": uniform(0.0, 0.5),
        "weight_decay": log_uniform(1e-6, 1e-2),
    }
    if "layers" in given:
        del space["width"], space["depth"]
    space = {name: values for name, values in space.items() if name not in given}
    if not space:
        raise ValueError("--search has nothing to choose: --lr, --layers, --batch-size, --dropout and --weight-decay "
                         "are all given")  # fmt: skip
    return space


def with_params(options, params):
    """The options with a trial's parameters."""
    params = dict(params)
    if "width" in params:
        params["layers"] = (params.pop("width"),) * params.pop("depth")
    return argparse.Namespace(**{**vars(options), **params})


class _Factory:
    """Trainers for parameters; an object, so that joblib can send it to another process."""

    def __init__(self, options, made, rows):
        self.options, self.made, self.rows = options, made, rows

    def __call__(self, seed=None, **params):
        return make_trainer(with_params(self.options, params), self.made, self.rows, seed)


def run_search(options, given, made, arrays):
    """Search, and put the best parameters into the options; returns the fitted `RandomSearch`."""
    from fastnn.search import RandomSearch

    factory = _Factory(options, made, len(arrays["training"][0]))
    halving = 3 if options.search >= 3 else None
    search = RandomSearch(factory, free_space(options, given), options.search, halving=halving,
                          min_epochs=max(1, options.epochs // 9), seed=options.seed, study=options.resume,
                          max_time=options.max_time)  # fmt: skip
    print(f"search     {options.search} trials of up to {options.epochs} epochs", flush=True)
    batch = {} if "batch_size" in search.space else {"batch_size": options.batch_size}
    search.fit(*arrays["training"], validation_data=arrays["validation"], epochs=options.epochs,
               feed=make_feed(options, made), class_weight=options.class_weight, **batch)  # fmt: skip
    if not search.trials or search.trials[0]["score"] is None:
        raise ValueError("--search: no trial has a score; the loss ran away in all of them" if search.trials else
                         "--search: --max-time ended before a trial had one epoch")  # fmt: skip
    for name, value in vars(with_params(options, search.best_params)).items():
        setattr(options, name, value)
    print(search.table(5), flush=True)
    return search


def average_model(models, dtype, classify):
    """One model that averages several: their probabilities, or their outputs by a layer of fixed weights 1/K."""
    from fastnn import nn

    if classify:
        return nn.ProbabilityAverage(*models)
    outputs = models[0].predict(np.zeros((1, models[0][0].in_features), dtype)).shape[1]
    mean = nn.Linear(len(models) * outputs, outputs, bias=False, init="zeros")
    whole = nn.Sequential(nn.Concat(*models), mean)
    mean.weight.assign(np.tile(np.eye(outputs), len(models)).astype(dtype) / len(models))
    return whole.to(str(dtype)) if str(dtype) != str(whole.dtype) else whole


def fit_ensemble(options, made, arrays):
    """Bagging of ``options.ensemble`` models; returns (trainer of their average, the fitted `Bagging`)."""
    from fastnn.ensemble import Bagging
    from fastnn.optim import Adam
    from fastnn.training.trainer import Trainer

    x, y = arrays["training"]
    bag = Bagging(_Factory(options, made, len(x)), options.ensemble, seed=options.seed)
    bag.fit(x, y, epochs=options.epochs, batch_size=options.batch_size, validation_data=arrays.get("validation"),
            feed=make_feed(options, made), max_time=options.max_time,
            callbacks=lambda: make_callbacks(options, arrays), class_weight=options.class_weight)  # fmt: skip
    first = bag.models[0]
    model = average_model([trainer.model for trainer in bag.models], np.dtype(first.model.dtype),
                          made.task == "classification")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in bag.oob_score.items()) if bag.oob_score else "none"
    print(f"ensemble   {len(bag)} models on bootstrap samples; out of bag: {scores}", flush=True)
    trainer = Trainer(model, made.meaning(), Adam(), metrics=[name for name, _ in first.metrics])
    return trainer, bag
