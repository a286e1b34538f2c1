"""Splitting, scaling and batches: invariants and NumPy's own formulas."""

import numpy as np
import pytest

from fastnn import nn
from fastnn.data import StandardScale, iterate_batches, split_indices, train_dev_test_split
from fastnn.data.split import auto_sizes


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10, 997])
@pytest.mark.parametrize("sizes", ["auto", (0.6, 0.2, 0.2), (0.9, 0.1, 0.0), (1, 0, 0), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("kind", ["plain", "stratify", "groups"])
def test_parts_are_disjoint_and_complete(rows, sizes, kind):
    labels = np.arange(rows) % 4
    extra = {} if kind == "plain" else {kind: labels}
    parts = split_indices(rows, sizes=sizes, seed=3, **extra)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    assert len(parts[0]) >= 1
    if sizes != "auto":
        assert all(len(part) == 0 for part, share in zip(parts, sizes, strict=True) if share == 0)
    again = split_indices(rows, sizes=sizes, seed=3, **extra)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_seed_changes_the_parts_and_numpys_state_is_left_alone():
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first, second = split_indices(100, seed=0)[0], split_indices(100, seed=1)[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(before, np.random.get_state()[1])


def test_stratified_shares():
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    labels = labels[np.random.default_rng(0).permutation(len(labels))]
    parts = split_indices(len(labels), sizes=(0.6, 0.2, 0.2), stratify=labels, seed=5)
    assert [len(part) for part in parts] == [666, 222, 222]
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(labels[part], minlength=3)
        assert np.all(np.abs(counts - share * np.array([1000, 100, 10])) <= 1)


def test_many_small_classes_do_not_bend_the_shares():
    labels = np.repeat(np.arange(200), 3)
    train, dev, test = split_indices(600, sizes=(0.6, 0.2, 0.2), stratify=labels, seed=0)
    assert (len(train), len(dev), len(test)) == (360, 120, 120)
    assert len(np.unique(labels[train])) == 200  # every class is trained on


def test_groups_stay_together():
    groups = np.random.default_rng(1).integers(0, 50, 1000)
    parts = split_indices(1000, groups=groups, seed=2)
    owners = [set(groups[part]) for part in parts]
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])


def test_auto_sizes():
    for rows, expected in [(10_000, (0.6, 0.2, 0.2)), (10_000_000, (0.98, 0.01, 0.01)), (100, (0.6, 0.2, 0.2))]:
        assert auto_sizes(rows) == pytest.approx(expected)


def test_split_of_arrays():
    x, y = np.arange(40).reshape(20, 2), np.arange(20) % 2
    (x_train, y_train), (x_dev, y_dev), (x_test, y_test) = train_dev_test_split(x, y, stratify=True, seed=1)
    assert np.array_equal(x_train[:, 0] // 2 % 2, y_train) and np.array_equal(x_test[:, 0] // 2 % 2, y_test)
    assert len(x_train) == 12 and len(y_dev) == 4 and len(x_dev) == 4
    train, dev, test = train_dev_test_split(x)
    assert train.shape == (12, 2) and dev.shape == (4, 2) and test.shape == (4, 2)


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ((), {}, "at least one array"),
        (([1, 2], [1]), {}, "equally many rows"),
        (([],), {}, "no rows"),
        (([1, 2],), {"sizes": (1.0,)}, "three shares"),
        (([1, 2],), {"sizes": (0.5, 0.6, 0.1)}, "sum is 1"),
        (([1, 2],), {"sizes": (0, 0.5, 0.5)}, "training share is 0"),
        (([1, 2],), {"sizes": "half"}, 'sizes must be "auto"'),
        (([1, 2],), {"stratify": [1]}, "shape .2,."),
        (([1, 2],), {"stratify": [1, 2], "groups": [1, 2]}, "choose one"),
    ],
)
def test_split_errors(arrays, arguments, message):
    with pytest.raises(ValueError, match=message):
        train_dev_test_split(*arrays, **arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool])
@pytest.mark.parametrize("rows", [1, 2, 2047, 2048, 5000])
def test_scale_against_numpy(rows, dtype):
    x = (np.random.default_rng(rows).normal(50, 20, (rows, 3))).astype(dtype)
    scale = StandardScale().fit(x)
    assert scale.mean == pytest.approx(x.mean(axis=0, dtype=np.float64), rel=1e-13)
    std = x.astype(np.float64).std(axis=0)
    assert scale.std == pytest.approx(np.where(std == 0, 1, std), rel=1e-12)
    z = scale.transform(x, np.float64)
    assert scale.transform(x).dtype == np.float32
    assert scale.inverse(z, np.float64) == pytest.approx(x.astype(np.float64), abs=1e-12)
    one = StandardScale(per_feature=False).fit(x)
    assert one.mean == pytest.approx([x.mean(dtype=np.float64)]) and one.mean.shape == (1,)


def test_scale_large_offset_and_constant_columns():
    x = np.column_stack([1e9 + np.arange(100.0), np.full(100, 0.1), np.zeros(100)])
    scale = StandardScale().fit(x)
    assert scale.std[0] == pytest.approx(np.arange(100).std(), rel=1e-12)
    assert scale.std[1:].tolist() == [1, 1]
    z = scale.transform(x)
    assert np.all(np.abs(z[:, 1:]) < 1e-15) and z[:, 0].std() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("value", [0.1, 1e9, -3.0, 5e-324])
def test_a_constant_column_keeps_deviation_1_whatever_its_rows_dtype_and_blocks(dtype, value):
    with np.errstate(all="ignore"):
        constant = np.full(5000, value).astype(dtype)
    x = np.column_stack([constant, (np.arange(5000) % 2).astype(dtype)])
    x[np.isinf(x)] = 1
    for scale in (StandardScale().fit(x), StandardScale().fit_blocks(np.array_split(x, 7))):
        assert scale.mean[0] == x[0, 0] and scale.std[0] == 1.0 and scale.std[1] == pytest.approx(0.5)
        assert scale.transform(x.astype(np.float64) + 1.5)[0, 0] == 1.5
    assert StandardScale(per_feature=False).fit(x[:, :1]).std.tolist() == [1.0]
    layer = nn.Scale(2).fit(x)
    assert layer.std.numpy().tolist() == pytest.approx([1.0, 0.5]) and layer.predict(x)[0, 0] == 0.0
    double = nn.Sequential(nn.Scale(2), nn.Linear(2, 1)).to("float64")[0].fit(x)
    assert double.std.numpy().tolist() == pytest.approx([1.0, 0.5])


def test_a_column_that_rounding_alone_varies_is_constant():
    noise = np.where(np.arange(400) % 3 == 0, 0.1 + 0.2, 0.3)
    x = np.column_stack([noise, np.arange(400.0)])
    for scale in (StandardScale().fit(x), StandardScale().fit(x.astype(np.float32) * np.float32(1.1))):
        assert scale.std[0] == 1.0
    for offset, step in ((1e9, 1e-3), (1.7e18, 4096.0), (-5.0, 1e-10)):  # a spread beyond rounding is a spread
        column = offset + step * np.arange(400.0)
        scale = StandardScale().fit(column[:, None])
        assert scale.std[0] == pytest.approx((column - column[0]).std(), rel=1e-9)
    # What the layer's dtype cannot tell apart is constant for the layer.
    assert nn.Scale(1).fit(1e9 + 1e-3 * np.arange(400.0)[:, None]).std.numpy().tolist() == [1.0]


def test_masked_values_are_missing_values_for_a_scale():
    x = np.ma.array([[1.0, 5], [99.0, 7], [3, 99.0]], mask=[[0, 0], [1, 0], [0, 1]])
    with pytest.raises(ValueError, match=r"x\[1, 0\] is nan"):
        StandardScale().fit(x)
    scale = StandardScale(missing="mean").fit(x)
    assert scale.mean.tolist() == [2, 6] and scale.transform(x).tolist() == [[-1, -1], [0, 1], [1, 0]]
    with pytest.raises(ValueError, match="masked"):
        nn.Scale(2).fit(x)


def test_numbers_too_large_to_scale_are_refused():
    with pytest.raises(ValueError, match="feature 1 holds numbers too large"):
        StandardScale().fit([[1.0, 1e308], [2.0, -1e308]])


def test_scale_missing():
    x = np.array([[1.0, 5], [np.nan, 7], [3, np.nan]])
    with pytest.raises(ValueError, match=r"x\[1, 0\] is nan"):
        StandardScale().fit(x)
    scale = StandardScale(missing="mean").fit(x)
    assert scale.mean.tolist() == [2, 6] and scale.std.tolist() == [1, 1]
    assert scale.transform(x).tolist() == [[-1, -1], [0, 1], [1, 0]]
    with pytest.raises(ValueError, match="is inf"):
        scale.fit([[1.0], [np.inf]])
    with pytest.raises(ValueError, match="feature 1 has no value"):
        scale.fit([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(ValueError, match="is nan"):
        StandardScale().fit([[1.0]]).transform([[np.nan]])


def test_scale_of_some_columns():
    x = np.array([[1.0, 0], [3, 1]])
    scale = StandardScale().fit(x, columns=[True, False])
    assert scale.transform(x).tolist() == [[-1, 0], [1, 1]]


def test_scale_saved_and_read_keeps_every_bit():
    import json

    x = np.random.default_rng(0).normal(size=(50, 4))
    for scale in (StandardScale().fit(x), StandardScale(per_feature=False, missing="mean").fit(x)):
        copy = StandardScale.from_dict(json.loads(json.dumps(scale.to_dict())))
        assert np.array_equal(copy.transform(x), scale.transform(x)) and copy.missing == scale.missing


@pytest.mark.parametrize(
    "change", [{"mean": [1]}, {"std": [0.0, 1]}, {"std": ["a", 1]}, {"mean": None}, {"features": 3}]
)
def test_scale_from_wrong_values(change):
    values = StandardScale().fit([[1.0, 2], [3, 4]]).to_dict()
    with pytest.raises(ValueError):
        StandardScale.from_dict({**values, **change})
    with pytest.raises(ValueError, match="not the description"):
        StandardScale.from_dict({})


def test_scale_errors():
    with pytest.raises(ValueError, match="not been fitted"):
        StandardScale().transform([[1.0]])
    with pytest.raises(ValueError, match="not been fitted"):
        StandardScale().to_dict()
    with pytest.raises(ValueError, match="2 features, but the scale was fitted on 1"):
        StandardScale().fit([[1.0]]).transform([[1.0, 2]])
    with pytest.raises(ValueError, match="two axes"):
        StandardScale().fit([1.0])
    with pytest.raises(ValueError, match="no values"):
        StandardScale().fit(np.zeros((0, 3)))
    with pytest.raises(TypeError, match="real numbers"):
        StandardScale().fit([["a"]])
    with pytest.raises(ValueError, match="missing must be"):
        StandardScale(missing="zero")


def test_batches():
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    batches = iterate_batches(x, y, batch_size=4, seed=1)
    assert len(batches) == 3
    first, second = list(batches), list(batches)
    for epoch in (first, second):
        assert [len(b[0]) for b in epoch] == [4, 4, 2]
        assert sorted(np.concatenate([b[1] for b in epoch])) == list(range(10))
        assert all(np.array_equal(a[:, 0], 2 * b) for a, b in epoch)
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
    again = list(iterate_batches(x, y, batch_size=4, seed=1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert [len(b) for b in iterate_batches(y, batch_size=4, shuffle=False, drop_last=True)] == [4, 4]
    assert np.array_equal(next(iter(iterate_batches(y, batch_size=3, shuffle=False))), [0, 1, 2])


@pytest.mark.parametrize(
    ("arrays", "size", "message"),
    [
        ((), 1, "at least one"),
        (([1], [1, 2]), 1, "equally many"),
        (([1],), 0, "at least 1"),
        (([1],), 1.5, "whole number"),
    ],
)
def test_batch_errors(arrays, size, message):
    with pytest.raises(ValueError, match=message):
        iterate_batches(*arrays, batch_size=size)
