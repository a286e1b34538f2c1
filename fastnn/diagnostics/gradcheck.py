"""A trainer examined in float64: the gradient that one native step applies, and the objective it belongs to."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import functional as F
from ..graph.gradient_check import GradcheckReport, compare
from ..graph.loss_call import call_loss
from ..graph.objective import Objective
from ..graph.parameter import aligned_zeros
from ..nn.arrays import split_inputs
from ..nn.predict import with_names
from ..training.targets import prepare_target, prepare_weight

if TYPE_CHECKING:
    from ..training.trainer import Trainer


def gradcheck(
    trainer: Trainer,
    x: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    h: float = 1e-5,
    tolerance: float = 1e-7,
    max_coordinates: int = 1000,
    seed: int = 0,
    disabled: Iterable[str] = (),
) -> GradcheckReport:
    """Compare what one native training step subtracts from the parameters with central differences.

    Gather, forward, loss, backward and update are checked together: the gradient of the loss and of the L1 and L2 terms
    of the optimizer. For functions and modules see `fastnn.gradcheck`.

    Parameters
    ----------
    trainer : Trainer
        With its own loss, in training mode, with the masks of step 0.
    x, y, sample_weight : arrays
        One batch, as in `Trainer.train_step`.
    h, tolerance, max_coordinates, seed, disabled
        As in `fastnn.gradcheck`.

    Returns
    -------
    GradcheckReport
        True in a condition if it passed; `print` shows the ranking.

    Notes
    -----
    The model is examined in float64 and has its own weights, statistics and dtype back afterwards. Clipping, decoupled
    decay and max-norm are no part of a gradient and are left out.
    """
    options = {"h": h, "tolerance": tolerance, "max_coordinates": max_coordinates, "seed": seed}
    with in_float64(trainer.model):
        objective = objective_of(trainer, x, y, sample_weight, disabled)
        exact = _applied_gradients(trainer, x, y, sample_weight)
        return compare(objective, [exact[name] for name in objective.names], **options)


@contextmanager
def in_float64(model: Any):
    """The model's parameters and buffers in float64 copies; what it had before is back afterwards, bit for bit."""
    with model._guard.writing() as tensors:
        before = [tensor.storage for tensor in tensors]
        try:
            for tensor in tensors:
                fresh = aligned_zeros(tensor.storage.shape, np.float64)
                fresh[...] = tensor.storage
                tensor.storage = fresh
                tensor._touch()
            yield
        finally:
            for tensor, storage in zip(tensors, before, strict=True):
                tensor.storage = storage
                tensor.version += 1
                tensor._touch()


def penalties(trainer: Trainer):
    """{parameter name: (L2 factor, L1 factor)} that the optimizer adds to the gradient (decoupled decay is none)."""
    optimizer, found = trainer.optimizer, {}
    for name, parameter in trainer.model.named_parameters():
        options = optimizer.options_of(optimizer.group_of(name), parameter.ndim >= 2)
        decay = 0.0 if options["decoupled_weight_decay"] else options["weight_decay"]
        found[name] = (float(decay), float(options["l1"]))
    return found


def objective_of(
    trainer: Trainer, x: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, disabled: Iterable[str] = ()
):
    """J of a batch: the loss in training mode with the masks of step 0, plus decay / 2 ||w||^2 + l1 |w|."""
    model = trainer.model
    names, arrays = split_inputs(x)
    arrays = [np.asarray(array, np.float64) for array in arrays]
    target, _ = prepare_target(y, trainer.loss, trainer._output_shape(names, arrays), len(arrays[0]), np.float64)
    loss = trainer.loss
    if sample_weight is not None:
        weight = prepare_weight(sample_weight, len(arrays[0]), np.float64, trainer.loss)

        def loss(output, target):
            return call_loss(trainer.loss, output, target, weight)

    def penalty(tensors):
        total = None
        for name, (decay, l1) in penalties(trainer).items():
            if name in tensors and decay:
                part = (0.5 * decay) * F.sum(F.square(tensors[name]))
                total = part if total is None else total + part
            if name in tensors and l1:
                part = l1 * F.sum(F.absolute(tensors[name]))
                total = part if total is None else total + part
        return total

    return Objective(
        with_names(model, names), (*arrays, target), loss, seed=trainer.seed, disabled=disabled, penalty=penalty,
        module=model,
    )  # fmt: skip


def _applied_gradients(trainer, x, y, sample_weight):
    """{name: what a native step of gradient descent with rate 1 subtracts}, by a trainer like this one."""
    from ..optim import SGD
    from ..training.trainer import Trainer

    model = trainer.model
    tensors = dict(model.named_parameters())
    groups = [
        {"params": glob.escape(name), "weight_decay": decay, "l1": l1}
        for name, (decay, l1) in penalties(trainer).items()
    ]
    before = {name: np.array(tensor.numpy()) for name, tensor in tensors.items()}
    twin = Trainer(model, trainer.loss, SGD(lr=1.0, groups=groups), num_threads=trainer.num_threads, seed=trainer.seed)
    twin.train_step(x, y, sample_weight)
    return {name: before[name] - tensor.numpy() for name, tensor in tensors.items()}
