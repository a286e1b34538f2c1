"""What a loss means: which targets it takes, what its outputs say, what they decide, and what a row of it is worth.

Whoever needs a probability, a decision, a mean over batches or a mask asks the loss; nothing is guessed from values.
With the mean as reduction, and the weights w_i that `Meaning.row_weights` gives,

    loss = sum_i w_i loss_i / sum_i w_i

so means over batches, micro-batches and parts are put together by the sums of their weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TARGETS = ("class", "binary", "rows", "same", "any")
_VALUES = ("same", "any")


def _softmax(z):
    from .. import functional as F

    return F.softmax(z)


def _sigmoid(z):
    from .. import functional as F

    return F.sigmoid(z)


def _log(p):
    p = np.asarray(p, np.float64)
    return np.log(np.maximum(p, np.finfo(np.float64).tiny))


# link -> (what an output says, the output that says it)
LINKS = {
    "identity": (lambda z: z, lambda p: p),
    "sigmoid": (_sigmoid, lambda p: _log(p) - _log(1.0 - np.asarray(p, np.float64))),
    "softmax": (_softmax, _log),
    "exp": (np.exp, _log),
}


class Meaning:
    """The questions that a loss answers; the base of `nn.Loss`.

    Attributes
    ----------
    target : {"class", "binary", "rows", "same", "any"}
        What it compares outputs with: one label per row (or rows of probabilities); answers yes or no, one per
        output; rows of probabilities; values of the output's shape; rows of whatever shape the loss takes.
    link : {"softmax", "sigmoid", "exp", "identity"} or None
        From an output to what it says: probabilities, a rate, the value itself. None: not declared.
    reduction : {"mean", "sum"}
    domain : Domain or None
        What targets may be (see ``kernels/_labels.py``); None: anything.
    weight : float64 array (classes,) or None
        Class weights.
    ignore_index : int or None
        The label of rows that count for nothing.
    """

    target = "same"
    link = "identity"
    reduction = "mean"
    domain = None
    weight = None
    ignore_index = None

    @property
    def name(self) -> str:
        return type(self).__name__

    # ---- what rows are worth ---------------------------------------------------------------------------------------

    def row_weights(self, target: Any, sample_weight: ArrayLike | None = None) -> NDArray[np.float64] | None:
        """Each row's share of a mean's divisor, float64 (rows,); None if every row counts 1.

        Parameters
        ----------
        target : array (rows,) or (rows, ...)
        sample_weight : array (rows,), optional

        Returns
        -------
        array or None
            Class weight of the label times sample weight; 0 for an ignored label.
        """
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
        if self.weight is None and self.ignore_index is None:
            return weights
        labels = self._labels(target)
        if labels is None:
            return weights
        own = np.ones(len(labels))
        if self.weight is not None:
            per_class = np.asarray(self.weight, np.float64)
            own = per_class[np.clip(labels, 0, len(per_class) - 1)]  # an ignored label may be any number
        if self.ignore_index is not None:
            own = np.where(labels == self.ignore_index, 0.0, own)
        return own if weights is None else own * weights

    def per_row(self, loss: Any, target: Any, sample_weight: ArrayLike | None = None) -> float:
        """The loss of these rows as a mean per row (weighted by `row_weights`), whatever the reduction."""
        if self.reduction != "sum":
            return loss
        weights = self.row_weights(target, sample_weight)
        total = float(len(target) if weights is None else weights.sum())
        return loss / total if total > 0 else 0.0

    def _labels(self, target):
        """The class labels (rows,), or None if the targets are no labels."""
        target = np.asarray(target)
        if self.target != "class" or target.dtype.kind not in "iub":
            return None
        return target.reshape(len(target))

    # ---- what outputs say ------------------------------------------------------------------------------------------

    @property
    def has_probabilities(self) -> bool:
        """Whether outputs stand for probabilities."""
        if self.target in _VALUES or self.link is None:
            return False
        return self.domain is None or (self.domain.low, self.domain.high) == (0.0, 1.0)

    def probabilities(self, output: Any) -> NDArray:
        """Probabilities of the output's shape: of the classes, or of yes.

        Raises
        ------
        ValueError
            If outputs stand for no probabilities, or nobody has said how.
        """
        if not self.has_probabilities:
            raise ValueError(self._no_probabilities())
        return self._linked(output)

    def values(self, output: Any) -> Any:
        """What outputs say: probabilities, rates (link "exp") or the values themselves."""
        return self._linked(output)

    def outputs(self, values: Any) -> Any:
        """The outputs that say these values: the inverse of `values` (logarithms of at least the smallest number)."""
        return LINKS[self.link or "identity"][1](values)

    def _linked(self, output):
        output = self._one_array(output)
        return LINKS[self.link or "identity"][0](output)

    def _no_probabilities(self):
        if self.link is None:
            return (
                f'{self.name} does not say what its outputs are: set its link, such as loss.link = "softmax" for '
                'logits of classes, "sigmoid" for logits of yes or no, "identity" for probabilities'
            )
        kind = "margins" if self.target == "binary" else "values"
        return f"the outputs of {self.name} are {kind}: they have no probabilities; use predict"

    # ---- what outputs and targets decide ---------------------------------------------------------------------------

    @property
    def decides_classes(self) -> bool:
        """Whether decisions are labels, as opposed to values."""
        return self.target not in _VALUES

    def decision(self, output: Any, *, linked: bool = False) -> Any:
        """What outputs decide, in the targets' terms.

        Parameters
        ----------
        output : array (rows, ...)
        linked : bool, default False
            It holds what outputs say (`values`), such as an average of probabilities.

        Returns
        -------
        array
            "class", "rows": the label of the largest output, int64 (rows,). "binary": 0 or 1 (or -1 or 1 where the
            targets are that) for every output, int64; one column gives (rows,). Else: `values`.
        """
        if self.target in _VALUES:
            return output if linked else self.values(output)
        output = self._one_array(output)
        if self.target != "binary":
            if output.ndim != 2:
                raise ValueError(f"a decision for a class needs outputs (rows, classes), not {output.shape}")
            return output.argmax(axis=1)
        if self.link is None:
            raise ValueError(self._no_probabilities())
        low, high = self._ends()
        middle = (low + high) / 2.0
        threshold = middle if linked else self.outputs(middle)
        return _column(np.where(output > threshold, int(high), int(low)))

    def truth(self, target: Any) -> tuple[Any, Any]:
        """What targets say, in the terms of `decision`, and which rows count.

        Returns
        -------
        labels or values : array
        counted : bool array (rows,) or None
            None: all rows count.
        """
        target = np.asarray(target)
        if self.target in _VALUES:
            return target, None
        if self.target == "binary":
            low, high = self._ends()
            return _column(np.where(target > (low + high) / 2.0, int(high), int(low))), None
        labels = self._labels(target)
        if labels is None:
            return target.argmax(axis=1), None
        return labels.astype(np.int64), None if self.ignore_index is None else labels != self.ignore_index

    def _ends(self):
        """The numbers that stand for no and yes."""
        return (0.0, 1.0) if self.domain is None else (self.domain.low, self.domain.high)

    def _one_array(self, output):
        if isinstance(output, (tuple, list, dict)):
            raise ValueError(f"{self.name}: the model has several outputs; a decision or a probability needs one")
        output = np.asarray(output)
        return output if output.dtype in (np.float32, np.float64) else output.astype(np.float64)


class Declared(Meaning):
    """The meaning of any callable: what it declares by attributes, such as ``f.target = "class"``.

    A callable may also bring its own `row_weights` and `decision`. Without a word about its target, outputs are values
    of the target's shape; one that declares a target but no link has decisions (of classes), but no probabilities.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self.target = getattr(loss, "target", "same")
        self.link = getattr(loss, "link", "identity" if self.target in _VALUES else None)
        for name in ("reduction", "domain", "weight", "ignore_index", "row_weights"):
            if getattr(loss, name, None) is not None:
                setattr(self, name, getattr(loss, name))
        if hasattr(loss, "decision"):
            self.decision = lambda output, *, linked=False: loss.decision(self.outputs(output) if linked else output)
        if self.target not in TARGETS:
            raise ValueError(f"{self.name}: target must be one of {', '.join(TARGETS)}, got {self.target!r}")
        if self.link is not None and self.link not in LINKS:
            raise ValueError(f"{self.name}: link must be one of {', '.join(LINKS)}, got {self.link!r}")

    @property
    def name(self) -> str:
        return getattr(self.loss, "__name__", type(self.loss).__name__)


def _column(array):
    """(rows, 1) as (rows,)."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
