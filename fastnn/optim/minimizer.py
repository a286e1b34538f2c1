"""minimize: an optimizer on any function of arrays, with the path it takes; for experiments with few variables."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels._update import update
from .base import Optimizer
from .state import row_of


class Minimum(NamedTuple):
    """What `minimize` found.

    Attributes
    ----------
    x : float64 array, or tuple of them
        The last point, of the shape of ``x0``.
    value : float
        Of the function there.
    path : float64 array (steps + 1, ...), or tuple of them
        All points, the first one included.
    values : float64 array (steps + 1,)
        Of the function at all points.
    """

    x: Any
    value: float
    path: Any
    values: NDArray[np.float64]


def minimize(
    function: Callable[..., Any],
    x0: ArrayLike | tuple[ArrayLike, ...],
    optimizer: Optimizer,
    *,
    steps: int = 100,
    scheduler: Callable[..., Any] | None = None,
) -> Minimum:
    """Follow an optimizer from a point, in float64: its own step kernels, gradients by `fastnn.value_and_grad`.

    Parameters
    ----------
    function : callable
        Over ``fastnn.functional`` and operators, returns one number. Called with ``x0``, or ``*x0`` of a tuple.
    x0 : number, array or tuple of these
    optimizer : Optimizer
        Its weight decay acts on all variables; groups, ``l1`` and ``max_norm`` belong to models and are refused.
    steps : int, default 100
        It ends earlier where the function or a gradient is not finite.
    scheduler : callable (base_lr, step, epoch) -> lr, optional
        Such as ``optim.ExponentialLR(0.99)``; every step is an epoch.

    Returns
    -------
    Minimum
        Of x, value, path, values.

    Examples
    --------
    >>> found = optim.minimize(lambda x: (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2, [0.0, 0.0], optim.Adam(lr=0.1))
    >>> found.x, found.value, found.path.shape
    (array([ 0.999..., -2.000...]), 1.4...e-07, (101, 2))
    """
    from ..graph.transforms import value_and_grad

    options = _check(optimizer)
    single = not isinstance(x0, tuple)
    point = [np.array(value, np.float64) for value in ((x0,) if single else x0)]
    slope = value_and_grad(function, tuple(range(len(point))))
    states = [_states(optimizer, options, value.shape) for value in point]
    path, values = [[value.copy() for value in point]], []
    for step in range(1, steps + 2):
        value, gradients = slope(*point)
        values.append(float(value))
        if step > steps or not np.isfinite(value) or not all(np.isfinite(g).all() for g in gradients):
            break
        if scheduler is not None:
            rate = scheduler(optimizer.lr, np.array([step - 1], np.int64), step - 1)
            options = {**options, "lr": float(np.ravel(rate)[0])}
        scalars = tuple(s[0] if isinstance(s, list) else s for s in optimizer.scalars(options, step, 1))
        for variable, gradient, state in zip(point, gradients, states, strict=True):
            arrays = (variable, np.ascontiguousarray(gradient, np.float64).reshape(variable.shape), *state)
            update(optimizer.kind, arrays, scalars, options["weight_decay"], optimizer.maximize)
        path.append([value.copy() for value in point])
    paths = tuple(np.array(points) for points in zip(*path, strict=True))
    last = tuple(points[-1] for points in paths)
    return Minimum(last[0] if single else last, values[-1], paths[0] if single else paths, np.array(values))


def _check(optimizer):
    """The optimizer's options; TypeError or ValueError for what cannot be done here."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"minimize: optimizer must be an object such as optim.Adam(lr=0.1), got {optimizer!r}")
    options = optimizer.options_of(-1)
    refused = [name for name in ("l1", "max_norm") if options[name]] + (["groups"] if optimizer.groups else [])
    if options["decoupled_weight_decay"] and optimizer.kind != "adamw" and options["weight_decay"]:
        refused.append("decoupled_weight_decay")
    if refused:
        raise ValueError(f"minimize: {', '.join(refused)} of {type(optimizer).__name__} are for models: use a Trainer")
    return options


def _states(optimizer, options, shape):
    """State arrays in the order of the native row, None where the options need none."""
    needed = optimizer.states(options)
    return [
        np.full(shape, optimizer.initial(name, options), np.float64) if name in needed else None
        for name in row_of(optimizer)["states"]
    ]
