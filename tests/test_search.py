"""Search: scales, trials that can be repeated, halving that continues, studies that go on, time, errors."""

import json
import math
import os

import numpy as np
import pytest
from scipy import stats

from fastnn import Callback, Trainer, nn, optim
from fastnn.search import (
    RandomSearch,
    choice,
    coarse_to_fine,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    sample,
    uniform,
)


def blobs(rows=180, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, 6)) * 1.5
    return (centres[labels] + rng.normal(size=(rows, 6))).astype(np.float32), labels


def factory(lr, hidden=8, beta=0.9, seed=0):
    model = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 3), seed=seed)
    loss = nn.CrossEntropyLoss()
    return Trainer(model, loss, optim.Adam(lr=lr, betas=(beta, 0.999)), metrics=["accuracy"], seed=seed)


SPACE = {"lr": log_uniform(1e-4, 1), "hidden": int_uniform(4, 12), "batch_size": [16, 32]}


# ---- scales -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "to_uniform"),
    [
        (uniform(-2.0, 6.0), lambda v: (v + 2) / 8),
        (log_uniform(1e-4, 1), lambda v: (np.log10(v) + 4) / 4),
        (one_minus_log_uniform(0.9, 0.999), lambda v: (-1 - np.log10(1 - v)) / 2),
    ],
)
def test_continuous_scales(distribution, to_uniform):
    rng = np.random.default_rng(0)
    values = np.array([distribution.draw(rng) for _ in range(4000)])
    assert stats.kstest(to_uniform(values), "uniform").pvalue > 0.01
    for value in values[:20]:
        assert distribution.value(distribution.coordinate(value)) == pytest.approx(value, rel=1e-12)


def test_discrete_scales():
    rng = np.random.default_rng(1)
    counts = np.bincount([int_uniform(2, 4).draw(rng) for _ in range(3000)], minlength=6)
    assert counts[[0, 1, 5]].sum() == 0 and stats.chisquare(counts[2:5]).pvalue > 0.01
    words = [choice("relu", "tanh").draw(rng) for _ in range(2000)]
    assert stats.binomtest(words.count("relu"), 2000).pvalue > 0.01
    assert int_uniform(3, 3).draw(rng) == 3
    assert sample({"a": [5], "b": 7, "c": (1, 2)}) == {"a": 5, "b": 7, "c": (1, 2)}


def test_coarse_to_fine_by_hand():
    space = {
        "lr": log_uniform(1e-4, 1),
        "beta": one_minus_log_uniform(0.9, 0.999),
        "n": int_uniform(1, 100),
        "act": ["relu", "tanh", "elu"],
    }
    params = [(1e-3, 0.99, 40, "tanh"), (1e-2, 0.995, 60, "tanh"), (1.0, 0.9, 1, "relu"), (0.5, 0.9, 2, "elu")]
    trials = [{"params": dict(zip(space, p)), "score": i} for i, p in enumerate(params)]
    trials.append({"params": {}, "score": None})
    fine = coarse_to_fine(space, trials, keep=0.25)
    # two are kept: 10^-3 to 10^-2 and a quarter decade more on both sides
    assert fine["lr"].low == pytest.approx(-3.25) and fine["lr"].high == pytest.approx(-1.75)
    width = math.log10(0.01 / 0.005)
    assert fine["beta"].low == pytest.approx(2 - width / 4) and fine["beta"].high == pytest.approx(2 + 1.25 * width)
    assert repr(fine["n"]) == "int_uniform(35, 65)"
    assert fine["act"].values == ("tanh",)
    # equal values: a tenth of the range; at the edge: never beyond it
    same = coarse_to_fine({"lr": log_uniform(1e-4, 1)}, [{"params": {"lr": 1.0}, "score": 1.0}] * 3)
    assert same["lr"].high == 0 and same["lr"].low == pytest.approx(-0.2)


# ---- trials -----------------------------------------------------------------------------------------------------


def test_a_trial_is_the_training_of_its_parameters():
    x, y = blobs()
    search = RandomSearch(factory, SPACE, 5, n_jobs=2, seed=3).fit(x[:140], y[:140], validation_data=(x[140:], y[140:]),
                                                                     epochs=3)  # fmt: skip
    assert sorted(trial["number"] for trial in search.trials) == [0, 1, 2, 3, 4]
    assert [t["score"] for t in search.trials] == sorted(t["score"] for t in search.trials)
    for trial in search.trials:
        assert trial["params"] == sample(SPACE, [3, trial["number"]])
        params = dict(trial["params"])
        batch_size = params.pop("batch_size")
        alone = factory(**params, seed=3)
        history = alone.fit(x[:140], y[:140], validation_data=(x[140:], y[140:]), epochs=3, batch_size=batch_size,
                            progress=False)  # fmt: skip
        assert trial["curve"] == [[i + 1, loss] for i, loss in enumerate(history["val_loss"])]
        assert trial["score"] == min(history["val_loss"])  # a trial is judged by its best epoch
    assert search.best_params == search.trials[0]["params"]
    assert search.best_model.evaluate(x[140:], y[140:])["loss"] == pytest.approx(search.best_score, rel=1e-6)
    lines = search.table().splitlines()
    assert len(lines) == 6 and lines[0].split() == ["trial", "val_loss", "epochs", "seconds", *SPACE]


def test_workers_and_more_trials_change_nothing():
    x, y = blobs()
    one = RandomSearch(factory, SPACE, 4, n_jobs=1).fit(x, y, epochs=2)
    many = RandomSearch(factory, SPACE, 6, n_jobs=3).fit(x, y, epochs=2)
    scores = {trial["number"]: trial["score"] for trial in many.trials}
    assert all(scores[trial["number"]] == trial["score"] for trial in one.trials)


def test_monitor_of_which_more_is_better_and_patience():
    x, y = blobs()
    search = RandomSearch(factory, SPACE, 4, monitor="val_accuracy", patience=3).fit(x, y, epochs=30)
    scores = [trial["score"] for trial in search.trials]
    assert scores == sorted(scores, reverse=True)
    assert all(trial["score"] == max(score for _, score in trial["curve"]) for trial in search.trials)
    assert all([epoch for epoch, _ in t["curve"]] == list(range(1, t["epochs"] + 1)) for t in search.trials)
    assert any(trial["epochs"] < 30 for trial in search.trials)


def test_halving_continues_the_survivors():
    x, y = blobs()
    steps = {}

    class Count(Callback):
        def on_epoch_end(self, epoch, logs):
            steps.setdefault(id(self.trainer), [self.trainer]).append(epoch)

    search = RandomSearch(factory, SPACE, 9, halving=3, n_jobs=2).fit(x, y, epochs=9, callbacks=lambda: [Count()])
    lengths = sorted(trial["epochs"] for trial in search.trials)
    assert lengths == [1] * 6 + [3] * 2 + [9]
    best_epoch = min(search.trials[0]["curve"], key=lambda point: point[1])[0]
    again = [] if best_epoch == search.trials[0]["epochs"] else [best_epoch]  # the winner, up to its best epoch
    assert sorted(len(seen) - 1 for seen in steps.values()) == sorted(lengths + again)  # else each epoch once
    first = sorted(search.trials, key=lambda trial: trial["curve"][0][1])
    assert {t["number"] for t in first[:3]} == {t["number"] for t in search.trials if t["epochs"] >= 3}
    assert search.trials[0]["epochs"] == 9 and search.trials[0]["status"] == "done"
    assert {trial["status"] for trial in search.trials[1:]} == {"halved"}
    # and the winner has the bits of a training without interruption
    params = dict(search.best_params)
    batch_size = params.pop("batch_size")
    alone = RandomSearch(lambda seed: factory(**params, seed=seed), {"batch_size": [batch_size]}, 1).fit(x, y, epochs=9)
    assert alone.best_score == search.best_score
    np.testing.assert_array_equal(alone.best_model.predict(x), search.best_model.predict(x))


def test_rounds_go_from_coarse_to_fine():
    x, y = blobs()
    search = RandomSearch(factory, SPACE, 12, rounds=3, seed=1).fit(x, y, epochs=2)
    widths = [space["lr"].high - space["lr"].low for space in search.spaces]
    assert widths[0] == pytest.approx(4) and widths[1] < 4 and len(widths) == 3
    for trial in search.trials:
        lr = search.spaces[trial["round"]]["lr"]
        assert lr.low <= math.log10(trial["params"]["lr"]) <= lr.high
    assert sorted(trial["round"] for trial in search.trials) == [0] * 4 + [1] * 4 + [2] * 4


def test_estimators_of_scikit_learns_form():
    neighbors = pytest.importorskip("sklearn.neighbors")
    x, y = blobs()
    names = np.array(["a", "b", "c"])[y]
    search = RandomSearch(neighbors.KNeighborsClassifier, {"n_neighbors": int_uniform(1, 30)}, 4, monitor="score",
                          mode="max").fit(x, names)  # fmt: skip
    assert search.best_score == max(trial["score"] for trial in search.trials) > 0.5
    assert search.best_model.n_neighbors == search.best_params["n_neighbors"]


def test_a_diverging_trial_is_the_last():
    x, y = blobs()

    def make(lr, seed):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), seed=seed)
        return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=lr), seed=seed)

    search = RandomSearch(make, {"lr": choice(1e30, 0.1)}, 6).fit(x * 1e3, y, epochs=3)
    diverged = [trial for trial in search.trials if trial["status"] == "diverged"]
    assert diverged and all(trial["params"]["lr"] == 1e30 for trial in diverged)
    assert search.trials[-1] is diverged[-1] and search.trials[-1]["score"] is None


def test_the_best_epoch_wins_wherever_its_trial_ended():
    """A trial that a halving ended at its best is ranked above one that went on and never got as far."""
    from fastnn.search.trial import best_of

    search = RandomSearch(factory, SPACE, 3, halving=3)
    search.trials = [
        {"number": 0, "score": 0.5, "status": "done"}, {"number": 1, "score": 0.3, "status": "halved"},
        {"number": 2, "score": None, "status": "diverged"},
    ]  # fmt: skip
    search._order()
    assert [trial["number"] for trial in search.trials] == [1, 0, 2]
    assert best_of([[1, 0.5], [2, 0.2], [3, 0.4]], False) == [2, 0.2]
    assert best_of([[1, 0.5], [2, 0.2], [3, 0.4]], True, 1) == [1, 0.5] and best_of([[1, None]], False) == [0, None]
    x, y = blobs()
    held = (x[140:], y[140:])
    found = RandomSearch(factory, SPACE, 4, seed=5).fit(x[:140], y[:140], validation_data=held, epochs=8)
    assert found.best_model.evaluate(*held)["loss"] == pytest.approx(found.best_score, rel=1e-6)


def test_a_trial_that_raises_is_the_last_and_the_others_go_on(tmp_path):
    x, y = blobs()

    def fragile(lr, seed):
        if lr > 0.3:
            raise MemoryError("not with this rate")
        return factory(lr=lr, seed=seed)

    path = tmp_path / "study.json"
    search = RandomSearch(fragile, {"lr": uniform(0.01, 1)}, 6, n_jobs=2, study=path).fit(x, y, epochs=2)
    failed = [trial for trial in search.trials if trial["params"]["lr"] > 0.3]
    assert 0 < len(failed) < 6 and search.trials[-len(failed) :] == failed and search.best_params["lr"] <= 0.3
    assert all(t["status"] == "failed" and t["error"] == "MemoryError: not with this rate" for t in failed)
    assert "failed" in search.table()
    again = RandomSearch(fragile, {"lr": uniform(0.01, 1)}, 6, study=path).fit(x, y, epochs=2)  # failed ones are tried
    assert again.best_score == search.best_score
    with pytest.raises(MemoryError, match="not with this rate"):
        RandomSearch(fragile, {"lr": uniform(0.5, 1)}, 3).fit(x, y, epochs=2)


@pytest.mark.parametrize("name", ["class_weight", "sample_weight"])
def test_a_study_made_with_other_weights_is_refused(tmp_path, name):
    x, y = blobs()
    first, second = (({0: 1.0, 1: 2.0, 2: 1.0}, {0: 1.0, 1: 3.0, 2: 1.0}) if name == "class_weight" else
                     (np.ones(len(y)), np.arange(len(y)) + 1.0))  # fmt: skip
    RandomSearch(factory, SPACE, 2, study=tmp_path / "s.json").fit(x, y, epochs=1, **{name: first})
    RandomSearch(factory, SPACE, 2, study=tmp_path / "s.json").fit(x, y, epochs=1, **{name: first})
    for weights in (second, None):
        with pytest.raises(ValueError, match="another fit"):
            RandomSearch(factory, SPACE, 2, study=tmp_path / "s.json").fit(x, y, epochs=1, **{name: weights})


# ---- studies and time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"halving": 2}, {"rounds": 2}])
def test_a_study_goes_on_where_it_was_interrupted(tmp_path, options):
    x, y = blobs()
    whole = RandomSearch(factory, SPACE, 8, n_jobs=1, **options).fit(x, y, epochs=4)
    path, made = tmp_path / "study.json", []

    def interrupted(stop_after):
        def make(lr, hidden, seed):
            if len(made) == stop_after:
                raise KeyboardInterrupt
            made.append(lr)
            return factory(lr, hidden, seed=seed)

        return make

    for stop_after in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            RandomSearch(interrupted(stop_after), SPACE, 8, study=path, n_jobs=1, **options).fit(x, y, epochs=4)
        assert os.listdir(tmp_path) == ["study.json"]
        assert len(json.loads(path.read_text())["trials"]) == stop_after
    search = RandomSearch(interrupted(None), SPACE, 8, study=path, n_jobs=1, **options).fit(x, y, epochs=4)

    def what(trials):
        return [{k: v for k, v in trial.items() if k != "seconds"} for trial in trials]

    assert what(search.trials) == what(whole.trials)
    np.testing.assert_array_equal(search.best_model.predict(x), whole.best_model.predict(x))
    before = len(made)
    again = RandomSearch(interrupted(None), SPACE, 8, study=path, **options).fit(x, y, epochs=4)
    assert len(made) == before + 1  # nothing but the best model is made again
    assert again.best_score == whole.best_score
    np.testing.assert_array_equal(again.best_model.predict(x), whole.best_model.predict(x))


def test_a_study_of_something_else_is_refused(tmp_path):
    x, y = blobs()
    path = tmp_path / "study.json"
    RandomSearch(factory, SPACE, 2, study=path).fit(x, y, epochs=1)
    RandomSearch(factory, SPACE, 3, study=path).fit(x, y, epochs=1)  # more trials are welcome
    for search, words in (
        (RandomSearch(factory, {"lr": uniform(0.1, 1)}, 2, study=path), "another space"),
        (RandomSearch(factory, SPACE, 2, seed=1, study=path), "another seed"),
    ):
        with pytest.raises(ValueError, match=words):
            search.fit(x, y, epochs=1)
    with pytest.raises(ValueError, match="other data"):
        RandomSearch(factory, SPACE, 2, study=path).fit(x, y[::-1], epochs=1)
    with pytest.raises(ValueError, match="another epochs"):
        RandomSearch(factory, SPACE, 2, study=path).fit(x, y, epochs=2)
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a study of fastnn.search"):
        RandomSearch(factory, SPACE, 2, study=path).fit(x, y, epochs=1)


def test_a_time_budget_ends_trials_and_search(tmp_path):
    x, y = blobs()
    path = tmp_path / "study.json"
    search = RandomSearch(factory, {"lr": 0.01}, 50, max_time=0.3, study=path).fit(x, y, epochs=10**6)
    assert 1 <= len(search.trials) < 50
    assert {trial["status"] for trial in search.trials} == {"time"}
    assert search.best_score is not None and search.best_model is not None
    assert len(json.loads(path.read_text())["trials"]) == len(search.trials)


class PicklableFactory:
    def __call__(self, lr, hidden, seed):
        return factory(lr, hidden, seed=seed)


def test_joblib_processes_give_the_same_trials():
    joblib = pytest.importorskip("joblib")
    x, y = blobs()
    here = RandomSearch(PicklableFactory(), SPACE, 4, halving=2, n_jobs=1).fit(x, y, epochs=4)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        there = RandomSearch(PicklableFactory(), SPACE, 4, halving=2).fit(x, y, epochs=4)
    assert [t["score"] for t in there.trials] == [t["score"] for t in here.trials]
    np.testing.assert_array_equal(there.best_model.predict(x), here.best_model.predict(x))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: log_uniform(0, 1), ValueError, "0 < low < high"),
        (lambda: log_uniform(1, 1), ValueError, "0 < low < high"),
        (lambda: uniform(2, 1), ValueError, "low must be below high"),
        (lambda: uniform("a", 1), ValueError, "low must be a finite number"),
        (lambda: one_minus_log_uniform(0.9, 1), ValueError, "low < high < 1"),
        (lambda: int_uniform(1.5, 3), ValueError, "must be a whole number"),
        (lambda: choice(), ValueError, "at least one value"),
        (lambda: RandomSearch(factory, {}), TypeError, "the space must be a dict"),
        (lambda: RandomSearch(factory, {"lr": uniform}), TypeError, "lr: uniform needs its bounds"),
        (lambda: RandomSearch(1, SPACE), TypeError, "factory must be callable"),
        (lambda: RandomSearch(factory, SPACE, 0), ValueError, "n_trials must be an integer >= 1"),
        (lambda: RandomSearch(factory, SPACE, halving=1), ValueError, "halving must be an integer >= 2"),
        (lambda: RandomSearch(factory, SPACE, halving=2, patience=1), ValueError, "not both"),
        (lambda: RandomSearch(factory, SPACE, 2, rounds=3), ValueError, "too few for 3 rounds"),
        (lambda: RandomSearch(factory, SPACE, max_time=0), ValueError, "max_time must be a positive number"),
        (lambda: RandomSearch(factory, SPACE, 2).fit(*blobs()), ValueError, "say how many epochs"),
        (lambda: RandomSearch(factory, {"x": [1]}, 1).fit(*blobs(), epochs=1), TypeError, "factory and the space"),
        (lambda: RandomSearch(lambda a: 3, {"a": [1]}, 1).fit(*blobs(), epochs=1), TypeError, "must return a Trainer"),
        (lambda: RandomSearch(factory, SPACE, 1, monitor="val_f1").fit(*blobs(), epochs=1), ValueError, "monitors"),
        (lambda: RandomSearch(factory, SPACE, 1).fit(*blobs(), epochs=1, callbacks=[]), TypeError, "needs its own"),
        (lambda: RandomSearch(factory, SPACE, 1).best_params, RuntimeError, "call fit first"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_the_batch_size_goes_to_fit_and_to_a_factory_that_asks():
    x, y = blobs()
    seen = []

    def make(lr, batch_size):
        seen.append(batch_size)
        return factory(lr)

    search = RandomSearch(make, {"lr": 0.01, "batch_size": [10, 45]}, 4, n_jobs=1).fit(x, y, epochs=1)
    assert {10, 45} == set(seen)
    assert search.best_model.step == -(-144 // search.best_params["batch_size"])
