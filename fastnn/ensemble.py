"""Bagging: models trained on bootstrap samples of one data set, averaged.

Each of K models sees P rows drawn with replacement from the P rows, starts from weights of its own and stops by itself.
For squared errors of the mean y_bag = mean_k y_k, exactly and for every row (Krogh and Vedelsby 1995):

    mean_k (t - y_k)^2 - (t - y_bag)^2 = mean_k (y_k - y_bag)^2

so the average is never worse than its models are on average, and better by their spread. With uncorrelated errors of
mean 0 the error of the average is 1/K of a model's. About 1/e = 37 % of the rows are not in a given sample: the models
that have not seen a row measure it, the out-of-bag score (Breiman 1996).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .jobs import run_jobs
from .nn.losses import MSELoss, meaning_of
from .seeds import seeded
from .training.feed.options import as_feed
from .training.progress import make_counter

__all__ = ["Bagging"]

_PART_ROWS = 4096  # rows predicted at a time, so that rows taken by number are never copied as a whole
_MAX_SEED = 2**31


class _Member:
    """A trained model of the ensemble, and which rows of the data it was trained on."""

    def __init__(self, model, rows, seed):
        self.model = model  # a Trainer, or an estimator of scikit-learn's form
        self.rows = rows
        self.seed = seed

    @property
    def is_trainer(self):
        return hasattr(self.model, "train_step")

    @property
    def meaning(self):
        """What the outputs of a Trainer mean: its loss says so."""
        return meaning_of(self.model.loss)

    def output(self, x, average):
        """What is averaged (rows, ...): what the model's outputs say, or the outputs themselves."""
        model = self.model
        if self.is_trainer:
            z = model.predict(x)
            return self.meaning.values(z) if average == "probability" else z
        return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


def _take(x, rows):
    if isinstance(x, dict):
        return {name: array[rows] for name, array in x.items()}
    return tuple(array[rows] for array in x) if isinstance(x, tuple) else x[rows]


def _as_data(x):
    """(x as arrays, number of rows) of an array or a tuple or dict of arrays."""
    if isinstance(x, dict):
        x = {name: np.asanyarray(array) for name, array in x.items()}
        return x, len(next(iter(x.values())))
    if isinstance(x, tuple):
        x = tuple(np.asanyarray(array) for array in x)
        return x, len(x[0])
    if not hasattr(x, "__array__") and not isinstance(x, list):
        raise TypeError(f"Bagging draws rows by number: x must be an array, not {type(x).__name__}")
    x = np.asanyarray(x)
    return x, len(x)


def _in_parts(function, x, rows):
    """``function`` of these rows of x, a part at a time, as one array."""
    parts = [function(_take(x, rows[start : start + _PART_ROWS])) for start in range(0, len(rows), _PART_ROWS)]
    return np.concatenate(parts)


def _check_factory(factory):
    """Raise TypeError unless ``factory(seed=...)`` is a call that can be made."""
    import inspect

    if not callable(factory):
        raise TypeError(f"Bagging: a factory must be callable as factory(seed=...), got {factory!r}")
    try:
        inspect.signature(factory).bind(seed=0)
    except TypeError:
        raise TypeError("Bagging: a factory must take seed, as in def factory(seed): models of the same seed would be "
                        "alike") from None  # fmt: skip
    except ValueError:  # no signature to be seen
        pass


class _FitMember:
    """The job: make, fit and measure model number k. Can be pickled if the factory can."""

    def __init__(self, bag, x, y, validation, options):
        self.factories, self.average = bag.factories, bag.average
        self.x, self.y, self.validation, self.options = x, y, validation, options

    def __call__(self, job, slot):
        k, seed, rows, outside = job
        with seeded(seed):
            model = self.factories[k % len(self.factories)](seed=seed)
        member = _Member(model, rows, seed)
        if member.is_trainer:
            self._train(model, rows, outside, slot)
        else:
            if self.validation is not None:
                raise ValueError("validation_data is for trainers: an estimator keeps its own validation part")
            every = slice(None) if rows is None else rows
            model.fit(_take(self.x, every), self.y[every], **self.options)
        unseen = None
        if rows is not None and len(outside):
            unseen = _in_parts(lambda part: member.output(part, self.average), self.x, outside)
        return member, unseen

    def _train(self, trainer, rows, outside, slot):
        options = dict(self.options)
        feed = as_feed(options.pop("feed", None)).with_rows(rows)
        callbacks = options.pop("callbacks", None)
        callbacks = () if callbacks is None else callbacks()
        validation = self.validation
        if isinstance(validation, str):  # "oob"
            validation = (_take(self.x, outside), self.y[outside])
        with slot.watch(trainer):
            trainer.fit(self.x, self.y, feed=feed, validation_data=validation, progress=False,
                        callbacks=(*callbacks, *slot.callbacks()), **options)  # fmt: skip


class Bagging:
    """Average of models that are trained on bootstrap samples.

    Parameters
    ----------
    factory : callable ``factory(seed=...)``, or list of them
        Makes a new `Trainer` (or an estimator with ``fit`` and ``predict``); the seed, another for each model, is for
        its initial weights, order of rows and dropout. Factories of a list take turns.
    n_models : int, optional
        Default: one for each factory of a list, else 10.
    bootstrap : bool, default True
        Draw rows with replacement. False: all models see all rows once; they differ by their seeds only.
    average : {"probability", "output"}, default "probability"
        What is averaged where outputs stand for something else, as the loss says: the probabilities (or rates), or
        the outputs (logits) themselves.
    n_jobs : int, optional
        Models at once. Default: as many as fastnn may use threads, one thread each; or joblib's configuration
        (``with joblib.parallel_config(backend="loky", n_jobs=8)``), where factories must be picklable.
    seed : int, default 0
        Of the bootstrap samples and of the models' seeds. The same seed gives the same bits, whatever `n_jobs`.

    Attributes
    ----------
    models : list
        What the factories made, trained.
    rows : list of int64 arrays
        The bootstrap sample of each model.
    oob_prediction : float64 array (rows, outputs)
        Average over the models that have not seen the row (of probabilities, for a classifier); NaN where all have.
    oob_score : dict
        ``{"loss": ..., metric: ...}`` of the out-of-bag predictions, as `Trainer.evaluate` measures.

    Examples
    --------
    >>> def factory(seed):
    ...     model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10), seed=seed)
    ...     return fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(), metrics=["accuracy"], seed=seed)
    >>> bag = Bagging(factory, 8).fit(x, y, epochs=30)
    >>> bag.oob_score["accuracy"], bag.predict(x_new), bag.predict_proba(x_new)
    """

    def __init__(
        self,
        factory: Any,
        n_models: int | None = None,
        *,
        bootstrap: bool = True,
        average: str = "probability",
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.factories = list(factory) if isinstance(factory, (list, tuple)) else [factory]
        for made in self.factories:
            _check_factory(made)
        if not self.factories:
            raise ValueError("Bagging: the list of factories is empty")
        if n_models is None:
            n_models = len(self.factories) if len(self.factories) > 1 else 10
        if isinstance(n_models, bool) or int(n_models) != n_models or n_models < 1:
            raise ValueError(f"Bagging: n_models must be an integer >= 1, got {n_models!r}")
        if average not in ("probability", "output"):
            raise ValueError(f"Bagging: average must be 'probability' or 'output', got {average!r}")
        self.n_models = int(n_models)
        self.bootstrap = bool(bootstrap)
        self.average = average
        self.n_jobs = n_jobs
        self.seed = seed
        self.members = []
        self.oob_prediction = None
        self.oob_score = None

    @property
    def models(self) -> list[Any]:
        return [member.model for member in self.members]

    @property
    def rows(self) -> list[Any]:
        return [member.rows for member in self.members]

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        state = f"{len(self)} models" if self.members else "not fitted"
        return f"Bagging({self.n_models} models, bootstrap={self.bootstrap}; {state})"

    def _jobs(self, rows):
        """(number, seed, bootstrap rows or None, rows outside) of every model."""
        for k in range(self.n_models):
            rng = np.random.default_rng([self.seed, k])
            seed = int(rng.integers(_MAX_SEED))
            if not self.bootstrap:
                yield k, seed, None, None
                continue
            drawn = rng.integers(0, rows, rows)
            unseen = np.ones(rows, bool)
            unseen[drawn] = False
            yield k, seed, drawn, np.flatnonzero(unseen)

    def fit(self, x: Any, y: ArrayLike, *, validation_data: Any = None, progress: bool = True, **options: Any):
        """Train all models.

        Parameters
        ----------
        x : array (rows, ...), or tuple or dict of arrays
            All models read this one copy.
        y : array (rows, ...)
        validation_data : (x, y), "oob" or None
            What each model measures its ``val_loss`` on, for early stopping: data of your own, or the rows that its
            sample has left out (those of each model are copied while it trains; scores that early stopping has chosen
            by are then a little too good).
        progress : bool, default True
            One bar over the models, with the time that remains; without a terminal now and then a line.
        **options
            Of `Trainer.fit`: epochs, batch_size, sample_weight, max_time, ... ``callbacks`` must be a function without
            arguments that returns new callbacks, because each model needs its own:
            ``callbacks=lambda: [EarlyStopping(patience=5)]``.

        Returns
        -------
        Bagging
            Itself.
        """
        x, rows = _as_data(x)
        y = np.asanyarray(y)
        if y.ndim == 0 or len(y) != rows:
            raise ValueError(f"y has shape {y.shape}, but x has {rows} rows")
        if isinstance(validation_data, str) and (validation_data != "oob" or not self.bootstrap):
            raise ValueError(
                f"validation_data must be (x, y), None or, with bootstrap=True, 'oob'; got {validation_data!r}"
            )
        if options.get("callbacks") is not None and not callable(options["callbacks"]):
            raise TypeError("callbacks must be a function that returns new ones, such as lambda: [EarlyStopping()]: "
                            "each model needs its own")  # fmt: skip
        for refused in ("rows", "validation_split"):
            if refused in options:
                raise TypeError(f"Bagging.fit takes no {refused}")
        total = count = None
        members = [None] * self.n_models
        counter = make_counter(progress, self.n_models, "model")
        try:
            job = _FitMember(self, x, y, validation_data, options)
            for k, (member, unseen) in run_jobs(job, list(self._jobs(rows)), self.n_jobs, counter):
                members[k] = member, unseen
        finally:
            counter.close()
        for member, unseen in members:  # in their order: a sum that never depends on who was first
            if unseen is None:
                continue
            if total is None:
                total, count = np.zeros((rows, *unseen.shape[1:])), np.zeros(rows)
            outside = np.ones(rows, bool)
            outside[member.rows] = False
            total[outside] += unseen
            count[outside] += 1
        self.members = [member for member, _ in members]
        self._set_oob(total, count, y)
        return self

    def _set_oob(self, total, count, y):
        self.oob_prediction = self.oob_score = None
        if total is None:
            return
        with np.errstate(invalid="ignore"):
            self.oob_prediction = total / count.reshape(-1, *[1] * (total.ndim - 1))
        measured = count > 0
        self.oob_score = self._measure(self.oob_prediction[measured], y[measured])

    def _fitted(self):
        if not self.members:
            raise RuntimeError("this Bagging has not been fitted: call fit first")
        return self.members

    # ---- predicting ------------------------------------------------------------------------------------------------

    def predict_each(self, x: Any) -> NDArray[np.float64]:
        """What is averaged, model by model, float64 (models, rows, ...): probabilities, for a classifier."""
        return self._each(x, self.average)

    def _each(self, x, average):
        x, _ = _as_data(x)
        return np.stack([np.asarray(member.output(x, average), np.float64) for member in self._fitted()])

    def _averaged(self, x):
        x, rows = _as_data(x)
        members, total = self._fitted(), None
        for start in range(0, max(rows, 1), _PART_ROWS):  # outputs of a part stay in cache until they are added
            part, into = _take(x, slice(start, start + _PART_ROWS)), slice(start, start + _PART_ROWS)
            for member in members:
                output = np.asarray(member.output(part, self.average))
                if total is None:
                    total = np.zeros((rows, *output.shape[1:]))
                total[into] += output
        total /= len(members)
        return total

    def predict(self, x: Any) -> NDArray:
        """What the average decides: labels (rows,) of classes or answers, or values (rows, ...).

        The loss of the models says which; estimators that have ``classes_`` give these.
        """
        averaged = self._averaged(x)
        first = self.members[0]
        if not first.is_trainer:
            return first.model.classes_[averaged.argmax(axis=1)] if self._are_classifiers else averaged
        return first.meaning.decision(averaged, linked=self.average == "probability")

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Probabilities of the average, float64, of the shape of the models' outputs.

        Raises
        ------
        ValueError
            If the models' loss knows of none.
        """
        first = self._fitted()[0]
        if first.is_trainer:
            if not first.meaning.has_probabilities:
                first.meaning.probabilities(None)  # raises
        elif not self._are_classifiers:
            raise ValueError(f"{type(first.model).__name__} has no predict_proba")
        return self._said(self._averaged(x))

    @property
    def _are_classifiers(self):
        return hasattr(self.members[0].model, "predict_proba")

    def _said(self, averaged):
        """The values that an average stands for."""
        first = self.members[0]
        return first.meaning.values(averaged) if first.is_trainer and self.average == "output" else averaged

    def _outputs(self, averaged):
        """The outputs of a model that stand for the average."""
        return self.members[0].meaning.outputs(averaged) if self.average == "probability" else averaged

    def spread(self, x: Any) -> NDArray[np.float64]:
        """Standard deviation over the models (divided by K) of what is averaged, float64 (rows, ...).

        How much the models disagree on an example: large where the data have not told them the answer.
        """
        return self.predict_each(x).std(axis=0)

    def decompose(self, x: Any, y: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """The error of the average, of its models, and their spread: an exact identity for every example.

        What outputs say is compared with the targets: probabilities, even where `average` is "output".

        Parameters
        ----------
        x : array (rows, ...)
        y : array (rows, ...)
            Targets; class labels are compared with the probabilities as one-hot rows (Brier's score).

        Returns
        -------
        dict of float64 arrays (rows,)
            ``model_error`` mean_k (t - y_k)^2, ``bagged_error`` (t - y_bag)^2, ``spread`` mean_k (y_k - y_bag)^2, each
            a mean over the outputs; ``model_error - bagged_error == spread`` up to rounding.
        """
        each = self._each(x, "probability")
        target = _as_target(y, each.shape[1:])
        mean = each.mean(axis=0)

        def per_row(squares):
            return squares.reshape(len(mean), -1).mean(axis=1)

        return {
            "model_error": per_row(((target - each) ** 2).mean(axis=0)),
            "bagged_error": per_row((target - mean) ** 2),
            "spread": per_row(((each - mean) ** 2).mean(axis=0)),
        }

    def evaluate(self, x: Any, y: ArrayLike) -> dict[str, float]:
        """{"loss": ..., metric: ...} of the averaged prediction, with the loss and metrics of the first model."""
        return self._measure(self._averaged(x), np.asanyarray(y))

    def _measure(self, averaged, y):
        """Loss and metrics of averaged outputs; {"accuracy": ...} or {"mse": ...} where the models are estimators."""
        from .training.metrics import METRICS, measure
        from .training.targets import LABELS, prepare_target

        first = self.members[0]
        if not first.is_trainer:
            if hasattr(first.model, "classes_") and averaged.ndim == 2:
                return {"accuracy": float(np.mean(first.model.classes_[averaged.argmax(axis=1)] == y))}
            return {"mse": METRICS["mse"](y, averaged, MSELoss())}
        trainer = first.model
        output = np.ascontiguousarray(self._outputs(averaged), dtype=trainer.model.dtype)
        target, spec = prepare_target(y, trainer.loss, output.shape[1:], len(y), trainer.model.dtype)
        if spec != LABELS:
            target = np.ascontiguousarray(target, dtype=output.dtype)
        loss = first.meaning.per_row(float(trainer.loss(output, target)), target)
        return {"loss": loss, **measure(trainer.metrics, trainer.loss, target, output)}


def _as_target(y, shape):
    y = np.asanyarray(y)
    if y.ndim == 1 and len(shape) == 2 and shape[1] > 1:
        if y.dtype.kind not in "iub":
            raise ValueError(f"y has shape {y.shape}, the predictions {shape}: class labels must be integers")
        return np.eye(shape[1])[y]
    if y.shape != shape and y.size != int(np.prod(shape)):
        raise ValueError(f"y has shape {y.shape}, the predictions have {shape}")
    return np.asarray(y, np.float64).reshape(shape)
