"""`fit(rows=...)`: chosen rows, with repeats, without a copy of the data."""

import numpy as np
import pytest

from fastnn import Trainer, nn, optim
from fastnn.training import Feed


def trainer():
    model = nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.2), nn.Linear(9, 3), seed=4)
    return Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.01), seed=7)


def data(rows=83):
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)


def test_rows_train_like_a_copy_of_them():
    x, y = data()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, len(x))
    rows = np.random.default_rng(3).integers(0, len(x), len(x))
    by_number, by_copy = trainer(), trainer()
    by_number.fit(x, y, feed=Feed(rows=rows), sample_weight=weight, epochs=3, batch_size=16, progress=False)
    by_copy.fit(x[rows], y[rows], sample_weight=weight[rows], epochs=3, batch_size=16, progress=False)
    assert by_number.step == by_copy.step
    for name, array in by_copy.model.state_dict().items():
        np.testing.assert_array_equal(by_number.model.state_dict()[name], array)
    assert by_number.history["loss"] == by_copy.history["loss"]


@pytest.mark.parametrize(
    ("rows", "options", "error", "words"),
    [
        ([0, 83], {}, IndexError, r"rows\[1\] is 83, but x has rows 0 to 82"),
        ([-1], {}, IndexError, r"rows\[0\] is -1"),
        ([], {}, ValueError, "row numbers of shape"),
        ([0.5], {}, ValueError, "row numbers of shape"),
        (np.ones(83, bool), {}, ValueError, "row numbers of shape"),
        ([[1, 2]], {}, ValueError, "row numbers of shape"),
        ([1, 2], {"validation_split": 0.5}, ValueError, "not both"),
    ],
)
def test_bad_rows_are_refused(rows, options, error, words):
    x, y = data()
    with pytest.raises(error, match=words):
        trainer().fit(x, y, feed=Feed(rows=rows), epochs=1, progress=False, **options)


def test_an_iterable_has_no_rows():
    x, y = data()
    with pytest.raises(ValueError, match="rows needs arrays"):
        trainer().fit(iter([(x, y)]), feed=Feed(rows=[0]), epochs=1, progress=False)
