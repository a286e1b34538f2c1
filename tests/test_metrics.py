"""Metrics by name against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from helpers.training import blobs, trainer

from fastnn.training.metrics import METRICS, resolve


def metric(name):
    return resolve(name)[0][1]


def logits(rows=400, classes=5, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    output = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, (np.round(output, 1) if ties else output).astype(np.float32)


def test_classification_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    labels, output = logits(ties=False)
    decided = output.argmax(axis=1)
    assert metric("accuracy")(labels, output) == scores.accuracy_score(labels, decided)
    assert metric("f1_macro")(labels, output) == pytest.approx(scores.f1_score(labels, decided, average="macro"))
    assert metric("f1")(labels, output) == metric("f1_macro")(labels, output)
    assert metric("f1_micro")(labels, output) == pytest.approx(scores.f1_score(labels, decided, average="micro"))
    for k in (1, 2, 4):
        assert metric(f"top_{k}")(labels, output) == pytest.approx(scores.top_k_accuracy_score(labels, output, k=k))
    shares = np.exp(output.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    assert metric("auc")(labels, output) == pytest.approx(scores.roc_auc_score(labels, shares, multi_class="ovr"))


@pytest.mark.parametrize("columns", [1, 2])
def test_two_classes_against_scikit_learn(columns):
    scores = pytest.importorskip("sklearn.metrics")
    labels, output = logits(classes=2)
    score = output[:, 1].astype(np.float64) - output[:, 0]
    output = output if columns == 2 else score[:, None]
    target = labels if columns == 2 else labels[:, None].astype(np.float32)
    decided = (score > 0).astype(int)
    assert len(np.unique(score.astype(np.float32))) < len(score)  # ties are there
    assert metric("auc")(target, output) == pytest.approx(scores.roc_auc_score(labels, score), rel=1e-12)
    assert metric("f1")(target, output) == pytest.approx(scores.f1_score(labels, decided))
    assert metric("f1_macro")(target, output) == pytest.approx(scores.f1_score(labels, decided, average="macro"))
    assert metric("accuracy")(target, output) == scores.accuracy_score(labels, decided)


def test_several_answers_per_row_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    target = (rng.random((200, 4)) < 0.4).astype(np.float32)
    output = (rng.normal(size=(200, 4)) + target).astype(np.float32)
    for average in ("macro", "micro"):
        expected = scores.f1_score(target, output > 0, average=average)
        assert metric(f"f1_{average}")(target, output) == pytest.approx(expected)
    assert metric("auc")(target, output) == pytest.approx(scores.roc_auc_score(target, output))
    assert metric("accuracy")(target, output) == pytest.approx(np.mean((output > 0) == (target > 0.5)))


def test_probabilities_as_targets_count_as_their_largest():
    labels, output = logits()
    soft = 0.8 * np.eye(5, dtype=np.float32)[labels] + 0.04
    for name in ("accuracy", "f1", "auc", "top_2"):
        assert metric(name)(soft, output) == metric(name)(labels, output)


def test_regression_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    target = rng.normal(size=(100, 3))
    output = (target + rng.normal(size=(100, 3))).astype(np.float32)
    assert metric("mse")(target, output) == pytest.approx(scores.mean_squared_error(target, output))
    assert metric("rmse")(target, output) == pytest.approx(np.sqrt(scores.mean_squared_error(target, output)))
    assert metric("mae")(target, output) == pytest.approx(scores.mean_absolute_error(target, output))
    assert metric("r2")(target, output) == pytest.approx(scores.r2_score(target, output))


def test_broken_outputs_score_badly():
    """A model that gives NaN, or the same logits for all classes, must not look good."""
    labels = np.array([0, 0, 1, 2])
    broken = np.full((4, 3), np.nan, np.float32)
    assert metric("top_2")(labels, broken) == 0.0
    assert metric("top_2")(labels, np.zeros((4, 3), np.float32)) == 0.0
    assert metric("auc")(labels, np.zeros((4, 3), np.float32)) == 0.5
    assert np.isnan(metric("auc")(labels, broken))
    assert np.isnan(metric("auc")(np.zeros(4, int), np.eye(4, 2)))  # one class only: undefined


def test_names_of_the_history_and_errors():
    x, y = blobs(60)

    def mine(target, output):
        return len(target)

    t = trainer(metrics=["f1", "top_2", mine])
    history = t.fit(x, y, epochs=1, validation_data=(x, y), progress=False)
    assert {"val_f1", "val_top_2", "val_mine"} <= set(history.keys())
    assert history["val_mine"] == [60]
    for wrong in ("auc2", "top_0", "f2"):
        with pytest.raises(ValueError, match="unknown metric .*known: accuracy, f1, .*top_<k> such as top_5"):
            resolve(wrong)
    with pytest.raises(TypeError, match="must be a name or a callable"):
        resolve([3])
    with pytest.raises(ValueError, match="top_3 needs class labels and more than 3 logits"):
        trainer(metrics="top_3").evaluate(x, y)
    assert all(function.__doc__ for function in METRICS.values())
