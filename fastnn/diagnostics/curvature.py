"""Curvature: the ends of the Hessian's spectrum by Lanczos on Hessian-vector products.

Lanczos 1950 with full reorthogonalisation (Golub & Van Loan 2013, section 10.3): after m products, the largest and the
smallest eigenvalue of the tridiagonal matrix are those of the Hessian within the stated residuals. The products are
forward mode over reverse mode (Pearlmutter 1994); the Hessian is never formed. Everything is float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.objective import Objective

_FLAT = 1e-8  # of the largest magnitude: smaller eigenvalues count as zero


class Curvature:
    """What `curvature` found.

    Attributes
    ----------
    largest, smallest : float
        The ends of the spectrum.
    largest_error, smallest_error : float
        Residuals ||H u - lambda u||: an eigenvalue lies within this distance.
    condition_number : float
        max |eigenvalue| / min |eigenvalue|: the largest over the smallest at a minimum; infinite if the smallest counts
        as zero; NaN at a saddle of which not all eigenvalues are known.
    kind : str
        "minimum" (all eigenvalues positive), "flat minimum" (none negative), "saddle" (both signs), "flat maximum",
        "maximum", or "flat": what the Hessian says; it is a stationary point only if the gradient is zero too.
    value, gradient_norm : float
        J and the Euclidean norm of its gradient.
    eigenvalues : ndarray
        All of them, ascending, if the number of parameters is at most the number of products; else the Ritz values, of
        which the outermost are accurate.
    complete : bool
        Whether these are all.
    parameters, products : int
    direction : ndarray
        Unit eigenvector of the smallest eigenvalue, parameters flattened in order: the way out of a saddle.
    """

    def __init__(
        self, ritz: Any, vectors: Any, residuals: Any, count: Any, value: Any, gradient_norm: Any, direction: Any
    ) -> None:
        self.eigenvalues = ritz
        self.largest, self.smallest = float(ritz[-1]), float(ritz[0])
        self.largest_error, self.smallest_error = float(residuals[-1]), float(residuals[0])
        self.parameters, self.products = count, len(ritz)
        self.complete = len(ritz) == count
        self.value, self.gradient_norm, self.direction = value, gradient_norm, direction
        self.kind = self._kind()
        self.condition_number = self._condition()

    def _zero(self, error):
        return max(_FLAT * max(abs(self.largest), abs(self.smallest)), error)

    def _kind(self):
        up = self.largest > self._zero(self.largest_error)
        down = self.smallest < -self._zero(self.smallest_error)
        if up and down:
            return "saddle"
        if up:
            return "minimum" if self.smallest > self._zero(self.smallest_error) else "flat minimum"
        if down:
            return "maximum" if self.largest < -self._zero(self.largest_error) else "flat maximum"
        return "flat"

    def _condition(self):
        if self.kind.startswith("flat"):
            return float("inf")
        if self.kind == "saddle" and not self.complete:
            return float("nan")
        sizes = np.abs(self.eigenvalues if self.kind == "saddle" else [self.smallest, self.largest])
        return float(sizes.max() / sizes.min()) if sizes.min() > _FLAT * sizes.max() else float("inf")

    def __str__(self) -> str:
        return (
            f"curvature: {self.kind}, condition number {self.condition_number:.4g}\n"
            f"  largest eigenvalue  {self.largest:.6g} (within {self.largest_error:.1e})\n"
            f"  smallest eigenvalue {self.smallest:.6g} (within {self.smallest_error:.1e})\n"
            f"  J = {self.value:.6g}, gradient norm {self.gradient_norm:.3g}, {self.parameters} parameters, "
            f"{self.products} Hessian-vector products"
        )

    __repr__ = __str__


def curvature(
    target: Any,
    *inputs: Any,
    loss: Any = None,
    training: bool = True,
    products: int = 80,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Curvature:
    """The extreme eigenvalues of the Hessian, its condition number, and whether the point is a minimum or a saddle.

    Parameters
    ----------
    target : callable, Module or Trainer
        A function is examined in its floating arguments, a module in its trainable parameters with ``loss``; a trainer
        with its own loss and the L1 and L2 terms of its optimizer.
    *inputs : arrays
        The function's arguments; ``x, target`` for a module; ``x, y[, sample_weight]`` for a trainer. All rows are one
        batch.
    loss : callable, optional
        loss(output, target) -> scalar, for a module.
    training : bool, default True
        Mode in which a module is traced: batch statistics and (frozen) dropout masks, or inference.
    products : int, default 80
        Most Hessian-vector products. Each costs about two gradients and keeps one vector of all parameters in float64.
    tolerance : float, default 1e-6
        Ends earlier when both residuals are below this share of the largest magnitude.
    seed : int
        Of the first vector, and of dropout masks (a trainer has its own).

    Returns
    -------
    Curvature

    Examples
    --------
    >>> saddle = fastnn.diagnostics.curvature(lambda x: x[0] ** 2 - 3.0 * x[1] ** 2, np.zeros(2))
    >>> saddle.kind, saddle.smallest, saddle.largest
    ('saddle', -6.0, 2.0)
    """
    if isinstance(products, bool) or int(products) != products or products < 1:
        raise ValueError(f"products must be an integer >= 1, got {products!r}")
    if hasattr(target, "train_step"):
        if loss is not None or not training:
            raise TypeError("a trainer is examined with its own loss in training mode: leave out loss= and training=")
        from .gradcheck import in_float64, objective_of

        with in_float64(target.model):
            return _measure(objective_of(target, *inputs), int(products), tolerance, seed)
    objective = Objective(target, inputs, loss, training=training, seed=seed)
    return _measure(objective, int(products), tolerance, seed)


def _measure(objective, products, tolerance, seed):
    shapes = [array.shape for array in objective.arrays]
    sizes = [array.size for array in objective.arrays]
    count, cuts = sum(sizes), np.cumsum(sizes)[:-1]
    multiply = objective.hessian_product()

    def hessian(vector):
        parts = [part.reshape(shape) for part, shape in zip(np.split(vector, cuts), shapes, strict=True)]
        return np.concatenate([product.ravel() for product in multiply(parts)])

    gradient = np.concatenate([g.ravel() for g in objective.gradients()])
    ritz, weights, residuals, basis = lanczos(hessian, count, min(products, count), tolerance, seed)
    direction = basis.T @ weights[:, 0]
    return Curvature(ritz, weights, residuals, count, objective.value(), float(np.linalg.norm(gradient)), direction)


def lanczos(multiply: Any, count: Any, steps: int, tolerance: float = 1e-6, seed: int = 0):
    """(Ritz values, their vectors in the basis, residuals, basis) of a symmetric operator on `count` numbers.

    Fewer steps than numbers end when both ends are accurate. Where the Krylov space ends, a new random direction goes
    on, so that `count` steps find every eigenvalue with its multiplicity.
    """
    rng = np.random.default_rng(seed)
    basis = np.empty((steps, count))
    diagonal, off = [], []
    vector = _unit_apart(rng, basis[:0])
    for m in range(steps):
        basis[m] = vector
        product = multiply(vector)
        if not np.isfinite(product).all():
            raise ValueError("the Hessian-vector product is not finite: the loss is infinite or NaN at this point")
        diagonal.append(float(product @ vector))
        for _ in range(2):  # once is not enough (Parlett 1998, section 6.9)
            product -= basis[: m + 1].T @ (basis[: m + 1] @ product)
        beta = float(np.linalg.norm(product))
        tri = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
        values, weights = np.linalg.eigh(tri)
        residuals = np.abs(beta * weights[-1])
        size = max(abs(values[0]), abs(values[-1]))
        ended = beta <= 1e-13 * max(size, np.finfo(float).tiny) * count**0.5
        if m + 1 == steps or (not ended and steps < count and max(residuals[0], residuals[-1]) <= tolerance * size):
            break
        off.append(0.0 if ended else beta)
        vector = _unit_apart(rng, basis[: m + 1]) if ended else product / beta
    return values, weights, residuals, basis[: m + 1]


def _unit_apart(rng, basis):
    """A random unit vector orthogonal to the rows of `basis`."""
    vector = rng.standard_normal(basis.shape[1])
    for _ in range(2):
        vector -= basis.T @ (basis @ vector)
    return vector / np.linalg.norm(vector)
