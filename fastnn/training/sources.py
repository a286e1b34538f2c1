"""Where the steps of a fit come from: arrays (gathered natively, many steps per call) or an iterable of batches."""

import time

import numpy as np

from ..nn.arrays import spec_of, split_inputs
from .ahead import Ahead
from .augmented import Window, change, check_augment, epoch_seed
from .batches import batch_offsets, check_batch_size, check_rows, epoch_order, split_rows
from .curriculum import as_curriculum
from .engine import find_engine
from .targets import LABELS, check_finite, class_weights, prepare_target, prepare_weight
from .visible import is_visible, run_visible

_CHUNK_STEPS = 4096  # the most steps whose scalars are computed ahead


class Data:
    """One checked part of the data: inputs, target, weights, and which rows of them."""

    __slots__ = ("arrays", "names", "per_class", "rows", "spec", "target", "weight")

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
        self.per_class = None
        if class_weight is not None:
            if self.spec != LABELS:
                raise ValueError("class_weight needs class labels")
            self.per_class = class_weights(class_weight, self.target, shape[0])
            per_row = self.per_class[np.clip(self.target, 0, shape[0] - 1)]  # an ignored label has any weight
            if sample_weight is not None:
                per_row = per_row * prepare_weight(sample_weight, rows, np.float64, trainer.loss)
            sample_weight = per_row
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
        self, trainer, x, y, *, epochs, batch_size, validation_data, validation_split, sample_weight, class_weight,
        rows, shuffle, eval_train, check_finite, augment, curriculum,
    ):  # fmt: skip
        self.trainer = trainer
        self.shuffle = shuffle
        self.data = data = Data(trainer, x, y, sample_weight, class_weight, check_finite)
        self.validation = validation_part(trainer, validation_data, check_finite, data.per_class)
        self.train_rows = data.rows if rows is None else check_rows(rows, data.rows)
        if validation_split is not None:
            if validation_data is not None or rows is not None:
                raise ValueError("give validation_split, or validation_data and perhaps rows, not both")
            labels = data.target if data.spec == LABELS else None
            self.train_rows, held = split_rows(data.rows, validation_split, trainer.seed, labels)
            vx, vy, vw = data.part(held)
            self.validation = (vx, vy, data.spec, vw)
        self.eval_train = eval_train
        self.rows = self.train_rows if isinstance(self.train_rows, int) else len(self.train_rows)
        self.batch_size = check_batch_size(batch_size, self.rows)
        check_augment(augment, data.arrays)
        self.window = None if augment is None else Window(augment, data)
        self.curriculum = as_curriculum(curriculum)
        self.chunk = 256
        self.ahead = Ahead()
        self.at = 0  # batches of the running epoch that are behind
        self.epoch = self.cut = None  # cut: what the offsets of the batches belong to
        self._begin(trainer.epoch)
        engine = self._engine()
        engine.check_rows(min(self.rows, self.batch_size))

    def _begin(self, epoch):
        """Set up the order and the batches of an epoch."""
        if self.epoch == epoch:
            return
        self.epoch, self.order = epoch, self._order(epoch)
        if self.window is not None:
            self.window.begin(self.order, self.trainer.seed, epoch)
        form = len(self.order), self._engine().training.needs_two_rows
        if form != self.cut:
            self.offsets = batch_offsets(len(self.order), self.batch_size, form[1])
            self.steps, self.cut, self.weights = len(self.offsets) - 1, form, None
        if self.weights is None or self.data.weight is not None:
            self.weights = self.data.weights_of(self.order, self.offsets)
        self.losses = np.zeros(self.steps)

    def _order(self, epoch):
        known = self.ahead.orders.pop(epoch, None)
        if known is not None:
            return known
        rows, shuffle = self.train_rows, self.shuffle
        if self.curriculum is not None:
            rows = np.arange(rows, dtype=np.int64) if isinstance(rows, int) else rows
            rows = self.curriculum.rows(rows, epoch, self.batch_size)
            shuffle = shuffle and not self.curriculum.order
        return epoch_order(rows, shuffle, self.trainer.seed, epoch)

    def _engine(self):
        data, window = self.data, self.window
        arrays = data.arrays if window is None else (window.x,)
        target = data.target if window is None else window.y
        spec = data.spec if window is None or data.spec == LABELS else spec_of(target)
        rows = min(self.batch_size + 1, self.rows)  # a remainder of one row may join a batch
        return find_engine(self.trainer, data.names, arrays, target, spec, data.weight is not None, rows)

    def form(self):
        """What the batches of an epoch depend on."""
        return {"rows": self.rows, "batch_size": self.batch_size, "shuffle": self.shuffle}

    def progress(self):
        """Arrays that the rest of the running epoch needs."""
        return {"losses": self.losses[: self.at].copy()}

    def go_to(self, position):
        """Stand where a checkpoint was written."""
        self._begin(self.trainer.epoch)
        position.check(self.form(), self.steps)
        self.at = position.at
        self.losses[: self.at] = position.progress["losses"]

    def sample(self, rows):
        """(x, target, weight) of the first rows of the epoch's order, as they are in the data."""
        return self.data.part(self.order[:rows])

    def is_inside(self):
        """Whether the epoch was left before its end."""
        return 0 < self.at < self.steps

    def is_ahead(self):
        """Whether steps of the coming epoch have been made."""
        return self.trainer.epoch in self.ahead.losses

    def run_epoch(self, fit, epoch):
        """Train one epoch, or the rest of it; returns (mean loss or None, rows of the epoch)."""
        self._begin(epoch)
        losses, weights = self.losses, self.weights
        made, self.elsewhere = self.ahead.take(epoch)
        if made is not None:
            self.at = len(made)
            losses[: self.at] = made
        while self.at < self.steps and not (made is not None and fit.ended()):
            done = self._run_some(fit)
            self.at = min(self.at + len(done), self.steps)
            if not fit.after_steps(len(done), done):
                break
        at = self.at
        if at == 0:
            return None, 0
        total = weights[:at].sum()
        return float(np.dot(losses[:at], weights[:at]) / (total if total > 0 else 1.0)), int(self.offsets[at])

    def _run_some(self, fit):
        """The next native call; returns the losses of the batches it has made, those of later epochs included."""
        trainer, at = self.trainer, self.at
        visible = is_visible(trainer)
        count = min(self.steps - at, trainer.accumulate if visible else fit.steps_ahead(self.chunk))
        engine, externals, index, offsets = self._next(count)
        part = slice(at, at + len(offsets) - 1)
        losses = self.losses[part]
        if visible:
            return losses[: run_visible(engine, externals, index, offsets, losses, self.weights[part])]
        epochs = self._epochs_ahead(fit, count)
        if epochs:
            orders = [self._order(self.epoch + 1 + i) for i in range(epochs)]
            index, offsets = self.ahead.join(index, offsets, orders, self.offsets)
            losses = np.zeros(len(offsets) - 1)
        began = time.perf_counter()
        stop = trainer._stop_flag
        done = engine.run(externals, index, offsets, losses, fit.chunk_seconds(), fit.check_nan, stop=stop)
        self.ahead.pace(time.perf_counter() - began, done)
        if epochs:
            self.losses[part] = losses[:count]
            self.elsewhere -= self.ahead.put(self.epoch + 1, orders, losses[count:], done - count, self.steps)
        self.chunk = max(16, min(_CHUNK_STEPS, 2 * done))
        return losses[:done]

    def _epochs_ahead(self, fit, count):
        """How many epochs may follow these steps in the same native call: nothing looks between them."""
        if self.at + count < self.steps or not fit.may_run_ahead() or self.eval_train:
            return 0
        if self.window is not None or self.curriculum is not None or self.validation is not None:
            return 0
        return min(self.ahead.epochs(fit.chunk_seconds(), count, self.steps, self.rows), fit.until - self.epoch - 1)

    def _next(self, count):
        """(engine, arrays, row numbers, offsets) of up to `count` batches from here."""
        data, window, at = self.data, self.window, self.at
        if window is None:
            engine = self._engine()
            externals = engine.externals(data.arrays, data.target, data.weight)
            return engine, externals, self.order, self.offsets[at : at + count + 1]
        if not window.covers(at) or (is_visible(self.trainer) and window.last < at + count):
            window.make(self.order, self.offsets, at, count if is_visible(self.trainer) else 1)
        engine = self._engine()
        index, offsets = window.part(self.offsets, at, count)
        return engine, engine.externals((window.x,), window.y, window.w), index, offsets

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


def validation_part(trainer, validation_data, finite, per_class=None):
    """(x, target, spec, weight) of the user's validation data, checked; or None."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError("validation_data must be (x, y) or (x, y, sample_weight)")
    weight = validation_data[2] if len(validation_data) == 3 else None
    data = Data(trainer, validation_data[0], validation_data[1], weight, per_class, finite, "validation ")
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
    elsewhere = 0.0

    def __init__(self, trainer, x, y, *, epochs, validation_data, check_finite, augment, **options):
        if y is not None:
            raise TypeError("x is an iterable of (x, y) batches, so y must be None")
        for name in ("validation_split", "sample_weight", "class_weight", "rows", "curriculum"):
            if options[name] is not None:
                raise ValueError(f"{name} needs arrays; x is an iterable of batches")
        if options["eval_train"]:
            raise ValueError("eval_train needs arrays; x is an iterable of batches")
        if epochs > 1 and iter(x) is x:
            raise ValueError("x can be iterated only once, but epochs > 1 needs a re-iterable object")
        self.trainer = trainer
        self.batches = x
        self.finite = check_finite
        check_augment(augment, None)
        self.augment = augment
        self.at = 0
        self.losses, self.shares, self.rows = [], [], 0
        self.complete = True
        self.validation = validation_part(trainer, validation_data, check_finite)

    def form(self):
        """What the batches of an epoch depend on."""
        return {"kind": "iterable"}

    def progress(self):
        """Arrays that the rest of the running epoch needs."""
        at = self.at
        return {"losses": np.array(self.losses[:at]), "shares": np.array(self.shares[:at]), "rows": np.array(self.rows)}

    def go_to(self, position):
        """Stand where a checkpoint was written: the batches behind are read again and passed over."""
        position.check(self.form())
        self.at = position.at
        if self.at:
            kept = position.progress
            self.losses, self.shares = kept["losses"].tolist(), kept["shares"].tolist()
            self.rows = int(kept["rows"])

    def sample(self, rows):
        """(x, y, weight) of the batch that came last."""
        return self.latest

    def is_inside(self):
        """Whether the epoch was left before its end."""
        return self.at > 0 and not self.complete

    def is_ahead(self):
        """Whether steps of the coming epoch have been made: never."""
        return False

    def run_epoch(self, fit, epoch):
        """Train one epoch, or the rest of it; returns (mean loss or None, rows of the epoch)."""
        behind, self.complete = self.at, True
        if not behind:
            self.losses, self.shares, self.rows = [], [], 0
        for i, batch in enumerate(self.batches):
            if i < behind:
                continue
            self._step(batch, epoch)
            if not fit.after_steps(1, np.array(self.losses[-1:])):
                self.complete = False
                break
        if self.at < behind or not self.at:
            return None, 0
        total = float(np.sum(self.shares))
        return float(np.dot(self.losses, self.shares)) / (total or 1.0), self.rows

    def _step(self, batch, epoch):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError("an iterable of batches must yield (x, y) or (x, y, sample_weight)")
        names, arrays = split_inputs(batch[0])
        if self.finite:
            for array in arrays:
                check_finite(array, "x")
        x, weight = batch[0], batch[2] if len(batch) == 3 else None
        if self.augment is not None:
            check_augment(self.augment, arrays)
            x = change(self.augment, arrays[0], epoch_seed(self.trainer.seed, epoch), self.rows)
        self.latest = x, batch[1], weight
        self.losses.append(self.trainer.train_step(x, batch[1], weight))
        self.shares.append(float(len(arrays[0]) if weight is None else np.sum(weight)))
        self.rows += len(arrays[0])
        self.at += 1

    def measure(self):
        """Columns of the history that are measured in inference mode."""
        return measure_validation(self.trainer, self.validation)
