"""Where the steps of a fit come from: arrays (gathered natively, many steps per call) or an iterable of batches."""

import numpy as np

from ..nn.arrays import split_inputs
from .batches import batch_offsets, check_batch_size, check_rows, epoch_order, split_rows
from .engine import find_engine
from .targets import LABELS, check_finite, class_weights, prepare_target, prepare_weight
from .visible import is_visible, run_visible

_CHUNK_STEPS = 4096  # the most steps whose scalars are computed ahead


class Data:
    """One checked part of the data: inputs, target, weights, and which rows of them."""

    __slots__ = ("arrays", "names", "rows", "spec", "target", "weight")

    def __init__(self, trainer, x, y, sample_weight, class_weight, finite, what=""):
        self.names, self.arrays = split_inputs(x)
        rows = len(self.arrays[0])
        if rows == 0:
            raise ValueError(f"{what}x has no rows")
        if y is None:
            raise TypeError(f"{what}y is missing")
        if finite:
            for i, array in enumerate(self.arrays):
                label = "x" if len(self.arrays) == 1 else f"input {self.names[i] if self.names else i}"
                check_finite(array, what + label)
        shape = trainer._output_shape(self.names, self.arrays)
        self.target, self.spec = prepare_target(y, trainer.loss, shape, rows, trainer.model.dtype)
        if finite and self.spec != LABELS:
            check_finite(self.target, what + "y")
        dtype = trainer.model.dtype
        if class_weight is not None:
            if self.spec != LABELS:
                raise ValueError("class_weight needs class labels")
            per_row = class_weights(class_weight, self.target, shape[0])
            sample_weight = per_row if sample_weight is None else per_row * np.asarray(sample_weight)
        self.weight = None if sample_weight is None else prepare_weight(sample_weight, rows, dtype, trainer.loss)
        self.rows = rows

    def part(self, rows):
        """(x, target, weight) of some rows, copied."""
        taken = tuple(array[rows] for array in self.arrays)
        if self.names is not None:
            x = dict(zip(self.names, taken, strict=True))
        else:
            x = taken[0] if len(taken) == 1 else taken
        return x, self.target[rows], None if self.weight is None else self.weight[rows]

    def weights_of(self, order, offsets):
        """Weight of each step in the epoch's mean loss: rows, or the sum of sample weights."""
        if self.weight is None:
            return np.diff(offsets).astype(np.float64)
        return np.add.reduceat(self.weight[order].astype(np.float64), offsets[:-1])


class ArraySource:
    """Epochs over arrays: native gathers by row number, many steps per native call."""

    def __init__(
        self,
        trainer,
        x,
        y,
        *,
        epochs,
        batch_size,
        validation_data,
        validation_split,
        sample_weight,
        class_weight,
        rows,
        shuffle,
        eval_train,
        check_finite,
    ):
        self.trainer = trainer
        self.shuffle = shuffle
        self.data = data = Data(trainer, x, y, sample_weight, class_weight, check_finite)
        self.validation = validation_part(trainer, validation_data, check_finite)
        self.train_rows = data.rows if rows is None else check_rows(rows, data.rows)
        if validation_split is not None:
            if validation_data is not None or rows is not None:
                raise ValueError("give validation_split, or validation_data and perhaps rows, not both")
            labels = data.target if data.spec == LABELS else None
            self.train_rows, held = split_rows(data.rows, validation_split, trainer.seed, labels)
            vx, vy, vw = data.part(held)
            self.validation = (vx, vy, data.spec, vw)
        self.eval_train = eval_train
        rows = self.train_rows if isinstance(self.train_rows, int) else len(self.train_rows)
        self.rows = rows
        self.batch_size = check_batch_size(batch_size, rows)
        engine = self._engine()
        trainer._check_rows(engine, min(rows, self.batch_size))
        merge = engine.training.needs_two_rows
        self.offsets = batch_offsets(rows, self.batch_size, merge)
        self.steps = len(self.offsets) - 1
        self.chunk = 256

    def _engine(self):
        data = self.data
        rows = min(self.batch_size + 1, self.rows)  # a remainder of one row may join a batch
        return find_engine(self.trainer, data.names, data.arrays, data.target, data.spec, data.weight is not None, rows)

    def run_epoch(self, fit, epoch):
        """Train one epoch; returns (mean loss or None, rows trained)."""
        trainer, offsets = self.trainer, self.offsets
        order = epoch_order(self.train_rows, self.shuffle, trainer.seed, epoch)
        losses = np.zeros(self.steps)
        weights = self.data.weights_of(order, offsets)
        at = 0
        while at < self.steps:
            engine = self._engine()
            externals = engine.externals(self.data.arrays, self.data.target, self.data.weight)
            if is_visible(trainer):
                last = min(at + trainer.accumulate, self.steps)
                part = slice(at, last)
                done = run_visible(engine, externals, order, offsets[at : last + 1], losses[part], weights[part])
            else:
                count = min(self.steps - at, 1 if fit.batch_hooks else self.chunk)
                window = offsets[at : at + count + 1]
                seconds = fit.chunk_seconds()
                done = engine.run(externals, order, window, losses[at : at + count], seconds, fit.check_nan)
                self.chunk = max(16, min(_CHUNK_STEPS, 2 * done))
            at += done
            if not fit.after_steps(done, losses[max(at - max(done, 1), 0) : at]):
                break
        if at == 0:
            return None, 0
        total = weights[:at].sum()
        return float(np.dot(losses[:at], weights[:at]) / (total if total > 0 else 1.0)), int(offsets[at])

    def measure(self):
        """Columns of the history that are measured in inference mode."""
        logs = {}
        if self.eval_train:
            rows = slice(None) if isinstance(self.train_rows, int) else self.train_rows
            x, y, w = self.data.part(rows)
            measured = self.trainer._measure(x, y, self.data.spec, w)
            logs.update((f"train_{name}", value) for name, value in measured.items())
        logs.update(measure_validation(self.trainer, self.validation))
        return logs


def validation_part(trainer, validation_data, finite):
    """(x, target, spec, weight) of the user's validation data, checked; or None."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError("validation_data must be (x, y) or (x, y, sample_weight)")
    weight = validation_data[2] if len(validation_data) == 3 else None
    data = Data(trainer, validation_data[0], validation_data[1], weight, None, finite, "validation ")
    x, _, _ = data.part(slice(None))
    return x, data.target, data.spec, data.weight


def measure_validation(trainer, validation):
    """{"val_loss": ..., "val_<metric>": ...}, or {} without validation data."""
    if validation is None:
        return {}
    x, target, spec, weight = validation
    return {f"val_{name}": value for name, value in trainer._measure(x, target, spec, weight).items()}


class BatchSource:
    """Epochs over an iterable of (x, y[, weight]) batches: one Python call per batch."""

    steps = 0

    def __init__(self, trainer, x, y, *, epochs, validation_data, check_finite, **options):
        if y is not None:
            raise TypeError("x is an iterable of (x, y) batches, so y must be None")
        for name in ("validation_split", "sample_weight", "class_weight", "rows"):
            if options[name] is not None:
                raise ValueError(f"{name} needs arrays; x is an iterable of batches")
        if options["eval_train"]:
            raise ValueError("eval_train needs arrays; x is an iterable of batches")
        if epochs > 1 and iter(x) is x:
            raise ValueError("x can be iterated only once, but epochs > 1 needs a re-iterable object")
        self.trainer = trainer
        self.batches = x
        self.finite = check_finite
        self.validation = validation_part(trainer, validation_data, check_finite)

    def run_epoch(self, fit, epoch):
        """Train one epoch; returns (mean loss or None, rows trained)."""
        total = weight_sum = rows = 0
        for batch in self.batches:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError("an iterable of batches must yield (x, y) or (x, y, sample_weight)")
            names, arrays = split_inputs(batch[0])
            if self.finite:
                for array in arrays:
                    check_finite(array, "x")
            weight = batch[2] if len(batch) == 3 else None
            loss = self.trainer.train_step(batch[0], batch[1], weight)
            count = len(arrays[0])
            share = count if weight is None else float(np.sum(weight))
            total += loss * share
            weight_sum += share
            rows += count
            if not fit.after_steps(1, np.array([loss])):
                break
        if rows == 0:
            return None, 0
        return total / (weight_sum or 1.0), rows

    def measure(self):
        """Columns of the history that are measured in inference mode."""
        return measure_validation(self.trainer, self.validation)
