"""Files larger than memory: a text table read block by block, and arrays that stay on the disk."""

import io
import itertools
import zlib

import numpy as np

from fastnn.data.csv import MISSING_POLICIES, rows_to_keep
from fastnn.data.encoder import TableEncoder
from fastnn.data.files import check_is_file, open_binary
from fastnn.data.text_table import DELIMITERS, TextTable, _split, guess_delimiter, guess_header, shorten


class CsvStream:
    """A text table as batches ``(x, y)``, again in every epoch; made by `stream_csv`.

    Attributes
    ----------
    encoder : TableEncoder
    feature_names, class_names : list of str
    rows : int or None
        Rows of the file without those that were dropped, once it has been read to the end.
    """

    def __init__(self, path, encoder, options):
        self.path, self.encoder = str(path), encoder
        self.has_header, self.names, self.delimiter, self.encoding = options.pop("form")
        self.batch_size, self.block_rows = options["batch_size"], options["block_rows"]
        self.shuffle, self.seed, self.missing = options["shuffle"], options["seed"], options["missing"]
        self.scale, self.dtype = options["scale"], options["dtype"]
        self.rows = None
        self._epoch = 0

    @property
    def feature_names(self):
        return self.encoder.feature_names

    @property
    def class_names(self):
        return self.encoder.class_names

    def __repr__(self):
        return f"CsvStream({self.path!r}, {len(self.feature_names)} features, batches of {self.batch_size})"

    def blocks(self):
        """Yield (x, y) of at most `block_rows` rows in the order of the file; y is None without a target."""
        rows = 0
        for table in _tables(self.path, self.block_rows, self.has_header, self.names, self.delimiter, self.encoding):
            lacking = self.encoder.missing(table)
            keep, _ = rows_to_keep(self.path, lacking, self.encoder, self._policy(), len(table.lines))
            x, _ = self.encoder.features(table, np.float64 if self.scale is not None else self.dtype)
            y = self.encoder.targets(table, self.dtype)
            x, y = x[keep], None if y is None else y[keep]
            if self.scale is not None:
                x = self.scale.transform(x, self.dtype)
            rows += len(x)
            if len(x):
                yield x, y
        self.rows = rows

    def _policy(self):
        return "keep" if self.missing == "mean" else self.missing

    def __iter__(self):
        epoch, self._epoch = self._epoch, self._epoch + 1
        rest = None
        for number, (x, y) in enumerate(self.blocks()):
            if self.shuffle:
                order = np.random.default_rng([self.seed, epoch, number]).permutation(len(x))
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


def _lines(path, encoding):
    """Lines of a text file, plain or gzip, one after the other."""
    try:
        with open_binary(path) as file, io.TextIOWrapper(file, encoding=encoding, newline=None) as text:
            yield from text
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from None
    except UnicodeDecodeError:
        name = encoding.replace("-sig", "")
        raise ValueError(f"{path}: the bytes are not {name} text; choose another encoding, such as latin-1") from None
    except LookupError:
        raise ValueError(f"unknown text encoding {encoding!r}") from None


def _tables(path, block_rows, has_header, names, delimiter, encoding):
    """Yield TextTables of at most `block_rows` rows."""
    rows = _split(_lines(path, encoding), delimiter, path)
    if has_header:
        next(rows, None)
    while block := list(itertools.islice(rows, block_rows)):
        for number, cells in block:
            if len(cells) != len(names):
                raise ValueError(
                    f"{path} line {number}: {len(cells)} cells, but {len(names)} were expected "
                    f"(delimiter: {DELIMITERS.get(delimiter, repr(delimiter))})"
                )
        columns = [list(column) for column in zip(*(cells for _, cells in block), strict=True)]
        yield TextTable(path, names, has_header, columns, [number for number, _ in block])


def _form(path, header, delimiter, encoding, wanted):
    """(has_header, names, delimiter, encoding) from the first hundred lines."""
    sample = [line for line in itertools.islice(_lines(path, encoding), 100) if line.strip()]
    if not sample:
        raise ValueError(f"{path} is empty: it holds no rows")
    if delimiter == "auto":
        delimiter = guess_delimiter(sample)
    rows = [cells for _, cells in _split(sample, delimiter, path)]
    if header == "auto":
        header = guess_header(rows, wanted)
    names = rows[0] if header else [f"c{i}" for i in range(len(rows[0]))]
    if len(set(names)) < len(names) or "" in names:
        raise ValueError(f"{path}: the header names a column twice, or not at all: {shorten(names)}")
    return bool(header), names, delimiter, encoding


def stream_csv(
    path, target=None, *, batch_size=128, block_rows=16_384, shuffle=True, seed=0, encoder=None, scale=None,
    missing="error", header="auto", delimiter="auto", decimal=".", ignore=(), categorical=(), task="auto",
    max_categories=100, dtype=np.float32, encoding="utf-8-sig",
):  # fmt: skip
    """A text table of any length, plain or gzip, as batches for `Trainer.fit`; only a block of rows is in memory.

    Parameters
    ----------
    path : str or path-like
    target : str or int, optional
        Column to predict, as in `read_csv`.
    batch_size : int, default 128
        The last batch of the file takes what remains.
    block_rows : int, default 16384
        Rows read at a time.
    shuffle : bool, default True
        Another order of the rows within each block, in every epoch. Rows that are sorted over the whole file need a
        block as large as they allow, or have to be shuffled in the file.
    seed : int, default 0
    encoder : TableEncoder, optional
        Default: made from the first block, where each column must show its kind, and each class and category occur.
        `read_csv` of a sample of the rows gives one of your own: ``read_csv(sample, target).encoder``.
    scale : StandardScale, optional
        Applied to every row. ``StandardScale().fit_blocks(stream.blocks())`` measures one over the file.
    missing : {"error", "drop", "mean", "keep"}
        "mean" is for a `scale` with ``missing="mean"``: NaN goes through to it.
    header, delimiter, decimal, ignore, categorical, task, max_categories, dtype, encoding
        As in `read_csv`.

    Returns
    -------
    CsvStream
        Iterable of ``(x, y)``, again and again; of ``x`` alone without a target.

    Examples
    --------
    >>> raw = stream_csv("flights.csv.gz", "delay", block_rows=50_000)
    >>> scale = StandardScale().fit_blocks(raw.blocks())
    >>> stream = stream_csv("flights.csv.gz", "delay", encoder=raw.encoder, scale=scale)
    >>> trainer.fit(stream, epochs=3)
    """
    path = str(path)
    check_is_file(path)
    if missing not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, not {missing!r}")
    if missing == "mean" and scale is not None and scale.missing != "mean":
        raise ValueError('missing="mean" needs a scale with missing="mean": the means are those of the scale')
    for name, value in (("batch_size", batch_size), ("block_rows", block_rows)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, not {value!r}")
    wanted = [str(name) for name in (target, *ignore, *categorical) if isinstance(name, str)]
    if encoder is not None and header == "auto":
        header = encoder.has_header
    form = _form(path, header, delimiter, encoding, wanted)
    if encoder is None:
        first = next(_tables(path, int(block_rows), *form), None)
        if first is None:
            raise ValueError(f"{path} holds a header but no rows")
        encoder = TableEncoder.fit(first, target=target, task=task, ignore=ignore, categorical=categorical,
                                   max_categories=max_categories, decimal=decimal)  # fmt: skip
    options = {"form": form, "batch_size": int(batch_size), "block_rows": int(block_rows), "shuffle": bool(shuffle),
               "seed": int(seed), "missing": missing, "scale": scale, "dtype": np.dtype(dtype)}  # fmt: skip
    return CsvStream(path, encoder, options)


def read_npy(path, *, memory_map=True):
    """Open a NumPy file as an array that stays on the disk: `Trainer.fit` reads the rows of each batch.

    Parameters
    ----------
    path : str or path-like
        A ``.npy`` file of numbers. Arrays of Python objects are refused: reading them would run code.
    memory_map : bool, default True
        False reads it into memory.

    Returns
    -------
    numpy.memmap, read-only; or ndarray

    Raises
    ------
    ValueError
        If it is no such file, or is truncated.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        hint = "; np.load opens .npz archives" if magic[:2] == b"PK" else ""
        raise ValueError(f"{path} is not a .npy file{hint}")
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
