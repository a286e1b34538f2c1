"""Mixup: rows of a batch and their targets become weighted means of two (Zhang, Cisse, Dauphin & Lopez-Paz 2018).

    x' = lam x_i + (1 - lam) x_j,  y' = lam y_i + (1 - lam) y_j,  lam ~ Beta(alpha, alpha)

One lam and one permutation of the rows per batch; labels become rows of probabilities. A batch's sum of weights stays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...nn.losses import meaning_of
from ...validation import check_positive
from ..targets import LABELS

_TAG = 0x6D697875  # keys the stream apart from that of augmentation


class Mixup:
    """What mixes the batches of a fit.

    Parameters
    ----------
    alpha : float
    trainer : Trainer
    data : Data
    """

    def __init__(self, alpha: float, trainer: Any, data: Any):
        check_positive("Feed", "mixup", alpha)
        meaning = meaning_of(trainer.loss)
        if len(data.arrays) != 1:
            raise ValueError(f"mixup changes one input; the model has {len(data.arrays)}")
        if meaning.domain is not None and meaning.domain.ends:
            raise ValueError(f"mixup needs targets between others; those of {meaning.name} are {meaning.domain.text}")
        if meaning.ignore_index is not None:
            raise ValueError(f"mixup makes probabilities of labels, but {meaning.name} ignores one: leave its rows out")
        self.alpha, self.dtype = float(alpha), trainer.model.dtype
        self.classes = trainer._output_shape(data.names, data.arrays)[0] if data.spec == LABELS else None

    def targets(self, target: NDArray) -> NDArray:
        """Targets as rows of floats."""
        if self.classes is None:
            return np.ascontiguousarray(target, self.dtype)
        rows = np.zeros((len(target), self.classes), self.dtype)
        rows[np.arange(len(target)), target] = 1
        return rows

    def mix(self, arrays: list[NDArray], offsets: NDArray, first: int, seed: int) -> None:
        """Mix every batch of these arrays in place; `first` is the number of the first batch, `seed` the epoch's."""
        for i, (begin, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
            rng = np.random.Generator(np.random.Philox(key=[seed, _TAG + ((first + i) << 32)]))
            share, partners = rng.beta(self.alpha, self.alpha), rng.permutation(end - begin)
            for array in arrays:
                part = array[begin:end]
                array[begin:end] = share * part + (1.0 - share) * part[partners]
