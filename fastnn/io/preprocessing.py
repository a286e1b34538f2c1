"""What happens to data before and after a model, kept in the model file: scale, schema, names of classes."""

import numpy as np

from fastnn.data.scale import StandardScale
from fastnn.data.schema import TableSchema

KINDS = ("table", "images", "digits")


def softmax(logits):
    """exp(z) / sum exp(z) along the last axis, in float64; the row's maximum is taken off so that nothing overflows."""
    z = np.asarray(logits, dtype=np.float64)
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


class Preprocessing:
    """The way from raw data to a model's input, and from its output to an answer.

    Parameters
    ----------
    kind : {"table", "images", "digits"}
        What the raw data are.
    task : {"classification", "regression"}
    scale : StandardScale
        Fitted on the training part.
    feature_names, class_names : list of str, optional
    schema : TableSchema, optional
        For tables.
    target_scale : StandardScale, optional
        For regressions: the model predicts (y - mean) / std.
    """

    def __init__(self, kind, task, scale, *, feature_names=None, class_names=None, schema=None, target_scale=None):
        self.kind = kind
        self.task = task
        self.scale = scale
        self.feature_names = feature_names
        self.class_names = class_names
        self.schema = schema
        self.target_scale = target_scale

    @property
    def outputs(self):
        """Number of outputs of the model: the classes, or 1."""
        return len(self.class_names) if self.task == "classification" else 1

    def inputs(self, x, dtype=np.float32):
        """Scale raw features of shape (rows, features)."""
        return self.scale.transform(x, dtype)

    def targets(self, y, dtype=np.float32):
        """What the model is trained on: class numbers as they are, or scaled numbers of shape (rows, 1)."""
        if self.task == "classification":
            return y
        return self.target_scale.transform(np.asarray(y).reshape(-1, 1), dtype)

    def answers(self, output):
        """Class names (an object array of str) or numbers (float64), one for each row of the model's output."""
        if self.task == "classification":
            return np.array(self.class_names, dtype=object)[np.argmax(output, axis=1)]
        return self.target_scale.inverse(np.asarray(output).reshape(-1, 1), np.float64)[:, 0]

    def probabilities(self, output):
        """Softmax of the model's output, float64 of shape (rows, classes)."""
        return softmax(output)

    def to_dict(self):
        """Plain Python values for JSON."""
        return {
            "kind": self.kind,
            "task": self.task,
            "scale": self.scale.to_dict(),
            "feature_names": self.feature_names,
            "class_names": self.class_names,
            "schema": self.schema.to_dict() if self.schema else None,
            "target_scale": self.target_scale.to_dict() if self.target_scale else None,
        }

    @classmethod
    def from_dict(cls, values):
        """Rebuild from `to_dict`; a ValueError says what is wrong with values that are not its output."""
        try:
            made = cls(
                values["kind"],
                values["task"],
                StandardScale.from_dict(values["scale"]),
                feature_names=values["feature_names"],
                class_names=values["class_names"],
                schema=TableSchema.from_dict(values["schema"]) if values["schema"] else None,
                target_scale=StandardScale.from_dict(values["target_scale"]) if values["target_scale"] else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the preprocessing of the model is incomplete: {error}") from None
        if made.kind not in KINDS:
            raise ValueError(f"unknown kind of data {made.kind!r}; this fastnn knows {', '.join(KINDS)}")
        if made.task == "classification" and not made.class_names:
            raise ValueError("the preprocessing of the model is incomplete: no class names")
        if made.task == "regression" and made.target_scale is None:
            raise ValueError("the preprocessing of the model is incomplete: no scale of the target")
        if made.task not in ("classification", "regression") or (made.kind == "table" and made.schema is None):
            raise ValueError("the preprocessing of the model is incomplete: no task or no schema")
        return made
