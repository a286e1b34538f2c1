"""RandomSearch: many trials at once, coarse to fine, with early ends for the poor ones, and able to go on later."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..jobs import run_jobs
from ..training.feed.rows import split_rows
from ..training.progress import make_counter
from .space import check_space, coarse_to_fine, sample
from .study import Study, described, fingerprint
from .trial import Job, RunTrial, best_of, larger_is_better

if TYPE_CHECKING:
    from typing_extensions import Self


def _whole(name, value, least=1):
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ValueError(f"RandomSearch: {name} must be an integer >= {least}, got {value!r}")
    return int(value)


class RandomSearch:
    """Random search of hyper-parameters.

    Parameters
    ----------
    factory : callable
        Takes the parameters of the space by name, and ``seed`` if it has an argument of that name; returns a new
        `Trainer`, or an estimator with ``fit`` and ``score``. ``batch_size``, ``class_weight`` and ``shuffle`` of the
        space go to `Trainer.fit`, and to the factory as well if it takes them.
    space : dict of str to distribution
        `log_uniform`, `uniform`, `int_uniform`, `one_minus_log_uniform`, `choice`; a list is a choice, any other value
        stands for itself.
    n_trials : int, default 20
        Of all rounds together.
    rounds : int, default 1
        Coarse to fine: the trials are shared out over so many rounds; each round after the first draws from the part
        of the space where the best quarter of all trials so far lies (`coarse_to_fine`).
    halving : int, optional
        Successive halving (Jamieson and Talwalkar 2016) with this factor, such as 3: all trials of a round train
        `min_epochs`, the best third goes on to three times as many, and so on up to ``epochs``. Survivors are
        continued, not trained again.
    min_epochs : int, default 1
        Of the first rung of a halving.
    monitor : str, default "val_loss"
        Column of the history to judge by; estimators are judged by their ``score``.
    mode : {"auto", "min", "max"}
    patience : int, optional
        Early stopping of each trial; its score and weights are those of its best epoch. Without it the last epoch
        counts. Not together with `halving`.
    study : path, optional
        JSON file with all trials, replaced in one step after each. If it exists, the search goes on where it ended;
        other settings, another space or other data are refused.
    max_time : float, optional
        Seconds for the whole search. Trials that run then end at their next step and count as they are; they are made
        again if the study goes on.
    n_jobs : int, optional
        Trials at once. Default: as many as fastnn may use threads, one thread each, and more threads for the last
        ones; or joblib's configuration (``with joblib.parallel_config(...)``). All trials read one copy of the data.
    seed : int, default 0
        Trial i's parameters are a function of (seed, i): more trials later extend the same sequence. The factory's
        ``seed`` is the same for all trials, so that they differ by their parameters only.

    Attributes
    ----------
    trials : list of dict
        Best first: ``number, params, score, epochs, seconds, status, curve, round``. ``status`` is "done", "halved"
        (not continued), "diverged", "time" or "failed" (it raised ``error``); ``curve`` is [epochs, score] after every
        epoch, ``score`` its best.
    best_params, best_score : dict, float
    best_model : Trainer or estimator
        Trained up to its best epoch, ready to use.
    spaces : list of dict
        The space of each round.

    Examples
    --------
    >>> def factory(lr, beta, hidden, seed):
    ...     model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10), seed=seed)
    ...     return fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=lr, betas=(beta, 0.999)), seed=seed)
    >>> space = {"lr": log_uniform(1e-4, 1), "beta": one_minus_log_uniform(0.9, 0.999), "hidden": int_uniform(50, 100)}
    >>> search = RandomSearch(factory, space, 20, rounds=2).fit(x, y, epochs=20)
    >>> print(search.table())
    """

    def __init__(
        self, factory: Any, space: Any, n_trials: int = 20, *, rounds: int = 1, halving: Any = None,
        min_epochs: int = 1, monitor: str = "val_loss", mode: str = "auto", patience: Any = None, study: Any = None,
        max_time: Any = None, n_jobs: Any = None, seed: int | None = 0,
    ) -> None:  # fmt: skip
        if not callable(factory):
            raise TypeError(f"RandomSearch: the factory must be callable, got {factory!r}")
        self.factory = factory
        self.space = check_space(space)
        self.n_trials, self.rounds = _whole("n_trials", n_trials), _whole("rounds", rounds)
        if self.rounds > self.n_trials:
            raise ValueError(f"RandomSearch: {n_trials} trials are too few for {rounds} rounds")
        self.halving = None if halving is None else _whole("halving", halving, 2)
        if halving is not None and patience is not None:
            raise ValueError("RandomSearch: give halving or patience, not both: halving ends the trials")
        self.min_epochs = _whole("min_epochs", min_epochs)
        self.monitor, self.larger = monitor, larger_is_better(monitor, mode)
        self.patience = None if patience is None else _whole("patience", patience, 0)
        if max_time is not None and not max_time > 0:
            raise ValueError(f"RandomSearch: max_time must be a positive number of seconds, got {max_time!r}")
        self.study_path, self.max_time, self.n_jobs, self.seed = study, max_time, n_jobs, seed
        self.trials, self.spaces = [], []
        self.best_model = None
        self._study = None

    # ---- results ---------------------------------------------------------------------------------------------------

    @property
    def best_params(self) -> Any:
        return self._best()["params"]

    @property
    def best_score(self) -> Any:
        return self._best()["score"]

    def _best(self):
        if not self.trials or self.trials[0]["score"] is None:
            raise RuntimeError("this search has no trial with a score" if self.trials else "call fit first")
        return self.trials[0]

    def table(self, limit: Any = None) -> Any:
        """The trials as a text table, best first; `limit` of them."""
        from .table import format_trials

        return format_trials(self.trials[:limit], self.space, self.monitor)

    def plot(self, **options: Any) -> Any:
        """The scores over each parameter; see `plot.SearchDisplay`."""
        from ..plot import SearchDisplay

        return SearchDisplay.from_search(self).plot(**options)

    def __repr__(self) -> str:
        state = f"{len(self.trials)} trials made" if self.trials else "not fitted"
        return f"RandomSearch({self.n_trials} trials over {', '.join(self.space)}; {state})"

    # ---- the search ------------------------------------------------------------------------------------------------

    def fit(
        self, x: Any, y: Any, *, validation_data: Any = None, validation_split: float = 0.2, epochs: Any = None,
        progress: bool = True, **options: Any,
    ) -> Self:  # fmt: skip
        """Run the trials.

        Parameters
        ----------
        x, y : arrays, as in `Trainer.fit`
        validation_data : (x, y), optional
            What the trials are judged by. Never the test part: the best of many scores is too good.
        validation_split : float, default 0.2
            Without `validation_data`: the share of the rows held out, the same rows for all trials, drawn with the
            seed, stratified for integer labels.
        epochs : int
            Of a trial (with halving: of those that reach the end). Not for estimators.
        progress : bool, default True
            One bar over the trials, with the time that remains; without a terminal now and then a line.
        **options
            Of `Trainer.fit`: batch_size, sample_weight, ...; ``callbacks`` must be a function without arguments that
            returns new callbacks, because each trial needs its own.

        Returns
        -------
        RandomSearch
            Itself.
        """
        if options.get("callbacks") is not None and not callable(options["callbacks"]):
            raise TypeError("callbacks must be a function that returns new ones, such as lambda: [HealthMonitor()]: "
                            "each trial needs its own")  # fmt: skip
        if "rows" in options:
            raise TypeError("RandomSearch.fit takes no rows")
        epochs = 0 if epochs is None else _whole("epochs", epochs)
        x = x if isinstance(x, (tuple, dict)) else np.asanyarray(x)
        y = np.asanyarray(y)
        rows, validation = self._split(x, y, validation_data, validation_split)
        self._study = Study(self.study_path, self._settings(x, y, epochs, validation_data, validation_split, options))
        deadline = None if self.max_time is None else time.time() + self.max_time
        run = RunTrial(self.factory, x, y, rows, validation, options, monitor=self.monitor, larger=self.larger,
                       patience=self.patience, seed=self.seed, deadline=deadline)  # fmt: skip
        self.trials, self.spaces, self.best_model = [], [], None
        self._models = {}
        self._counter = make_counter(progress, self._count_jobs(epochs), "trial")
        try:
            self._run_rounds(run, epochs)
        finally:
            self._counter.close()
            self._order()
        self._raise_if_all_failed(run)
        self._keep_best(run)
        return self

    def _raise_if_all_failed(self, run):
        """One trial that raises is a result; all of them are a mistake of the call."""
        if self.trials and all(trial["status"] == "failed" for trial in self.trials):
            raise run.first_error or ValueError(f"every trial of the search failed: {self.trials[0]['error']}")

    def _count_jobs(self, epochs):
        """How many jobs there will be: with halving a trial is one at every rung that it reaches."""
        cuts = np.diff(np.linspace(0, self.n_trials, self.rounds + 1).round().astype(int))
        return sum(max(1, n // (self.halving or 1) ** k) for n in cuts for k in range(len(self._rungs(n, epochs))))

    def _split(self, x, y, validation_data, share):
        if validation_data is not None:
            return None, validation_data
        labels = y if y.ndim == 1 and y.dtype.kind in "iub" else None
        rows, held = split_rows(len(y), share, self.seed, labels)
        if isinstance(x, dict):
            part = {name: array[held] for name, array in x.items()}
        else:
            part = tuple(array[held] for array in x) if isinstance(x, tuple) else x[held]
        return rows, (part, y[held])

    def _settings(self, x, y, epochs, validation_data, share, options):
        held = share if validation_data is None else list(np.shape(validation_data[1]))
        fits = {name: described(value) for name, value in options.items() if name != "callbacks"}
        settings = {
            "space": {name: repr(distribution) for name, distribution in self.space.items()},
            "seed": self.seed, "monitor": self.monitor, "epochs": epochs, "validation": held, "fit": fits,
            "patience": self.patience, "rounds": self.rounds, "halving": self.halving, "min_epochs": self.min_epochs,
            "data": fingerprint(x, y),
        }  # fmt: skip
        if self.rounds > 1 or self.halving:  # then a trial's fate depends on how many there are
            settings["n_trials"] = self.n_trials
        return settings

    def _run_rounds(self, run, epochs):
        space, cuts = self.space, np.linspace(0, self.n_trials, self.rounds + 1).round().astype(int)
        for number in range(self.rounds):
            if number:
                self._order()
                if not any(trial["score"] is not None for trial in self.trials):
                    break
                space = coarse_to_fine(self.space, self.trials)
            self.spaces.append(space)
            if not self._run_round(run, space, range(cuts[number], cuts[number + 1]), number, epochs):
                break

    def _rungs(self, trials, epochs):
        """Epochs at which a round of so many trials is judged; the last is `epochs`."""
        if self.halving is None:
            return [epochs]
        if self.min_epochs > epochs:
            raise ValueError(f"RandomSearch: min_epochs={self.min_epochs} is more than epochs={epochs}")
        steps = min(int(math.log(max(trials, 1), self.halving) + 1e-9),
                    int(math.log(epochs / self.min_epochs, self.halving) + 1e-9))  # fmt: skip
        return [max(self.min_epochs, round(epochs / self.halving**k)) for k in range(steps, -1, -1)]

    def _run_round(self, run, space, numbers, round_number, epochs):
        """Train and judge the trials of a round; False when the time is over."""
        jobs = {n: Job(n, sample(space, [self.seed, n]), 0) for n in numbers}
        for rung in self._rungs(len(jobs), epochs):
            pending = []
            for number, job in jobs.items():
                known = self._study.get(number, job.params)
                reached = known is not None and known["status"] not in ("time", "failed")
                if reached and (known["epochs"] >= rung or known["status"] == "diverged" or self.halving is None):
                    self._take(dict(known, params=job.params))
                    continue
                job.epochs = rung
                pending.append(job)
            finished = True
            for place, result in run_jobs(run, pending, self.n_jobs, self._counter):
                if result is None:
                    finished = False
                    continue
                record, model = result
                job = pending[place]
                job.curve, job.done, job.seconds = record["curve"], record["epochs"], record["seconds"]
                record["round"] = round_number
                if record["status"] == "time":
                    finished = False
                self._take(record, model)
                self._study.add(record)
            if not finished:
                return False
            jobs = self._survivors(jobs, rung, epochs)
        return True

    def _take(self, record, model=None):
        """Put a record in the place of the trial's old one, and forget models that cannot win."""
        self.trials = [trial for trial in self.trials if trial["number"] != record["number"]]
        self.trials.append(record)
        if model is not None:
            self._models[record["number"]] = model
        if self.halving is None:
            self._order()
            for number in [n for n in self._models if n != self.trials[0]["number"]]:
                del self._models[number]

    def _survivors(self, jobs, rung, epochs):
        """The jobs that go on after a rung, with their models; the others' models are dropped."""
        if rung == epochs:
            return jobs
        by_number = {trial["number"]: trial for trial in self.trials}

        def value(number):
            score = best_of(by_number[number]["curve"], self.larger, rung)[1]
            return math.inf if score is None else (-score if self.larger else score), number

        ranked = sorted(jobs, key=value)
        kept = ranked[: max(1, len(ranked) // self.halving)]
        kept = [number for number in kept if value(number)[0] < math.inf] or kept[:1]
        for number in ranked:
            if number in kept:
                jobs[number].model = self._models.get(number)
                if jobs[number].model is None:  # judged in an earlier session: trained again up to here, the same bits
                    jobs[number].curve, jobs[number].done = list(by_number[number]["curve"]), 0
                continue
            self._models.pop(number, None)
            trial = by_number[number]
            if trial["status"] == "done":
                trial["status"] = "halved"
                self._study.add(trial)
        return {number: jobs[number] for number in kept}

    def _order(self):
        """Best first, by the best epoch, whether or not a halving has ended the trial."""

        def key(trial):
            score = trial["score"]
            worst = score is None
            return worst, (0.0 if worst else -score if self.larger else score), trial["number"]

        self.trials.sort(key=key)

    def _keep_best(self, run):
        """The model of the best trial after its best epoch; trained again if it went further, or in an earlier session.

        A trial that is trained again for fewer epochs has the bits that it had after them.
        """
        models, self._models = self._models, {}
        if not self.trials or self.trials[0]["score"] is None:
            return
        best = self.trials[0]
        model = models.get(best["number"])
        epoch = best_of(best["curve"], self.larger)[0]  # 0: an estimator, which has no epochs
        behind = epoch not in (0, best["epochs"]) and self.patience is None  # else early stopping has gone back already
        if (model is None and best["status"] != "time") or behind:
            run.deadline = None
            job = Job(best["number"], best["params"], epoch if behind else best["epochs"])
            ((_, (_, model)),) = run_jobs(run, [job], 1)
        self.best_model = model
