"""What happens to data before and after a model, kept in the model file: schema, clip, scale, names of classes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.data.clip import SmoothClip
from fastnn.data.scale import StandardScale
from fastnn.data.schema import TableSchema

KINDS = ("table", "images", "digits")


class Preprocessing:
    """The way from raw data to a model's input, and from its output to an answer.

    Parameters
    ----------
    kind : {"table", "images", "digits"}
        What the raw data are.
    task : {"classification", "regression"}
    scale : StandardScale
        Fitted on the training part.
    class_names : list of str, optional
    schema : TableSchema, optional
        For tables.
    clip : SmoothClip, optional
        Of the features, before they are scaled.
    target_scale : StandardScale, optional
        For regressions: the model predicts (y - mean) / std.
    target_clip : SmoothClip, optional
        Of the target, before it is scaled.
    loss : str
        Class of the loss in `fastnn.nn`, which says what outputs mean.
    """

    def __init__(
        self, kind: Any, task: Any, scale: Any, *, class_names: Any = None, schema: Any = None, clip: Any = None,
        target_scale: Any = None, target_clip: Any = None, loss: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.task = task
        self.scale = scale
        self.class_names = class_names
        self.schema = schema
        self.clip = clip
        self.target_scale = target_scale
        self.target_clip = target_clip
        self.loss = loss or ("CrossEntropyLoss" if task == "classification" else "MSELoss")

    @property
    def feature_names(self) -> list[str] | None:
        return self.schema.feature_names if self.schema is not None else None

    @property
    def outputs(self) -> int:
        """Number of outputs of the model: the classes, or 1."""
        return len(self.class_names) if self.task == "classification" else 1

    def inputs(self, x: Any, dtype: Any = np.float32) -> np.ndarray:
        """Clip and scale raw features of shape (rows, features)."""
        return self.scale.transform(x if self.clip is None else self.clip.apply(x), dtype)

    def targets(self, y: Any, dtype: Any = np.float32) -> np.ndarray:
        """What the model is trained on: class numbers as they are, or scaled numbers of shape (rows, 1)."""
        if self.task == "classification":
            return y
        y = np.asarray(y).reshape(-1, 1)
        return self.target_scale.transform(y if self.target_clip is None else self.target_clip.apply(y), dtype)

    def answers(self, output: Any) -> np.ndarray:
        """Class names (an object array of str) or numbers (float64), one for each row of the model's output."""
        if self.task == "classification":
            return np.array(self.class_names, dtype=object)[np.argmax(output, axis=1)]
        values = self.target_scale.inverse(np.asarray(output).reshape(-1, 1), np.float64)
        return (values if self.target_clip is None else self.target_clip.inverse(values))[:, 0]

    def labels(self) -> np.ndarray:
        """The classes as values: integers or floats, truth values, or texts."""
        names = self.class_names
        if {name.casefold() for name in names} == {"true", "false"}:
            return np.array([name.casefold() == "true" for name in names])
        if self.schema is None or self.schema.target.numbers:
            numbers = [float(name) for name in names]
            whole = all(value == int(value) for value in numbers)
            return np.array([int(name) for name in names] if whole else numbers)
        return np.array(names, dtype=object)

    def meaning(self) -> Any:
        """The loss, which knows what outputs stand for."""
        from fastnn import nn

        return getattr(nn, self.loss)()

    def probabilities(self, output: Any) -> np.ndarray:
        """Probabilities of the classes, float64 of shape (rows, classes)."""
        return np.asarray(self.meaning().probabilities(np.asarray(output, dtype=np.float64)))

    def to_dict(self) -> dict:
        """Plain Python values for JSON."""
        parts = {name: getattr(self, name) for name in ("scale", "schema", "clip", "target_scale", "target_clip")}
        return {
            "kind": self.kind,
            "task": self.task,
            "class_names": self.class_names,
            "loss": self.loss,
            **{name: part.to_dict() if part is not None else None for name, part in parts.items()},
        }

    @classmethod
    def from_dict(cls, values: dict) -> "Preprocessing":
        """Rebuild from `to_dict`; a ValueError says what is wrong with values that are not its output."""
        kinds = {"schema": TableSchema, "clip": SmoothClip, "target_scale": StandardScale, "target_clip": SmoothClip}
        try:
            made = cls(
                values["kind"],
                values["task"],
                StandardScale.from_dict(values["scale"]),
                class_names=values["class_names"],
                loss=values["loss"],
                **{name: kind.from_dict(values[name]) if values[name] else None for name, kind in kinds.items()},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the preprocessing of the model is incomplete: {error}") from None
        made._check()
        return made

    def _check(self) -> None:
        from fastnn import nn

        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of data {self.kind!r}; this fastnn knows {', '.join(KINDS)}")
        if self.task == "classification" and not self.class_names:
            raise ValueError("the preprocessing of the model is incomplete: no class names")
        if self.task == "regression" and self.target_scale is None:
            raise ValueError("the preprocessing of the model is incomplete: no scale of the target")
        if self.task not in ("classification", "regression") or (self.kind == "table" and self.schema is None):
            raise ValueError("the preprocessing of the model is incomplete: no task or no schema")
        kind = getattr(nn, self.loss, None) if isinstance(self.loss, str) else None
        if not (isinstance(kind, type) and issubclass(kind, nn.Loss)):
            raise ValueError(f"the preprocessing of the model names an unknown loss {self.loss!r}")
        if self.schema is not None and len(self.schema.feature_names) != self.scale.features:
            raise ValueError("the preprocessing of the model contradicts itself: schema and scale differ in features")
        if self.clip is not None and len(self.clip.center) != self.scale.features:
            raise ValueError("the preprocessing of the model contradicts itself: clip and scale differ in features")
