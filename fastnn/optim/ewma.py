"""Exponentially weighted averages: of anything (`EWMA`), and of the weights of a model (`WeightAverage`)."""

from typing import Any

import numpy as np

from .. import _native
from ..graph.parameter import aligned_zeros, logical_view
from ..validation import check_share


class EWMA:
    """Exponentially weighted average, ``v = beta * v + (1 - beta) * x`` from ``v = 0``, with bias correction.

    Parameters
    ----------
    beta : float
        In [0, 1). The average looks back over about ``window = 1 / (1 - beta)`` values.
    bias_correction : bool, default True
        Divide by ``1 - beta**t``, so that the first values are not drawn towards 0.

    Attributes
    ----------
    t : int
        Values seen.
    raw : float or ndarray
        ``v``, not corrected; float64 for arrays.

    Examples
    --------
    >>> average = EWMA(0.98)
    >>> average.update(40.0)
    40.0
    >>> EWMA(0.9).smooth(history["loss"])  # a series
    """

    def __init__(self, beta: float, bias_correction: bool = True) -> None:
        check_share("EWMA", "beta", beta)
        self.beta = float(beta)
        self.bias_correction = bool(bias_correction)
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.t = 0
        self.raw = 0.0

    @property
    def window(self) -> Any:
        """``1 / (1 - beta)``."""
        return 1.0 / (1.0 - self.beta)

    def update(self, x: Any) -> Any:
        """Take one more value (a number or an array, of one shape throughout) and return the average."""
        x = np.asarray(x, dtype=np.float64)
        if self.t and np.shape(self.raw) != x.shape:
            raise ValueError(f"EWMA: the values had shape {np.shape(self.raw)}, now {x.shape}")
        self.t += 1
        raw = self.beta * self.raw + (1.0 - self.beta) * x
        self.raw = raw if raw.ndim else float(raw)
        return self.value

    def smooth(self, values: Any) -> Any:
        """The average after each of a series of values, as a new average of this kind would give it.

        Parameters
        ----------
        values : array (n, ...)

        Returns
        -------
        float64 array (n, ...)
            The average itself stays as it is.
        """
        values = np.asarray(values, dtype=np.float64)
        if not values.ndim:
            raise ValueError("EWMA: smooth takes a series of values, update takes one")
        fresh, smoothed = EWMA(self.beta, self.bias_correction), np.empty(values.shape)
        for i, value in enumerate(values):
            smoothed[i] = fresh.update(value)
        return smoothed

    @property
    def value(self) -> Any:
        """The average of the values so far; raises ValueError before the first."""
        if self.t == 0:
            raise ValueError("EWMA: no value yet")
        if not self.bias_correction or self.t == 0:
            return self.raw
        return self.raw / (1.0 - self.beta**self.t)

    def __repr__(self) -> str:
        return f"EWMA({self.beta}, bias_correction={self.bias_correction})"


class AverageSlot(_native.Stepped):
    """The average of one parameter in its storage layout, and the steps it has seen (`steps`)."""

    __slots__ = ("array",)

    def __init__(self, array: Any, steps: int = 0) -> None:
        self.array = array
        self.steps = steps

    def __reduce__(self):
        return AverageSlot, (self.array, self.steps)


class WeightAverage:
    """{parameter name: AverageSlot}: weights averaged over training steps, corrected for the start.

    The stored value is the corrected one: ``a += (1 - beta) / (1 - beta**t) * (w - a)`` equals
    ``(beta * v + (1 - beta) * w) / (1 - beta**t)``, so that nothing has to be divided when it is read.
    """

    def __init__(self) -> None:
        self.slots = {}

    def slot_for(self, name: str, parameter: Any) -> Any:
        """The slot of a parameter; zeros at its first step, converted if its dtype has changed."""
        slot, storage = self.slots.get(name), parameter.storage
        if slot is None or slot.array.shape != storage.shape:
            slot = self.slots[name] = AverageSlot(aligned_zeros(storage.shape, storage.dtype))
        if slot.array.dtype != storage.dtype:
            fresh = aligned_zeros(storage.shape, storage.dtype)
            fresh[...] = slot.array
            slot.array = fresh
        return slot

    @staticmethod
    def shares(beta: float, first_step: int, count: int) -> Any:
        """The weight of the new value in steps first_step .. first_step + count - 1 (from 1)."""
        return [(1.0 - beta) / (1.0 - beta**t) for t in range(first_step, first_step + count)]

    def state_dict(self, parameters: Any) -> Any:
        """Return ({name: contiguous logical array}, {name: steps})."""
        known = {name: slot for name, slot in self.slots.items() if name in parameters and slot.steps}
        arrays = {
            name: np.array(logical_view(slot.array, parameters[name].shape), order="C") for name, slot in known.items()
        }
        return arrays, {name: slot.steps for name, slot in known.items()}

    def load_state_dict(self, parameters: Any, arrays: Any, steps: int) -> None:
        """Fill the slots from what `state_dict` returned. Raises ValueError if a name or a shape does not fit."""
        self.slots = {}
        for name, count in steps.items():
            if name not in parameters:
                raise ValueError(f"averaged weights of {name!r}, which this model does not have")
            value = arrays.get(name)
            if value is None or tuple(value.shape) != tuple(parameters[name].shape):
                raise ValueError(f"the averaged weights of {name!r} are missing or have another shape")
            slot = self.slot_for(name, parameters[name])
            slot.steps = int(count)
            logical_view(slot.array, parameters[name].shape)[...] = value
