"""Losses and their gradients against the twins, PyTorch, finite differences; labels are checked before any write."""

import numpy as np
import pytest
from compare import assert_within, same_bits
from reference import cross_entropy as twin
from reference import pointwise_losses
from reference.precision import wider_than

from fastnn import _native, kernels

LOSSES = [row["name"] for row in _native.list_rows("losses")]
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


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    logits = rng.standard_normal((19, 7))
    labels = rng.integers(0, 7, 19)
    weight = rng.uniform(0.5, 2, 7)
    target = rng.dirichlet(np.ones(7), 19)
    for reduction in REDUCTIONS:
        for extra in (
            {},
            {"label_smoothing": 0.1},
            {"weight": weight},
            {"weight": weight, "label_smoothing": 0.2, "ignore_index": 3},
        ):
            for y in (labels, target):
                if y is target and "ignore_index" in extra:
                    continue
                x = torch.tensor(logits, requires_grad=True)
                given = {k: torch.tensor(v) if k == "weight" else v for k, v in extra.items()}
                loss = torch.nn.functional.cross_entropy(x, torch.tensor(y), reduction=reduction, **given)
                loss.sum().backward()
                ours = {"class_weight" if k == "weight" else k: v for k, v in extra.items()}
                for f in (twin.softmax_cross_entropy, kernels.softmax_cross_entropy):
                    got, gradient = f(logits, y, reduction=reduction, **ours)
                    np.testing.assert_allclose(got, loss.detach().numpy(), rtol=1e-12, atol=1e-14)
                    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10, atol=1e-15)


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
    for scale in (1e4, 1e15, 1e30):
        logits = (scale * rng.standard_normal((9, 12))).astype(dtype)
        labels = rng.integers(0, 12, 9)
        loss, gradient = kernels.softmax_cross_entropy(logits, labels)
        exact = twin.softmax_cross_entropy(logits, labels)
        assert np.isfinite(loss)
        assert abs(loss - exact[0]) <= 1e-6 * max(1, exact[0])
        assert np.all(np.abs(gradient.astype(float).sum(axis=1)) < 1e-6)
        assert_within(gradient, exact[1], 1e-6 * np.linalg.norm(exact[1]), sparse=True)  # one-hot rows
    masked = np.array([[0, -np.inf, 1]], dtype)
    loss, gradient = kernels.softmax_cross_entropy(masked, [2])
    assert np.isfinite(loss)
    assert gradient[0, 1] == 0
    assert np.isnan(kernels.softmax_cross_entropy(np.array([[0, np.nan]], dtype), [0])[0])


def test_the_mean_of_nothing_is_zero(dtype, isa):
    logits = np.ones((3, 4), dtype)
    for extra in ({"ignore_index": 2}, {"sample_weight": np.zeros(3, dtype)}):
        loss, gradient = kernels.softmax_cross_entropy(logits, [2, 2, 2], **extra)
        assert loss == 0
        assert not gradient.any()
    loss, gradient = kernels.softmax_cross_entropy(logits[:0], np.empty(0, int))
    assert (loss, gradient.shape) == (0.0, (0, 4))
    assert kernels.softmax_cross_entropy(logits[:0], [], reduction="none")[0].shape == (0,)
    for name in LOSSES:
        loss, gradient = getattr(kernels, name)(logits, 2 * logits, sample_weight=np.zeros(3, dtype))
        assert loss == 0
        assert not gradient.any()
        assert getattr(kernels, name)(logits[:0], logits[:0])[0] == 0


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


def test_options_do_not_change_bits(dtype, isa, rng):
    logits, labels = rng.standard_normal((70, 11)).astype(dtype), rng.integers(0, 11, 70)
    loss, gradient = kernels.softmax_cross_entropy(logits, labels)
    assert kernels.softmax_cross_entropy(logits, labels, gradient=False) == (loss, None)
    wide = np.full((70, 30), np.nan, dtype)
    out = wide[:, 5:16]
    assert kernels.softmax_cross_entropy(logits, labels, out=(None, out))[1] is out
    assert same_bits(out, gradient)
    assert np.isnan(wide[:, :5]).all()
    assert np.isnan(wide[:, 16:]).all()
    again = logits.copy()
    assert same_bits(kernels.softmax_cross_entropy(again, labels, out=(None, again))[1], gradient)
    assert same_bits(kernels.softmax_cross_entropy(np.asfortranarray(logits), labels)[1], gradient)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (5, 13), (40, 33), (9,), (3, 4, 5), (3000, 3)])
def test_pointwise(name, shape, dtype, isa, rng):
    f, eps = getattr(kernels, name), np.finfo(dtype).eps
    x, target = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    flat = (shape[0], -1)
    for weights in (None, rng.uniform(0, 2, shape[0]).astype(dtype)):
        for reduction in REDUCTIONS:
            loss, gradient = f(x, target, sample_weight=weights, reduction=reduction)
            wide = (
                None if v is None else v.astype(wider_than(dtype))
                for v in (x.reshape(flat), target.reshape(flat), weights)
            )
            exact = pointwise_losses.reduce(name, *wide, reduction)
            if reduction == "none":
                assert_within(loss.reshape(flat), exact[0], 4 * eps * np.abs(exact[0]))
            else:
                assert isinstance(loss, float)
                assert abs(loss - exact[0]) <= 16 * eps * exact[0]
            assert gradient.shape == shape
            limit = 4 if dtype == np.float32 else 16  # the sum of the weights is in double: seen in float64 only
            assert_within(gradient.reshape(flat), exact[1], limit * eps * np.abs(exact[1]))


@pytest.mark.parametrize("name", LOSSES)
def test_pointwise_twin_against_finite_differences(name, rng):
    x, target = rng.standard_normal(50), rng.standard_normal(50)
    f = getattr(pointwise_losses, name)
    slope = (f(x + 1e-5, target) - f(x - 1e-5, target)) / 2e-5
    np.testing.assert_allclose(getattr(pointwise_losses, name + "_derivative")(x, target), slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_pointwise_shapes(name, rng):
    f = getattr(kernels, name)
    x, target = rng.standard_normal((6, 1)), rng.standard_normal(6)
    loss, gradient = f(x, target)
    assert gradient.shape == (6, 1)
    assert loss == f(x[:, 0], target)[0] == f(x, target[:, None])[0]
    assert f(target, x)[1].shape == (6,)
    for bad in (rng.standard_normal((6, 2)), rng.standard_normal(5), np.array(1.0), rng.standard_normal((1, 6))):
        with pytest.raises(ValueError, match="target has shape"):
            f(x, bad)
    wide = np.full((6, 8), np.nan)
    y = rng.standard_normal((6, 4))
    out = (np.empty((6, 8))[:, ::2], wide[:, 1:5])
    got = f(y[:, ::-1], y.T.copy().T, reduction="none", out=out)
    expected = f(y[:, ::-1].copy(), y, reduction="none")
    assert got[0] is out[0]
    assert got[1] is out[1]
    assert same_bits(got[0], expected[0])
    assert same_bits(got[1], expected[1])
    assert np.isnan(wide[:, 5:]).all()
