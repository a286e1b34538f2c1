"""Gradient checking: central differences against the graph's gradients, in float64.

score = ||g_approx - g|| / (||g_approx|| + ||g||) over all checked coordinates: below 1e-7 great, 1e-5 look again,
1e-3 wrong. The step is h = 1e-5: at 1e-7 round-off alone gives about 1e-7. Coordinates whose +-h crosses a kink
(of relu, max, |x|, ...) have no central difference and are left out. Random masks are frozen: the same at every
evaluation.
"""

import numpy as np

from .differentiate import gradients
from .executable import Executable
from .passes.rebuild import needed
from .rules.base import full_like
from .structure import flatten, unflatten
from .trace import Graph, tracing

_JUMP = 1e-2  # an indicator that changes by more between -h and +h has crossed a kink
_EPS = float(np.finfo(np.float64).eps)


class ParameterCheck:
    """The check of one parameter: name, score, worst coordinate, how many were checked and left out."""

    __slots__ = ("approx", "checked", "exact", "excluded", "name", "score", "worst", "worst_approx", "worst_exact")

    def __init__(self, name, exact, approx, indices, excluded, shape):
        self.name = name
        self.exact, self.approx = exact, approx
        self.checked, self.excluded = len(exact), excluded
        self.score = _score(exact, approx)
        at = int(np.argmax(np.abs(exact - approx))) if len(exact) else 0
        self.worst = tuple(int(i) for i in np.unravel_index(indices[at], shape)) if len(exact) else ()
        self.worst_exact, self.worst_approx = (exact[at], approx[at]) if len(exact) else (0.0, 0.0)

    def forgive(self, noise):
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

    def __init__(self, parameters, value, h, tolerance):
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
    fn_or_model, *inputs, loss=None, h=1e-5, tolerance=1e-7, training=True, max_coordinates=1000, seed=0, disabled=()
):
    """Compare gradients with central differences.

    Parameters
    ----------
    fn_or_model : callable or Module
        A function is checked in its floating arguments; a module in its trainable parameters, whatever its dtype.
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

    Returns
    -------
    GradcheckReport
        True in a condition if it passed; `print` shows the ranking.
    """
    problem = _Problem(fn_or_model, inputs, loss, training, seed, disabled)
    rng = np.random.default_rng(seed)
    value = problem.value()
    exact = problem.gradients()
    checks = []
    for k, (name, array) in enumerate(zip(problem.names, problem.arrays, strict=False)):
        total = array.size
        indices = np.arange(total)
        if total > max_coordinates:
            indices = np.sort(rng.choice(total, max_coordinates, replace=False))
        approx, clean = problem.differences(k, indices, h)
        checks.append(
            ParameterCheck(
                name, exact[k].ravel()[indices][clean], approx[clean], indices[clean], int((~clean).sum()), array.shape
            )
        )
    return GradcheckReport(checks, value, h, tolerance)


class _Problem:
    """J, its gradients and its kinks as programs of the checked arrays (first) and the fixed ones (after)."""

    def __init__(self, target, inputs, loss, training, seed, disabled):
        self.graph = graph = Graph(np.float64, training=training, seed=seed)
        graph.values_only = True
        is_module = hasattr(target, "named_parameters")
        if loss is not None and not is_module:
            raise TypeError("loss= is for modules; compose the function with its loss instead")
        self.arrays, self.names, tensors = [], [], []
        if is_module:
            for name, parameter in target.named_parameters():
                if parameter.requires_grad:
                    tensors.append(self._add(np.array(parameter.numpy(), np.float64), name))
                    graph.stand_ins[id(parameter)] = tensors[-1]
        leaves, structure = flatten(inputs)
        given = []
        for i, leaf in enumerate(leaves):
            array = np.asarray(leaf)
            checked = not is_module and (array.dtype.kind == "f" or not array.ndim)
            if checked:
                given.append(self._add(np.array(array, np.float64), f"argument {i}"))
                tensors.append(given[-1])
            else:
                given.append(graph.constant(array.astype(np.float64) if array.dtype.kind == "f" else array))
        if not tensors:
            raise ValueError("there is nothing to check: no floating argument or trainable parameter")
        arguments = unflatten(structure, given)
        with tracing(graph):
            self.loss = _as_number(graph, _call(target, arguments, loss), seed)
        self._compile(tensors, disabled)

    def _add(self, array, name):
        self.arrays.append(np.ascontiguousarray(array))
        self.names.append(name)
        return self.graph.input(array.shape, "real", name)

    def _compile(self, tensors, disabled):
        graph = self.graph
        kinks = [k for node in needed([self.loss]) for k in node.rule.kinks(node)]
        found = gradients([self.loss], [graph.constant(1.0)], tensors)
        found = [full_like(t, 0.0) if g is None else g for g, t in zip(found, tensors, strict=True)]
        self._value = Executable(graph, tensors, [self.loss, *kinks], disabled)
        self._gradients = Executable(graph, tensors, [self.loss, *found], disabled)

    def value(self):
        """J at the point."""
        return float(self._value(self.arrays)[0])

    def gradients(self):
        """The graph's gradients, one array per checked array."""
        return self._gradients(self.arrays)[1:]

    def differences(self, k, indices, h):
        """(central differences, whether no kink was crossed) for coordinates of array k."""
        flat = self.arrays[k].reshape(-1)
        approx, clean = np.zeros(len(indices)), np.ones(len(indices), bool)
        for n, i in enumerate(indices):
            here = flat[i]
            flat[i] = here + h
            plus, *kinks_plus = self._value(self.arrays)
            above = flat[i]
            flat[i] = here - h
            minus, *kinks_minus = self._value(self.arrays)
            approx[n] = (plus - minus) / (above - flat[i])
            flat[i] = here
            clean[n] = not any(
                a.size and np.max(np.abs(a - b)) > _JUMP for a, b in zip(kinks_plus, kinks_minus, strict=True)
            )
        return approx, clean


def _call(target, arguments, loss):
    if loss is None:
        return target(*arguments)
    if len(arguments) < 2:
        raise ValueError("a module with a loss needs inputs and a target")
    return loss(target(*arguments[:-1]), arguments[-1])


def _as_number(graph, result, seed):
    """A scalar result, or the sum of the outputs times a fixed random direction."""
    leaves, _ = flatten(result)
    outputs = [graph.real(graph.tensor(leaf)) for leaf in leaves]
    if len(outputs) == 1 and all(size == 1 for size in outputs[0].shape):
        return outputs[0].reshape(())
    rng = np.random.default_rng((seed, 1))
    total = None
    for y in outputs:
        part = (y * graph.constant(rng.normal(size=y.shape))).sum()
        total = part if total is None else total + part
    return total
