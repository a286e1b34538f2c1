"""PReLU's backward: two gradients, made of the element-wise kernels. Its forward is a row of binary.def."""

import numpy as np

from fastnn import _native

from ._arrays import reals
from ._elementwise import binary, where
from ._reduce import sum

_CODE = {row["name"]: row["code"] for row in _native.list_rows("binary")}


def prelu_backward(grad, x, weight, *, out=None):
    """Gradients of :func:`prelu`, ``y = x`` where x is positive, else ``weight * x`` (He et al. 2015, equation 8).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the output, of the shape of ``x``.
    x : array_like
        The forward input.
    weight : array_like
        As in the forward call: one number, or of any shape that broadcasts to that of ``x``.
    out : ndarray, optional
        Where to write the gradient of ``x``.

    Returns
    -------
    dx : ndarray of the shape of ``x``
    dweight : ndarray of the shape of ``weight``
        ``grad * x`` where x is not positive, summed over the axes along which ``weight`` was broadcast.
    """
    (grad, x, weight), _, _ = reals(("grad", "x", "weight"), grad, x, weight)
    if grad.shape != x.shape:
        raise ValueError(f"grad has shape {grad.shape} but x has {x.shape}")
    pairs = zip(weight.shape[::-1], x.shape[::-1], strict=False)
    if weight.ndim > x.ndim or any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"weight of shape {weight.shape} does not broadcast to x of shape {x.shape}")
    positive = binary(_CODE["greater"], x, 0.0, None)
    dweight = where(positive, np.zeros((), x.dtype), binary(_CODE["multiply"], grad, x, None))
    extra = x.ndim - weight.ndim
    axes = [*range(extra), *(extra + i for i, n in enumerate(weight.shape) if n == 1 and x.shape[extra + i] != 1)]
    dweight = sum(dweight, tuple(axes)).reshape(weight.shape) if axes else dweight
    return where(positive, grad, binary(_CODE["multiply"], grad, weight, None), out=out), dweight
