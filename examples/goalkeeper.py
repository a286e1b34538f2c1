"""The goalkeeper: batches whose mean wanders, with and without batch norm.

A goalkeeper who trains against shots from the left, then from the right, then from the left forgets each time. Here the
inputs of every batch are shifted by a slow wave (internal covariate shift, seen from outside); the task does not
change. Batch norm takes the shift out of every batch. Writes goalkeeper.png.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.data import load_digits
from fastnn.plot.figure import TRAINING, VALIDATION, new_axes, tidy

x, y = load_digits()
x = (x / 16 - 0.3).astype(np.float32)
BATCH, STEPS = 64, 600


def train(batch_norm):
    norm = [nn.BatchNorm1d(64)] if batch_norm else []
    model = nn.Sequential(*norm, nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10), seed=1)
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.1), seed=1)
    rng, losses = np.random.default_rng(0), []
    for step in range(STEPS):
        rows = rng.integers(0, len(x), BATCH)
        shift = np.float32(3.0 * np.sin(2 * np.pi * step / 100))
        losses.append(trainer.train_step(x[rows] + shift, y[rows]))
    return losses


(axis,) = new_axes(width=6.5, height=3.6)
for name, batch_norm, colour in (("without batch norm", False, VALIDATION), ("with batch norm", True, TRAINING)):
    losses = train(batch_norm)
    axis.plot(np.convolve(losses, np.ones(10) / 10, "valid"), color=colour, label=name)
    print(f"{name:20} mean loss of the last 100 steps {np.mean(losses[-100:]):.3f}")
axis.set_yscale("log")
axis.set_xlabel("step (the inputs' mean makes a wave every 100 steps)")
axis.set_ylabel("loss")
axis.legend(frameon=False)
tidy(axis)
axis.figure.savefig("goalkeeper.png", dpi=120)
