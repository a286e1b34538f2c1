"""Optimizer steps, in place on one parameter array; state arrays in PyTorch's order, ``step`` counted from 1.

Rates and bias corrections are computed here in double, once per call; C computes none of them.
"""

import numpy as np
from numpy import ndarray

from fastnn import _native

from ._arrays import FLOAT32, FLOAT64, READY_OUT, as_index, may_share_memory, overlapping, refuse_self_overlap

_run_op = _native.run_op
_KIND = {row["name"]: row["code"] for row in _native.list_rows("optimizers")}


def _update(kind, names, arrays, scalars):
    """One native pass over param, grad and states (None: absent)."""
    param = arrays[0]
    code = _check_param(param)
    dtype, shape = param.dtype, param.shape
    simple = True
    for i, array in enumerate(arrays):
        if array is None:
            continue
        if type(array) is not ndarray or array.dtype is not dtype or array.shape != shape:
            _refuse_mismatch(names[i], array, param)
        if array.flags.num & READY_OUT != READY_OUT:
            if i != 1 and not array.flags.writeable:
                raise ValueError(f"{names[i]} is read-only: optimizer steps work in place")
            simple = False
    for i, array in enumerate(arrays):
        for j in range(i):
            if array is not None and arrays[j] is not None and may_share_memory(array, arrays[j]):
                simple = False
                if j != 1 and i != 1 and overlapping(array, arrays[j]):
                    raise ValueError(f"{names[i]} and {names[j]} share memory: each needs an array of its own")
    if simple:
        _run_op("optimizer", arrays, (param.size, kind), scalars, code)
    else:
        _update_copies(kind, names, arrays, scalars, code)


def _check_param(param):
    if not isinstance(param, ndarray) or hasattr(param, "mask"):
        raise TypeError(f"param is {type(param).__name__}: expected a NumPy array, the step works in place")
    if param.dtype != FLOAT32 and param.dtype != FLOAT64:
        raise TypeError(f"param is {param.dtype}: expected native float32 or float64, the step works in place")
    return 0 if param.dtype == FLOAT32 else 1


def _refuse_mismatch(name, array, param):
    if not isinstance(array, ndarray) or hasattr(array, "mask"):
        raise TypeError(f"{name} is {type(array).__name__}: expected a NumPy array of the dtype of param")
    if array.dtype != param.dtype:
        raise TypeError(f"{name} is {array.dtype} but param is {param.dtype}")
    if array.shape != param.shape:
        raise ValueError(f"{name} has shape {array.shape} but param has {param.shape}")


def _update_copies(kind, names, arrays, scalars, code):
    """The step for strided, misaligned or overlapping arrays: on contiguous copies, written back."""
    for i, array in enumerate(arrays):
        if array is not None and i != 1:
            refuse_self_overlap(names[i], array)
    copies = tuple(None if array is None else np.array(array, order="C", copy=True, subok=False) for array in arrays)
    _run_op("optimizer", copies, (copies[0].size, kind), scalars, code)
    for i, (array, copy) in enumerate(zip(arrays, copies, strict=True)):
        if array is not None and i != 1:
            array[...] = copy


def _check_step(step):
    step = as_index(step)
    if step < 1:
        raise ValueError(f"step is {step}: steps are counted from 1")
    return step


def _check_rate(name, value):
    value = float(value)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value}: expected 0 <= {name} < 1")
    return value


def sgd(
    param,
    grad,
    momentum_buffer=None,
    *,
    step,
    lr=1e-3,
    momentum=0.0,
    dampening=0.0,
    weight_decay=0.0,
    nesterov=False,
):
    """One step of stochastic gradient descent with momentum, in place (Sutskever et al. 2013, PyTorch's form).

    Parameters
    ----------
    param, grad : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` is changed.
    momentum_buffer : ndarray, optional
        State, changed; needed if ``momentum`` is not 0. Step 1 sets it to the gradient.
    step : int
        From 1.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool, default False

    Notes
    -----
    ``g = grad + weight_decay * param``; ``buf = momentum * buf + (1 - dampening) * g``;
    ``param -= lr * (g + momentum * buf if nesterov else buf)``.
    """
    step = _check_step(step)
    if momentum and momentum_buffer is None:
        raise TypeError("sgd with momentum needs momentum_buffer, an array like param")
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("nesterov needs a momentum above 0 and no dampening")
    scalars = (lr, momentum, dampening, weight_decay, 1.0 if nesterov else 0.0, 1.0 if step == 1 else 0.0)
    state = momentum_buffer if momentum else None
    _update(_KIND["sgd"], ("param", "grad", "momentum_buffer"), (param, grad, state, None, None), scalars)


def rmsprop(param, grad, square_avg, *, step, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0):
    """One step of RMSProp, in place (Tieleman & Hinton 2012, lecture 6.5; eps outside the root).

    Parameters
    ----------
    param, grad, square_avg : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the state ``square_avg`` are changed.
    step : int
        From 1.
    lr, alpha, eps, weight_decay : float

    Notes
    -----
    ``g = grad + weight_decay * param``; ``v = alpha * v + (1 - alpha) * g**2``; ``param -= lr * g / (sqrt(v) + eps)``.
    """
    _check_step(step)
    scalars = (lr, alpha, eps, weight_decay)
    _update(_KIND["rmsprop"], ("param", "grad", "square_avg"), (param, grad, square_avg, None, None), scalars)


def adam(param, grad, exp_avg, exp_avg_sq, *, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """One step of Adam, in place (Kingma & Ba 2015, algorithm 1).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    step : int
        From 1; enters the bias corrections, in double.
    lr, eps, weight_decay : float
    betas : (float, float)
        Decay rates of the two moments, below 1.

    Notes
    -----
    ``g = grad + weight_decay * param``; ``m = b1 * m + (1 - b1) * g``; ``v = b2 * v + (1 - b2) * g**2``;
    ``param -= lr * (m / (1 - b1**step)) / (sqrt(v / (1 - b2**step)) + eps)``.
    """
    step = _check_step(step)
    beta1, beta2 = _check_rate("betas[0]", betas[0]), _check_rate("betas[1]", betas[1])
    scalars = (lr, beta1, beta2, eps, weight_decay, 1.0 - beta1**step, 1.0 - beta2**step)
    names = ("param", "grad", "exp_avg", "exp_avg_sq")
    _update(_KIND["adam"], names, (param, grad, exp_avg, exp_avg_sq, None), scalars)
