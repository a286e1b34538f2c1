"""Bagging: samples, the exact identity, out-of-bag predictions by hand, the same bits whatever the workers."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn import EarlyStopping, Trainer, nn, optim
from fastnn.ensemble import Bagging
from fastnn.jobs import run_jobs


def blobs(rows=211, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, 6)) * 1.5
    return (centres[labels] + rng.normal(size=(rows, 6))).astype(np.float32), labels


def classifier(seed):
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 3), seed=seed)
    return Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.01), metrics=["accuracy"], seed=seed)


def regressor(seed):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2), seed=seed)
    return Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01), metrics=["rmse"], seed=seed)


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_a_member_is_the_model_trained_on_its_sample():
    x, y = blobs()
    bag = Bagging(classifier, 3, seed=5).fit(x, y, epochs=4, batch_size=32)
    assert len({member.seed for member in bag.members}) == 3
    for member in bag.members:
        assert len(member.rows) == len(x)
        assert 0.5 < len(np.unique(member.rows)) / len(x) < 0.75  # about 1 - 1/e
        alone = classifier(member.seed)
        alone.fit(x[member.rows], y[member.rows], epochs=4, batch_size=32, progress=False)
        np.testing.assert_array_equal(alone.predict(x), member.model.predict(x))
    mean = np.mean([softmax(member.model.predict(x)) for member in bag.members], axis=0)
    np.testing.assert_allclose(bag.predict_proba(x), mean, rtol=2e-6)
    np.testing.assert_array_equal(bag.predict(x), bag.predict_proba(x).argmax(axis=1))
    np.testing.assert_allclose(bag.spread(x), np.std(bag.predict_each(x), axis=0))


@pytest.mark.parametrize(("factory", "outputs"), [(classifier, 3), (regressor, 2)])
def test_error_of_the_average_is_the_mean_error_less_the_spread(factory, outputs):
    x, y = blobs()
    target = y if outputs == 3 else np.random.default_rng(1).normal(size=(len(x), 2))
    bag = Bagging(factory, 5).fit(x, target, epochs=2)
    parts = bag.decompose(x, target)
    assert parts["spread"].min() > 0
    np.testing.assert_allclose(parts["model_error"] - parts["bagged_error"], parts["spread"], rtol=1e-9, atol=1e-14)
    # against the definition, written out
    each = [softmax(m.predict(x)) if outputs == 3 else m.predict(x).astype(np.float64) for m in bag.models]
    truth = np.eye(3)[y] if outputs == 3 else target
    error = np.mean([((truth - one) ** 2).mean(axis=1) for one in each], axis=0)
    np.testing.assert_allclose(parts["model_error"], error, rtol=1e-5)


def test_out_of_bag_predictions_by_hand():
    x, y = blobs(90)
    bag = Bagging(classifier, 4, seed=1).fit(x, y, epochs=3, batch_size=30)
    rows = []
    for i in range(len(x)):
        unseen = [m for m in bag.members if i not in set(m.rows.tolist())]
        rows.append(np.mean([softmax(m.model.predict(x[i : i + 1]))[0] for m in unseen], axis=0) if unseen else None)
    expected = np.array([[np.nan] * 3 if row is None else row for row in rows])
    np.testing.assert_allclose(bag.oob_prediction, expected, rtol=2e-6)
    known = ~np.isnan(expected[:, 0])
    assert 0 < known.sum() < len(x)
    right = expected[known].argmax(axis=1) == y[known]
    assert bag.oob_score["accuracy"] == pytest.approx(right.mean())
    loss = -np.log(expected[known][np.arange(known.sum()), y[known]]).mean()
    assert bag.oob_score["loss"] == pytest.approx(loss, rel=1e-5)
    assert bag.evaluate(x, y)["accuracy"] == pytest.approx((bag.predict(x) == y).mean())


def test_the_same_bits_whatever_the_workers():
    x, y = blobs()
    results = [
        Bagging(classifier, 5, n_jobs=n, seed=2).fit(x, y, epochs=3, batch_size=16).predict_proba(x) for n in (1, 2, 5)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_each_model_stops_by_itself_on_its_unseen_rows():
    x, y = blobs(120)
    stops = []

    def callbacks():
        stops.append(EarlyStopping(patience=2))
        return [stops[-1]]

    bag = Bagging(classifier, 4, n_jobs=2).fit(
        x, y, epochs=60, batch_size=16, validation_data="oob", callbacks=callbacks
    )
    assert len(stops) == 4 and len({id(stop) for stop in stops}) == 4
    assert len({len(model.history) for model in bag.models}) > 1
    member = bag.members[0]
    unseen = np.setdiff1d(np.arange(len(x)), member.rows)
    best = min(member.model.history["val_loss"])
    assert member.model.evaluate(x[unseen], y[unseen])["loss"] == pytest.approx(best, rel=1e-6)


def test_list_of_factories_binary_loss_and_no_bootstrap():
    x, y = blobs()
    binary = (y > 0).astype(np.float32)

    def make(width):
        def factory(seed):
            model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1), seed=seed)
            return Trainer(model, nn.BCEWithLogitsLoss(), optim.Adam(lr=0.01), seed=seed)

        return factory

    bag = Bagging([make(3), make(5), make(7)], bootstrap=False).fit(x, binary, epochs=2)
    assert [m.model[0].out_features for m in bag.models] == [3, 5, 7]
    assert bag.oob_score is None and bag.rows == [None] * 3
    logits = [m.predict(x).astype(np.float64) for m in bag.models]
    mean = np.mean([1 / (1 + np.exp(-z)) for z in logits], axis=0)
    np.testing.assert_allclose(bag.predict_proba(x), mean, rtol=2e-6)
    np.testing.assert_array_equal(bag.predict(x), mean[:, 0] > 0.5)
    outputs = Bagging([make(3), make(5), make(7)], bootstrap=False, average="output").fit(x, binary, epochs=2)
    mean = np.mean(logits, axis=0)
    np.testing.assert_allclose(outputs.predict_each(x).mean(axis=0), mean, rtol=1e-12)
    np.testing.assert_allclose(outputs.predict_proba(x), 1 / (1 + np.exp(-mean)), rtol=1e-12)


def test_errors_of_classifiers_are_those_of_probabilities_whatever_is_averaged():
    """An ensemble that averages logits was drawn with a "mean squared error" of 19 at 98 % accuracy."""
    x, y = blobs()
    bags = [Bagging(classifier, 4, average=average).fit(x, y, epochs=3) for average in ("probability", "output")]
    parts = [bag.decompose(x, y) for bag in bags]
    for name in parts[0]:
        np.testing.assert_array_equal(parts[0][name], parts[1][name])
    assert parts[1]["model_error"].max() <= 1.0


def test_a_subclass_of_a_loss_averages_probabilities_too():
    """The link was looked up by the class's name: a subclass of CrossEntropyLoss averaged logits."""

    class Mine(nn.CrossEntropyLoss):
        pass

    def mine(seed):
        trainer = classifier(seed)
        trainer.loss = Mine()
        return trainer

    x, y = blobs()
    bags = [Bagging(factory, 3).fit(x, y, epochs=2) for factory in (classifier, mine)]
    np.testing.assert_array_equal(bags[0].predict_proba(x), bags[1].predict_proba(x))
    assert bags[0].oob_score == bags[1].oob_score
    values = Bagging(regressor, 2).fit(x, np.zeros((len(x), 2)), epochs=1)
    np.testing.assert_array_equal(values.predict(x), values.predict_each(x).mean(axis=0))
    with pytest.raises(ValueError, match="the outputs of MSELoss are values"):
        values.predict_proba(x)


def test_estimators_of_scikit_learns_form():
    pytest.importorskip("sklearn")
    from sklearn.tree import DecisionTreeClassifier

    x, y = blobs()
    names = np.array(["a", "b", "c"])[y]
    bag = Bagging(lambda seed: DecisionTreeClassifier(random_state=seed), 6).fit(x, names)
    assert bag.predict_proba(x).shape == (len(x), 3)
    assert set(bag.predict(x)) == {"a", "b", "c"}
    assert bag.oob_score["accuracy"] > 0.5
    assert bag.evaluate(x, names)["accuracy"] > bag.oob_score["accuracy"]


class PicklableFactory:
    def __call__(self, seed):
        return classifier(seed)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_backends_are_respected(backend):
    joblib = pytest.importorskip("joblib")
    x, y = blobs(100)
    expected = Bagging(PicklableFactory(), 3, n_jobs=1).fit(x, y, epochs=2).predict(x)
    seen = []
    original = joblib.Parallel.__call__

    def call(self, jobs):
        seen.append(type(self._backend).__name__)
        return original(self, jobs)

    joblib.Parallel.__call__ = call
    try:
        with joblib.parallel_config(backend=backend, n_jobs=2):
            got = Bagging(PicklableFactory(), 3).fit(x, y, epochs=2).predict(x)
    finally:
        joblib.Parallel.__call__ = original
    assert seen == [{"threading": "ThreadingBackend", "loky": "LokyBackend"}[backend]]
    np.testing.assert_array_equal(got, expected)
    Bagging(PicklableFactory(), 2).fit(x, y, epochs=1)
    assert len(seen) == 1  # outside the block: the own pool


def test_threads_are_shared_out_and_handed_on():
    counts, gate = {}, threading.Barrier(2)

    def job(name, slot):
        gate.wait(timeout=30)
        if name == "long":
            while len(counts) < 1:
                pass
            done = threading.Event()
            done.wait(0.2)  # the short job has left by now
            slot.take_share()
        counts[name] = fastnn.get_num_threads()
        return name

    with fastnn.num_threads(4):
        assert sorted(name for _, name in run_jobs(job, ["long", "short"], n_jobs=2)) == ["long", "short"]
        assert fastnn.get_num_threads() == 4
    assert counts == {"short": 2, "long": 4}


def test_the_first_error_ends_all_and_reaches_the_caller():
    x, y = blobs()
    started = []

    def factory(seed):
        started.append(seed)
        if len(started) == 2:
            raise ZeroDivisionError("the second model")
        return classifier(seed)

    with pytest.raises(ZeroDivisionError, match="the second model"):
        Bagging(factory, 40, n_jobs=2).fit(x, y, epochs=10_000)
    assert len(started) < 10
    assert threading.active_count() < 10


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x, y: Bagging(3), TypeError, "factory must be callable"),
        (lambda x, y: Bagging(lambda: 1), TypeError, r"must take seed, as in def factory\(seed\)"),
        (lambda x, y: Bagging([]), ValueError, "list of factories is empty"),
        (lambda x, y: Bagging(classifier, 0), ValueError, "n_models must be an integer >= 1"),
        (lambda x, y: Bagging(classifier, average="median"), ValueError, "'probability' or 'output'"),
        (lambda x, y: Bagging(classifier, n_jobs=0).fit(x, y, epochs=1), ValueError, "n_jobs must be"),
        (lambda x, y: Bagging(classifier).fit(x, y[:5], epochs=1), ValueError, "but x has 211 rows"),
        (lambda x, y: Bagging(classifier).fit(iter([x]), y, epochs=1), TypeError, "x must be an array"),
        (lambda x, y: Bagging(classifier).fit(x, y, epochs=1, callbacks=[1]), TypeError, "each model needs its own"),
        (lambda x, y: Bagging(classifier).fit(x, y, epochs=1, rows=[1]), TypeError, "takes no rows"),
        (lambda x, y: Bagging(classifier).fit(x, y, epochs=1, validation_data="x"), ValueError, "'oob'"),
        (lambda x, y: Bagging(classifier).predict(x), RuntimeError, "call fit first"),
    ],
)
def test_errors_say_what_to_do(make, error, words):
    with pytest.raises(error, match=words):
        make(*blobs())
