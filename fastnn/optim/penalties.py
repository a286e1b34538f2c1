"""The written forms of L2 and L1 penalties as the numbers that an optimizer takes, and what they add to the loss."""

from typing import Any

import numpy as np

from ..validation import check_not_negative, check_whole


def l2(lam: float, m: int | None = None) -> Any:
    """The ``weight_decay`` of an L2 penalty: `lam` / m, or 2 `lam`.

    Parameters
    ----------
    lam : float
        lambda.
    m : int, optional
        With it the penalty is ``lam / (2 m) * ||W||^2``, where the loss is a mean over m rows: its gradient is
        ``lam / m * W``, so ``W <- (1 - lr * lam / m) W - lr * dW``. Without, it is ``lam * ||W||^2``, gradient
        ``2 lam W``.

    Examples
    --------
    >>> optim.SGD(lr=0.1, weight_decay=optim.l2(0.7, m=len(x)))
    """
    lam = _checked("l2", lam)
    return 2.0 * lam if m is None else lam / _rows("l2", m)


def l1(lam: float, m: int | None = None) -> Any:
    """The ``l1`` of an L1 penalty: `lam` / (2 m) for ``lam / (2 m) * ||W||_1``, `lam` for ``lam * ||W||_1``.

    Parameters
    ----------
    lam : float
        lambda.
    m : int, optional
        Rows over which the loss is a mean.
    """
    lam = _checked("l1", lam)
    return lam if m is None else lam / (2.0 * _rows("l1", m))


def penalty(optimizer: Any, named_parameters: Any) -> Any:
    """What an optimizer's L2 and L1 terms add to the loss at the weights as they are.

    ``sum of weight_decay / 2 * ||W||^2 + l1 * ||W||_1`` over the parameters, each with its group's options: the
    function whose gradient the optimizer adds. Decoupled decay (AdamW, LAMB) is no penalty and adds nothing.

    Parameters
    ----------
    optimizer : Optimizer
    named_parameters : iterable of (str, Parameter)

    Returns
    -------
    float or None
        None if no parameter has such a term.

    Examples
    --------
    >>> optim.penalty(trainer.optimizer, model.named_parameters())
    """
    if not optimizer.has_penalties():
        return None
    terms = []
    for name, parameter in named_parameters:
        by_l2, by_l1 = optimizer.penalties(optimizer.options_of(optimizer.group_of(name), parameter.ndim >= 2))
        if parameter.requires_grad and (by_l2 or by_l1):
            w = parameter.numpy().astype(np.float64)
            terms.append(by_l2 / 2.0 * float(np.square(w).sum()) + by_l1 * float(np.abs(w).sum()))
    return sum(terms) if terms else None


def _checked(name, lam):
    check_not_negative(name, "lam", lam)
    return float(lam)


def _rows(name, m):
    return check_whole(name, "m (the number of rows)", m, 1)
