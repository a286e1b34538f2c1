"""scikit-learn's MLPClassifier: one ``partial_fit`` on a batch is one Adam step on it (plain ReLU layers only)."""

import warnings

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from . import inputs

NAME = "scikit-learn"


def version():
    return sklearn.__version__


def setup(threads):
    warnings.simplefilter("ignore")  # it warns that one step has not converged


def _classifier(case):
    return MLPClassifier(
        tuple(case["layers"][1:-1]), batch_size=case["batch"], learning_rate_init=case["lr"], alpha=0.0, random_state=0
    )


def train_step(case):
    if case["batch_norm"] or case["dropout"]:
        return None
    (x, labels), model = inputs.batch(case), _classifier(case)
    classes = np.arange(case["layers"][-1])
    return lambda: model.partial_fit(x, labels, classes=classes)


def predict(case):
    if case["batch_norm"]:
        return None
    (x, labels), model = inputs.batch(case), _classifier(case)
    classes = np.arange(case["layers"][-1])
    model.partial_fit(x, labels, classes=classes)
    return lambda: model.predict_proba(x)


FACTORIES = {"train_step": train_step, "predict": predict}
