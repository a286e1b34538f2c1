"""Metrics by name against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from helpers.training import blobs, trainer

from fastnn import Trainer, nn, optim
from fastnn.training.metrics import METRICS, resolve

CLASS, ANSWERS, VALUES = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()


def metric(name, loss=CLASS):
    found = resolve(name, loss)[0][1]
    return lambda target, output: found(target, output, loss)


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
    loss = CLASS if columns == 2 else ANSWERS
    decided = (score > 0).astype(int)
    assert len(np.unique(score.astype(np.float32))) < len(score)  # ties are there
    assert metric("auc", loss)(target, output) == pytest.approx(scores.roc_auc_score(labels, score), rel=1e-12)
    assert metric("f1", loss)(target, output) == pytest.approx(scores.f1_score(labels, decided))
    assert metric("f1_macro", loss)(target, output) == pytest.approx(scores.f1_score(labels, decided, average="macro"))
    assert metric("accuracy", loss)(target, output) == scores.accuracy_score(labels, decided)


def test_several_answers_per_row_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    target = (rng.random((200, 4)) < 0.4).astype(np.float32)
    output = (rng.normal(size=(200, 4)) + target).astype(np.float32)
    for average in ("macro", "micro"):
        expected = scores.f1_score(target, output > 0, average=average)
        assert metric(f"f1_{average}", ANSWERS)(target, output) == pytest.approx(expected)
    assert metric("auc", ANSWERS)(target, output) == pytest.approx(scores.roc_auc_score(target, output))
    assert metric("accuracy", ANSWERS)(target, output) == pytest.approx(np.mean((output > 0) == (target > 0.5)))


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
    assert metric("mse", VALUES)(target, output) == pytest.approx(scores.mean_squared_error(target, output))
    assert metric("rmse", VALUES)(target, output) == pytest.approx(np.sqrt(scores.mean_squared_error(target, output)))
    assert metric("mae", VALUES)(target, output) == pytest.approx(scores.mean_absolute_error(target, output))
    assert metric("r2", VALUES)(target, output) == pytest.approx(scores.r2_score(target, output))


def test_equal_logits_score_badly():
    """A model that gives the same logits for all classes must not look good."""
    labels = np.array([0, 0, 1, 2])
    assert metric("top_2")(labels, np.zeros((4, 3), np.float32)) == 0.0
    assert metric("auc")(labels, np.zeros((4, 3), np.float32)) == 0.5
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
            resolve(wrong, CLASS)
    with pytest.raises(TypeError, match="must be a name or a callable"):
        resolve([3], CLASS)
    with pytest.raises(ValueError, match="top_3 needs class labels and more than 3 logits"):
        trainer(metrics="top_3").evaluate(x, y)
    assert all(function.__doc__ for function in METRICS.values())


# ---- the loss says what outputs mean -----------------------------------------------------------------------------


def one_output(loss, *end, metrics=("accuracy",), seed=0):
    model = nn.Sequential(nn.Linear(2, 1, seed=seed), *end)
    model[0].weight, model[0].bias = np.array([[4.0, 0.0]]), np.zeros(1)
    return Trainer(model, loss, optim.SGD(), metrics=metrics)


@pytest.mark.parametrize(
    ("loss", "end"),
    [(nn.BCELoss(), [nn.Sigmoid()]), (nn.BCEWithLogitsLoss(), []), (nn.HingeLoss(), []), (nn.SquaredHingeLoss(), [])],
    ids=repr,
)
def test_accuracy_of_answers_has_the_threshold_of_the_loss(loss, end, rng):
    """Sigmoid with BCELoss had accuracy 0.51 where 1.0 is true: the threshold was that of a logit."""
    x = rng.normal(size=(400, 2)).astype(np.float32)
    y = np.where(x[:, :1] > 0, 1.0, loss.domain.low).astype(np.float32)
    t = one_output(loss, *end, metrics=["accuracy", "f1", "auc"])
    assert {name: value for name, value in t.evaluate(x, y).items() if name != "loss"} == {
        "accuracy": 1.0, "f1": 1.0, "auc": 1.0,
    }  # fmt: skip
    from fastnn.diagnostics import diagnose
    from fastnn.plot import ConfusionMatrixDisplay

    matrix = ConfusionMatrixDisplay.from_model(t, x, y[:, 0].astype(int)).confusion_matrix
    assert matrix[0, 0] + matrix[1, 1] == 400 and matrix.shape == (2, 2)
    assert diagnose(t, (x, y), (x, y), check_health=False).errors["training"] == 0.0


def test_accuracy_of_several_answers_does_not_turn_into_argmax():
    """One row more moved it from 0.325 to 0.665, because all rows then summed to 1."""
    target = np.eye(3, dtype=np.float32)
    output = np.full((3, 3), 2.0, np.float32)  # yes to everything
    more = np.concatenate([target, [[1, 1, 0]]]).astype(np.float32)
    assert metric("accuracy", ANSWERS)(target, output) == pytest.approx(1 / 3)
    assert metric("accuracy", ANSWERS)(more, np.full((4, 3), 2.0)) == pytest.approx(5 / 12)


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "f1_micro", "auc", "top_2"])
@pytest.mark.parametrize("ignored", [-100, 4, 7])
def test_ignored_rows_do_not_count(name, ignored):
    """They counted as wrong; f1, auc and top-k failed on negative labels."""
    labels, output = logits()
    loss = nn.CrossEntropyLoss(ignore_index=ignored)
    left = labels != 4
    with_ignored = np.where(left, labels, ignored)
    expected = metric(name)(labels[left], output[left])
    assert metric(name, loss)(with_ignored, output) == expected
    assert np.isnan(metric(name, loss)(np.full(len(labels), ignored), output))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("loss", "names"),
    [
        (CLASS, ["accuracy", "f1", "f1_macro", "f1_micro", "auc", "top_2"]),
        (ANSWERS, ["accuracy", "f1", "auc"]),
        (VALUES, ["mse", "rmse", "mae", "r2"]),
    ],
    ids=["class", "answers", "values"],
)
def test_outputs_that_are_not_finite_have_no_score(loss, names, broken):
    """argmax of NaN is class 0: with 90 % of class 0 the accuracy rose to 0.88 when the weights broke."""
    if broken == np.inf and loss is ANSWERS:
        pytest.skip("a logit of infinity is a probability of 1")
    target = {"class": np.zeros(4, int)}.get(loss.target, np.ones((4, 3)))
    output = np.ones((4, 3), np.float32)
    output[2, 1] = broken

    def mine(target, output):
        return 1.0

    t = Trainer(nn.Sequential(nn.Linear(3, 3, bias=False)), loss, optim.SGD(), metrics=[*names, mine])
    t.model[0].weight = np.eye(3)
    scores = t.evaluate(output, target)
    assert np.isnan([scores[name] for name in [*names, "mine"]]).all()
    for name in names:
        assert np.isnan(metric(name, loss)(target, output))


def test_a_logit_of_minus_infinity_is_a_probability_of_zero():
    output = np.array([[0.0, 1.0, -np.inf], [2.0, -np.inf, 0.0]])
    assert metric("accuracy")(np.array([1, 0]), output) == 1.0


def test_two_metrics_of_one_name_are_refused():
    def accuracy(target, output):
        return 0.0

    for metrics, name in (
        (["accuracy", accuracy], "accuracy"), ([lambda t, o: 0, lambda t, o: 1], "<lambda>"), (["f1", "f1"], "f1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}' stands for two columns of the history; set __name__"):
            trainer(metrics=metrics)

    def loss(target, output):
        return 0.0

    with pytest.raises(ValueError, match="'loss' stands for two columns"):
        trainer(metrics=[loss])


def test_a_loss_of_values_has_no_accuracy_unless_it_says_so():
    """Nothing is guessed: squared errors of one-hot rows are declared."""
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"'accuracy' needs decisions, but MSELoss compares values.*loss.target = "):
        Trainer(model, nn.MSELoss(), optim.SGD(), metrics=["accuracy"])
    loss = nn.MSELoss()
    loss.target = "rows"
    t = Trainer(model, loss, optim.SGD(), metrics=["accuracy"])
    x = np.eye(2, dtype=np.float32)
    y = np.eye(3, dtype=np.float32)[t.predict(x).argmax(axis=1)]
    assert t.evaluate(x, y)["accuracy"] == 1.0
    with pytest.raises(ValueError, match="compares values, but the targets of CrossEntropyLoss are labels"):
        metric("mse", CLASS)(np.zeros(2, int), np.zeros((2, 3)))


def test_values_of_a_rate_are_compared_with_counts():
    output = np.log(np.array([[2.0], [3.0]]))
    assert metric("mse", nn.PoissonNLLLoss())(np.array([[2.0], [4.0]]), output) == pytest.approx(0.5)
    assert metric("mse", ANSWERS)(np.array([[1.0], [0.0]]), np.zeros((2, 1))) == 0.25  # Brier's score


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.MSELoss, nn.BCEWithLogitsLoss])
def test_val_loss_of_a_sum_is_a_mean_per_row(loss, weighted, rng):
    """A sum gave `val_loss` 382.9 beside a `loss` of 95.7 for equal rows and weights."""
    x = rng.normal(size=(50, 6)).astype(np.float32)
    y = rng.integers(0, 3, 50) if loss is nn.CrossEntropyLoss else (rng.random((50, 3)) > 0.5).astype(np.float32)
    weight = rng.random(50) if weighted else None
    found = {}
    for reduction in ("sum", "mean"):
        t = Trainer(nn.Sequential(nn.Linear(6, 3), seed=1), loss(reduction=reduction), optim.SGD())
        found[reduction] = t.evaluate(x, y, sample_weight=weight)["loss"]
    columns = 1 if loss is nn.CrossEntropyLoss else 3  # a sum adds the columns of a row
    assert found["sum"] == pytest.approx(columns * found["mean"], rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("loss", "weighted", "accumulate"),
    [
        (nn.MSELoss, False, 1), (nn.MSELoss, True, 2), (nn.CrossEntropyLoss, True, 1), (nn.BCEWithLogitsLoss, True, 3),
        (lambda reduction: nn.CrossEntropyLoss([1, 2, 0.5], ignore_index=1, reduction=reduction), True, 2),
    ],
)  # fmt: skip
def test_loss_and_val_loss_of_equal_rows_are_one_quantity(loss, weighted, accumulate, reduction, rng):
    """Equal rows and weights: `loss` of the history and `val_loss` agree, whatever reduction, weights, accumulation."""
    x = rng.normal(size=(50, 6)).astype(np.float32)
    loss = loss(reduction=reduction)
    y = rng.integers(0, 3, 50) if loss.target == "class" else (rng.random((50, 3)) > 0.5).astype(np.float32)
    weight = rng.random(50) if weighted else None
    t = Trainer(nn.Sequential(nn.Linear(6, 3), seed=1), loss, optim.SGD(lr=0.0), accumulate=accumulate)
    held = (x, y) if weight is None else (x, y, weight)
    history = t.fit(x, y, epochs=1, batch_size=8, sample_weight=weight, validation_data=held, progress=False)
    assert history["loss"][0] == pytest.approx(history["val_loss"][0], rel=1e-5)


def test_probabilities_come_from_predict_proba(rng):
    x = rng.normal(size=(20, 6)).astype(np.float32)
    t = trainer()
    z = t.predict(x).astype(np.float64)
    np.testing.assert_allclose(t.predict_proba(x), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-5)
    answers = Trainer(t.model, nn.BCEWithLogitsLoss(), optim.SGD())
    np.testing.assert_allclose(answers.predict_proba(x), 1 / (1 + np.exp(-z)), rtol=1e-5)
    with pytest.raises(ValueError, match="the outputs of MSELoss are values: they have no probabilities; use predict"):
        Trainer(t.model, nn.MSELoss(), optim.SGD()).predict_proba(x)


def test_a_function_of_functional_means_what_its_class_means():
    import fastnn.functional as F

    x, y = blobs(60)
    t = Trainer(trainer().model, F.cross_entropy, optim.SGD(), metrics=["accuracy"])
    assert t.evaluate(x, y) == trainer(metrics=["accuracy"]).evaluate(x, y)
    assert t.predict_proba(x).shape == (60, 3)
