"""Sparse inputs: why rarely active weights want a rate of their own.

Rows are bags of words whose frequencies fall as 1/rank, and the answer rests on all words alike, rare ones included. A
rare word's weight gets few gradients: with one rate for all, SGD has hardly moved it when the common words are learned.
AdaGrad divides by the root of what a weight has seen, Adam by its recent average. Every optimizer with the best of four
rates. Writes sparse_inputs.png.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.plot.figure import new_axes, tidy

WORDS, ROWS, LENGTH, EPOCHS = 400, 4000, 12, 3
rng = np.random.default_rng(0)
frequency = 1 / np.arange(1, WORDS + 1)
frequency /= frequency.sum()
meaning = rng.choice([-1.0, 1.0], WORDS)


def sample(rows):
    words = rng.choice(WORDS, (rows, LENGTH), p=frequency)
    x = np.zeros((rows, WORDS), np.float32)
    np.put_along_axis(x, words, 1, axis=1)
    return x, (x @ meaning + rng.normal(0, 0.5, rows) > 0).astype(np.float32)[:, None]


training, test = sample(ROWS), sample(ROWS)
OPTIMIZERS = {
    "SGD": (lambda lr: optim.SGD(lr), (0.3, 1.0, 3.0, 10.0)),
    "Adagrad": (lambda lr: optim.Adagrad(lr), (0.03, 0.1, 0.3, 1.0)),
    "Adam": (lambda lr: optim.Adam(lr), (0.003, 0.01, 0.03, 0.1)),
}


def learned(optimizer):
    """(test loss, weights) of logistic regression."""
    model = nn.Linear(WORDS, 1, init="zeros")
    trainer = fastnn.Trainer(model, nn.BCEWithLogitsLoss(), optimizer)
    trainer.fit(*training, epochs=EPOCHS, batch_size=32, progress=False)
    return trainer.evaluate(*test)["loss"], model.weight.numpy()[0]


(axis,) = new_axes(width=5.5, height=3.8)
edges = np.unique(np.geomspace(1, WORDS, 9).astype(int))
for name, (make, rates) in OPTIMIZERS.items():
    loss, weights = min((learned(make(lr)) for lr in rates), key=lambda result: result[0])
    right = weights * meaning  # positive where the sign is right
    pieces = [right[low - 1 : high].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    axis.semilogx(np.sqrt(edges[:-1] * edges[1:]), pieces, marker="o", markersize=4, label=name)
    print(f"{name:8} test loss {loss:.4f}, rare words {right[100:].mean() / right[:10].mean():.3f} of common ones")
axis.axhline(0, color="0.6", linewidth=1)
axis.set_xlabel("rank of the word")
axis.set_ylabel("weight, towards its meaning")
axis.legend(frameon=False)
tidy(axis)
axis.figure.savefig("sparse_inputs.png", dpi=120)
