"""Optimizer steps, in place on one parameter array; state arrays in PyTorch's order, ``step`` counted from 1.

Rates and bias corrections are computed in double, once per call; the kernels compute none of them.
"""

from math import inf, sqrt

from fastnn import _native

from ._nadam import nadam_shares
from ._update import check_rate, check_step, update

_short_scalars = _native.adam_scalars
_FORMS = {"torch": 0.0, "classical": 1.0, "averaging": 2.0}


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
    maximize=False,
    form="torch",
):
    """One step of stochastic gradient descent with momentum, in place (Sutskever et al. 2013).

    Parameters
    ----------
    param, grad : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` is changed.
    momentum_buffer : ndarray, optional
        State, changed; needed if ``momentum`` is not 0. Step 1 overwrites it.
    step : int
        From 1.
    lr, momentum, dampening, weight_decay : float
    nesterov, maximize : bool, default False
    form : {"torch", "classical", "averaging"}
        How momentum is written; the forms differ when the rate changes.

    Notes
    -----
    ``g = grad + weight_decay * param`` and, by form:

    - torch: ``buf = momentum * buf + (1 - dampening) * g``, at step 1 ``g``;
      ``param -= lr * (g + momentum * buf if nesterov else buf)``;
    - classical (Keras): ``buf = momentum * buf - lr * g``; ``param += momentum * buf - lr * g if nesterov else buf``;
    - averaging: ``buf = momentum * buf + (1 - momentum) * g``; ``param -= lr * buf``.
    """
    step = check_step(step)
    if momentum and momentum_buffer is None:
        raise TypeError("sgd with momentum needs momentum_buffer, an array like param")
    if form not in _FORMS:
        raise ValueError(f"form is {form!r}: expected one of {', '.join(_FORMS)}")
    if nesterov and (momentum <= 0 or dampening != 0 or form == "averaging"):
        raise ValueError("nesterov needs a momentum above 0, no dampening, and not the averaging form")
    scalars = (lr, momentum, dampening, 1.0 if nesterov else 0.0, _FORMS[form], 1.0 if step == 1 else 0.0)
    update("sgd", (param, grad, momentum_buffer if momentum else None), scalars, weight_decay, maximize)


def adagrad(param, grad, sum, *, step, lr=1e-2, lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False):
    """One step of AdaGrad, in place (Duchi, Hazan & Singer 2011).

    Parameters
    ----------
    param, grad, sum : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the state ``sum`` are changed.
    step : int
        From 1; only ``lr_decay`` depends on it.
    lr, lr_decay, weight_decay, eps : float
    maximize : bool, default False

    Notes
    -----
    ``g = grad + weight_decay * param``; ``sum += g**2``;
    ``param -= lr / (1 + (step - 1) * lr_decay) * g / (sqrt(sum) + eps)``.
    """
    divisor = 1.0 + (check_step(step) - 1) * lr_decay
    update("adagrad", (param, grad, sum), (lr, eps, divisor), weight_decay, maximize)


def adadelta(
    param, grad, square_avg, acc_delta, *, step, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False
):
    """One step of AdaDelta, in place (Zeiler 2012, algorithm 1).

    Parameters
    ----------
    param, grad, square_avg, acc_delta : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    step : int
        From 1.
    lr, rho, eps, weight_decay : float
    maximize : bool, default False

    Notes
    -----
    ``g = grad + weight_decay * param``; ``v = rho * v + (1 - rho) * g**2``;
    ``d = sqrt(acc + eps) / sqrt(v + eps) * g``; ``acc = rho * acc + (1 - rho) * d**2``; ``param -= lr * d``.
    """
    check_step(step)
    rho = check_rate("rho", rho)
    update("adadelta", (param, grad, square_avg, acc_delta), (lr, rho, eps), weight_decay, maximize)


def rmsprop(
    param,
    grad,
    square_avg,
    grad_avg=None,
    momentum_buffer=None,
    *,
    step,
    lr=1e-2,
    alpha=0.99,
    eps=1e-8,
    weight_decay=0.0,
    momentum=0.0,
    maximize=False,
):
    """One step of RMSProp, in place (Tieleman & Hinton 2012, lecture 6.5; centred: Graves 2013; eps outside the root).

    Parameters
    ----------
    param, grad, square_avg : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the state ``square_avg`` are changed.
    grad_avg : ndarray, optional
        State, changed: the average gradient of the centred form, which is used if it is given.
    momentum_buffer : ndarray, optional
        State, changed; needed if ``momentum`` is not 0.
    step : int
        From 1.
    lr, alpha, eps, weight_decay, momentum : float
    maximize : bool, default False

    Notes
    -----
    ``g = grad + weight_decay * param``; ``v = alpha * v + (1 - alpha) * g**2``; ``d = g / (sqrt(v) + eps)``;
    centred: ``a = alpha * a + (1 - alpha) * g`` and ``sqrt(v - a**2)`` instead of ``sqrt(v)``;
    ``param -= lr * d``, with momentum ``buf = momentum * buf + d``; ``param -= lr * buf``.
    """
    check_step(step)
    if momentum and momentum_buffer is None:
        raise TypeError("rmsprop with momentum needs momentum_buffer, an array like param")
    arrays = (param, grad, square_avg, grad_avg, momentum_buffer if momentum else None)
    update("rmsprop", arrays, (lr, alpha, eps, momentum), weight_decay, maximize)


def adam(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    max_exp_avg_sq=None,
    *,
    step,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    maximize=False,
):
    """One step of Adam, in place (Kingma & Ba 2015, algorithm 1; AMSGrad: Reddi et al. 2018).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    max_exp_avg_sq : ndarray, optional
        State, changed: the largest second moment so far. Given, the step is AMSGrad's.
    step : int
        From 1; enters the bias corrections, in double.
    lr, eps, weight_decay : float
    betas : (float, float)
        Decay rates of the two moments, below 1.
    maximize : bool, default False

    Notes
    -----
    ``g = grad + weight_decay * param``; ``m = b1 * m + (1 - b1) * g``; ``v = b2 * v + (1 - b2) * g**2``;
    ``param -= lr * (m / (1 - b1**step)) / (sqrt(v / (1 - b2**step)) + eps)``, with the maximum for ``v`` in AMSGrad.
    """
    scalars = _adam_scalars(step, lr, betas, eps)
    update("adam", (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq), scalars, weight_decay, maximize)


def adamw(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    max_exp_avg_sq=None,
    *,
    step,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=1e-2,
    maximize=False,
):
    """One step of Adam with decoupled weight decay, in place (Loshchilov & Hutter 2019, algorithm 2).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    max_exp_avg_sq : ndarray, optional
        State, changed: the largest second moment so far. Given, the step is AMSGrad's.
    step : int
        From 1; enters the bias corrections, in double.
    lr, eps, weight_decay : float
    betas : (float, float)
        Decay rates of the two moments, below 1.
    maximize : bool, default False

    Notes
    -----
    ``param *= 1 - lr * weight_decay``, then a step of `adam` without weight decay.
    """
    scalars = _adam_scalars(step, lr, betas, eps)
    update("adamw", (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq), scalars, weight_decay, maximize)


def _adam_scalars(step, lr, betas, eps):
    if type(betas) is tuple and (scalars := _short_scalars(step, lr, betas, eps)) is not None:
        return scalars
    step = check_step(step)
    beta1, beta2 = check_rate("betas[0]", betas[0]), check_rate("betas[1]", betas[1])
    return lr, beta1, beta2, eps, 1.0 - beta1**step, sqrt(1.0 - beta2**step)


def nadam(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    *,
    step,
    lr=2e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    maximize=False,
):
    """One step of NAdam, in place (Dozat 2016, PyTorch's form).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    step : int
        From 1; enters the bias corrections and the momentum schedule, in double.
    lr, eps, weight_decay, momentum_decay : float
    betas : (float, float)
        Decay rates of the two moments, below 1.
    maximize : bool, default False

    Notes
    -----
    ``m`` and ``v`` as in `adam`; ``mu_t = b1 * (1 - 0.96**(t * momentum_decay) / 2)``, ``P_t = mu_1 * ... * mu_t``;
    ``param -= lr * (mu_(t+1) * m / (1 - P_(t+1)) + (1 - mu_t) * g / (1 - P_t)) / (sqrt(v / (1 - b2**t)) + eps)``.
    """
    step = check_step(step)
    beta1, beta2 = check_rate("betas[0]", betas[0]), check_rate("betas[1]", betas[1])
    scalars = (lr, beta1, beta2, eps, sqrt(1.0 - beta2**step), *nadam_shares(beta1, momentum_decay, step))
    update("nadam", (param, grad, exp_avg, exp_avg_sq), scalars, weight_decay, maximize)


def lars(
    param,
    grad,
    momentum_buffer,
    *,
    step,
    lr=0.1,
    momentum=0.9,
    weight_decay=0.0,
    trust_coefficient=1e-3,
    eps=0.0,
    maximize=False,
):
    """One step of LARS on one layer's parameter, in place (You, Gitman & Ginsburg 2017, algorithm 1).

    Parameters
    ----------
    param, grad, momentum_buffer : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the state are changed. Step 1 overwrites
        the state.
    step : int
        From 1.
    lr, momentum, weight_decay, trust_coefficient, eps : float
    maximize : bool, default False

    Notes
    -----
    ``ratio = trust_coefficient * ||param|| / (||grad|| + weight_decay * ||param|| + eps)``, 1 if either norm is 0;
    ``buf = momentum * buf + lr * ratio * (grad + weight_decay * param)``; ``param -= buf``.
    """
    scalars = (lr, momentum, trust_coefficient, eps, 1.0 if check_step(step) == 1 else 0.0)
    update("lars", (param, grad, momentum_buffer), scalars, weight_decay, maximize)


def lamb(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    *,
    step,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-6,
    weight_decay=0.0,
    eps_inside_root=False,
    trust_clip=None,
    maximize=False,
):
    """One step of LAMB on one layer's parameter, in place (You et al. 2020, algorithm 2).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray
        One shape and dtype, float32 or float64, any strides; ``param`` and the two states are changed.
    step : int
        From 1; enters the bias corrections, in double.
    lr, eps, weight_decay : float
    betas : (float, float)
        Decay rates of the two moments, below 1.
    eps_inside_root : bool, default False
        Take ``sqrt(v' + eps)`` in place of ``sqrt(v') + eps``.
    trust_clip : float, optional
        The largest ratio.
    maximize : bool, default False

    Notes
    -----
    ``m`` and ``v`` as in `adam` without weight decay; ``m' = m / (1 - b1**step)``, ``v' = v / (1 - b2**step)``;
    ``u = m' / (sqrt(v') + eps) + weight_decay * param``; ``ratio = ||param|| / ||u||``, 1 if either norm is 0;
    ``param -= lr * ratio * u``.
    """
    scalars = _adam_scalars(step, lr, betas, eps)
    scalars += (1.0 if eps_inside_root else 0.0, inf if trust_clip is None else trust_clip)
    update("lamb", (param, grad, exp_avg, exp_avg_sq), scalars, weight_decay, maximize)
