"""From what was typed to arrays: training data in three parts, or data for a trained model."""

import os

import numpy as np

from fastnn.data.csv import describe_missing, read_csv
from fastnn.data.idx import read_idx, read_idx_folder
from fastnn.data.scale import StandardScale
from fastnn.data.split import auto_sizes, split_indices
from fastnn.data.text_table import shorten
from fastnn.io.preprocessing import Preprocessing

DIGITS = "digits"

PARTS = ("training", "validation", "test")


class TrainingData:
    """Raw features and targets of the three parts, what was noticed, and the preprocessing fitted on the first part.

    Attributes
    ----------
    parts : dict of str to (x, y)
        "training", "validation", "test"; a part may have no rows.
    preprocessing : Preprocessing
    notes : list of str
        One line each, for the user.
    shares : (float, float, float)
    """

    __slots__ = ("parts", "preprocessing", "notes", "shares")

    def __init__(self, parts, preprocessing, notes, shares):
        self.parts = parts
        self.preprocessing = preprocessing
        self.notes = notes
        self.shares = shares


def _shares(options, rows, has_test=False):
    """Shares of the parts: what was asked for, the rest by the number of rows."""
    _, validation, test = auto_sizes(rows)
    if has_test:
        validation, test = 0.1, 0.0
    if options.validation_share is not None:
        validation = options.validation_share
    if options.test_share is not None and not has_test:
        test = options.test_share
    if validation + test >= 1.0:
        raise ValueError(f"--validation-share {validation:g} and --test-share {test:g} leave no training data")
    return (1.0 - validation - test, validation, test)


def _cut(x, y, shares, seed, stratify):
    rows = split_indices(len(x), sizes=shares, seed=seed, stratify=y if stratify else None)
    return {name: (x[part], y[part]) for name, part in zip(PARTS, rows, strict=True)}


def _refuse_table_options(options, what):
    used = [name for name in ("target", "ignore", "categorical", "missing") if getattr(options, name)]
    if used:
        raise ValueError(f"--{used[0]} is for tables; {what} has no columns to choose from")


def _digits(options):
    from fastnn.data.digits import load_digits

    _refuse_table_options(options, DIGITS)
    x, y = load_digits()
    shares = _shares(options, len(x))
    parts = _cut(x, y, shares, options.seed, stratify=True)
    return _images(parts, "digits", shares, [])


def _idx(options):
    _refuse_table_options(options, "an IDX folder")
    if options.test_share is not None:
        raise ValueError("--test-share is not for IDX folders: they have test files of their own")
    (x, y), test = read_idx_folder(options.idx_dir)
    if x.shape[1] != test[0].shape[1]:
        raise ValueError(f"{options.idx_dir}: training images have {x.shape[1]} pixels, test images {test[0].shape[1]}")
    for labels in (y, test[1]):
        if labels.min() < 0:
            raise ValueError(f"{options.idx_dir}: label {labels.min()} is negative; classes are counted from 0")
    classes = int(y.max()) + 1
    if classes < 2:
        raise ValueError(f"{options.idx_dir}: every label is 0; two classes are needed")
    if test[1].max() >= classes:
        raise ValueError(
            f"{options.idx_dir}: the test labels go up to {test[1].max()}, the training labels to {y.max()}"
        )
    shares = _shares(options, len(x), has_test=True)
    parts = _cut(x, y, shares, options.seed, stratify=True)
    parts["test"] = test
    return _images(parts, "images", shares, [])


def _images(parts, kind, shares, notes):
    # One mean and deviation for all pixels: dividing a border pixel by its own tiny deviation would blow up noise.
    scale = StandardScale(per_feature=False).fit(parts["training"][0])
    classes = int(max(y.max() for _, y in parts.values() if len(y))) + 1
    names = [str(label) for label in range(classes)]
    return TrainingData(parts, Preprocessing(kind, "classification", scale, class_names=names), notes, shares)


def _table(options):
    if options.target is None:
        names = read_csv(options.data, header=options.header, delimiter=options.delimiter, missing="keep",
                         encoding=options.encoding, max_categories=10**9, decimal=options.decimal)  # fmt: skip
        columns = shorten([column["name"] for column in names.encoder.columns])
        raise ValueError(f"say with --target which column of {options.data} to predict: {columns}")
    policy = options.missing or "error"
    table = read_csv(
        options.data,
        options.target,
        header=options.header,
        delimiter=options.delimiter,
        decimal=options.decimal,
        missing="keep" if policy == "mean" else policy,
        ignore=options.ignore,
        categorical=options.categorical,
        task=options.task,
        max_categories=options.max_categories,
        dtype=np.float64,  # scaled in float64, so that dates and large offsets keep their digits
        encoding=options.encoding,
    )
    if len(table) < 3:
        raise ValueError(f"{options.data} has {len(table)} rows; at least 3 are needed to train and test")
    shares = _shares(options, len(table))
    classify = table.task == "classification"
    parts = _cut(table.x, table.y, shares, options.seed, stratify=classify)
    x, y = parts["training"]
    scale = StandardScale(missing=policy if policy == "mean" else "error").fit(x, table.encoder.number_features)
    target_scale = None if classify else StandardScale().fit(y.reshape(-1, 1))
    made = Preprocessing("table", table.task, scale, feature_names=table.feature_names, class_names=table.class_names,
                         encoder=table.encoder, target_scale=target_scale)  # fmt: skip
    return TrainingData(parts, made, _table_notes(table, policy, options), shares)


def _table_notes(table, policy, options):
    notes = []
    if table.missing:
        dropped = table.file_rows - len(table)
        done = f"{dropped:,} rows left out" if dropped else ""
        filled = "means put in" if policy == "mean" else ""
        notes.append(f"missing values: {describe_missing(table.missing)}: {' and '.join(filter(None, (filled, done)))}")
    if options.task == "auto":
        # Whole numbers can be meant either way; texts and fractions cannot.
        whole = table.encoder.target.get("numbers", False) or bool(np.all(table.y == np.floor(table.y)))
        other = "regression" if table.task == "classification" else "classification"
        hint = f" (--task {other} overrides)" if whole and table.encoder.target.get("numbers", True) else ""
        notes.append(f"{table.task}, from the values of {table.encoder.target['name']!r}{hint}")
    return notes


def load_training(options):
    """Training data for what was typed; a ValueError or OSError in one line if that cannot be."""
    if options.idx_dir is not None:
        return _idx(options)
    if options.data == DIGITS:
        return _digits(options)
    _refuse_folder(options.data)
    return _table(options)


def _refuse_folder(path):
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; for a folder of IDX files say --idx-dir {path}")


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
    file_rows : int
    notes : list of str
    """

    __slots__ = ("x", "y", "rows", "file_rows", "notes")

    def __init__(self, x, y, rows, file_rows, notes):
        self.x = x
        self.y = y
        self.rows = rows
        self.file_rows = file_rows
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
    _refuse_folder(options.data)
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
    table = read_csv(options.data, header=options.header, delimiter=options.delimiter, encoding=options.encoding)
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
    from fastnn.data.idx import TYPES

    with open_binary(path) as file:
        try:
            head = file.read(4)
        except (OSError, EOFError):
            return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in TYPES


def _new_table(options, made, dtype, with_target):
    _refuse_folder(options.data)
    policy = options.missing or ("mean" if made.scale.missing == "mean" else "error")
    table = read_csv(
        options.data,
        None if with_target else False,
        encoder=made.encoder,
        header=options.header,
        delimiter=options.delimiter,
        missing="keep" if policy == "mean" else policy,
        dtype=np.float64,
        encoding=options.encoding,
    )
    if with_target and table.y is None:
        raise ValueError(f"{options.data} has no column {made.encoder.target['name']!r} to compare predictions with")
    made.scale.missing = "mean" if policy == "mean" else "error"
    notes = []
    if table.missing:
        dropped = table.file_rows - len(table)
        left_out = f": {dropped:,} rows left out" if dropped else ""
        notes.append(f"missing values: {describe_missing(table.missing)}{left_out}")
    for column, texts in table.unknown.items():
        notes.append(
            f"column {column!r}: {sum(texts.values()):,} rows hold a text the model has not seen: {shorten(texts, 5)}"
        )
    return NewData(made.inputs(table.x, dtype), table.y, table.rows, table.file_rows, notes)
