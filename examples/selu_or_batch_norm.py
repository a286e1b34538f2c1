"""SELU against ReLU with batch norm: two ways to keep a deep net's activations at mean 0 and variance 1.

Sixteen hidden layers on the handwritten digits, trained at six rates. Plain ReLU needs its rate to be right. SELU at
LeCun's initialisation normalises itself (Klambauer et al. 2017): it learns fastest at small rates and diverges at large
ones. Batch norm measures (Ioffe & Szegedy 2015): it bears a rate ten times as large, for a pass over the activations
more per layer. Writes selu_or_batch_norm.png.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.data import load_digits
from fastnn.plot.figure import new_axes, tidy

DEPTH, WIDTH, EPOCHS, SEEDS = 16, 48, 12, 3
RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
images, labels = load_digits()
x, y = images.reshape(len(labels), -1).astype(np.float32) / 8 - 1, labels
held_out = np.arange(len(y)) % 5 == 0
UNITS = {
    "ReLU": lambda: [nn.ReLU()],
    "SELU": lambda: [nn.SELU()],
    "batch norm, ReLU": lambda: [nn.BatchNorm1d(WIDTH), nn.ReLU()],
}


def validation_loss(unit, rate, seed):
    """After some epochs; infinite if the training diverged."""
    layers, inputs = [], x.shape[1]
    for _ in range(DEPTH):
        layers += [nn.Linear(inputs, WIDTH), *unit()]
        inputs = WIDTH
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10), seed=seed)
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(rate, momentum=0.9), seed=seed)
    trainer.fit(x[~held_out], y[~held_out], epochs=EPOCHS, batch_size=64, progress=False)
    loss = trainer.evaluate(x[held_out], y[held_out])["loss"]
    return loss if np.isfinite(loss) else np.inf


(axis,) = new_axes(width=5.5, height=3.8)
for name, unit in UNITS.items():
    losses = [np.median([validation_loss(unit, rate, seed) for seed in range(SEEDS)]) for rate in RATES]
    axis.loglog(RATES, losses, marker="o", markersize=4, label=name)
    best = int(np.argmin(losses))
    print(f"{name:17} at 0.003 loss {losses[1]:.3f}, at 0.1 loss {losses[4]:.3f}, best loss {losses[best]:.3f}")
axis.axhline(np.log(10), linestyle="--", color="0.6", linewidth=1)
axis.text(RATES[0], np.log(10), "guessing", va="bottom", color="0.4", fontsize=8)
axis.set_ylim(0.05, 5)
axis.set_xlabel("learning rate")
axis.set_ylabel(f"validation loss after {EPOCHS} epochs")
axis.legend(frameon=False)
tidy(axis)
axis.figure.savefig("selu_or_batch_norm.png", dpi=120)
