"""The error of an average falls as 1/K as far as the models' errors are uncorrelated.

Models on independent samples of a noisy line, and models on bootstrap samples of one such sample (bagging): the part of
the error that varies from model to model falls as 1/K in both, but bootstrap samples share what the one sample has got
wrong. Writes one_over_k.png.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.ensemble import Bagging
from fastnn.plot.figure import new_axes, tidy

MODELS, ROWS = 16, 60
grid = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
truth = np.sin(grid)


def sample(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (ROWS, 1)).astype(np.float32)
    return x, (np.sin(x) + rng.normal(0, 0.5, x.shape)).astype(np.float32)


def factory(seed):
    model = nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 1), seed=seed)
    return fastnn.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01), seed=seed)


def independent(k):
    trainer = factory(k)
    trainer.fit(*sample(k), epochs=400, batch_size=20, progress=False)
    return trainer.predict(grid).astype(np.float64)


def error_of_averages(outputs, target):
    """Mean over all choices of k models of the squared error of their average, k from 1: see docs/ensembles.md."""
    each = ((outputs - target) ** 2).mean()
    spread = outputs.var(axis=0).mean() * len(outputs) / (len(outputs) - 1)
    return np.array([each - (1 - 1 / k) * spread for k in range(1, len(outputs) + 1)])


free = np.stack([independent(k) for k in range(MODELS)])
bag = Bagging(factory, MODELS).fit(*sample(0), epochs=400, batch_size=20)
bagged = bag.predict_each(grid)

curves = {"independent samples": error_of_averages(free, truth), "bagging": error_of_averages(bagged, truth)}
k = np.arange(1, MODELS + 1)
(axis,) = new_axes(width=5.5, height=3.8)
for name, errors in curves.items():
    axis.loglog(k, errors, marker="o", markersize=4, label=name)
    print(f"{name:20} one model {errors[0]:.4f}, average of {MODELS} {errors[-1]:.4f}")
axis.loglog(k, curves["independent samples"][0] / k, linestyle="--", color="0.4", label="1/K")
axis.set_xlabel("models averaged, K")
axis.set_ylabel("mean squared error")
axis.legend(frameon=False)
tidy(axis)
axis.figure.savefig("one_over_k.png", dpi=120)
