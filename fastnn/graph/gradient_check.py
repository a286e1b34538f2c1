"""Gradient checking: central differences against the graph's gradients, in float64.

score = ||g_approx - g|| / (||g_approx|| + ||g||) over all checked coordinates: below 1e-7 great, 1e-5 look again,
1e-3 wrong. The step is h = 1e-5: at 1e-7 round-off alone gives about 1e-7. Coordinates whose +-h crosses a kink
(of relu, max, |x|, ...) have no central difference and are left out. Random masks are frozen: the same at every
evaluation.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .objective import Objective

_JUMP = 1e-2  # an indicator that changes by more between -h and +h has crossed a kink
_EPS = float(np.finfo(np.float64).eps)


class ParameterCheck:
    """The check of one parameter: name, score, worst coordinate, how many were checked and left out."""

    __slots__ = ("approx", "checked", "exact", "excluded", "name", "score", "worst", "worst_approx", "worst_exact")

    def __init__(self, name: str, exact: Any, approx: Any, indices: Any, excluded: Any, shape: tuple[int, ...]) -> None:
        self.name = name
        self.exact, self.approx = exact, approx
        self.checked, self.excluded = len(exact), excluded
        self.score = _score(exact, approx)
        at = int(np.argmax(np.abs(exact - approx))) if len(exact) else 0
        self.worst = tuple(int(i) for i in np.unravel_index(indices[at], shape)) if len(exact) else ()
        self.worst_exact, self.worst_approx = (exact[at], approx[at]) if len(exact) else (0.0, 0.0)

    def forgive(self, noise: Any) -> None:
        """A gradient that is zero but for round-off has no score of its own."""
        if max(np.linalg.norm(self.exact), np.linalg.norm(self.approx)) <= noise:
            self.score = 0.0


class GradcheckReport:
    """What `gradcheck` found; true if it passed.

    Attributes
    ----------
    score : float
    passed : bool
        The score is below the tolerance, or the difference is within what round-off alone can make.
    verdict : str
        "great" (below 1e-7), "fine" (1e-5), "look again" (1e-3) or "wrong".
    round_off_floor : float
        The score that round-off alone can make.
    parameters : list of ParameterCheck
        Worst score first, so that the wrong component leads.
    value : float
        J at the point.
    checked, excluded : int
        Coordinates compared, and left out for a kink.
    """

    def __init__(self, parameters: Any, value: Any, h: float, tolerance: float) -> None:
        exact = np.concatenate([p.exact for p in parameters]) if parameters else np.zeros(0)
        approx = np.concatenate([p.approx for p in parameters]) if parameters else np.zeros(0)
        self.value, self.h, self.tolerance = value, h, tolerance
        self.score = _score(exact, approx)
        self.checked, self.excluded = len(exact), sum(p.excluded for p in parameters)
        unit = _EPS * max(abs(value), _EPS) / h
        noise = unit * np.sqrt(max(len(exact), 1))
        for p in parameters:
            p.forgive(4 * unit * np.sqrt(max(p.checked, 1)))
        norms = float(np.linalg.norm(exact) + np.linalg.norm(approx))
        self.round_off_floor = noise / norms if norms else 0.0
        self.within_round_off = float(np.linalg.norm(exact - approx)) <= 4 * noise
        self.passed = bool(self.score < tolerance or self.within_round_off)
        self.verdict = _verdict(self.score, self.within_round_off)
        self.parameters = sorted(parameters, key=lambda p: -p.score)

    def __bool__(self):
        return self.passed

    def __str__(self):
        lines = [
            f"gradient check: {self.verdict}, score {self.score:.2e} (round-off alone: {self.round_off_floor:.1e}), "
            f"{self.checked} coordinates, {self.excluded} left out at kinks, h = {self.h:g}"
        ]
        for p in self.parameters:
            lines.append(
                f"  {p.score:9.2e}  {p.name}: worst at {p.worst}: gradient {p.worst_exact:.9g}, "
                f"difference quotient {p.worst_approx:.9g}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def _score(exact, approx):
    norms = np.linalg.norm(exact) + np.linalg.norm(approx)
    return float(np.linalg.norm(exact - approx) / norms) if norms else 0.0


def _verdict(score, within_round_off):
    if score < 1e-7 or within_round_off:
        return "great"
    return "fine" if score < 1e-5 else "look again" if score < 1e-3 else "wrong"


def gradcheck(
    target: Any, *inputs: Any, loss: Callable[..., Any] | None = None, h: float = 1e-5, tolerance: float = 1e-7,
    training: bool = True, max_coordinates: int | None = 1000, seed: int = 0, disabled: Iterable[str] = (),
) -> Any:  # fmt: skip
    """Compare gradients with central differences.

    Parameters
    ----------
    target : callable or Module
        A function is checked in its floating arguments; a module in its trainable parameters, whatever its dtype. A
        trainer's whole step is checked by ``fastnn.diagnostics.gradcheck``.
    *inputs : arrays
        Arguments; for a module with a loss the last one is the target.
    loss : callable, optional
        loss(output, target) -> scalar, for a module.
    h : float, default 1e-5
        Half the distance of the central difference.
    tolerance : float, default 1e-7
        The score that passes.
    training : bool, default True
        Mode in which a module is traced: batch statistics and (frozen) dropout masks, or inference.
    max_coordinates : int, default 1000
        Per parameter; of more, this many are drawn with `seed`.
    seed : int
        Key of dropout masks, of drawn coordinates, and of the fixed random direction that turns an output of many
        numbers into one.
    disabled : iterable of str
        Passes to leave out.

    Returns
    -------
    GradcheckReport
        True in a condition if it passed; `print` shows the ranking.
    """
    options = {"h": h, "tolerance": tolerance, "max_coordinates": max_coordinates, "seed": seed}
    if hasattr(target, "train_step"):
        raise TypeError("a trainer is checked by fastnn.diagnostics.gradcheck(trainer, x, y)")
    objective = Objective(target, inputs, loss, training=training, seed=seed, disabled=disabled)
    return compare(objective, objective.gradients(), **options)


def compare(objective: Any, exact: Any, *, h: float, tolerance: float, max_coordinates: int | None, seed: int) -> Any:
    """The report on gradients `exact` (one array per examined array of the objective)."""
    rng = np.random.default_rng(seed)
    evaluate = objective.with_kinks()
    checks = []
    for name, array, gradient in zip(objective.names, objective.arrays, exact, strict=True):
        indices = np.arange(array.size)
        if array.size > max_coordinates:
            indices = np.sort(rng.choice(array.size, max_coordinates, replace=False))
        approx, clean = _differences(evaluate, objective.arrays, array, indices, h)
        chosen = gradient.ravel()[indices][clean]
        checks.append(
            ParameterCheck(name, chosen, approx[clean], indices[clean], int((~clean).sum()), array.shape)
        )
    return GradcheckReport(checks, objective.value(), h, tolerance)


def _differences(evaluate, arrays, array, indices, h):
    """(central differences, whether no kink was crossed) for coordinates of `array`, one of `arrays`."""
    flat = array.reshape(-1)
    approx, clean = np.zeros(len(indices)), np.ones(len(indices), bool)
    for n, i in enumerate(indices):
        here = flat[i]
        flat[i] = here + h
        plus, *kinks_plus = evaluate(arrays)
        above = flat[i]
        flat[i] = here - h
        minus, *kinks_minus = evaluate(arrays)
        approx[n] = (plus - minus) / (above - flat[i])
        flat[i] = here
        clean[n] = not any(
            a.size and np.max(np.abs(a - b)) > _JUMP for a, b in zip(kinks_plus, kinks_minus, strict=True)
        )
    return approx, clean
