"""Any array is handled or refused, never misread: dtypes, layouts, subclasses, out= and its overlaps."""

import mmap
import sys

import numpy as np
import pytest
from compare import same_bits
from helpers.array_forms import misaligned

from fastnn import kernels

F4, F8 = np.float32, np.float64


def disguises(x):
    """Arrays with the values of ``x`` that must give the same bits as ``x`` itself."""
    yield "Fortran order", np.asfortranarray(x)
    yield "negative strides", x[::-1, ::-1].copy()[::-1, ::-1]
    holder = np.full((2 * x.shape[0], 3 * x.shape[1]), np.nan, x.dtype)
    holder[::2, ::3] = x
    yield "gaps", holder[::2, ::3]
    holder = np.full((x.shape[0], x.shape[1] + 7), np.nan, x.dtype)
    holder[:, 2:-5] = x
    yield "padded rows", holder[:, 2:-5]
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    yield "misaligned", raw
    fields = np.zeros(x.shape, np.dtype([("a", np.uint8), ("x", x.dtype)]))
    fields["x"] = x
    yield "field of a packed record", fields["x"]
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "subclass", x.view(type("Tagged", (np.ndarray,), {}))

    class Boxed:
        def __array__(self, dtype=None, copy=None):
            return x if dtype is None else x.astype(dtype)

    yield "__array__", Boxed()
    yield "memoryview", memoryview(np.ascontiguousarray(x))


def calls(rng, dtype):
    """One call per kind of kernel: a function of a 2-D array (6, 9) to a tuple of results."""
    weight = rng.standard_normal((4, 9)).astype(dtype)
    nine_rows = rng.standard_normal((9, 9)).astype(dtype)
    other = rng.standard_normal((6, 9)).astype(dtype)
    vector = rng.uniform(1, 2, 9).astype(dtype)
    labels = np.array([0, 8, 3, 2, 2, 1])
    return {
        "tanh": kernels.tanh,
        "relu_backward grad": lambda x: kernels.relu_backward(x, other),
        "relu_backward x": lambda x: kernels.relu_backward(other, x),
        "add": lambda x: kernels.add(x, vector),
        "where": lambda x: kernels.where(other > 0, x, other),
        "where mask": lambda x: kernels.where(x, other, vector),
        "sum": lambda x: kernels.sum(x, 0),
        "max": lambda x: kernels.max(x, 1),
        "softmax": kernels.softmax,
        "log_softmax_backward": lambda x: kernels.log_softmax_backward(x, other),
        "matmul": lambda x: kernels.matmul(x, weight.T),
        "matmul right": lambda x: kernels.matmul(nine_rows[:, :6], x),
        "linear": lambda x: kernels.linear(x, weight, activation="sigmoid"),
        "linear weight": lambda x: kernels.linear(nine_rows, x),  # below 8 rows the order of the weight decides
        "linear_backward": lambda x: kernels.linear_backward(other[:, :4], x, weight),
        "batch_norm": lambda x: kernels.batch_norm(x, vector, vector),
        "batch_norm_inference": lambda x: kernels.batch_norm_inference(x, vector, vector, vector, vector),
        "batch_norm_backward": lambda x: kernels.batch_norm_backward(x, other, vector, vector, vector),
        "dropout": lambda x: kernels.dropout(x, 0.3, seed=1),
        "softmax_cross_entropy": lambda x: kernels.softmax_cross_entropy(x, labels),
        "probabilities": lambda x: kernels.softmax_cross_entropy(other, x),
        "mse": lambda x: kernels.mse(x, other),
        "mse target": lambda x: kernels.mse(other, x),
    }


def results(value):
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


CALLS = sorted(calls(np.random.default_rng(0), F4))


@pytest.mark.parametrize("name", CALLS)
def test_any_layout_gives_the_same_bits(name, dtype, rng):
    call = calls(rng, dtype)[name]
    x = rng.standard_normal((6, 9)).astype(dtype)
    if name == "where mask":
        x[::2] = 0
    expected = results(call(x))
    assert all(e.dtype == dtype or e.ndim == 0 for e in expected)
    for what, disguised in disguises(x):
        kept = np.array(disguised, copy=True)
        for got, e in zip(results(call(disguised)), expected):
            assert same_bits(got, e), what
            assert type(got) is np.ndarray
        assert np.array_equal(np.asarray(disguised), kept), f"{what}: an input was written"


@pytest.mark.parametrize("name", CALLS)
def test_integers_follow_the_other_arrays(name, dtype, rng):
    call = calls(rng, dtype)[name]
    x = rng.integers(-3, 4, (6, 9))
    expected = results(call(x.astype(dtype)))
    with_others = name not in ("tanh", "sum", "max", "softmax", "dropout", "softmax_cross_entropy")
    if not with_others and dtype == F8:
        return  # alone they become float32
    for kind in (np.int8, np.int32, np.int64):
        for got, e in zip(results(call(x.astype(kind))), expected):
            assert same_bits(got, e), kind
    for got, e in zip(results(call(x.tolist())), expected):
        assert same_bits(got, e)


def test_dtype_rules():
    for kind in (bool, np.int8, np.uint64, np.float16, F4):
        assert kernels.tanh(np.ones(3, kind)).dtype == F4
    assert kernels.tanh(np.ones(3, F8)).dtype == F8
    assert kernels.tanh([1.0, 2.0]).dtype == F4
    assert kernels.tanh(0.5).shape == ()
    assert kernels.tanh(np.float64(0.5)).dtype == F8
    with pytest.raises(TypeError, match="x is float32 but weight is float64: convert one of them"):
        kernels.linear(np.ones((2, 3), F4), np.ones((2, 3), F8))
    with pytest.raises(TypeError, match="a is float32 but b is float64"):
        kernels.add(np.ones(3, np.float16), np.ones(3, F8))
    with pytest.raises(TypeError, match="a is float32 but b is float64"):
        kernels.add(np.ones(3, F4), np.float64(1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(3, complex), "complex128"),
        (np.ones(3, np.longdouble), "longdouble|float128"),
        (np.array([1, None]), "object"),
        (np.array(["1", "2"]), "<U1"),
        (["1", "2"], "<U1"),
        (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
        (np.ones(3, [("a", "f4")]), r"\('a', '<f4'\)"),
        (None, "x is None: expected an array"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "masked array: fill it first"),
        ({"a": 1}, "object"),
    ],
)
def test_refused_values(value, message):
    with pytest.raises(TypeError, match=message):
        kernels.tanh(value)
    with pytest.raises(TypeError, match=message):
        kernels.linear(np.ones((1, 1), F4), value) if value is not None else kernels.tanh(value)


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="sparse .*toarray"):
        kernels.linear(sparse.eye(3, format="csr"), np.ones((2, 3)))


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous|sequence"):
        kernels.tanh([[1.0], [2.0, 3.0]])


def test_memmap(tmp_path, rng):
    x = rng.standard_normal((20, 30)).astype(F4)
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", F4, "r", shape=(20, 30))
    assert same_bits(kernels.softmax(mapped), kernels.softmax(x))
    out = np.memmap(tmp_path / "y.bin", F4, "w+", shape=(20, 30))
    assert kernels.softmax(mapped, out=out) is out
    assert same_bits(np.asarray(out), kernels.softmax(x))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (2, 0, 3), (1, 1, 1), (2, 3, 4), (1, 5), (5, 1)])
def test_any_number_of_axes(shape, dtype, rng):
    x = np.asarray(rng.standard_normal(shape)).astype(dtype)
    for f in (kernels.relu, kernels.tanh, kernels.negative):
        y = f(x)
        assert (y.shape, y.dtype, type(y)) == (shape, dtype, np.ndarray)
        assert same_bits(y.reshape(-1), f(x.reshape(-1)))
        assert same_bits(f(x.T), y.T)
    assert kernels.relu_backward(x, x).shape == shape
    assert np.array_equal(kernels.add(x, x), x + x)


# -- out= ------------------------------------------------------------------------------------------------------------


def with_out(rng, dtype):
    """Calls f(x, out) from (6, 9) to (6, 9)."""
    square = rng.standard_normal((9, 9)).astype(dtype)
    other = rng.standard_normal((6, 9)).astype(dtype)
    vector = rng.uniform(1, 2, 9).astype(dtype)
    labels = np.array([0, 8, 3, 2, 2, 1])
    return {
        "tanh": lambda x, out: kernels.tanh(x, out=out),
        "tanh_backward grad": lambda x, out: kernels.tanh_backward(x, other, out=out),
        "tanh_backward x": lambda x, out: kernels.tanh_backward(other, x, out=out),
        "tanh_backward both": lambda x, out: kernels.tanh_backward(x, x, out=out),
        "subtract left": lambda x, out: kernels.subtract(x, other, out=out),
        "subtract right": lambda x, out: kernels.subtract(other, x, out=out),
        "subtract both": lambda x, out: kernels.subtract(x, x[::-1], out=out),
        "subtract row": lambda x, out: kernels.subtract(x, x[2], out=out),
        "subtract column": lambda x, out: kernels.subtract(x[:, :1], x, out=out),
        "where": lambda x, out: kernels.where(x, other, x, out=out),
        "softmax": lambda x, out: kernels.softmax(x, out=out),
        "softmax axis 0": lambda x, out: kernels.softmax(x, axis=0, out=out),
        "softmax_backward": lambda x, out: kernels.softmax_backward(x, other, out=out),
        "log_softmax_backward": lambda x, out: kernels.log_softmax_backward(other, x, out=out),
        "matmul": lambda x, out: kernels.matmul(x, square, out=out),
        "linear": lambda x, out: kernels.linear(x, square, vector, activation="relu", out=out),
        "dropout": lambda x, out: kernels.dropout(x, 0.3, seed=3, out=out),
        "batch_norm": lambda x, out: kernels.batch_norm(x, vector, vector, out=(out, None, None))[0],
        "batch_norm_inference": lambda x, out: kernels.batch_norm_inference(x, vector, vector, out=out),
        "batch_norm_backward": lambda x, out: kernels.batch_norm_backward(
            x, other, vector, vector, out=(out, None, None)
        )[0],
        "linear_backward dx": lambda x, out: kernels.linear_backward(x, other, square, out=(out, None, None))[0],
        "softmax_cross_entropy": lambda x, out: kernels.softmax_cross_entropy(x, labels, out=(None, out))[1],
        "mse": lambda x, out: kernels.mse(x, other, out=(None, out))[1],
    }


OUT_CALLS = sorted(with_out(np.random.default_rng(0), F4))


@pytest.mark.parametrize("name", OUT_CALLS)
def test_out_of_any_layout(name, dtype, rng):
    call = with_out(rng, dtype)[name]
    x = rng.standard_normal((6, 9)).astype(dtype)
    expected = call(x, None)
    holder = np.full((13, 40), np.nan, dtype)
    fields = np.zeros((6, 9), np.dtype([("a", np.uint8), ("x", dtype)]))
    targets = [
        np.empty((6, 9), dtype),
        np.empty((9, 6), dtype).T,
        holder[:6, 3:12],
        holder[1::2, 1:36:4],
        holder[11:5:-1, 20:11:-1],
        fields["x"],
    ]
    for out in targets:
        assert call(x, out) is out
        assert same_bits(out, expected)
    written = np.zeros(holder.shape, bool)
    for part in (written[:6, 3:12], written[1::2, 1:36:4], written[11:5:-1, 20:11:-1]):
        part[...] = True
    assert np.isnan(holder[~written]).all(), "wrote outside of out"
    assert not fields["a"].any()


@pytest.mark.parametrize("name", OUT_CALLS)
def test_overlapping_out_acts_as_if_inputs_were_copied(name, dtype, rng):
    call = with_out(rng, dtype)[name]
    base = rng.standard_normal((20, 30)).astype(dtype)
    x_of = lambda b: b[5:11, 10:19]  # noqa: E731
    overlaps = {
        "the same": lambda b: b[5:11, 10:19],
        "one row down": lambda b: b[6:12, 10:19],
        "one row up": lambda b: b[4:10, 10:19],
        "one column right": lambda b: b[5:11, 11:20],
        "one column left": lambda b: b[5:11, 9:18],
        "reversed rows": lambda b: b[10:4:-1, 10:19],
        "reversed columns": lambda b: b[5:11, 18:9:-1],
        "transposed": lambda b: b[5:14, 10:16].T,
        "every second row": lambda b: b[5:17:2, 10:19],
        "interleaved": lambda b: b[4:16:2, 12:30:2],
    }
    expected = call(x_of(base).copy(), None)
    for what, choose in overlaps.items():
        memory = base.copy()
        got = call(x_of(memory), choose(memory))
        assert same_bits(got, expected), what
        assert same_bits(choose(memory), expected), what
        untouched = np.ones(base.shape, bool)
        choose(untouched)[...] = False
        assert same_bits(memory[untouched], base[untouched]), what


def test_contiguous_in_place(dtype, rng):
    x = rng.standard_normal((5, 8)).astype(dtype)
    expected = kernels.tanh(x)
    y = x.copy()
    assert kernels.tanh(y, out=y) is y
    assert same_bits(y, expected)
    line = np.concatenate([x.ravel(), np.zeros(3, dtype)])
    kernels.tanh(line[:40], out=line[3:])
    assert same_bits(line[3:], expected.ravel())


@pytest.mark.parametrize("name", OUT_CALLS)
def test_wrong_out_is_refused_and_nothing_is_written(name, rng):
    call = with_out(rng, F4)[name]
    x = rng.standard_normal((6, 9)).astype(F4)
    kept = x.copy()
    frozen = np.zeros((6, 9), F4)
    frozen.flags.writeable = False
    row = np.zeros(9, F4)
    window = np.zeros(20, F4)
    for out, error, message in (
        (np.zeros((6, 8), F4), ValueError, "shape"),
        (np.zeros((9, 6), F4), ValueError, "shape"),
        (np.zeros(54, F4), ValueError, "shape"),
        (np.zeros((6, 9), F8), TypeError, "float64"),
        (np.zeros((6, 9), ">f4"), TypeError, ">f4"),
        (np.zeros((6, 9), int), TypeError, "int64"),
        (frozen, ValueError, "read-only"),
        (np.lib.stride_tricks.as_strided(row, (6, 9), (0, 4)), ValueError, "overlaps itself"),
        (np.lib.stride_tricks.as_strided(window, (6, 9), (4, 4)), ValueError, "overlaps itself"),
        (np.ma.zeros((6, 9), F4), TypeError, "MaskedArray"),
        ([[0.0] * 9] * 6, TypeError, "list"),
    ):
        with pytest.raises(error, match=message):
            call(x, out)
    assert same_bits(x, kept)
    assert not frozen.any()
    assert not row.any()
    assert not window.any()


def test_outputs_must_not_overlap_each_other(rng):
    x = rng.standard_normal((6, 9)).astype(F4)
    buffer = np.zeros(40, F4)
    with pytest.raises(ValueError, match="overlaps another output"):
        kernels.batch_norm(x, out=(None, buffer[:9], buffer[4:13]))
    got = kernels.batch_norm(x, out=(None, buffer[:18:2], buffer[1:18:2]))  # interleaved, but apart
    expected = kernels.batch_norm(x)
    assert same_bits(got[1], expected[1])
    assert same_bits(got[2], expected[2])
    with pytest.raises(TypeError, match="tuple of 3"):
        kernels.batch_norm(x, out=(None, None))


def test_random_arrays_against_numpy(rng):
    """A thousand random views, dtypes and broadcasts against NumPy's own arithmetic."""
    for _ in range(1000):
        ndim = rng.integers(0, 4)
        views = []
        for _ in range(2):
            base = rng.standard_normal(rng.integers(0, 7, ndim)).astype(rng.choice([F4, F4, np.int16, np.float16]))
            view = base.transpose(rng.permutation(ndim))
            slices = tuple(slice(None, None, int(s)) for s in rng.choice([1, 1, 2, -1, -3], ndim))
            views.append(view[slices])
        a, b = views
        if rng.random() < 0.5:
            b = a[..., ::-1] if a.ndim else a
        try:
            expected = a.astype(F4) * b.astype(F4)
        except ValueError:
            with pytest.raises(ValueError, match="broadcast"):
                kernels.multiply(a, b)
            continue
        got = kernels.multiply(a, b)
        assert got.dtype == F4
        assert np.array_equal(got, expected)
        assert np.array_equal(kernels.negative(a), -a.astype(F4))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs memory that is reserved but not used")
def test_rows_more_than_two_billion_elements_apart(dtype, rng):
    """64-bit strides all the way: two rows whose distance does not fit in 32 bits, in either order."""
    distance = 2**31 + 11
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        memory = mmap.mmap(-1, (distance + 64) * dtype.itemsize, flags=flags)
    except (OSError, OverflowError):
        pytest.skip("no address space for it here")
    far = np.lib.stride_tricks.as_strided(
        np.frombuffer(memory, dtype, 64), (2, 9), (distance * dtype.itemsize, dtype.itemsize), writeable=True
    )
    far[...] = rng.standard_normal((2, 9))
    near = far.copy()
    weight = rng.standard_normal((4, 9)).astype(dtype)
    for x, same in ((far, near), (far[::-1], near[::-1])):
        assert same_bits(kernels.tanh(x), kernels.tanh(same))
        assert same_bits(kernels.sum(x, 0), kernels.sum(same, 0))
        assert same_bits(kernels.softmax(x), kernels.softmax(same))
        assert same_bits(kernels.linear(x, weight), kernels.linear(same, weight))
        assert same_bits(kernels.matmul(x.T, x), kernels.matmul(same.T, same))
        assert same_bits(kernels.batch_norm(x)[0], kernels.batch_norm(same)[0])
        assert same_bits(kernels.dropout(x, 0.5, seed=1), kernels.dropout(same, 0.5, seed=1))
        assert kernels.softmax_cross_entropy(x, [1, 2])[0] == kernels.softmax_cross_entropy(same, [1, 2])[0]
        assert same_bits(kernels.mse(x, far)[1], kernels.mse(same, near)[1])
        assert same_bits(kernels.where(x, x, far), kernels.where(same, same, near))
    kernels.relu(near, out=far)
    assert same_bits(far, kernels.relu(near))


def test_misaligned_integers_and_matrices_are_copied_before_native_code_reads_them(rng):
    logits, labels = rng.normal(size=(6, 4)).astype("f4"), np.arange(6) % 4
    for classes in labels, labels[:, None]:
        codes = kernels._labels.class_labels(misaligned(classes), 6, 4)
        assert codes.flags.aligned and codes.tolist() == labels.tolist()
    expected = kernels.softmax_cross_entropy(logits, labels)[0]
    assert kernels.softmax_cross_entropy(logits, misaligned(labels))[0] == expected
    assert kernels._arrays.contiguous(misaligned(rng.normal(size=(3, 2, 3)))).flags.aligned


@pytest.mark.parametrize("label", [2**64 - 100, 2**64 - 1, 2**63])
def test_unsigned_labels_do_not_turn_into_ignored_ones(label):
    labels = np.array([0, label], np.uint64)
    for ignored in None, -100, -1:
        with pytest.raises(IndexError, match=str(label)):
            kernels.softmax_cross_entropy(np.zeros((2, 3), "f4"), labels, ignore_index=ignored)


def test_concatenate_into_an_array_that_it_reads():
    a = np.arange(12.0).reshape(6, 2)
    expected = np.concatenate([a[2:4], a[0:2], a[4:6]])
    assert kernels.concatenate([a[2:4], a[0:2], a[4:6]], out=a) is a
    np.testing.assert_array_equal(a, expected)
    with pytest.raises(ValueError, match="shape"):
        kernels.concatenate([a[:2], a[:2]], out=a)
