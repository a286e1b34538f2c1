"""From a source to a schema and to arrays: one pass over a file, two over what is in memory."""

from collections.abc import Iterator

import numpy as np

from .cells import shorten
from .column import Block
from .encode import Encoder
from .infer import MAX_CATEGORIES, TASKS, Inference, named_like_an_identifier
from .schema import KINDS, TableSchema
from .source import NUMBER, TEXT, Retype, Source
from .summary import ColumnSummary

MISSING_POLICIES = ("error", "drop", "mean", "keep")


def check_policy(missing: str) -> None:
    if missing not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, not {missing!r}")


def column_types(source: Source, types, ignore) -> dict[int, str]:
    """Position -> stated kind, from names or positions."""
    stated: dict[int, str] = {}
    for name, kind in {**dict(types or {}), **dict.fromkeys(ignore, "ignored")}.items():
        if kind not in KINDS or kind == "target":
            allowed = ", ".join(kind for kind in KINDS if kind != "target")
            raise ValueError(f"the type of column {name!r} must be one of {allowed}, not {kind!r}")
        stated[source.find(name)] = kind
    return stated


def learn(source: Source, target, options: dict, call, keep: bool = True) -> tuple[TableSchema, list[Block], list[str]]:
    """Infer a schema from a whole table.

    Parameters
    ----------
    source : Source
    target : str, int or None
    options : dict
        ``types``, ``ignore``, ``task``, ``max_categories``, ``decimal``, ``na`` as in `read_csv`.
    call : callable
        Spells the way out of what has to be said; see `infer`.
    keep : bool, default True
        Whether columns that cost much to read may be kept.

    Returns
    -------
    schema : TableSchema
    blocks : list of Block
        The columns, where reading them again would cost more than keeping them; else empty.
    notes : list of str
    """
    if options["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {options['task']!r}")
    types = column_types(source, options["types"], options["ignore"])
    at = None if target is None else source.find(target)
    if at in types:
        raise ValueError(f"column {source.names[at]!r} cannot be both the target and {types[at]}")
    kinds: list[str | None] = list(source.guess_kinds())
    for position, kind in types.items():
        kinds[position] = {"ignored": None, "identifier": None, "numeric": kinds[position]}.get(kind, TEXT)
    settings = {"target": at, "types": types, "task": options["task"], "decimal": options["decimal"],
                "na": options["na"], "max_categories": int(options["max_categories"])}  # fmt: skip
    while True:
        try:
            blocks, summaries = _scan(source, kinds, at, options["decimal"], keep and not source.cheap)
            break
        except Retype as wrong:
            for position in wrong.positions:
                kinds[position] = TEXT
    if not any(summary is not None and summary.rows for summary in summaries):
        raise ValueError(f"{source.label} holds a header but no rows" if source.has_header else
                         f"{source.label} is empty: it holds no rows")  # fmt: skip
    inference = Inference(source, settings, call)
    schema = inference.schema(summaries)
    return schema, blocks, [*source.notes, *inference.notes]


def _scan(source, kinds, target, decimal, keep):
    summaries = [
        None if kind is None else ColumnSummary(decimal, position == target or named_like_an_identifier(name))
        for position, (kind, name) in enumerate(zip(kinds, source.names))
    ]
    blocks = []
    for block in source.blocks(kinds):
        for summary, column in zip(summaries, block.columns):
            if summary is not None:
                summary.add(column, block.first)
        if keep:
            blocks.append(block)
    return blocks, summaries


def kinds_for(schema: TableSchema, source: Source, with_target: bool) -> list[str | None]:
    """How each column of a source has to be read for a schema."""
    kinds: list[str | None] = [None] * len(source.names)
    for column, at in zip(schema.columns, schema.positions(source)):
        if at is None or column.kind in ("ignored", "identifier", "text"):
            continue
        if column.kind == "target" and not with_target:
            continue
        number = column.kind in ("numeric", "boolean") or (column.kind == "target" and not column.categories)
        kinds[at] = NUMBER if number else TEXT
    return kinds


def known_blocks(schema: TableSchema, source: Source, with_target: bool) -> Iterator[Block]:
    """The blocks of a source whose schema is known; columns that fail as numbers come as text, for their messages."""
    kinds = kinds_for(schema, source, with_target)
    given = 0
    while True:
        try:
            for block in source.blocks(kinds):
                behind = min(max(given - block.first, 0), block.rows)
                if behind < block.rows:
                    given = block.first + block.rows
                    yield block.tail(behind) if behind else block
            return
        except Retype as wrong:
            for position in wrong.positions:
                kinds[position] = TEXT


class Filled:
    """Arrays of a whole table, and what was noticed: see `Table`."""

    __slots__ = ("x", "y", "rows", "missing", "unseen", "rows_read")


def fill(schema: TableSchema, source: Source, blocks, policy: str, with_target: bool, dtype, fitted: bool) -> Filled:
    """Encode blocks into arrays.

    Parameters
    ----------
    blocks : list of Block, or iterable
        A list is emptied on the way, so that a block's memory is free before the next one is encoded.
    policy : str
        For missing values.
    fitted : bool
        Whether the schema was learnt from this table: means are then measured on it and kept in the schema.
    """
    encoder = Encoder(schema, source, with_target)
    width, parts, targets, lacks = len(schema.feature_names), _Rows(len(schema.feature_names), dtype), [], []
    for block in _consumed(blocks):
        missing = encoder.features(block, parts.more(block.rows))
        if encoder.with_target:
            y, without = encoder.targets(block)
            targets.append(y)
            missing = np.stack([missing, without])
        else:
            missing = np.stack([missing, np.zeros_like(missing)])
        lacks.append(missing)
    filled = Filled()
    filled.x = parts.array()
    filled.y = np.concatenate(targets) if targets else None
    if filled.y is not None and schema.task == "regression":
        filled.y = _as_dtype(filled.y, dtype, source, schema)
    filled.rows_read = len(filled.x)
    filled.missing, filled.unseen = encoder.missing, encoder.unseen
    lacks = np.concatenate(lacks, axis=1) if lacks else np.zeros((2, 0), dtype=bool)
    _apply_policy(filled, lacks, policy, source)
    if policy == "mean" and width:
        _fill_means(filled.x, schema, fitted)
    return filled


def _consumed(blocks):
    if not isinstance(blocks, list):
        yield from blocks
        return
    blocks.reverse()
    while blocks:
        yield blocks.pop()


def _as_dtype(y, dtype, source, schema):
    with np.errstate(over="ignore"):
        rounded = y.astype(dtype)
    if np.isinf(rounded).any():
        record = int(np.argmax(np.isinf(rounded)))
        raise ValueError(f"{source.label} {source.place(record)}: target {schema.target.name!r} holds {y[record]:g}, "
                         f"which does not fit {np.dtype(dtype).name}")  # fmt: skip
    return rounded


def _apply_policy(filled: Filled, lacks, policy: str, source) -> None:
    counts = filled.missing
    if policy == "error" and counts:
        raise ValueError(
            f"{source.label}: missing values in {len(counts)} column{'s' if len(counts) > 1 else ''}: "
            f"{describe_missing(counts)}; choose missing='drop' (leave such rows out) or missing='mean' (replace)"
        )
    # Nothing can stand for the answer itself: rows without a target go under every policy.
    keep = ~lacks[1] if policy != "drop" else ~lacks.any(axis=0)
    if not len(keep) or not keep.any():
        raise ValueError(f"{source.label}: no row is left without missing values: {describe_missing(counts)}")
    filled.rows = np.flatnonzero(keep)
    if len(filled.rows) < len(keep):
        filled.x = filled.x[filled.rows]
        filled.y = None if filled.y is None else filled.y[filled.rows]


def _fill_means(x, schema: TableSchema, fitted: bool) -> None:
    missing = np.isnan(x)
    if fitted or (schema.fill is None and missing.any()):
        held = ~missing
        means = np.where(held, x, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(held.sum(axis=0), 1)
        if fitted:
            schema.fill = means.tolist()
    else:
        means = np.array(schema.fill if schema.fill is not None else [0.0] * x.shape[1])
    rows, features = np.nonzero(missing)
    x[rows, features] = means[features]


class _Rows:
    """A row-major array that grows: `realloc` of large memory moves pages, not bytes."""

    def __init__(self, width: int, dtype):
        self._x = np.empty((0, width), dtype=dtype)
        self._rows = 0

    def more(self, rows: int) -> np.ndarray:
        start, self._rows = self._rows, self._rows + rows
        if self._rows > len(self._x):
            room = max(self._rows, min(2 * len(self._x), len(self._x) + (1 << 18)))
            self._x.resize((room, self._x.shape[1]), refcheck=False)
        return self._x[start : self._rows]

    def array(self) -> np.ndarray:
        self._x.resize((self._rows, self._x.shape[1]), refcheck=False)
        return self._x


def describe_missing(counts: dict[str, int], limit: int = 10) -> str:
    """'age' 12, 'income' 5: the columns with the most missing values first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name!r} {count:,}" for name, count in ordered[:limit])
    return text + (f" … ({len(ordered) - limit} more columns)" if len(ordered) > limit else "")


def describe_unseen(unseen: dict[str, dict[str, int]]) -> list[str]:
    """One line for each column that holds categories which the schema does not know."""
    return [
        f"column {name!r}: {sum(texts.values()):,} rows hold a category that the model has not seen: "
        f"{shorten(map(repr, texts), 5)}"
        for name, texts in unseen.items()
    ]


__all__ = ["MAX_CATEGORIES", "MISSING_POLICIES", "Filled", "check_policy", "column_types", "describe_missing",
           "describe_unseen", "fill", "kinds_for", "known_blocks", "learn"]  # fmt: skip
