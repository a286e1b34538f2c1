"""StepHistory: the training loss of every batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...optim.ewma import EWMA
from .base import Callback


class StepHistory(Callback):
    """Keep the loss of every batch, over all fits; costs nothing per step.

    Attributes
    ----------
    loss : float64 array (batches,)
        In training mode, before the update of the batch.

    Examples
    --------
    >>> steps = StepHistory()
    >>> trainer.fit(x, y, epochs=3, callbacks=steps)
    >>> steps.loss, steps.smooth(0.98)
    """

    allows_lookahead = True

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []

    @property
    def loss(self) -> NDArray[np.float64]:
        """The losses so far."""
        self._parts = [np.concatenate([np.zeros(0), *self._parts])]
        return self._parts[0]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def smooth(self, beta: float) -> NDArray[np.float64]:
        """Exponentially weighted averages of the losses (see `optim.EWMA`)."""
        return EWMA(beta).smooth(self.loss)

    def on_losses(self, losses: NDArray[np.float64]) -> None:
        self._parts.append(np.array(losses, np.float64))

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._parts = [np.asarray(state["loss"], np.float64)]
