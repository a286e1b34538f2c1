"""Tables larger than memory: a schema from one pass over the file, then blocks and batches, again in every epoch."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .described import Described
from .encode import Encoder
from .infer import python_call
from .reading import MAX_CATEGORIES, check_policy, describe_missing, fill, known_blocks, learn
from .scale import StandardScale
from .schema import TableSchema
from .table import Table, _given, open_source


class TableDataset(Described):
    """A table on disk (or in memory) as blocks of features and targets; made by `open_dataset`.

    Attributes
    ----------
    schema : TableSchema
    feature_names, class_names : list of str
    notes : list of str
        What was noticed while the schema was learnt.
    rows : int or None
        Rows without those that were dropped, once the table has been read to its end.
    unseen : dict of str to dict
        Column -> {text: number of rows} of categories that the schema does not know, in what has been read last.
    """

    def __init__(self, source, schema: TableSchema, notes, *, missing, scale, dtype, block_rows):
        self.source, self.schema, self.notes = source, schema, notes
        self.missing, self.scale, self.dtype, self.block_rows = missing, scale, np.dtype(dtype), block_rows
        self.rows: int | None = None
        self.unseen: dict[str, dict[str, int]] = {}
        source.block_records = min(block_rows, getattr(source, "block_records", block_rows))

    def __repr__(self) -> str:
        return f"TableDataset({self.source.label!r}, {self.schema!r})"

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield (x, y) of `block_rows` rows (the last one may be shorter) in the order of the table.

        y is None without a target. Blocks do not depend on the reader.
        """
        rows, x, y = 0, [], []
        for part_x, part_y in self._encoded():
            x.append(part_x)
            y.append(part_y)
            held = sum(map(len, x))
            while held >= self.block_rows:
                whole = np.concatenate(x) if len(x) > 1 else x[0]
                targets = None if y[0] is None else (np.concatenate(y) if len(y) > 1 else y[0])
                yield whole[: self.block_rows], None if targets is None else targets[: self.block_rows]
                rows, held = rows + self.block_rows, held - self.block_rows
                x = [whole[self.block_rows :]]
                y = [None if targets is None else targets[self.block_rows :]]
        if x and sum(map(len, x)):
            rest = np.concatenate(x)
            rows += len(rest)
            yield rest, None if y[0] is None else np.concatenate(y)
        self.rows = rows

    def _encoded(self):
        encoder = Encoder(self.schema, self.source, True)
        self.unseen = encoder.unseen
        width, wide = len(self.schema.feature_names), np.float64 if self.scale is not None else self.dtype
        for block in known_blocks(self.schema, self.source, True):
            x = np.empty((block.rows, width), dtype=wide)
            lacks, y, keep = encoder.features(block, x), None, np.ones(block.rows, dtype=bool)
            if encoder.with_target:
                y, without = encoder.targets(block)
                keep &= ~without
                lacks |= without
                y = y if self.schema.class_names else y.astype(self.dtype)
            if self.missing == "error" and lacks.any():
                counts = encoder.missing
                raise ValueError(f"{self.source.label}: missing values in {len(counts)} "
                                 f"column{'s' if len(counts) > 1 else ''}: {describe_missing(counts)} (so far); choose "
                                 "missing='drop', or missing='mean' with a scale")  # fmt: skip
            if self.missing == "drop":
                keep &= ~lacks
            if not keep.all():
                x, y = x[keep], None if y is None else y[keep]
            yield (x if self.scale is None else self.scale.transform(x, self.dtype)), y

    def load(self) -> Table:
        """The whole table as arrays, read block by block: the same as `read_csv`, with less memory and two passes."""
        policy = "keep" if self.missing == "mean" else self.missing
        blocks = known_blocks(self.schema, self.source, True)
        filled = fill(self.schema, self.source, blocks, policy, True, self.dtype, False)
        return Table(filled, self.schema, self.notes)

    def batches(self, batch_size: int = 128, *, shuffle: bool = True, seed: int = 0) -> "TableStream":
        """The table as batches for `Trainer.fit`; see `stream_table`."""
        return TableStream(self, batch_size, shuffle, seed)


class TableStream(Described):
    """A table as batches ``(x, y)``, again in every epoch; made by `stream_table` and `TableDataset.batches`.

    Attributes
    ----------
    dataset : TableDataset
    schema : TableSchema
    feature_names, class_names : list of str
    rows : int or None
        As in `TableDataset`.
    """

    def __init__(self, dataset: TableDataset, batch_size: int = 128, shuffle: bool = True, seed: int = 0):
        self.dataset, self.batch_size = dataset, whole_number("batch_size", batch_size)
        self.shuffle, self.seed = bool(shuffle), int(seed)
        self._loops = 0

    def __repr__(self) -> str:
        return f"TableStream({self.dataset!r}, batches of {self.batch_size})"

    @property
    def schema(self) -> TableSchema:
        return self.dataset.schema

    @property
    def rows(self) -> int | None:
        return self.dataset.rows

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield (x, y) of the table in its own order; see `TableDataset.blocks`."""
        return self.dataset.blocks()

    def __iter__(self):
        """The batches of the next loop, counted from 0; `Trainer.fit` asks for epochs by number instead."""
        number, self._loops = self._loops, self._loops + 1
        return self.epoch(number)

    def epoch(self, number: int, start: int = 0) -> Iterator:
        """The batches of an epoch from batch `start` on: a function of the seed and these two numbers."""
        return itertools.islice(self._batches(number), start, None)

    def _batches(self, number):
        rest = None
        for place, (x, y) in enumerate(self.blocks()):
            if self.shuffle:
                order = np.random.default_rng([self.seed, number, place]).permutation(len(x))
                x, y = x[order], None if y is None else y[order]
            if rest is not None:
                x = np.concatenate([rest[0], x])
                y = None if y is None else np.concatenate([rest[1], y])
            whole = len(x) // self.batch_size * self.batch_size
            for start in range(0, whole, self.batch_size):
                part = slice(start, start + self.batch_size)
                yield x[part] if y is None else (x[part], y[part])
            rest = (x[whole:], None if y is None else y[whole:])
        if rest is not None and len(rest[0]):
            yield rest[0] if rest[1] is None else rest


def whole_number(name: str, value) -> int:
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, not {value!r}")
    return int(value)


def open_dataset(
    data: Any,
    target: str | int | None = None,
    *,
    schema: TableSchema | None = None,
    scale: StandardScale | None = None,
    missing: str = "error",
    types: Mapping[str | int, str] | None = None,
    na: str | Iterable[str] = (),
    ignore: Iterable[str | int] = (),
    header: bool = True,
    delimiter: str = "auto",
    decimal: str = ".",
    encoding: str = "utf-8",
    task: str = "auto",
    max_categories: int = MAX_CATEGORIES,
    block_rows: int = 16_384,
    dtype: DTypeLike = np.float32,
    reader: str = "auto",
) -> TableDataset:
    """Open a table of any length; only a block of rows is in memory.

    Without `schema` the table is read once from its beginning to its end, so that every class and category is known,
    wherever it stands.

    Parameters
    ----------
    data : path, DataFrame, Arrow table, ndarray or dict
        A text file, plain or gzip, Parquet or Feather (these need pyarrow); or what `read_table` takes.
    target : str or int, optional
        Column to predict, by name or position.
    schema : TableSchema, optional
        One that is known already: saves the first pass.
    scale : StandardScale, optional
        Applied to every row. ``StandardScale().fit_blocks(dataset.blocks())`` measures one over the table.
    missing : {"error", "drop", "mean", "keep"}
        "mean" is for a `scale` with ``missing="mean"``: NaN goes through to it.
    block_rows : int, default 16384
        Rows of a block.
    types, na, ignore, header, delimiter, decimal, encoding, task, max_categories, dtype, reader
        As in `read_csv`.

    Returns
    -------
    TableDataset

    Examples
    --------
    >>> raw = open_dataset("flights.csv.gz", "delay")
    >>> scale = StandardScale().fit_blocks(raw.blocks())
    >>> dataset = open_dataset("flights.csv.gz", schema=raw.schema, scale=scale)
    >>> trainer.fit(dataset.batches(256), epochs=3)
    """
    options = {"types": types, "na": na, "ignore": ignore, "header": header, "delimiter": delimiter,
               "decimal": decimal, "encoding": encoding, "missing": missing, "task": task,
               "max_categories": max_categories, "reader": reader, "target": target}  # fmt: skip
    block_rows = whole_number("block_rows", block_rows)
    check_policy(missing)
    if missing == "mean" and scale is not None and scale.missing != "mean":
        raise ValueError('missing="mean" needs a scale with missing="mean": the means are those of the scale')
    words = [na] if isinstance(na, str) else na
    if schema is not None:
        decimal, words, header = schema.decimal, schema.na, header and schema.header
    source = open_source(data, header=header, delimiter=delimiter, decimal=decimal, encoding=encoding, na=words,
                         reader=reader)  # fmt: skip
    notes = list(source.notes)
    if schema is None:
        subject = repr(os.fspath(data)) if isinstance(data, (str, os.PathLike)) else "data"
        learning = {"types": types, "ignore": ignore, "task": task, "max_categories": max_categories,
                    "decimal": decimal, "na": frozenset(words)}  # fmt: skip
        schema, _, notes = learn(source, target, learning, python_call("open_dataset", subject, _given(options)),
                                 keep=False)  # fmt: skip
    elif target is not None:
        from .table import _check_target

        _check_target(source, schema, target)
    return TableDataset(source, schema, notes, missing=missing, scale=scale, dtype=dtype, block_rows=block_rows)


def stream_table(
    data: Any, target: str | int | None = None, *, batch_size: int = 128, shuffle: bool = True, seed: int = 0,
    **options: Any,
) -> TableStream:  # fmt: skip
    """A table of any length as batches for `Trainer.fit`.

    Parameters
    ----------
    data, target
        As in `open_dataset`.
    batch_size : int, default 128
        The last batch of the table takes what remains.
    shuffle : bool, default True
        Another order of the rows within each block, in every epoch. Rows that are sorted over the whole table need a
        block as large as they allow, or have to be shuffled in the file.
    seed : int, default 0
    **options
        Those of `open_dataset`.

    Returns
    -------
    TableStream
        Iterable of ``(x, y)``, again and again; of ``x`` alone without a target. Batches are a function of the seed and
        the number of the epoch, so that a resumed fit continues with the same bits.
    """
    whole_number("batch_size", batch_size)
    return open_dataset(data, target, **options).batches(batch_size, shuffle=shuffle, seed=seed)
