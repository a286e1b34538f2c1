"""diagnose: bias and variance, health, distribution of the parts and the rate, in one report with advice in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..nn.arrays import split_inputs
from ..nn.losses import meaning_of
from ..training.metrics import METRICS
from ..training.targets import prepare_target
from .bias_variance import bias_variance
from .layer_health import first_rows, health
from .lr_diagnosis import guessing_loss, judge_rate

if TYPE_CHECKING:
    from ..training.trainer import Trainer

_SHIFT = 0.25  # deviations between the means of a feature that count as another distribution
_SURE = 5.0  # and standard errors: no accident among thousands of features
_ROWS = 100_000  # of each part, at most, for the comparison of distributions


class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    errors : dict
        Part -> error: the share of wrong decisions for classes, 1 - R² for values.
    bias_variance : BiasVariance
    health : Health or None
    shifted : list of (feature, difference of means in deviations)
        Features whose distribution differs between training and development part, most first.
    rate : RateJudgement
    advice : list of str
        All of it in words. A rate that is too low or too high is told alone: a larger network would not help.
    """

    def __init__(self, errors: ArrayLike, judged: Any, found: Any, shifted: Any, rate: Any, compared: Any) -> None:
        self.errors, self.bias_variance, self.health = errors, judged, found
        self.shifted, self.rate = shifted, rate
        misled = rate.verdict in ("too low", "too high", "diverging")
        self.advice = [str(rate), "judge bias and variance again afterwards"] if misled else list(judged.advice)
        if shifted:
            told = ", ".join(f"feature {name}: {size:+.2f}" for name, size in shifted[:5])
            self.advice.append(
                f"{len(shifted)} of {compared} features differ in mean between training and development part "
                f"(in deviations: {told}): draw both parts from one distribution"
            )
        if rate.verdict == "no progress":
            self.advice.append(str(rate))
        if found is not None:
            self.advice.extend(found.problems)

    def __str__(self) -> str:
        errors = ", ".join(f"{part} {error:.2%}" for part, error in self.errors.items())
        lines = [f"errors: {errors}", f"verdict: {self.bias_variance.verdict}", str(self.rate)]
        return "\n".join([*lines, "advice:", *(f"- {line}" for line in self.advice)])


def diagnose(
    trainer: Trainer,
    train: Any,
    validation: Any,
    *,
    train_dev: Any = None,
    test: Any = None,
    optimal_error: float = 0.0,
    tolerance: float = 0.02,
    check_health: bool = True,
) -> Diagnosis:
    """Say what holds a trained model back, with the numbers that say so.

    Parameters
    ----------
    trainer : Trainer
        Left as it was.
    train, validation : (x, y) or (x, y, sample_weight)
        The parts; weights are left aside, errors count rows.
    train_dev : (x, y), optional
        Rows of the training distribution that were not trained on: tells variance from a change of distribution.
    test : (x, y), optional
        Its error is told, nothing is concluded from it.
    optimal_error : float, default 0
        What the best possible model would have.
    tolerance : float, default 0.02
        A gap above it is called high.
    check_health : bool, default True
        Look at units, gradients and updates on the first 256 training rows (`diagnostics.health`).

    Returns
    -------
    Diagnosis
        ``print`` it.
    """
    parts = {"training": train, "train-dev": train_dev, "development": validation, "test": test}
    errors = {name: _error(trainer, part, name) for name, part in parts.items() if part is not None}
    judged = bias_variance(
        errors["training"], errors["development"], optimal_error, train_dev_error=errors.get("train-dev"),
        tolerance=tolerance,
    )  # fmt: skip
    found = health(trainer, train[0], train[1]) if check_health else None
    shifted, compared = _compare(train[0], validation[0])
    rate = judge_rate(_losses(trainer), guessing=_guessing(trainer, train))
    return Diagnosis(errors, judged, found, shifted, rate, compared)


def _losses(trainer):
    return trainer.history if "loss" in trainer.history else []


def _guessing(trainer, part):
    """Loss of guessing the targets of a part."""
    names, arrays = split_inputs(part[0])
    shape = trainer._output_shape(names, arrays)
    target, _ = prepare_target(part[1], trainer.loss, shape, len(arrays[0]), trainer.model.dtype)
    return guessing_loss(trainer.loss, target, shape, trainer.model.dtype)


def _error(trainer, part, name):
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        raise TypeError(f"diagnose: the {name} part must be (x, y) or (x, y, sample_weight)")
    names, arrays = split_inputs(part[0])
    shape = trainer._output_shape(names, arrays)
    target, _ = prepare_target(part[1], trainer.loss, shape, len(arrays[0]), trainer.model.dtype)
    score = METRICS["accuracy" if meaning_of(trainer.loss).decides_classes else "r2"]
    return 1.0 - score(target, trainer.predict(part[0]), trainer.loss)


def _compare(train, validation):
    """([(feature, difference of means in deviations)] that are no accident, features compared)."""
    shifted, offset = [], 0
    for first, second in zip(split_inputs(train)[1], split_inputs(validation)[1], strict=True):
        a = first_rows(first, _ROWS).reshape(min(len(first), _ROWS), -1).astype(np.float64)
        b = first_rows(second, _ROWS).reshape(min(len(second), _ROWS), -1).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            difference = b.mean(axis=0) - a.mean(axis=0)
            deviation = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 2)
            size = np.where(deviation > 0, difference / deviation, np.where(difference != 0, np.inf, 0.0))
            error = np.sqrt(1.0 / len(a) + 1.0 / len(b))
        found = np.flatnonzero((np.abs(size) > _SHIFT) & (np.abs(size) > _SURE * error))
        shifted += [(offset + int(i), float(size[i])) for i in found]
        offset += a.shape[1]
    return sorted(shifted, key=lambda item: -abs(item[1])), offset
