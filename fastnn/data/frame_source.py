"""Frames and arrays in memory as sources, column by column: pandas, polars, NumPy arrays, dicts of columns.

An adapter is chosen by the module that the object's class comes from, so that nothing is imported that the user has not
imported already.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from .cells import NO_TIME, number_name, within_float64
from .column import Block, NumberColumn, TextColumn, TimeColumn
from .source import Source, as_texts

_ROWS = 65_536


class FrameSource(Source):
    """Columns in memory; `cut(position, rows)` gives a part of one, in any form that `_adapt` knows."""

    def __init__(self, label, names, rows, cut, na=(), has_header=True):
        super().__init__()
        self.label, self.rows, self.na, self.has_header = label, rows, frozenset(na), has_header
        self._cut = cut
        self.set_names([str(name).strip() for name in names])
        if not self.names:
            raise ValueError(f"{label} has no columns")

    def blocks(self, kinds) -> Iterator[Block]:
        for first in range(0, self.rows, _ROWS):
            part = slice(first, min(first + _ROWS, self.rows))
            columns = [None if kind is None else self._column(position, part) for position, kind in enumerate(kinds)]
            yield Block(first, part.stop - part.start, columns)

    def _column(self, position, part):
        try:
            return _adapt(self._cut(position, part), self.na)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.label}: column {self.names[position]!r} {error}; convert it, or leave it out (ignore)"
            ) from None


def _adapt(values, na):
    """A Column of one column's values: a NumPy array, or a series of pandas or polars."""
    module = type(values).__module__.split(".")[0]
    if module == "pandas":
        return _from_pandas(values, na)
    if module == "polars":
        return _from_polars(values, na)
    return _from_numpy(np.asanyarray(values), na)


def _numbers(values: np.ndarray, missing: np.ndarray | None = None, truth: bool = False):
    """Of real numbers: float64 if it holds them exactly, else their spellings."""
    if values.dtype.kind == "f" or within_float64(values):
        numbers = values.astype(np.float64)
        if values.dtype.kind != "f" or values.dtype.itemsize <= 8:
            if missing is not None and missing.any():
                numbers[missing] = np.nan
            if within_float64(numbers):
                return NumberColumn(numbers, truth)
    distinct, codes = np.unique(values, return_inverse=True)
    words = ["" if value != value else number_name(value.item()) if abs(value) != np.inf else repr(value.item())
             for value in distinct]  # fmt: skip
    codes = codes.reshape(-1).astype(np.int32)
    return TextColumn.from_codes(codes if missing is None else np.where(missing, -1, codes), words)


def _times(values: np.ndarray) -> TimeColumn:
    clock = values.dtype != np.dtype("datetime64[D]")
    micros = values.astype("datetime64[us]").view(np.int64)
    return TimeColumn(np.where(np.isnat(values), NO_TIME, micros), clock)


def _word(value) -> str:
    """A Python object of an object column as a cell; empty where it stands for nothing."""
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, (float, np.floating)) and value != value:
        return ""
    if isinstance(value, (str, np.str_)):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return number_name(float(value)) if abs(value) != np.inf else repr(float(value))
    if isinstance(value, bytes):
        raise TypeError("holds bytes, not text")
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise TypeError(f"holds objects of type {type(value).__name__}")
    return str(value)  # dates, Decimal: their texts are those of the grammar


def _from_numpy(values: np.ndarray, na):
    if values.ndim != 1:
        raise ValueError(f"has {values.ndim} axes; a column has one")
    mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    values = np.ma.getdata(values)
    kind = values.dtype.kind
    if kind == "b":
        numbers = values.astype(np.float64)
        if mask is not None:
            numbers[mask] = np.nan
        return NumberColumn(numbers, truth=True)
    if kind in "iuf":
        return _numbers(values, mask)
    if kind == "M":
        return _times(values if mask is None else np.where(mask, np.datetime64("NaT"), values))
    if kind in "USO" or kind == "T":
        cells = [_word(v.decode() if isinstance(v, bytes) and kind == "S" else v) for v in values.tolist()]
        if mask is not None:
            cells = ["" if hidden else cell for hidden, cell in zip(mask, cells)]
        return TextColumn.from_cells(cells, na)
    raise TypeError(f"holds {values.dtype}, which has no place in a table")


def _from_pandas(series, na):
    dtype = series.dtype
    name = str(dtype)
    if name == "category":
        inner = _adapt(series.cat.categories.to_series(), na)
        codes = np.asarray(series.cat.codes)
        if isinstance(inner, TimeColumn):
            return TimeColumn(np.append(inner.micros, NO_TIME)[codes], inner.clock)
        words = as_texts(inner)
        column = TextColumn.from_codes(codes, words, na)
        column.declared = True
        return column
    if name.startswith("datetime64"):
        naive = series.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(dtype, "tz", None) else series
        column = _times(naive.to_numpy())
        return column
    if name.startswith("Sparse"):
        return _from_numpy(series.sparse.to_dense().to_numpy(), na)
    if isinstance(dtype, np.dtype):
        return _from_numpy(series.to_numpy(), na)
    if name.lower() in ("boolean", "bool[pyarrow]"):
        return NumberColumn(series.to_numpy(dtype=np.float64, na_value=np.nan), truth=True)
    if getattr(dtype, "kind", "") in "iu":
        missing = series.isna().to_numpy()
        return _numbers(series.to_numpy(dtype=dtype.numpy_dtype, na_value=0), missing)
    if getattr(dtype, "kind", "") == "f" or name.startswith(("float", "double", "decimal")):
        return _numbers(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return _from_numpy(series.astype(object).to_numpy(), na)  # string, period, dates of Arrow types


def _from_polars(series, na):
    dtype = series.dtype
    name = str(dtype)
    if name == "Null":
        return NumberColumn(np.full(len(series), np.nan))
    if name == "Boolean":
        return NumberColumn(series.cast(_polars().Float64).fill_null(np.nan).to_numpy(), True)
    if dtype.is_integer() or name.startswith("Decimal"):
        missing = series.is_null().to_numpy()
        if name.startswith("Decimal") or name in ("Int128", "UInt128"):
            return TextColumn.from_cells(["" if cell is None else cell for cell in
                                          series.cast(_polars().String).to_list()])  # fmt: skip
        return _numbers(series.fill_null(0).to_numpy(), missing)
    if dtype.is_float():
        return _numbers(series.fill_null(np.nan).to_numpy())
    if name == "Date" or name.startswith("Datetime"):
        moments = series.cast(_polars().Datetime("us"))
        missing = moments.is_null().to_numpy()
        micros = moments.to_physical().fill_null(0).to_numpy()
        return TimeColumn(np.where(missing, NO_TIME, micros), name != "Date")
    if name == "String" or name.startswith(("Categorical", "Enum")):
        cells = series.cast(_polars().String).to_list()
        column = TextColumn.from_cells(["" if cell is None else cell for cell in cells], na)
        column.declared = name != "String"
        return column
    raise TypeError(f"holds {name}, which has no place in a table")


def _polars():
    import polars

    return polars


def frame_source(frame, na=()) -> Source | None:
    """A source from an object in memory; None if it is of no kind that is known.

    Parameters
    ----------
    frame : DataFrame of pandas or polars, NumPy array of two axes or with named fields, mapping of names to columns
    """
    module = type(frame).__module__.split(".")[0]
    if module == "pandas" and hasattr(frame, "iloc") and hasattr(frame, "columns"):
        return FrameSource("the DataFrame", _pandas_names(frame), len(frame),
                           lambda at, part: frame.iloc[part, at], na)  # fmt: skip
    if module == "polars" and hasattr(frame, "collect"):
        frame = frame.collect()
    if module == "polars" and hasattr(frame, "get_columns"):
        columns = frame.get_columns()
        return FrameSource("the DataFrame", frame.columns, frame.height, lambda at, part: columns[at][part], na)
    if isinstance(frame, np.ndarray):
        return _array_source(frame, na)
    if isinstance(frame, Mapping):
        return _mapping_source(frame, na)
    return None


def _pandas_names(frame) -> list[str]:
    return ["_".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]


def _array_source(array, na) -> Source:
    if array.dtype.names:
        if array.ndim != 1:
            raise ValueError(f"an array with named fields must have one axis, not {array.ndim}")
        names = array.dtype.names
        return FrameSource("the array", names, len(array), lambda at, part: array[names[at]][part], na)
    if array.ndim != 2:
        raise ValueError(f"an array must have two axes (rows, columns), not shape {array.shape}")
    names = [f"c{i}" for i in range(array.shape[1])]
    return FrameSource("the array", names, len(array), lambda at, part: array[part, at], na, has_header=False)


def _mapping_source(columns, na) -> Source:
    held = {name: values if hasattr(values, "dtype") else np.asarray(_plain(values))
            for name, values in columns.items()}  # fmt: skip
    lengths = {name: len(values) for name, values in held.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
        raise ValueError(f"the columns of the dict must have equal lengths, not {shown}")
    arrays = list(held.values())
    rows = next(iter(lengths.values()), 0)
    return FrameSource("the dict", list(held), rows, lambda at, part: arrays[at][part], na)


def _plain(values):
    """A list as what NumPy reads right: mixed with None or texts, it stays objects."""
    values = list(values)
    kinds = {type(value) for value in values}
    return values if len(kinds) <= 1 or kinds <= {int, float} else np.array(values, dtype=object)
