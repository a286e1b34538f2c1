"""The written forms of L2 and L1 penalties as the numbers that an optimizer takes."""

from .base import check_not_negative


def l2(lam, m=None):
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


def l1(lam, m=None):
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


def _checked(name, lam):
    check_not_negative(name, "lam", lam)
    return float(lam)


def _rows(name, m):
    if isinstance(m, (bool, str)) or int(m) != m or m < 1:
        raise ValueError(f"{name}: m is the number of rows, an integer >= 1, got {m!r}")
    return int(m)
