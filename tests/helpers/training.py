"""Small trainers and data for the tests of fit and what surrounds it."""

import numpy as np

from fastnn import Trainer, nn, optim


def blobs(rows=600, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, 6)) * 3
    return (centres[labels] + rng.normal(size=(rows, 6))).astype(np.float32), labels


def classifier(*middle, seed=1):
    return nn.Sequential(nn.Linear(6, 16), *middle, nn.ReLU(), nn.Linear(16, 3), seed=seed)


def trainer(*middle, **options):
    return Trainer(classifier(*middle), nn.CrossEntropyLoss(), optim.Adam(lr=0.01), **options)


def weights(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}
