"""What a hyper-parameter may be: distributions, each over a coordinate in which it is uniform.

    uniform                 value = c
    int_uniform             value = floor(c), c from low to high + 1
    log_uniform             value = 10^c
    one_minus_log_uniform   value = 1 - 10^c

The last is for the decay of an average: 0.9 to 0.9005 is a window of 10 to 10.05 steps, 0.999 to 0.9995 one of 1,000 to
2,000, so what has to be spread evenly is the logarithm of 1 - beta.
"""

import math
import numbers
from typing import Any

import numpy as np

__all__ = ["choice", "coarse_to_fine", "int_uniform", "log_uniform", "one_minus_log_uniform", "sample", "uniform"]


def _number(owner, name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{owner}: {name} must be a finite number, got {value!r}")
    return value


class Distribution:
    """A distribution that is uniform in a coordinate c from ``low`` to ``high``."""

    def value(self, c: Any) -> Any:
        """The value at coordinate c."""
        raise NotImplementedError

    def coordinate(self, value: Any) -> Any:
        """The coordinate of a value."""
        raise NotImplementedError

    def draw(self, rng: Any) -> Any:
        """A random value."""
        return self.value(self.low + (self.high - self.low) * rng.random())

    def narrowed(self, values: Any, margin: float = 0.25) -> Any:
        """The part of this distribution around good values.

        From their smallest to their largest coordinate and a `margin` of that range more on each side; at least a
        tenth of the old range wide, and never beyond it.
        """
        coordinates = [self.coordinate(value) for value in values]
        low, high = min(coordinates), max(coordinates)
        pad = max(margin * (high - low), (0.1 * (self.high - self.low) - (high - low)) / 2, 0.0)
        return self._between(max(self.low, low - pad), min(self.high, high + pad))

    def _between(self, low, high):
        return type(self)(self.value(low), self.value(high))

    def __repr__(self) -> str:
        return f"{self.name}({self.value(self.low):.6g}, {self.value(self.high):.6g})"

    def __eq__(self, other):
        return isinstance(other, Distribution) and repr(self) == repr(other)

    __hash__ = None


class uniform(Distribution):
    """Uniform between two numbers."""

    name = "uniform"

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = float(_number(self.name, "low", low)), float(_number(self.name, "high", high))
        if not self.low < self.high:
            raise ValueError(f"uniform: low must be below high, got {low!r} and {high!r}")

    def value(self, c: Any) -> Any:
        return c

    def coordinate(self, value: Any) -> float:
        return float(value)


class log_uniform(Distribution):
    """10^U(log10 low, log10 high): as many values between 0.001 and 0.01 as between 0.01 and 0.1. For rates, decay."""

    name = "log_uniform"

    def __init__(self, low: Any, high: Any) -> None:
        low, high = _number(self.name, "low", low), _number(self.name, "high", high)
        if not 0 < low < high:
            raise ValueError(f"log_uniform: 0 < low < high is needed, got {low!r} and {high!r}")
        self.low, self.high = math.log10(low), math.log10(high)

    def value(self, c: Any) -> Any:
        return 10.0**c

    def coordinate(self, value: Any) -> Any:
        return math.log10(value)


class one_minus_log_uniform(Distribution):
    """1 - 10^U, between two numbers below 1: for momentum, Adam's betas and other decays of averages."""

    name = "one_minus_log_uniform"

    def __init__(self, low: Any, high: Any) -> None:
        low, high = _number(self.name, "low", low), _number(self.name, "high", high)
        if not low < high < 1:
            raise ValueError(f"one_minus_log_uniform: low < high < 1 is needed, got {low!r} and {high!r}")
        # from small windows to large ones
        self.low, self.high = -math.log10(1.0 - low), -math.log10(1.0 - high)

    def value(self, c: Any) -> Any:
        return 1.0 - 10.0**-c

    def coordinate(self, value: Any) -> Any:
        return -math.log10(1.0 - value)


class int_uniform(Distribution):
    """Whole numbers from low to high, both included, each as likely as the others."""

    name = "int_uniform"

    def __init__(self, low: Any, high: Any) -> None:
        for name, bound in (("low", low), ("high", high)):
            if isinstance(bound, bool) or not isinstance(bound, numbers.Integral):
                raise ValueError(f"int_uniform: {name} must be a whole number, got {bound!r}")
        if low > high:
            raise ValueError(f"int_uniform: low must not be above high, got {low!r} and {high!r}")
        self.low, self.high = int(low), int(high) + 1  # the coordinate of n is n + 0.5

    def value(self, c: Any) -> Any:
        return min(int(math.floor(c)), self.high - 1)

    def coordinate(self, value: Any) -> Any:
        return value + 0.5

    def _between(self, low, high):
        return int_uniform(self.value(low), max(self.value(low), math.ceil(high) - 1))


class choice(Distribution):
    """One of some values, each as likely as the others.

    Parameters
    ----------
    values : sequence
        Or the values one by one: ``choice("relu", "tanh")``.
    """

    name = "choice"

    def __init__(self, *values: Any) -> None:
        if len(values) == 1 and isinstance(values[0], (list, tuple)):
            values = values[0]
        if not values:
            raise ValueError("choice needs at least one value")
        self.values = tuple(values)
        self.low, self.high = 0, len(self.values)

    def value(self, c: Any) -> Any:
        return self.values[min(int(c), len(self.values) - 1)]

    def coordinate(self, value: Any) -> Any:
        for i, known in enumerate(self.values):
            if known is value or known == value or (isinstance(known, tuple) and list(known) == value):
                return i + 0.5
        raise ValueError(f"{value!r} is not one of {', '.join(map(repr, self.values))}")

    def narrowed(self, values: Any, margin: float = 0.25) -> Any:
        kept = {int(self.coordinate(value)) for value in values}
        return choice([value for i, value in enumerate(self.values) if i in kept])

    def __repr__(self) -> str:
        return f"choice({', '.join(map(repr, self.values))})"


def check_space(space: Any) -> Any:
    """{name: Distribution}; lists become choices, any other value stands for itself."""
    if not isinstance(space, dict) or not space:
        raise TypeError("the space must be a dict such as {'lr': log_uniform(1e-4, 1)} with at least one entry")
    checked = {}
    for name, values in space.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of a space are the factory's arguments, not {name!r}")
        if isinstance(values, type) and issubclass(values, Distribution):
            raise TypeError(f"{name}: {values.name} needs its bounds, such as {values.name}(...)")
        if isinstance(values, list):
            values = choice(values)
        checked[name] = values if isinstance(values, Distribution) else choice([values])
    return checked


def sample(space: Any, seed: int | None = 0) -> Any:
    """Draw one value of each entry.

    Parameters
    ----------
    space : dict of str to distribution
        A list is a `choice`; any other value stands for itself.
    seed : int, sequence of int or numpy Generator
    """
    rng = np.random.default_rng(seed)
    return {name: distribution.draw(rng) for name, distribution in check_space(space).items()}


def coarse_to_fine(space: Any, trials: Any, keep: bool = 0.25) -> Any:
    """The part of a space where the best trials lie, for a finer search.

    Parameters
    ----------
    space : dict of str to distribution
    trials : sequence of dict
        Each with ``params`` and ``score`` (None or NaN: failed), the best first as in `RandomSearch.trials`.
    keep : float, default 0.25
        Share of the trials that count as good; at least two are taken.

    Returns
    -------
    dict
        Each distribution from the smallest to the largest good value, in the coordinate in which it is uniform, and a
        quarter of that range more on both sides (never outside the old bounds); each choice with its good values.

    Examples
    --------
    >>> fine = coarse_to_fine({"lr": log_uniform(1e-4, 1)}, search.trials)
    """
    space = check_space(space)
    if not 0 < keep <= 1:
        raise ValueError(f"coarse_to_fine: keep must be a share above 0 and at most 1, got {keep!r}")
    good = [trial for trial in trials if trial["score"] is not None and trial["score"] == trial["score"]]
    if not good:
        raise ValueError("coarse_to_fine: no trial has a score")
    good = good[: max(2, math.ceil(keep * len(trials)))]
    return {name: distribution.narrowed([trial["params"][name] for trial in good])
            for name, distribution in space.items()}  # fmt: skip
