"""Losses and targets of a Trainer, and every error about them and the options."""

import math

import numpy as np
import pytest
from helpers.training import blobs, classifier, trainer, weights
from reference.cross_entropy import softmax_cross_entropy

import fastnn.functional as F
from fastnn import EarlyStopping, Trainer, nn, optim
from fastnn.training import Feed


def test_any_function_is_a_loss():
    x, y = blobs(64)
    target = y.astype(np.float32)

    def absolute(output, target, sample_weight=None):
        return F.absolute(output - target).mean()

    t = Trainer(nn.Sequential(nn.Linear(6, 1), seed=1), absolute, optim.Adam(lr=0.05))
    history = t.fit(x, target, epochs=60, batch_size="full", progress=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    exact = np.abs(t.predict(x)[:, 0] - target).mean()
    assert t.evaluate(x, target)["loss"] == pytest.approx(float(exact), rel=1e-5)


def test_changed_loss_is_seen():
    x, y = blobs(32)
    t = trainer()
    t.optimizer.lr = 0.0
    exact = {s: softmax_cross_entropy(t.model.predict(x), y, label_smoothing=s)[0] for s in (0.0, 0.3)}
    assert t.train_step(x, y) == pytest.approx(exact[0.0], rel=1e-5)
    t.loss.label_smoothing = 0.3
    assert t.train_step(x, y) == pytest.approx(exact[0.3], rel=1e-5)
    t.loss = nn.CrossEntropyLoss()
    assert t.train_step(x, y) == pytest.approx(exact[0.0], rel=1e-5)
    t.loss = lambda output, target: 2.0 * F.cross_entropy(output, target)
    t.loss.target = "class"
    assert t.train_step(x, y) == pytest.approx(2 * exact[0.0], rel=1e-5)


def test_loss_without_weights_says_so():
    x, y = blobs(20)
    t = Trainer(nn.Sequential(nn.Linear(6, 1)), lambda output, target: (output - target).sum(), optim.SGD())
    with pytest.raises(TypeError, match="the loss takes no sample weights"):
        t.train_step(x, y, np.ones(20))


def test_column_targets_match_flat_ones():
    x, y = blobs(64)
    results = []
    for target in (y, y.astype(np.float32), y[:, None].astype(np.int32), y.astype(np.float64)[:, None]):
        t = Trainer(nn.Sequential(nn.Linear(6, 1), seed=1), nn.MSELoss(), optim.SGD(lr=0.01), metrics=["rmse", "r2"])
        t.fit(x, target, epochs=3, batch_size=16, progress=False)
        results.append(weights(t.model))
        scores = t.evaluate(x, target)
        assert scores["rmse"] == pytest.approx(math.sqrt(scores["loss"]), rel=1e-5)
        assert scores["r2"] == pytest.approx(1 - scores["loss"] / y.var(), rel=1e-5)
    assert all(result == results[0] for result in results)


def test_probabilities_as_targets():
    x, y = blobs(64)
    a, b = trainer(), trainer()
    losses = a.train_step(x, y), b.train_step(x, np.eye(3, dtype=np.float32)[y])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "target, error, message",
    [
        (
            lambda y: np.where(np.arange(len(y)) == 7, 3, y),
            IndexError,
            "label 3 of row 7 is out of range for 3 classes",
        ),
        (lambda y: np.where(np.arange(len(y)) >= 5, -1, y), IndexError, "label -1 of row 5 is out of range"),
        (lambda y: y.astype(float), TypeError, "class labels must be integers, got float64"),
        (lambda y: y.astype(str), TypeError, "class labels must be integers 0 .. 2"),
        (lambda y: y[:-1], ValueError, r"y has shape \(59,\), but x has 60 rows"),
        (lambda y: np.zeros((60, 3), int), ValueError, r"must have shape \(rows,\), got \(60, 3\)"),
    ],
)
def test_bad_labels_are_refused_before_the_first_write(target, error, message):
    x, y = blobs(60)
    t = trainer()
    before = weights(t.model)
    t.train_step(x, y)
    after_one = weights(t.model)
    bad = target(y)
    for call in (
        lambda: t.fit(x, bad, epochs=1, progress=False),
        lambda: t.train_step(x, bad),
        lambda: t.evaluate(x, bad),
        lambda: t.fit(x, y, epochs=1, validation_data=(x, bad), progress=False),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert weights(t.model) == after_one != before


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": -1}, ValueError, "epochs must be an integer >= 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1 or 'full', got 0"),
        ({"batch_size": "all"}, TypeError, "batch_size must be an integer or 'full'"),
        ({"validation_split": 1.0}, ValueError, "share between 0 and 1"),
        ({"validation_split": 0.5, "validation_data": blobs(9)}, ValueError, "not both"),
        ({"validation_data": blobs(9)[0]}, TypeError, r"must be \(x, y\)"),
        ({"shuffle": "often"}, ValueError, "shuffle must be True, 'once' or False"),
        ({"callbacks": [print]}, TypeError, "must be objects such as EarlyStopping"),
        ({"max_time": 0}, ValueError, "max_time must be a positive number"),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has shape \(3,\), expected \(600,\)"),
        ({"sample_weight": np.where(np.arange(600) == 4, np.nan, 1)}, ValueError, "sample_weight nan of row 4"),
        ({"sample_weight": np.zeros(600)}, ValueError, "all sample weights are zero"),
        ({"class_weight": "equal"}, ValueError, "class_weight must be 'balanced'"),
        ({"class_weight": {5: 1.0}}, ValueError, "5 is not a class"),
        ({"class_weight": {0: "a"}}, ValueError, "class_weight must be 'balanced'"),
        ({"class_weight": 3}, ValueError, "class_weight must be 'balanced'"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight must hold finite numbers >= 0"),
        ({"sample_weight": "a"}, TypeError, "sample_weight must be an array of numbers"),
        ({"epochs": None}, ValueError, "epochs must be an integer >= 0, got None"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer or 'full', got True"),
        ({"validation_split": "a"}, ValueError, "share between 0 and 1, got 'a'"),
        ({"callbacks": EarlyStopping}, TypeError, "must be objects such as EarlyStopping"),
        ({"max_time": "a"}, ValueError, "max_time must be a positive number of seconds or None, got 'a'"),
        ({"feed": Feed(curriculum="easy")}, TypeError, "curriculum must be a Curriculum, an array of difficulties or"),
    ],
)
def test_bad_options(options, error, message):
    x, y = blobs()
    t = trainer()
    before = weights(t.model)
    with pytest.raises(error, match=message):
        t.fit(x, y, **{"epochs": 1, "progress": False, **options})
    assert weights(t.model) == before


def test_bad_data():
    x, y = blobs(60)
    t = trainer()
    with pytest.raises(ValueError, match="no rows"):
        t.fit(x[:0], y[:0], epochs=1, progress=False)
    broken = x.copy()
    broken[17, 2] = np.nan
    with pytest.raises(ValueError, match="x holds nan in row 17, column 2"):
        t.fit(broken, y, epochs=1, progress=False, feed=Feed(check_finite=True))
    with pytest.raises(ValueError, match="5"):
        t.fit(x[:, :5], y, epochs=1, progress=False)
    regression = Trainer(nn.Sequential(nn.Linear(6, 2)), nn.MSELoss(), optim.SGD())
    with pytest.raises(ValueError, match=r"y has shape \(60,\), the model's output is \(rows, 2\).*CrossEntropyLoss"):
        regression.fit(x, y, epochs=1, progress=False)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda m: Trainer(m, nn.CrossEntropyLoss, optim.Adam()), TypeError, "loss must be an object"),
        (lambda m: Trainer(m, nn.CrossEntropyLoss(), optim.Adam), TypeError, "optimizer must be an object"),
        (lambda m: Trainer(print, nn.CrossEntropyLoss(), optim.Adam()), TypeError, "model must be an nn.Module"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), seed=-1), ValueError, "seed must be an integer"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), accumulate=0), ValueError, "accumulate must be"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), clip_grad_norm=0), ValueError, "clip_grad_norm must be"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), metrics="auc2"), ValueError, "unknown metric 'auc2'; known"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), ema=1.0), ValueError, "ema must be a decay"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), clip_grad_value="a"), ValueError, "a positive number"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), accumulate="x"), ValueError, "accumulate must be an integer"),
        (lambda m: Trainer(m, nn.MSELoss(), optim.Adam(), gradient_hook=3), TypeError, "must be a function or None"),
    ],
)
def test_bad_trainers(make, error, message):
    with pytest.raises(error, match=message):
        make(classifier())


@pytest.mark.parametrize(
    ("optimizer", "l2", "l1"),
    [
        (optim.SGD(0.01, weight_decay=0.3), 0.3, 0.0),
        (optim.Adam(0.01, weight_decay=0.2, l1=0.05), 0.2, 0.05),
        (optim.AdamW(0.01, weight_decay=0.3, l1=0.05), 0.0, 0.05),
        (optim.LAMB(0.01, weight_decay=0.3, l1=0.05), 0.0, 0.05),
    ],
)
def test_history_reports_loss_and_penalty_apart(optimizer, l2, l1):
    x, y = blobs(64)
    t = Trainer(classifier(), nn.CrossEntropyLoss(), optimizer)
    history = t.fit(x, y, epochs=2, progress=False)
    matrices = [w.astype(np.float64) for w in t.model.state_dict().values() if w.ndim == 2]
    exact = sum(l2 / 2 * np.linalg.norm(w) ** 2 + l1 * np.abs(w).sum() for w in matrices)
    assert history["penalty"][-1] == pytest.approx(exact, rel=1e-12)
    assert optim.penalty(optimizer, t.model.named_parameters()) == history["penalty"][-1]
    assert "penalty" not in trainer().fit(x, y, epochs=1, progress=False)


def test_penalty_follows_groups_and_frozen_parameters():
    model = nn.Sequential(nn.Linear(3, 2, seed=1), nn.Linear(2, 1, seed=2))
    groups = [{"params": "0.weight", "weight_decay": 1.0}, {"params": "0.bias", "l1": 2.0}]
    model[0].bias = np.array([3.0, -4.0])
    first = (model[0].weight.numpy().astype(np.float64) ** 2).sum() / 2
    optimizer = optim.SGD(0.1, groups=groups)
    assert optim.penalty(optimizer, model.named_parameters()) == pytest.approx(first + 14.0)
    model[0].weight.requires_grad = False
    assert optim.penalty(optimizer, model.named_parameters()) == pytest.approx(14.0)
    assert optim.penalty(optim.SGD(0.1), model.named_parameters()) is None
