"""ArrayFeed: epochs over arrays; rows are gathered natively by number, many batches per native call."""

import numpy as np
from numpy.typing import NDArray

from ...nn.arrays import spec_of
from ..lookahead import Lookahead
from ..targets import LABELS
from .augmentation import AugmentBuffer, check_augment
from .curriculum import as_curriculum
from .dataset import Data
from .epoch_steps import EpochSteps
from .mixup import Mixup
from .options import Feed
from .rows import batch_offsets, check_batch_size, check_rows, epoch_order, split_rows


class ArrayFeed:
    """The training rows of a fit on arrays: what makes the batches of any epoch, a function of its number.

    Attributes
    ----------
    data : Data
    held : int64 array or None
        Rows that `validation_split` has put aside.
    rows : int
        To train on.
    allows_lookahead : bool
        Batches of several epochs may be trained on in one native call.
    """

    def __init__(
        self, trainer, x, y, feed: Feed, *, batch_size, validation_split, sample_weight, class_weight, shuffle
    ):  # fmt: skip
        self.trainer, self.shuffle = trainer, shuffle
        self.data = data = Data(
            trainer, x, y, sample_weight, class_weight, finite=feed.check_finite, balance=feed.rows
        )
        self.train_rows: int | NDArray = data.rows if feed.rows is None else check_rows(feed.rows, data.rows)
        self.held = None
        if validation_split is not None:
            labels = data.target if data.spec == LABELS else None
            self.train_rows, self.held = split_rows(data.rows, validation_split, trainer.seed, labels)
        self.rows = self.train_rows if isinstance(self.train_rows, int) else len(self.train_rows)
        self.batch_size = check_batch_size(batch_size, self.rows)
        check_augment(feed.augment, data.arrays)
        mixup = None if feed.mixup is None else Mixup(feed.mixup, trainer, data)
        changes = feed.augment is not None or mixup is not None
        self._buffer = AugmentBuffer(feed.augment, data, mixup) if changes else None
        if mixup is not None:  # probabilities have no class weight of their own
            data.row_weights = None if data.weight is None else data.weight.astype(np.float64)
        self._curriculum = as_curriculum(feed.curriculum)
        self.allows_lookahead = self._buffer is None and self._curriculum is None
        self._lookahead = Lookahead(trainer._runner, self)
        self._latest = None  # (epoch that was asked for last, order of its rows)
        self._cut = None  # (rows, whether one row is too few), and the offsets that belong to them
        self.program(self.epoch(trainer.epoch)).check_rows(min(self.rows, self.batch_size))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, for the progress bar."""
        return len(self._cut[1]) - 1

    def epoch(self, number: int) -> EpochSteps:
        """The batches of an epoch."""
        if self._latest is None or self._latest[0] != number:
            self._latest = number, self._order(number)
        order = self._latest[1]
        if self._buffer is not None and self._buffer.epoch is None:
            self._buffer.begin(order, self.trainer.seed, number)
        spec = len(order), self.program(None).training.needs_two_rows
        if self._cut is None or self._cut[0] != spec:
            self._cut = spec, batch_offsets(len(order), self.batch_size, spec[1])
        offsets = self._cut[1]
        return EpochSteps(number, order, offsets, self.data.divisors(order, offsets))

    def behind(self, epoch: EpochSteps, count: int) -> list[EpochSteps]:
        """The `count` epochs after this one; of rows that neither grow in number nor are changed."""
        found = []
        for number in range(epoch.number + 1, epoch.number + 1 + count):
            order = self._order(number)
            whole = self.data.row_weights is None
            divisors = epoch.divisors if whole else self.data.divisors(order, epoch.offsets)
            found.append(EpochSteps(number, order, epoch.offsets, divisors))
        return found

    def _order(self, number):
        rows, shuffle = self.train_rows, self.shuffle
        if self._curriculum is not None:
            rows = np.arange(rows, dtype=np.int64) if isinstance(rows, int) else rows
            rows = self._curriculum.rows(rows, number, self.batch_size)
            shuffle = shuffle and not self._curriculum.order
        return epoch_order(rows, shuffle, self.trainer.seed, number)

    def program(self, epoch: EpochSteps | None):
        """The compiled step for these batches; epoch: the one that they belong to, if there is an augmentation."""
        data, buffer = self.data, self._buffer
        arrays, target, spec = data.arrays, data.target, data.spec
        if buffer is not None:
            if epoch is not None and buffer.epoch != epoch.number:
                buffer.begin(epoch.order, self.trainer.seed, epoch.number)
            arrays, target = (buffer.x,), buffer.y
            spec = spec if spec == LABELS and buffer.mixup is None else spec_of(target)
        rows = min(self.batch_size + 1, self.rows)  # a remainder of one row may join a batch
        return self.trainer._runner.program(data.names, arrays, target, spec, data.weight is not None, rows)

    def next_batches(self, epoch: EpochSteps, count: int, whole: int):
        """(program, data sets, row numbers, offsets) of up to `count` batches of the epoch behind those made.

        whole : batches that must come together, because they share an update.
        """
        data, buffer, at = self.data, self._buffer, epoch.made
        program = self.program(epoch)
        if buffer is None:
            return program, program.externals(data.arrays, data.target, data.weight), epoch.order, (
                epoch.offsets[at : at + count + 1]
            )
        if not buffer.covers(at) or buffer.last < min(at + whole, epoch.count):
            buffer.make(epoch.order, epoch.offsets, at, whole)
            program = self.program(epoch)
        index, offsets = buffer.part(epoch.offsets, at, count)
        return program, program.externals((buffer.x,), buffer.y, buffer.w), index, offsets

    def advance(self, fit, queue) -> np.ndarray:
        """Train on the next batches, and perhaps on those of later epochs, which join the queue; their losses."""
        return self._lookahead.advance(fit, queue)

    def settle(self) -> None:
        """After an error: note all that the latest native call has made."""
        self._lookahead.settle()

    def batch_spec(self) -> dict:
        """What the batches of an epoch depend on."""
        return {"rows": self.rows, "batch_size": self.batch_size, "shuffle": self.shuffle}

    def progress(self, epoch: EpochSteps) -> dict:
        """Arrays that the rest of the epoch needs."""
        return {"losses": epoch.losses[: epoch.made].copy()}

    def go_to(self, epoch: EpochSteps, place) -> None:
        """Stand where a checkpoint was written."""
        place.check(self.batch_spec(), epoch.count)
        epoch.made = place.batch_index
        if epoch.made:
            epoch.losses[: epoch.made] = place.progress["losses"]

    def sample(self, rows: int):
        """(x, target, weight) of the first rows of the running epoch's order, as they are in the data."""
        return self.data.part(self._latest[1][:rows])

    def training_part(self):
        """(x, target, weight) of all training rows."""
        return self.data.part(slice(None) if isinstance(self.train_rows, int) else self.train_rows)
