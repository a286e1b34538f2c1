"""From options to a trainer and the arguments of its fit: schedule, augmentation, early stopping, averaged weights."""

import argparse
import math

import numpy as np

from fastnn.cli.run_mark import RunCheckpoint
from fastnn.training.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, TerminateOnNaN


class Augment:
    """Image augmentation for rows of pixels: a row becomes an image, is changed, and becomes a row again."""

    def __init__(self, side, step):
        self.side, self.step = side, step

    def __call__(self, rows, *, seed, first):
        images = self.step(rows.reshape(len(rows), self.side, self.side), seed=seed, first=first)
        return np.ascontiguousarray(images).reshape(len(rows), -1)


def make_feed(options, made):
    """How the rows of the fit are read and changed."""
    from fastnn.training import Feed

    return Feed(augment=_make_augment(options, made))


def _make_augment(options, made):
    """The augmentation asked for, or None; a ValueError where the data are no square images."""
    if not options.augment:
        return None
    if made.kind == "table":
        raise ValueError("--augment is for images; a table has none")
    side = math.isqrt(made.scale.features)
    if side * side != made.scale.features:
        raise ValueError(f"--augment needs square images; these have {made.scale.features} pixels")
    from fastnn.data import augment

    chosen = dict(options.augment)
    black = float(-made.scale.mean[0] / made.scale.std[0])  # pixels are scaled: outside the image it is black
    shift, zoom = chosen.get("shift", 0.0), chosen.get("zoom", 0.0)
    steps = []
    if chosen.keys() & {"flip", "shift", "rotate", "zoom"}:  # in one resampling
        steps.append(augment.Affine(degrees=chosen.get("rotate", 0.0), rows=shift, columns=shift,
                                    zoom=(1.0 - zoom, 1.0 + zoom), horizontal=chosen.get("flip", 0.0), fill=black)
                     )  # fmt: skip
    if "elastic" in chosen:
        steps.append(augment.Elastic(alpha=chosen["elastic"], fill=black))
    if "noise" in chosen:
        steps.append(augment.Noise(chosen["noise"]))
    return Augment(side, steps[0] if len(steps) == 1 else augment.Compose(*steps))


def make_schedule(options, rate, rows):
    """The schedule by name for a run of the options' length; None for a constant rate."""
    from fastnn import optim

    epochs, name = options.epochs, options.schedule
    steps = epochs * math.ceil(rows / options.batch_size)
    if name == "cosine":
        return optim.CosineAnnealingLR(steps, eta_min=0.01 * rate, per="step")
    if name == "onecycle":
        return optim.OneCycleLR(rate, total_steps=max(steps, 2), cycle_momentum=False)
    if name == "exponential":  # to a hundredth at the end
        return optim.ExponentialLR(0.01 ** (1.0 / epochs))
    if name == "step":
        return optim.StepLR(max(1, epochs // 3))
    if name == "inverse":
        return optim.InverseTimeLR(9.0 / epochs)  # to a tenth at the end
    if name == "triangular":
        up = max(1, steps // 10)
        return optim.CyclicLR(rate / 10, rate, step_size_up=up, mode="triangular2", cycle_momentum=False)
    if name == "plateau":
        return ReduceLROnPlateau(factor=0.3, patience=max(2, (options.patience or 10) // 3))
    return None


class KeepBetterAverage(Callback):
    """At the end: the averaged weights instead of the last (or best) ones, unless the validation loss says otherwise.

    Batch norm keeps its running statistics, or has them measured again for the averaged weights over the training part,
    whichever has the lower validation loss: measured statistics know nothing of dropout and augmentation.
    """

    def __init__(self, x, validation):
        self.x, self.validation, self.kept = x, validation, None

    def on_fit_end(self):
        from fastnn.nn.batch_norm import BatchNorm1d
        from fastnn.nn.population import estimate_population

        trainer = self.trainer
        if not trainer.step:
            return
        model = trainer.model
        raw, averaged = model.state_dict(), trainer.averaged_state_dict()
        if self.validation is None:
            model.load_state_dict(averaged)
            self.kept = True
            return

        def loss():
            value = trainer.evaluate(*self.validation)["loss"]
            return value if value == value else math.inf

        before = loss()
        model.load_state_dict(averaged)
        candidates = [(loss(), averaged), (before, raw)]
        if any(isinstance(module, BatchNorm1d) for module in model.modules()):
            estimate_population(model, self.x)
            candidates.insert(1, (loss(), model.state_dict()))
        best = min(candidates, key=lambda candidate: candidate[0])[1]
        model.load_state_dict(best)
        self.kept = best is not raw


def forget_unseen(model, made):
    """Weights 0 for categories that no training row has: an unseen one shall change nothing, not draw a lot."""
    if made.schema is None:
        return
    first = next(module for module in model.modules() if hasattr(module, "in_features"))
    weight = first.weight.numpy().copy()
    weight[:, [name.endswith("=<unseen>") for name in made.schema.feature_names]] = 0.0
    first.weight.assign(weight)


def make_trainer(options, made, rows, seed=None):
    """A trainer as the options say.

    Parameters
    ----------
    options : namespace
    made : Preprocessing
    rows : int
        Of the training part.
    seed : int, optional
        Default: the options'.
    """
    from fastnn.cli.network import make_model, make_optimizer
    from fastnn.training.trainer import Trainer

    seed = options.seed if seed is None else seed
    optimizer = make_optimizer(options)
    model = make_model(argparse.Namespace(**{**vars(options), "seed": seed}), made.scale.features, made.outputs)
    forget_unseen(model, made)
    score = "accuracy" if made.task == "classification" else "rmse"
    return Trainer(model, made.meaning(), optimizer, scheduler=make_schedule(options, optimizer.lr, rows),
                   metrics=(score,), ema=options.ema, seed=seed)  # fmt: skip


def make_callbacks(options, arrays):
    """New callbacks for one fit."""
    validation = arrays.get("validation")
    chosen = [TerminateOnNaN()]
    if options.patience and validation is not None:
        chosen.append(EarlyStopping(patience=options.patience))
    if options.ema is not None:
        chosen.append(KeepBetterAverage(arrays["training"][0], validation))
    if options.resume and not options.search and not options.ensemble:
        chosen.append(RunCheckpoint(options.resume, options.mark))
    return chosen


def check_together(options, data):
    """ValueError in one line for options that exclude each other, or that the data do not allow."""
    if options.lr_find and options.lr is not None:
        raise ValueError("choose one of --lr-find and --lr: the range test finds the rate that --lr would set")
    if options.lr_find and options.search:
        raise ValueError("choose one of --lr-find and --search: the search chooses the rate as well")
    if options.ensemble and options.resume and not options.search:
        raise ValueError("--resume is not for --ensemble; with --search it names the study")
    if not len(data.parts["validation"][0]):
        needs = [name for name in ("search",) if getattr(options, name, None)]
        if options.schedule == "plateau":
            needs.append("schedule plateau")
        if needs:
            name = needs[0].replace("_", "-")
            raise ValueError(f"--{name} needs a validation part: --validation-share 0 leaves none")
