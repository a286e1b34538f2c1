"""Embedding: a row of a table for each index."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..graph.parameter import Parameter, filled
from ..validation import check_count
from . import init as initialisers
from .layer import Layer


class Embedding(Layer):
    """A learned vector for each index: ``y[..., :] = weight[x[...]]``.

    Parameters
    ----------
    num_embeddings : int
        Indices are 0 .. num_embeddings - 1.
    embedding_dim : int
        Length of a vector.
    padding_idx : int, optional
        The vector of this index starts at 0 and is not trained.
    init : str or callable, default "normal"
        N(0, 1), as PyTorch's.
    seed : int, optional
        As `Linear`'s.

    Attributes
    ----------
    weight : Parameter of shape (num_embeddings, embedding_dim)

    Notes
    -----
    Input (rows,) or (rows, length) of any real dtype that holds whole numbers, output one axis more; `Flatten` makes a
    matrix of it. An index out of range raises IndexError. The look-up is a Python-defined op, so that training
    returns to Python once per batch, and the gradient is dense: each step costs a pass over the table.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *,
        init: str | Callable[..., Any] = "normal", seed: int | None = None,
    ) -> None:  # fmt: skip
        self.num_embeddings = n = check_count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = check_count("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -n <= padding_idx < n:
            raise ValueError(f"Embedding: padding_idx must be between 0 and {n - 1}, got {padding_idx}")
        self.padding_idx = None if padding_idx is None else int(padding_idx) % n
        initialisers.check(init)
        self.init = init
        self.weight = Parameter(filled((n, self.embedding_dim)), name="weight")
        self._begin(seed)

    def _draw_parameters(self, seed, path):
        values = initialisers.draw(self.init, self.weight.shape, initialisers.stream(seed, f"{path}.weight"))
        if self.padding_idx is not None:
            values[self.padding_idx] = 0.0
        self.weight.assign(values.astype(self.weight.dtype))

    def _indices(self, x):
        with np.errstate(invalid="ignore"):
            index = x.astype(np.int64)
        if index.size and (index.min() < 0 or index.max() >= self.num_embeddings or (index != x).any()):
            wrong = x[(index < 0) | (index >= self.num_embeddings) | (index != x)].flat[0]
            raise IndexError(f"Embedding: index {wrong:g} is not a whole number from 0 to {self.num_embeddings - 1}")
        return index

    def forward(self, x: Any) -> Any:
        def look_up(x, weight):
            return weight[self._indices(x)]

        def gradient(grad, x, weight):
            index = x.astype(np.int64).ravel()
            table = np.zeros_like(weight)
            np.add.at(table, index, grad.reshape(len(index), -1))
            if self.padding_idx is not None:
                table[self.padding_idx] = 0.0
            return None, table

        def tangent(tangents, x, weight):
            return tangents[1][x.astype(np.int64)]

        shape = (*x.shape, self.embedding_dim)
        return F.python_op(look_up, x, self.weight, vjp=gradient, jvp=tangent, shape=shape, name="embedding")

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
