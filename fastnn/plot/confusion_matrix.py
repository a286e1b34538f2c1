"""Confusion matrix: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..nn.losses import meaning_of
from .figure import new_axes


class ConfusionMatrixDisplay:
    """Counts of true against predicted classes.

    Parameters
    ----------
    confusion_matrix : array (classes, classes)
        ``[i, j]``: rows of class i that were taken for class j.
    display_labels : sequence of str, optional
        Default: 0, 1, ….

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
        Set by `plot`, as `figure_`.

    Examples
    --------
    >>> ConfusionMatrixDisplay.from_model(trainer, x_test, y_test).plot(normalize="true")
    """

    def __init__(self, confusion_matrix: ArrayLike, display_labels: Sequence[str] | None = None) -> None:
        self.confusion_matrix = np.asarray(confusion_matrix)
        if self.confusion_matrix.ndim != 2 or len(set(self.confusion_matrix.shape)) != 1:
            raise ValueError(f"a confusion matrix is square, not of shape {self.confusion_matrix.shape}")
        names = range(len(self.confusion_matrix)) if display_labels is None else display_labels
        self.display_labels = [str(name) for name in names]
        if len(self.display_labels) != len(self.confusion_matrix):
            raise ValueError(f"{len(self.display_labels)} display_labels for {len(self.confusion_matrix)} classes")

    @classmethod
    def from_predictions(
        cls, y_true: ArrayLike, y_pred: ArrayLike, *, labels: Any = None, display_labels: Sequence[str] | None = None
    ) -> ConfusionMatrixDisplay:
        """Make a display from true and predicted classes.

        Parameters
        ----------
        y_true, y_pred : arrays (rows,)
        labels : sequence, optional
            The classes in their order; default: all that occur, sorted.
        display_labels : sequence of str, optional
            Default: the labels.
        """
        y_true, y_pred = np.asarray(y_true).reshape(-1), np.asarray(y_pred).reshape(-1)
        if y_true.shape != y_pred.shape:
            raise ValueError(f"{len(y_true)} true classes, but {len(y_pred)} predicted ones")
        labels = np.unique(np.concatenate([y_true, y_pred])) if labels is None else np.asarray(labels)
        order = np.argsort(labels, kind="stable")
        place = {}
        for name, values in (("y_true", y_true), ("y_pred", y_pred)):
            found = np.searchsorted(labels[order], values).clip(max=len(labels) - 1)
            place[name] = order[found]
            wrong = labels[place[name]] != values
            if wrong.any():
                raise ValueError(f"{name} holds {values[wrong][0]!r}, which is not among the labels")
        matrix = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(matrix, (place["y_true"], place["y_pred"]), 1)
        return cls(matrix, labels if display_labels is None else display_labels)

    @classmethod
    def from_model(
        cls, model: Any, x: Any, y: ArrayLike, *, display_labels: Sequence[str] | None = None
    ) -> ConfusionMatrixDisplay:
        """Make a display from a `Trainer`, `Bagging`, estimator or model, and data.

        Parameters
        ----------
        model
            The loss of a Trainer says what its outputs decide, and which rows have no label; a Bagging and an
            estimator predict labels; a module without its loss can only mean the largest of several outputs.
        x : array (rows, features)
        y : array (rows,)
            True classes.

        Raises
        ------
        ValueError
            If outputs are no decisions between classes, or several decisions per row.
        """
        truth, decided, labels = _decisions(model, x, np.asarray(y))
        return cls.from_predictions(truth, decided, labels=labels, display_labels=display_labels)

    def plot(self, ax: Any = None, *, normalize: str | None = None) -> ConfusionMatrixDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        normalize : {None, "true", "pred", "all"}
            Counts, or shares of the true class, of the predicted class, of all rows, in percent.

        Returns
        -------
        ConfusionMatrixDisplay
            Itself.
        """
        shown = self._normalized(normalize)
        count = len(shown)
        if ax is None:
            size = max(3.4, 0.46 * count + 1.2)
            (ax,) = new_axes(width=size, height=size)
        ax.imshow(shown, cmap="Blues", vmin=0, vmax=shown.max() if shown.max() > 0 else 1)
        if count <= 25:
            dark = shown.max() / 2
            small = 9 if count <= 10 else 7
            for i, j in np.ndindex(*shown.shape):
                text = f"{shown[i, j]:.0f}" if shown[i, j] else "·"
                ax.text(j, i, text, ha="center", va="center", fontsize=small,
                        color="white" if shown[i, j] > dark else "#374151")  # fmt: skip
        # long names stand upright below; beside the rows they have room
        turned = max(map(len, self.display_labels)) * count > 30
        plain = {"parse_math": False}  # names with dollar signs are no formulas
        ax.set_xticks(range(count), self.display_labels, rotation=90 if turned else 0, **plain)
        ax.set_yticks(range(count), self.display_labels, **plain)
        ax.set_xlabel("predicted" + ("" if normalize is None else ", %"))
        ax.set_ylabel("true")
        ax.spines[:].set_visible(False)
        self.figure_, self.ax_ = ax.figure, ax
        return self

    def _normalized(self, normalize):
        counts = self.confusion_matrix.astype(float)
        if normalize is None:
            return counts
        sums = {"true": counts.sum(axis=1, keepdims=True), "pred": counts.sum(axis=0, keepdims=True),
                "all": counts.sum()}  # fmt: skip
        if normalize not in sums:
            raise ValueError(f"normalize must be None, 'true', 'pred' or 'all', got {normalize!r}")
        return 100.0 * counts / np.where(sums[normalize] > 0, sums[normalize], 1.0)


def _decisions(model, x, y):
    """(true labels, labels decided for, all labels or None) of the rows that count."""
    loss = getattr(model, "loss", None) if hasattr(model, "train_step") else None
    output = np.asarray(model.predict(x))
    if loss is None:
        if not hasattr(model, "named_parameters"):
            return y, output, None
        if output.ndim != 2 or output.shape[1] < 2:
            raise ValueError("a model with one output does not say where yes begins: give a Trainer, whose loss does")
        return y, output.argmax(axis=1), np.arange(output.shape[1])
    meaning = meaning_of(loss)
    if not meaning.decides_classes:
        raise ValueError(f"{meaning.name} compares values: there are no classes to take for each other")
    decided = meaning.decision(output)
    if decided.ndim != 1:
        raise ValueError("several answers per row: make one matrix per column with from_predictions")
    truth, counted = meaning.truth(y)
    if counted is not None:
        truth, decided = truth[counted], decided[counted]
    return truth, decided, None if meaning.target == "binary" else np.arange(output.shape[1])
