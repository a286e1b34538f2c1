"""From what was typed to arrays: training data in three parts, or data for a trained model."""

import os

import numpy as np

from fastnn.cli.network import loss_class
from fastnn.data.cells import shorten
from fastnn.data.clip import SmoothClip
from fastnn.data.idx import read_idx_folder
from fastnn.data.infer import command_line
from fastnn.data.reading import describe_missing
from fastnn.data.scale import StandardScale
from fastnn.data.split import auto_sizes, split_indices
from fastnn.data.table import open_source, table_from_source
from fastnn.io.preprocessing import Preprocessing

DIGITS = "digits"
STDIN = "-"

PARTS = ("training", "validation", "test")


def fit_preprocessing(made, x, y, clip=True):
    """Measure clip and scales of a table's preprocessing on some rows (the training part, or all for a refit)."""
    numbers = made.schema.number_features
    made.clip = SmoothClip.fit(x, numbers) if clip else None
    made.scale = StandardScale(missing=made.scale.missing).fit(x if made.clip is None else made.clip.apply(x), numbers)
    if made.task == "regression":
        column = np.asarray(y, np.float64).reshape(-1, 1)
        made.target_clip = SmoothClip.fit(column) if clip else None
        made.target_scale = StandardScale().fit(column if made.target_clip is None else made.target_clip.apply(column))


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
    used = [name for name in ("target", "ignore", "type", "na", "missing") if getattr(options, name)]
    if used:
        raise ValueError(f"--{used[0]} is for tables; {what} has no columns to choose from")


def _digits(options):
    from fastnn.data.digits import load_digits

    _refuse_table_options(options, DIGITS)
    x, y = load_digits()
    shares = _shares(options, len(x))
    parts = _cut(x, y, shares, options.seed, stratify=True)
    return _images(parts, "digits", shares, [], loss_class("classification", options.loss))


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
    return _images(parts, "images", shares, [], loss_class("classification", options.loss))


def _images(parts, kind, shares, notes, loss):
    # One mean and deviation for all pixels: dividing a border pixel by its own tiny deviation would blow up noise.
    scale = StandardScale(per_feature=False).fit(parts["training"][0])
    classes = int(max(y.max() for _, y in parts.values() if len(y))) + 1
    names = [str(label) for label in range(classes)]
    made = Preprocessing(kind, "classification", scale, class_names=names, loss=loss)
    return TrainingData(parts, made, notes, shares)


def open_table(options, schema=None):
    """The table that was named, as a source; `schema` knows decimal sign, words for missing cells and header."""
    na, decimal, header = options.na, getattr(options, "decimal", "."), not options.no_header
    if schema is not None:
        na, decimal, header = [*schema.na, *na], schema.decimal, header and schema.header
    if options.data == STDIN:
        return open_source(options.stdin, header=header, delimiter=options.delimiter, decimal=decimal,
                           encoding=options.encoding, na=na, label="standard input")  # fmt: skip
    return open_source(options.data, header=header, delimiter=options.delimiter, decimal=decimal,
                       encoding=options.encoding, na=na)  # fmt: skip


def _table(options):
    source = open_table(options)
    if options.target is None:
        raise ValueError(f"say with --target which column of {options.data} to predict: {shorten(source.names)}")
    policy = options.missing or "mean"
    learning = {"types": dict(options.type), "ignore": options.ignore, "task": options.task,
                "max_categories": options.max_categories, "decimal": options.decimal,
                "na": frozenset(options.na)}  # fmt: skip
    # Scaled in float64, so that dates and large offsets keep their digits.
    table = table_from_source(source, options.target, schema=None, missing="keep" if policy == "mean" else policy,
                              dtype=np.float64, call=command_line(options.words), options=learning)  # fmt: skip
    if len(table) < 3:
        raise ValueError(f"{options.data} has {len(table)} rows; at least 3 are needed to train and test")
    shares = _shares(options, len(table))
    classify = table.task == "classification"
    parts = _cut(table.x, table.y, shares, options.seed, stratify=classify)
    scale = StandardScale(missing=policy if policy == "mean" else "error")
    made = Preprocessing("table", table.task, scale, class_names=table.class_names, schema=table.schema,
                         loss=loss_class(table.task, options.loss))  # fmt: skip
    fit_preprocessing(made, *parts["training"], clip=not options.no_clip)
    notes = [*_table_notes(table, policy, options), *_clip_notes(made, options.target)]
    return TrainingData(parts, made, notes, shares)


def _clip_notes(made, target):
    """Which columns have values that the clip pulls in."""
    clips = [(made.clip, made.feature_names), (made.target_clip, [str(target)])]
    told = [f"{name!r} {count:,}" for clip, names in clips if clip is not None
            for name, count in zip(names, clip.beyond.tolist()) if count]  # fmt: skip
    if not told:
        return []
    return [f"values beyond 3 times the range from 1 % to 99 % are pulled in smoothly: {shorten(told, 6)} "
            "(--no-clip leaves them)"]  # fmt: skip


def _table_notes(table, policy, options):
    notes = list(table.notes)
    if table.missing:
        dropped = table.rows_read - len(table)
        done = f"{dropped:,} rows left out" if dropped else ""
        filled = "the training part's means put in" if policy == "mean" else ""
        notes.append(f"missing values: {describe_missing(table.missing)}: {' and '.join(filter(None, (filled, done)))}")
    if options.task == "auto":
        # Whole numbers can be meant either way; texts and fractions cannot.
        target = table.schema.target
        whole = target.numbers or (not target.categories and bool(np.all(table.y == np.floor(table.y))))
        other = "regression" if table.task == "classification" else "classification"
        hint = f" (--task {other} overrides)" if whole else ""
        notes.append(f"{table.task}, from the values of {target.name!r}{hint}")
    return notes


def load_training(options):
    """Training data for what was typed; a ValueError or OSError in one line if that cannot be."""
    if options.idx_dir is not None:
        return _idx(options)
    if options.data == DIGITS:
        return _digits(options)
    refuse_folder(options.data)
    return _table(options)


def refuse_folder(path):
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; for a folder of IDX files say --idx-dir {path}")
