"""Tables in blocks, arrays on disk, two-way splits, and parts that are not alike."""

import gzip
import tracemalloc
import warnings

import numpy as np
import pytest

from fastnn import Trainer, nn, optim
from fastnn.data import (
    StandardScale,
    compare_parts,
    iterate_batches,
    open_dataset,
    read_csv,
    read_npy,
    stream_table,
    train_dev_test_split,
)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    lines = ["a,b,kind,y"]
    lines += [f"{u:.6g},{v:.6g},{k},{c}" for u, v, k, c in zip(rng.normal(5, 3, 1000), rng.normal(size=1000),
              rng.choice(["red", "green"], 1000), rng.choice(["yes", "no"], 1000))]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_blocks_hold_what_reading_at_once_gives(table, compress):
    path = table
    if compress:
        path = table.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(table.read_bytes()))
    whole = read_csv(path, "y")
    stream = stream_table(path, "y", batch_size=37, block_rows=101, shuffle=False)
    assert stream.class_names == whole.class_names and stream.feature_names == whole.feature_names
    batches = list(stream)
    assert [len(x) for x, _ in batches] == [37] * 27 + [1]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), whole.x)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), whole.y)
    assert stream.rows == 1000


def test_another_order_in_every_epoch_with_the_same_rows(table):
    stream = stream_table(table, "y", batch_size=64, block_rows=300, seed=3)
    first, second = ([np.column_stack([x, y]) for x, y in stream] for _ in range(2))
    first, second = np.concatenate(first), np.concatenate(second)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    same = stream_table(table, "y", batch_size=64, block_rows=300, seed=3)
    again = np.concatenate([np.column_stack([x, y]) for x, y in same])
    np.testing.assert_array_equal(first, again)


def test_training_from_a_stream_with_its_scale(table):
    raw = stream_table(table, "y", block_rows=128)
    scale = StandardScale().fit_blocks(raw.blocks())
    at_once = StandardScale().fit(read_csv(table, "y").x)
    np.testing.assert_allclose(scale.mean, at_once.mean, rtol=1e-12)
    np.testing.assert_allclose(scale.std, at_once.std, rtol=1e-12)
    stream = stream_table(table, "y", schema=raw.schema, scale=scale, batch_size=50)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2), seed=0)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.01))
    history = trainer.fit(stream, epochs=2, progress=False)
    assert trainer.step == 40 and history["loss"][-1] < history["loss"][0]


def test_missing_values_and_errors_of_streams(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a,b,y\n" + "1,2,0\n?,3,1\n4,,0\n5,6,1\n" * 3)
    with pytest.raises(ValueError, match="missing values in 2 columns"):
        list(stream_table(path, "y"))
    assert sum(len(x) for x, _ in stream_table(path, "y", missing="drop", block_rows=2)) == 6
    raw = stream_table(path, "y", missing="keep", block_rows=5)
    scale = StandardScale(missing="mean").fit_blocks(raw.blocks())
    whole = StandardScale(missing="mean").fit(read_csv(path, "y", missing="keep").x)
    np.testing.assert_allclose(scale.mean, whole.mean)
    np.testing.assert_allclose(scale.std, whole.std)
    for x, _ in stream_table(path, "y", missing="mean", scale=scale, batch_size=5):
        assert np.isfinite(x).all()
    with pytest.raises(ValueError, match="block_rows must be an integer >= 1"):
        stream_table(path, "y", block_rows=0)
    with pytest.raises(ValueError, match='needs a scale with missing="mean"'):
        stream_table(path, "y", missing="mean", scale=StandardScale())
    path.write_text("a,y\n1,0\n2,1\n3\n")
    with pytest.raises(ValueError, match="line 4: 1 cells, but 2 were expected"):
        stream_table(path, "y", block_rows=2)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        stream_table(tmp_path / "none.csv", "y")


def test_a_class_sorted_table_streams_with_all_its_classes_and_categories(tmp_path):
    path = tmp_path / "sorted.csv"
    path.write_text("k,y\n" + "".join(f"{'abc'[i // 100]},{'pq'[i // 150]}\n" for i in range(300)))
    stream = stream_table(path, "y", block_rows=50, batch_size=25, shuffle=False)
    assert stream.class_names == ["p", "q"] and stream.feature_names == ["k=a", "k=b", "k=c", "k=<unseen>"]
    assert [int(y[0]) for _, y in stream] == [0] * 6 + [1] * 6


@pytest.mark.parametrize("reader", ["csv", "pyarrow"])
def test_a_dataset_holds_what_reading_at_once_gives(table, reader):
    if reader == "pyarrow":
        pytest.importorskip("pyarrow")
    whole, dataset = read_csv(table, "y"), open_dataset(table, "y", block_rows=77, reader=reader)
    blocks = list(dataset.blocks())
    assert [len(x) for x, _ in blocks] == [77] * 12 + [76]  # whatever blocks the reader cuts
    for x, y in ((np.concatenate([x for x, _ in blocks]), np.concatenate([y for _, y in blocks])),
                 (dataset.load().x, dataset.load().y)):  # fmt: skip
        np.testing.assert_array_equal(x, whole.x)
        np.testing.assert_array_equal(y, whole.y)
    assert dataset.schema == whole.schema and dataset.rows == 1000


def test_batches_are_a_function_of_the_epochs_number(table):
    """Reading a batch before, in between or twice changes nothing."""
    stream = stream_table(table, "y", batch_size=64, block_rows=300, seed=3)
    expected = [x for x, _ in stream.epoch(2)]
    next(iter(stream))
    list(stream)
    for start in (0, 3, 15, 99):
        again = [x for x, _ in stream.epoch(2, start)]
        assert len(again) == max(0, 16 - start)
        for a, b in zip(again, expected[start:]):
            np.testing.assert_array_equal(a, b)
    arrays = np.arange(20), np.arange(20)
    batches = iterate_batches(*arrays, batch_size=6, seed=1)
    expected = [x.tolist() for x, _ in batches.epoch(1)]
    next(iter(batches))
    assert [x.tolist() for x, _ in batches.epoch(1)] == expected
    assert [x.tolist() for x, _ in batches.epoch(1, 2)] == expected[2:]


def test_a_stream_needs_the_memory_of_a_block(tmp_path):
    path = tmp_path / "long.csv"
    with open(path, "w") as file:
        file.write("a,b,y\n")
        for i in range(20_000):
            file.write(f"{i},{i % 7},{i % 2}\n")
    stream = stream_table(path, "y", block_rows=500, reader="csv")
    tracemalloc.start()
    rows = sum(len(x) for x, _ in stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 20_000
    assert peak < 1_000_000  # all cells at once are several megabytes


def test_arrays_stay_on_the_disk(tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(90, 4)).astype(np.float32), rng.integers(0, 3, 90)
    np.save(tmp_path / "x.npy", x)
    mapped = read_npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable

    def trained(data):
        trainer = Trainer(nn.Sequential(nn.Linear(4, 3), seed=1), nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
        trainer.fit(data, y, epochs=2, progress=False)
        return trainer.predict(x)

    np.testing.assert_array_equal(trained(mapped), trained(x))
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "z.npz", x=x)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:400])
    for name, words in (("o.npy", "Python objects"), ("z.npz", "is not a .npy file; np"), ("cut.npy", "cut.npy: ")):
        with pytest.raises(ValueError, match=words):
            read_npy(tmp_path / name)


def test_two_way_split():
    x, y = np.arange(50.0).reshape(25, 2), np.arange(25) % 3
    (a, p), (b, q) = train_dev_test_split(x, y, sizes=(0.8, 0.2), stratify=True)
    assert len(a) == len(p) == 20 and len(b) == len(q) == 5
    np.testing.assert_array_equal(np.sort(np.concatenate([a, b])[:, 0]), x[:, 0])
    with pytest.raises(ValueError, match="two or three shares"):
        train_dev_test_split(x, sizes=(1.0,))


def test_parts_of_other_distributions_are_warned_about():
    rng = np.random.default_rng(2)
    stats = pytest.importorskip("scipy.stats")
    a, b = rng.normal(size=(900, 3)), rng.normal(size=(400, 3))
    b[:, 1] += 0.6
    with pytest.warns(UserWarning, match="feature 1 of part 1"):
        (found,) = compare_parts(a, b)
    assert found["distance"] == pytest.approx(stats.ks_2samp(a[:, 1], b[:, 1]).statistic, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare_parts(a[:500], a[500:]) == []
        x, y = rng.normal(size=(2000, 5)), rng.integers(0, 4, 2000)
        assert compare_parts((x[:1200], y[:1200]), (x[1200:], y[1200:])) == []
        train_dev_test_split(x, y, groups=np.arange(2000) // 4)
    with pytest.warns(UserWarning, match="class 3"):
        compare_parts((x, y), (x[y != 3], y[y != 3]))
    speakers = np.repeat(np.arange(12), 100)
    with pytest.warns(UserWarning, match="do not come from one distribution"):
        train_dev_test_split(rng.normal(size=(1200, 2)) + speakers[:, None], groups=speakers)


def test_the_share_of_false_warnings_is_small():
    rng = np.random.default_rng(5)
    false = sum(bool(compare_parts(rng.normal(size=(60, 4)), rng.normal(size=(20, 4)), warn=False)) for _ in range(300))
    assert false <= 3
