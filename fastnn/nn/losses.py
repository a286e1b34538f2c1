"""Losses as classes: a callable (output, target[, sample_weight=]) that also says what it means (see `meaning`)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _native
from .. import functional as F
from ..graph.watch import Watched
from ..kernels._labels import DOMAINS
from ..kernels._losses import PointwiseRow
from .meaning import Declared, Meaning

__all__ = ["CLASSES", "CrossEntropyLoss", "Loss", "PointwiseLoss", "meaning_of"]


class Loss(Watched, Meaning):
    """Base of the losses: a callable that declares its ``target``, ``link`` and ``reduction`` (see `Meaning`).

    Any function ``loss(output, target)`` of symbolic tensors that returns a scalar is a loss for `Trainer` too; it may
    declare the same attributes (``f.target = "class"``), is taken as "same" otherwise, and needs a third argument
    ``sample_weight`` if sample weights are to be used.
    """

    _kind = "loss"

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.to_config().items() if name != "class")
        return f"{type(self).__name__}({options})"

    def to_config(self) -> dict[str, Any]:
        """Return {"class": name, options} for JSON."""
        return {"class": type(self).__name__, **{k: _plain(v) for k, v in self._options().items()}}


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def _check_reduction(name, reduction):
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'mean' or 'sum' for a training loss, got {reduction!r}")


class CrossEntropyLoss(Loss):
    """Softmax cross-entropy of logits (rows, classes): ``-log softmax(logits)[label]``, gradient ``softmax - onehot``.

    Parameters
    ----------
    weight : array of shape (classes,), optional
        Class weights; the mean divides by the sum of the weights used.
    ignore_index : int, optional
        Rows with this label count for nothing. Default None: no such label (PyTorch's default is -100).
    label_smoothing : float, default 0.0
        Share of the target spread evenly over the classes, in [0, 1).
    reduction : {"mean", "sum"}
    """

    target = "class"
    link = "softmax"

    def __init__(
        self, weight: Any = None, *, ignore_index: int | None = None, label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        _check_reduction("CrossEntropyLoss", reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing}")
        if weight is not None:
            weight = np.array(weight, dtype=np.float64)
            if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
                raise ValueError("CrossEntropyLoss: weight must be one finite number >= 0 per class")
        self.weight = weight
        self.ignore_index = None if ignore_index is None else int(ignore_index)
        self.label_smoothing = float(label_smoothing)
        self.reduction = reduction

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        weight = self.weight
        if weight is not None and hasattr(output, "astype"):  # arrays: kernels do not mix floating types
            weight = weight.astype(output.dtype)
        return F.cross_entropy(
            output,
            target,
            weight=weight,
            sample_weight=sample_weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )


class PointwiseLoss(Loss):
    """Base of the losses that compare output and target element by element, one class per row of losses.def."""

    _row = None
    _function = None

    def __init__(self, *args: Any, reduction: str = "mean", **options: Any) -> None:
        name, row = type(self).__name__, self._row
        free = set(row.names[len(args) :])
        if len(args) > len(row.names) or options.keys() - free:
            given = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in options.items())])
            raise TypeError(f"{name} takes {', '.join((*row.names, 'reduction'))}; got {given}")
        _check_reduction(name, reduction)
        options.update(zip(row.names, args, strict=False))
        values = tuple(options.get(option, default) for option, default in zip(row.names, row.defaults, strict=True))
        row.parameters(values, (0, *np.shape(values[0])) if values else (), np.float64)
        for option, value in zip(row.names, values, strict=True):
            setattr(self, option, np.array(value, np.float64) if np.ndim(value) else value)
        self.reduction = reduction

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        options = {option: getattr(self, option) for option in self._row.names}
        return self._function(output, target, sample_weight=sample_weight, reduction=self.reduction, **options)


def _meaning(row):
    """The class attributes that say what a row's outputs mean, from its columns target and link."""
    domain = DOMAINS.get(row["target"])
    link, _, option = row["link"].partition(" if ")
    if option:  # the link while an option is switched on
        link = property(lambda self, name=link: name if getattr(self, option) else "identity")
    target = "binary" if row["target"] in ("probability", "sign") else "same"
    return {"domain": domain, "target": target, "link": link}


def _make(row):
    lines = [f"{row['doc'][0].upper()}{row['doc'][1:]}.", "", "Parameters", "----------"]
    for option, default in zip(row["params"], row["defaults"], strict=True):
        kind = "float, or array of shape (columns,)" if len(row["params"]) == 1 else "float"
        lines.append(f"{option} : {kind}, default {default:g}")
    lines += ['reduction : {"mean", "sum"}', "", "Notes", "-----"]
    domain = DOMAINS.get(row["target"])
    lines.append(f"Targets have the output's shape and are {domain.text if domain else 'any numbers'}.")
    if row["citation"]:
        lines.append(f"Source: {row['citation']}.")
    body = {
        "__doc__": "\n    ".join(lines),
        "__module__": __name__,
        "_row": PointwiseRow(row),
        "_function": staticmethod(getattr(F, row["function"])),
        **_meaning(row),
    }
    return type(row["cls"], (PointwiseLoss,), body)


CLASSES = {row["cls"]: _make(row) for row in _native.list_rows("losses")}
globals().update(CLASSES)  # so that pickle finds them
# the losses of functional, by identity: any callable may be asked, those without a hash too
_MEANINGS = {
    id(F.cross_entropy): CrossEntropyLoss(),
    **{id(getattr(F, row["function"])): CLASSES[row["cls"]]() for row in _native.list_rows("losses")},
}


def meaning_of(loss: Callable[..., Any] | None) -> Any:
    """The `Meaning` of a loss: itself if it has one (all of `nn`), else what the callable declares.

    Parameters
    ----------
    loss : nn.Loss or callable
        The losses of ``fastnn.functional`` mean what their classes mean.

    Returns
    -------
    Meaning

    Examples
    --------
    >>> def focal(output, target): ...
    >>> focal.target, focal.link = "class", "softmax"
    >>> meaning_of(focal).decision(np.array([[0.1, 2.0]]))
    array([1])
    """
    if isinstance(loss, Meaning):
        return loss
    return _MEANINGS.get(id(loss)) or Declared(loss)
