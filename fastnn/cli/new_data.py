"""From what was typed to rows for a trained model."""

import numpy as np

from fastnn.cli.sources import DIGITS, open_table, refuse_folder
from fastnn.data.cells import parse_number
from fastnn.data.idx import TYPES, read_idx, read_idx_folder
from fastnn.data.reading import describe_missing
from fastnn.data.split import split_indices
from fastnn.data.table import read_csv, table_from_source
from fastnn.data.text_source import TextSource
from fastnn.io.preprocessing import Preprocessing


class NewData:
    """Rows for a trained model.

    Attributes
    ----------
    x : array of shape (rows, features)
        Scaled.
    y : array of shape (rows,) or None
        Class numbers or numbers as in the file.
    rows : int64 array
        Which rows of the file these are.
    rows_read : int
    notes : list of str
    """

    __slots__ = ("x", "y", "rows", "rows_read", "notes")

    def __init__(self, x, y, rows, rows_read, notes):
        self.x = x
        self.y = y
        self.rows = rows
        self.rows_read = rows_read
        self.notes = notes


def _all_rows(x, y, made, dtype, notes=()):
    return NewData(made.inputs(x, dtype), y, np.arange(len(x)), len(x), list(notes))


def load_new(options, file, with_target):
    """Data for a trained model, as `with_target` for `evaluate` (True) or `predict` (False).

    Parameters
    ----------
    options : namespace
    file : ModelFile
    with_target : bool
    """
    made = Preprocessing.from_dict(file.preprocessing)
    dtype = file.model.dtype
    if made.kind == "table":
        if options.idx_dir is not None or options.data == DIGITS:
            raise ValueError(f"{options.model} was trained on a table; give it a table, not {options.data or 'images'}")
        return _new_table(options, made, dtype, with_target), made
    if options.idx_dir is not None:
        ((x, y),) = read_idx_folder(options.idx_dir, parts=("test",))
        return _new_images(x, y, options.idx_dir, made, dtype, ["test files of the folder"]), made
    if options.data == DIGITS:
        return _new_digits(file, made, dtype, with_target), made
    refuse_folder(options.data)
    return _new_pixels(options, made, dtype, with_target), made


def _new_images(x, y, name, made, dtype, notes):
    if x.shape[1] != made.scale.features:
        raise ValueError(f"{name} has {x.shape[1]} pixels in an image; the model was trained on {made.scale.features}")
    if y is not None and len(y) and not 0 <= y.min() <= y.max() < len(made.class_names):
        raise ValueError(
            f"{name} has labels from {y.min()} to {y.max()}; the model knows 0 to {len(made.class_names) - 1}"
        )
    return _all_rows(x, y, made, dtype, notes)


def _new_digits(file, made, dtype, with_target):
    from fastnn.data.digits import load_digits

    x, y = load_digits()
    notes = []
    seed, shares = file.training.get("seed"), file.training.get("shares")
    if with_target and made.kind == DIGITS and isinstance(seed, int) and isinstance(shares, list):
        # Training rows would flatter the model: the same seed and shares give back the part it has not seen.
        _, _, rows = split_indices(len(x), sizes=shares, seed=seed, stratify=y)
        if len(rows):
            x, y = x[rows], y[rows]
            notes.append("the part of the digits that was kept for the test")
    return _new_images(x, y, DIGITS, made, dtype, notes)


def _new_pixels(options, made, dtype, with_target):
    """A file of images for a model that was trained on images: IDX, or a table of pixels with the label last."""
    if _is_idx(options.data):
        if with_target:
            raise ValueError(f"{options.data} holds images without labels; evaluate a folder with --idx-dir")
        images = read_idx(options.data)
        if images.ndim < 2:
            raise ValueError(f"{options.data} holds {images.ndim}-dimensional data, not images")
        return _new_images(images.reshape(len(images), -1), None, options.data, made, dtype, [])
    form = {"delimiter": options.delimiter, "encoding": options.encoding}
    first = next(TextSource(options.data, header=False, **form).records())[1]
    # Names of pixels do not matter: a first row of numbers is a picture.
    header = not options.no_header and any(parse_number(cell.strip()) is None for cell in first)
    table = read_csv(options.data, header=header, types=dict.fromkeys(range(len(first)), "numeric"), **form)
    x, y = table.x, None
    if x.shape[1] == made.scale.features + 1:
        x, last = x[:, :-1], x[:, -1]
        y = last.astype(np.int64)
        if with_target and not np.array_equal(y, last):
            raise ValueError(f"{options.data}: the last column must hold the label, a whole number")
    elif with_target and x.shape[1] == made.scale.features:
        raise ValueError(f"{options.data} has no column of labels after the {x.shape[1]} pixels")
    return _new_images(x, y if with_target else None, options.data, made, dtype, [])


def _is_idx(path):
    from fastnn.data.files import open_binary

    with open_binary(path) as file:
        try:
            head = file.read(4)
        except (OSError, EOFError):
            return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in TYPES


def kept_columns(options, made):
    """(name, cells) of the columns that --keep names, as they stand in the table."""
    if not options.keep:
        return []
    if made.kind != "table":
        raise ValueError(f"--keep is for tables; {options.data or options.idx_dir} has no columns to keep")
    source = open_table(options, made.schema)
    positions = [source.find(name) for name in options.keep]
    return [(source.names[at], cells) for at, cells in zip(positions, source.raw_cells(positions))]


def _new_table(options, made, dtype, with_target):
    refuse_folder(options.data)
    policy = options.missing or ("mean" if made.scale.missing == "mean" else "error")
    source = open_table(options, made.schema)
    table = table_from_source(source, None if with_target else False, schema=made.schema,
                              missing="keep" if policy == "mean" else policy, dtype=np.float64, call=None,
                              options=None)  # fmt: skip
    if with_target and table.y is None:
        raise ValueError(f"{options.data} has no column {made.schema.target.name!r} to compare predictions with")
    made.scale.missing = "mean" if policy == "mean" else "error"
    notes = list(table.notes)
    if table.missing:
        dropped = table.rows_read - len(table)
        left_out = f": {dropped:,} rows left out" if dropped else ": the training part's means put in"
        notes.append(f"missing values: {describe_missing(table.missing)}{left_out}")
    return NewData(made.inputs(table.x, dtype), table.y, table.rows, table.rows_read, notes)
