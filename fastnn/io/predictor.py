"""A table's model as a predictor: raw rows in, labels or numbers out."""

from typing import Any

import numpy as np

from fastnn.data.table import Table, read_table

from .preprocessing import Preprocessing


class TablePredictor:
    """A model that was trained on a table, with the schema and everything else that its raw rows need.

    `fastnn.load` gives one for a file that ``fastnn train TABLE`` wrote.

    Attributes
    ----------
    model : fastnn.nn.Module
        The network alone: takes scaled features, gives logits or scaled numbers.
    schema : TableSchema
    classes_ : ndarray or None
        The labels that `predict` gives, in the order of `predict_proba`'s columns; None for a regression.
    training : dict
        Summary of the training: settings, results, history.

    Examples
    --------
    >>> predictor = fastnn.load("houses.safetensors")
    >>> predictor.predict(frame)
    >>> predictor.predict_proba("new.csv")
    """

    def __init__(self, model: Any, preprocessing: Preprocessing, training: dict | None = None) -> None:
        self.model, self.preprocessing, self.training = model, preprocessing, training or {}
        self.schema = preprocessing.schema
        self.classes_ = preprocessing.labels() if preprocessing.task == "classification" else None
        preprocessing.scale.missing = "mean"  # a row with holes gets an answer too

    def __repr__(self) -> str:
        return f"TablePredictor({self.schema!r})"

    def read(self, data: Any, *, target: bool = False) -> Table:
        """Raw features of every record, by the schema; NaN where a cell is missing.

        Parameters
        ----------
        data : path, DataFrame, Arrow table, ndarray or dict
            Columns by name, in any order; whatever else it holds is left out.
        target : bool, default False
            Read the target as well (rows without one are left out).

        Returns
        -------
        Table
        """
        return read_table(data, None if target else False, schema=self.schema, missing="keep", dtype=np.float64)

    def _outputs(self, data) -> np.ndarray:
        x = self.preprocessing.inputs(self.read(data).x, self.model.dtype)
        return self.model.predict(np.ascontiguousarray(x))

    def predict(self, data: Any) -> np.ndarray:
        """A label (as in the training table: text, number or truth value) or a number for every record of `data`.

        Missing numbers count as the training part's mean, categories that were never seen as none of the known ones;
        these are warned about.
        """
        output = self._outputs(data)
        if self.classes_ is None:
            return self.preprocessing.answers(output)
        return self.classes_[self.preprocessing.meaning().decision(output)]

    def predict_proba(self, data: Any) -> np.ndarray:
        """Probabilities, float64 of shape (rows, classes), in the order of `classes_`; ValueError for a regression."""
        if self.classes_ is None:
            raise ValueError("this model predicts a number: it has no probabilities")
        return self.preprocessing.probabilities(self._outputs(data))
