"""Bagging: models trained on bootstrap samples of one data set, averaged.

Each of K models sees P rows drawn with replacement from the P rows, starts from weights of its own and stops by itself.
For squared errors of the mean y_bag = mean_k y_k, exactly and for every row (Krogh and Vedelsby 1995):

    mean_k (t - y_k)^2 - (t - y_bag)^2 = mean_k (y_k - y_bag)^2

so the average is never worse than its models are on average, and better by their spread. With uncorrelated errors of
mean 0 the error of the average is 1/K of a model's. About 1/e = 37 % of the rows are not in a given sample: the models
that have not seen a row measure it, the out-of-bag score (Breiman 1996).
"""

import numpy as np

from .jobs import run_jobs

__all__ = ["Bagging"]

_PART_ROWS = 4096  # rows predicted at a time, so that rows taken by number are never copied as a whole
_MAX_SEED = 2**31


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-np.asarray(z, np.float64)))


def _softmax(z):
    from .io.preprocessing import softmax

    return softmax(z)


def _log(p):
    return np.log(np.maximum(p, np.finfo(np.float64).tiny))


# Loss -> (from a model's output to what is averaged, and back): probabilities, for the losses that take logits.
_LINKS = {
    "CrossEntropyLoss": (_softmax, _log),
    "BCEWithLogitsLoss": (_sigmoid, lambda p: _log(p) - _log(1.0 - np.asarray(p))),
}


def _plain(values):
    return np.asarray(values, np.float64)


class _Member:
    """A trained model of the ensemble, and which rows of the data it was trained on."""

    def __init__(self, model, rows, seed):
        self.model = model  # a Trainer, or an estimator of scikit-learn's form
        self.rows = rows
        self.seed = seed

    @property
    def is_trainer(self):
        return hasattr(self.model, "train_step")

    def link(self):
        name = type(self.model.loss).__name__ if self.is_trainer else ""
        return _LINKS.get(name, (_plain, _plain))

    def output(self, x, average):
        """Output of the model, float64 (rows, ...): what is averaged."""
        model = self.model
        if self.is_trainer:
            z = model.predict(x)
            return self.link()[0](z) if average == "probability" else _plain(z)
        return _plain(model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x))


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
        callbacks = options.pop("callbacks", None)
        callbacks = () if callbacks is None else callbacks()
        validation = self.validation
        if isinstance(validation, str):  # "oob"
            validation = (_take(self.x, outside), self.y[outside])
        with slot.watch(trainer):
            trainer.fit(self.x, self.y, rows=rows, validation_data=validation, progress=False,
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
        For losses that take logits (`CrossEntropyLoss`, `BCEWithLogitsLoss`): average the probabilities, or the
        logits. Other losses: the outputs.
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
        Average over the models that have not seen the row; NaN where all have.
    oob_score : dict
        ``{"loss": ..., metric: ...}`` of the out-of-bag predictions, as `Trainer.evaluate` measures.

    Examples
    --------
    >>> def factory(seed):
    ...     model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10), seed=seed)
    ...     return fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(), metrics=["accuracy"], seed=seed)
    >>> bag = Bagging(factory, 8).fit(x, y, epochs=30)
    >>> bag.oob_score["accuracy"], bag.predict(x_new).argmax(axis=1)
    """

    def __init__(self, factory, n_models=None, *, bootstrap=True, average="probability", n_jobs=None, seed=0):
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
    def models(self):
        return [member.model for member in self.members]

    @property
    def rows(self):
        return [member.rows for member in self.members]

    def __len__(self):
        return len(self.members)

    def __repr__(self):
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

    def fit(self, x, y, *, validation_data=None, **options):
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
        for refused in ("rows", "validation_split", "progress"):
            if refused in options:
                raise TypeError(f"Bagging.fit takes no {refused}")
        total = count = None
        members = [None] * self.n_models
        for k, (member, unseen) in run_jobs(
            _FitMember(self, x, y, validation_data, options), list(self._jobs(rows)), self.n_jobs
        ):
            members[k] = member, unseen
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

    def predict_each(self, x):
        """Outputs of every model, float64 (models, rows, ...): probabilities for losses that take logits."""
        x, _ = _as_data(x)
        return np.stack([member.output(x, self.average) for member in self._fitted()])

    def predict(self, x):
        """The average of the models' outputs, float64 (rows, ...).

        With `CrossEntropyLoss` (or an estimator with ``predict_proba``) these are probabilities of the classes
        (``.argmax(axis=1)`` decides), with `BCEWithLogitsLoss` probabilities; otherwise what the models predict.
        """
        x, _ = _as_data(x)
        total = 0.0
        for member in self._fitted():
            total = total + member.output(x, self.average)
        return total / len(self.members)

    def spread(self, x):
        """Standard deviation over the models (divided by K) of each output, float64 of `predict`'s shape.

        How much the models disagree on an example: large where the data have not told them the answer.
        """
        return self.predict_each(x).std(axis=0)

    def decompose(self, x, y):
        """The error of the average, of its models, and their spread: an exact identity for every example.

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
        each = self.predict_each(x)
        target = _as_target(y, each.shape[1:])
        mean = each.mean(axis=0)

        def per_row(squares):
            return squares.reshape(len(mean), -1).mean(axis=1)

        return {
            "model_error": per_row(((target - each) ** 2).mean(axis=0)),
            "bagged_error": per_row((target - mean) ** 2),
            "spread": per_row(((each - mean) ** 2).mean(axis=0)),
        }

    def evaluate(self, x, y):
        """{"loss": ..., metric: ...} of the averaged prediction, with the loss and metrics of the first model."""
        return self._measure(self.predict(x), np.asanyarray(y))

    def _measure(self, averaged, y):
        """Loss and metrics of averaged outputs; {"accuracy": ...} or {"mse": ...} where the models are estimators."""
        from .training.metrics import METRICS
        from .training.targets import LABELS, prepare_target

        first = self.members[0]
        if not first.is_trainer:
            if hasattr(first.model, "classes_") and averaged.ndim == 2:
                return {"accuracy": float(np.mean(first.model.classes_[averaged.argmax(axis=1)] == y))}
            return {"mse": METRICS["mse"](y, averaged)}
        trainer = first.model
        output = first.link()[1](averaged) if self.average == "probability" else averaged
        output = np.ascontiguousarray(output, dtype=trainer.model.dtype)
        target, spec = prepare_target(y, trainer.loss, output.shape[1:], len(y), trainer.model.dtype)
        if spec != LABELS:
            target = np.ascontiguousarray(target, dtype=output.dtype)
        scores = {"loss": float(trainer.loss(output, target))}
        scores.update((name, float(metric(target, output))) for name, metric in trainer.metrics)
        return scores


def _as_target(y, shape):
    y = np.asanyarray(y)
    if y.ndim == 1 and len(shape) == 2 and shape[1] > 1:
        if y.dtype.kind not in "iub":
            raise ValueError(f"y has shape {y.shape}, the predictions {shape}: class labels must be integers")
        return np.eye(shape[1])[y]
    if y.shape != shape and y.size != int(np.prod(shape)):
        raise ValueError(f"y has shape {y.shape}, the predictions have {shape}")
    return np.asarray(y, np.float64).reshape(shape)
