"""Ten perceptrons, averaged, against the one that is best on a validation part.

Each unit ``y = (1 + tanh(w x - b)) / 2`` learns from its own bootstrap sample of two dozen noisy points in the plane:
its boundary is a line, and lines from small samples disagree. The boundary of their average is no line, because each
unit speaks loudly only far from its own. Writes bagged_perceptrons.png.
"""

import numpy as np

import fastnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.ensemble import Bagging
from fastnn.plot.figure import new_axes, tidy

MODELS, ROWS, REPEATS = 10, 24, 20


class Perceptron(nn.Module):
    def __init__(self, seed):
        self.unit = nn.Linear(2, 1, seed=seed)

    def forward(self, x):
        return 0.5 * (1.0 + F.tanh(self.unit(x)))


def sample(rows, rng):
    """Two classes, the boundary a bent line, and noise on every point."""
    x = rng.uniform(-2, 2, (rows, 2))
    y = x[:, 1] > 1.2 * np.abs(x[:, 0]) - 1.0
    return (x + rng.normal(0, 0.35, x.shape)).astype(np.float32), y[:, None].astype(np.float32)


def factory(seed):
    return fastnn.Trainer(Perceptron(seed), nn.MSELoss(), optim.Adam(lr=0.05), seed=seed)


def squared_errors(repeat):
    """On new points: (mean of the units, the best on validation, the average), and what the picture needs."""
    rng = np.random.default_rng(repeat)
    training, validation, test = sample(ROWS, rng), sample(20, rng), sample(4000, rng)
    bag = Bagging(factory, MODELS, seed=repeat).fit(*training, epochs=100, batch_size=8)
    each = ((bag.predict_each(test[0]) - test[1]) ** 2).mean(axis=(1, 2))
    best = ((bag.predict_each(validation[0]) - validation[1]) ** 2).mean(axis=(1, 2)).argmin()
    return (each.mean(), each[best], ((bag.predict(test[0]) - test[1]) ** 2).mean()), bag, training


results = [squared_errors(repeat) for repeat in range(REPEATS)]
names = ("mean of the ten", "best on validation", "average of the ten")
for name, error in zip(names, np.mean([errors for errors, _, _ in results], axis=0), strict=True):
    print(f"{name:19} squared error {error:.4f}")

side = np.linspace(-2.6, 2.6, 121, dtype=np.float32)
plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
shape = (len(side), len(side))
_, bag, (x, y) = max(results, key=lambda result: result[1].predict_each(plane).var(axis=0).mean())  # they disagree most
(axis,) = new_axes(width=5.0, height=4.4)
for output in bag.predict_each(plane):
    axis.contour(side, side, output.reshape(shape), levels=[0.5], colors="0.75", linewidths=0.8)
axis.contour(side, side, bag.predict(plane).reshape(shape), levels=[0.5], colors="k", linewidths=2)
for value, colour in ((0, "C0"), (1, "C1")):
    axis.plot(*x[y[:, 0] == value].T, "o", color=colour, markersize=4)
axis.plot([], [], color="0.75", label="perceptrons")
axis.plot([], [], color="k", linewidth=2, label="their average")
axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)
axis.set_xlim(-2.6, 2.6)
axis.set_xlabel("x1")
axis.set_ylabel("x2")
tidy(axis)
axis.figure.savefig("bagged_perceptrons.png", dpi=120)
