"""Softmax cross-entropy against its twin, PyTorch, finite differences; labels are checked before any write."""

import itertools

import numpy as np
import pytest
from compare import assert_within, same_bits
from reference import cross_entropy as twin

from fastnn import kernels
from fastnn.threads import num_threads

REDUCTIONS = ("mean", "sum", "none")


def options(rng, dtype, rows, classes):
    yield {}
    yield {"label_smoothing": 0.1}
    yield {"class_weight": rng.uniform(0.5, 2, classes).astype(dtype)}
    yield {"sample_weight": rng.uniform(0, 2, rows).astype(dtype)}
    yield {"ignore_index": 0}
    yield {"ignore_index": -100, "label_smoothing": 0.3, "class_weight": rng.uniform(0.5, 2, classes).astype(dtype)}
    yield {
        "class_weight": rng.uniform(0.5, 2, classes).astype(dtype),
        "sample_weight": rng.uniform(0, 2, rows).astype(dtype),
        "label_smoothing": 0.2,
    }


def check(logits, labels, extra):
    dtype, eps = logits.dtype, np.finfo(logits.dtype).eps
    for reduction in REDUCTIONS:
        loss, gradient = kernels.softmax_cross_entropy(logits, labels, reduction=reduction, **extra)
        exact_loss, exact_gradient = twin.softmax_cross_entropy(logits, labels, reduction=reduction, **extra)
        assert isinstance(loss, np.ndarray if reduction == "none" else float)
        assert gradient.dtype == dtype
        terms = max(1, len(logits)) if reduction == "sum" else 1
        assert_within(loss, exact_loss, 8 * eps * np.maximum(terms, np.abs(exact_loss)), sparse=True)
        scale = max(np.abs(exact_gradient).max(initial=0), 1 / len(logits) if reduction == "mean" else 1)
        assert_within(gradient, exact_gradient, 12 * eps * scale, sparse=True)


@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (1, 2), (17, 16), (130, 5), (8, 33), (2, 1000)])
def test_labels(rows, classes, dtype, isa, rng):
    logits = (3 * rng.standard_normal((rows, classes))).astype(dtype)
    labels = rng.integers(0, classes, rows)
    for extra in options(rng, dtype, rows, classes):
        given = labels.copy()
        if "ignore_index" in extra and rows > 1:
            given[rows // 2] = extra["ignore_index"]
            given[0] = classes - 1
        check(logits, given, extra)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (17, 10), (66, 33)])
def test_probabilities(rows, classes, dtype, isa, rng):
    logits = rng.standard_normal((rows, classes)).astype(dtype)
    target = rng.dirichlet(np.ones(classes), rows).astype(dtype)
    for extra in options(rng, dtype, rows, classes):
        if "ignore_index" not in extra:
            check(logits, target, extra)
    one_hot = np.eye(classes, dtype=np.int8)[rng.integers(0, classes, rows)]
    got = kernels.softmax_cross_entropy(logits, one_hot)
    expected = kernels.softmax_cross_entropy(logits, one_hot.argmax(axis=1))
    np.testing.assert_allclose(got[0], expected[0], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(got[1], expected[1], atol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("classes", [1, 2, 7, 16, 17, 40])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_every_combination_against_torch(kind, classes, rng):
    """PyTorch has no sample weights: there they multiply its losses without reduction, and the mean's divisor."""
    torch = pytest.importorskip("torch")
    rows = 19
    logits, samples = 2 * rng.standard_normal((rows, classes)), rng.uniform(0, 2, rows)
    y = rng.integers(0, classes, rows) if kind == "labels" else rng.dirichlet(np.ones(classes), rows)
    ignored = [None, -100, min(1, classes - 1)] if kind == "labels" else [None]
    weight = rng.uniform(0.5, 2, classes)
    for smoothing, weights, ignore, sample_weight in itertools.product(
        (0.0, 0.1, 1.0), (None, weight), ignored, (None, samples)
    ):
        given = y.copy()
        if ignore is not None:
            given[::4] = ignore
            given[1] = 0
        x = torch.tensor(logits, requires_grad=True)
        theirs = {"label_smoothing": smoothing} | ({} if weights is None else {"weight": torch.tensor(weights)})
        theirs |= {} if ignore is None else {"ignore_index": ignore}
        each = torch.nn.functional.cross_entropy(x, torch.tensor(given), reduction="none", **theirs)
        mean = torch.nn.functional.cross_entropy(x, torch.tensor(given), **theirs)
        if sample_weight is not None:
            per_row = np.ones(rows)
            if kind == "labels":
                counted = np.ones(rows, bool) if ignore is None else given != ignore
                per_row = counted * (1 if weights is None else weights[np.where(counted, given, 0)])
            each = each * torch.tensor(sample_weight)
            mean = each.sum() / (sample_weight * per_row).sum()
        ours = {"class_weight": weights, "sample_weight": sample_weight}
        ours |= {"label_smoothing": smoothing, "ignore_index": ignore}
        if torch.isnan(mean):  # of nothing: ours is 0
            continue
        for reduction, value in (("mean", mean), ("sum", each.sum()), ("none", each)):
            (wanted,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
            for f in (twin.softmax_cross_entropy, kernels.softmax_cross_entropy):
                got, gradient = f(logits, given, reduction=reduction, **ours)
                np.testing.assert_allclose(got, value.detach().numpy(), rtol=1e-10, atol=1e-13)
                np.testing.assert_allclose(gradient, wanted.numpy(), rtol=1e-10, atol=1e-15)


def test_lecture_example():
    p = np.array([[0.3, 0.2, 0.1, 0.4]])
    loss, gradient = kernels.softmax_cross_entropy(np.log(p), [1])
    assert abs(loss - 1.6094) < 1e-4
    np.testing.assert_allclose(gradient, [[0.3, -0.8, 0.1, 0.4]], rtol=1e-14)


def test_twin_gradient_against_finite_differences(rng):
    logits, labels = rng.standard_normal((4, 5)), np.array([0, 4, 2, 2])
    extra = {"class_weight": rng.uniform(0.5, 2, 5), "sample_weight": rng.uniform(0, 2, 4), "label_smoothing": 0.1}
    gradient = twin.softmax_cross_entropy(logits, labels, **extra)[1]
    for i in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[i] = 1e-6
        high = twin.softmax_cross_entropy(logits + step, labels, **extra)[0]
        low = twin.softmax_cross_entropy(logits - step, labels, **extra)[0]
        assert abs((high - low) / 2e-6 - gradient[i]) < 1e-9


def test_extreme_logits(dtype, isa, rng):
    for scale, classes in itertools.product((1, 10, 1e4, 1e15, 1e30), (3, 12, 40, 1000)):
        logits = (scale * rng.standard_normal((19, classes))).astype(dtype)
        labels = rng.integers(0, classes, 19)
        loss, gradient = kernels.softmax_cross_entropy(logits, labels)
        exact = twin.softmax_cross_entropy(logits, labels)
        assert np.isfinite(loss)
        assert abs(loss - exact[0]) <= 1e-6 * max(1, exact[0])
        assert np.all(np.abs(gradient.astype(float).sum(axis=1)) < 1e-6)
        assert_within(gradient, exact[1], 1e-6 * np.linalg.norm(exact[1]), sparse=True)  # one-hot rows
    for classes in (3, 20):
        logits = np.zeros((6, classes), dtype)
        logits[0, 1] = -np.inf  # masked
        logits[1, 0] = np.nan
        logits[2, 0] = np.inf
        logits[3] = -np.inf
        logits[4, 2] = -np.inf  # the label itself
        logits[5, 1] = np.nan  # ignored: neither loss nor gradient
        losses, gradient = kernels.softmax_cross_entropy(logits, [2, 2, 2, 2, 2, 7], ignore_index=7, reduction="none")
        assert np.isnan(losses).tolist() == [False, True, True, True, False, False]
        assert np.isnan(gradient).any(axis=1).tolist() == [False, True, True, True, False, False]
        assert (losses[4], losses[5]) == (np.inf, 0)
        assert gradient[0, 1] == 0
        assert not gradient[5].any()


def test_the_mean_of_nothing_is_zero(dtype, isa):
    logits = np.ones((3, 4), dtype)
    for extra in ({"ignore_index": 2}, {"sample_weight": np.zeros(3, dtype)}):
        loss, gradient = kernels.softmax_cross_entropy(logits, [2, 2, 2], **extra)
        assert loss == 0
        assert not gradient.any()
    loss, gradient = kernels.softmax_cross_entropy(logits[:0], np.empty(0, int))
    assert (loss, gradient.shape) == (0.0, (0, 4))
    assert kernels.softmax_cross_entropy(logits[:0], [], reduction="none")[0].shape == (0,)


BAD = [-(2**63), -1, 5, 6, 2**31, 2**63 - 1]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("extra", [{}, {"ignore_index": -7}, {"ignore_index": 4}])
def test_bad_labels_are_refused_before_any_write(bad, reduction, extra):
    logits = np.zeros((4, 5), np.float32)
    labels = np.array([1, extra.get("ignore_index", 2), bad, bad])
    losses = np.full(4, 7, np.float32) if reduction == "none" else None
    gradient = np.full((4, 5), 7, np.float32)
    with pytest.raises(IndexError, match=rf"labels\[2\] is {bad}: expected 0 <= label < 5"):
        kernels.softmax_cross_entropy(logits, labels, reduction=reduction, out=(losses, gradient), **extra)
    assert np.all(gradient == 7)
    assert losses is None or np.all(losses == 7)


def test_label_types():
    logits = np.random.default_rng(0).standard_normal((3, 5))
    expected = kernels.softmax_cross_entropy(logits, [1, 4, 0])
    for kind in (np.int8, np.uint8, np.int16, np.uint32, np.int32, np.uint64, np.dtype(">i4")):
        got = kernels.softmax_cross_entropy(logits, np.array([1, 4, 0], kind))
        assert got[0] == expected[0]
    for labels in (np.array([[1], [4], [0]]), np.array([1, 9, 4, 9, 0])[::2], (1, 4, 0), [np.int64(1), 4, 0]):
        assert kernels.softmax_cross_entropy(logits, labels)[0] == expected[0]
    with pytest.raises(TypeError, match="class labels are integers"):
        kernels.softmax_cross_entropy(logits, [1.0, 4.0, 0.0])
    with pytest.raises(TypeError, match="class labels are integers"):
        kernels.softmax_cross_entropy(logits, [np.nan, 4.0, 0.0])
    with pytest.raises(IndexError, match=r"labels\[1\] is 18446744073709551615"):
        kernels.softmax_cross_entropy(logits, np.array([1, 2**64 - 1, 0], np.uint64))
    for labels in ([1, 2], [[1, 2, 3]], 1):
        with pytest.raises(ValueError, match="labels have shape"):
            kernels.softmax_cross_entropy(logits, labels)
    with pytest.raises(TypeError, match="labels has dtype object"):
        kernels.softmax_cross_entropy(logits, ["a", None, "b"])


def test_argument_errors():
    logits = np.zeros((3, 5), np.float32)
    with pytest.raises(ValueError, match="unknown reduction 'average'; known: mean, sum, none"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], reduction="average")
    with pytest.raises(ValueError, match="label_smoothing"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"class_weight has shape \(4,\): expected \(5,\), one value per class"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], class_weight=np.ones(4, np.float32))
    with pytest.raises(ValueError, match="one value per row"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], sample_weight=np.ones(5, np.float32))
    with pytest.raises(ValueError, match="logits have shape"):
        kernels.softmax_cross_entropy(logits[0], [0])
    with pytest.raises(ValueError, match="logits have shape"):
        kernels.softmax_cross_entropy(np.zeros((3, 0)), [0, 1, 2])
    with pytest.raises(ValueError, match="ignore_index needs integer labels"):
        kernels.softmax_cross_entropy(logits, logits, ignore_index=1)
    with pytest.raises(TypeError, match="ignore_index is str"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], ignore_index="a")
    with pytest.raises(ValueError, match="losses, which was not asked for"):
        kernels.softmax_cross_entropy(logits, [0, 1, 2], out=(np.zeros(1, np.float32), None))


@pytest.mark.parametrize("classes", [1, 5, 8, 11, 16, 17, 33])
def test_options_do_not_change_bits(classes, dtype, isa, rng):
    logits, labels = rng.standard_normal((70, classes)).astype(dtype), rng.integers(0, classes, 70)
    loss, gradient = kernels.softmax_cross_entropy(logits, labels)
    assert kernels.softmax_cross_entropy(logits, labels, gradient=False) == (loss, None)
    wide = np.full((70, 50), np.nan, dtype)
    out = wide[:, 5 : 5 + classes]
    assert kernels.softmax_cross_entropy(logits, labels, out=(None, out))[1] is out
    assert same_bits(out, gradient)
    assert np.isnan(wide[:, :5]).all()
    assert np.isnan(wide[:, 5 + classes :]).all()
    losses = kernels.softmax_cross_entropy(logits, labels, reduction="none")[0]
    for first, last in ((0, 1), (3, 20), (64, 70)):  # a row's bits do not depend on its place in the batch
        part = kernels.softmax_cross_entropy(logits[first:last], labels[first:last], reduction="none")[0]
        assert same_bits(part, losses[first:last])
    for threads in (2, 3, 4):
        with num_threads(threads, force=True):
            again = kernels.softmax_cross_entropy(logits, labels)
        assert again[0] == loss
        assert same_bits(again[1], gradient)
    again = logits.copy()
    assert same_bits(kernels.softmax_cross_entropy(again, labels, out=(None, again))[1], gradient)
    assert same_bits(kernels.softmax_cross_entropy(np.asfortranarray(logits), labels)[1], gradient)
