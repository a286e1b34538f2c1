"""A net with batch norm and dropout, as one would build it: what each of them is worth on little data.

Handwritten digits, 300 rows to learn from. The same net plain, with batch norm, with dropout, with both; every case
with five seeds, early stopping on a validation part, and a test part that nothing else has seen. Writes practice.png.
"""

import numpy as np

import fastnn
from fastnn import EarlyStopping, nn, optim
from fastnn.data import load_digits
from fastnn.plot.figure import new_axes, tidy

SEEDS, TRAIN, VALIDATION = 5, 300, 300
images, labels = load_digits()
x, y = images.reshape(len(labels), -1).astype(np.float32) / 16, labels
order = np.random.default_rng(0).permutation(len(y))
train, validation, test = np.split(order, [TRAIN, TRAIN + VALIDATION])


def network(batch_norm, dropout, seed):
    layers = []
    for inputs, units in ((64, 256), (256, 128)):
        layers += [nn.Linear(inputs, units, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(units)] if batch_norm else []
        layers += [nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*layers, nn.Linear(128, 10), seed=seed)


def accuracy(batch_norm, dropout, seed):
    """Share of the test part that is right, at the epoch that was best on the validation part."""
    model = network(batch_norm, dropout, seed)
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=2e-3), metrics=["accuracy"], seed=seed)
    trainer.fit(
        x[train], y[train], epochs=150, batch_size=32, validation_data=(x[validation], y[validation]), progress=False,
        callbacks=EarlyStopping(monitor="val_loss", patience=20),
    )  # fmt: skip
    return trainer.evaluate(x[test], y[test])["accuracy"]


CASES = {"plain": (False, 0.0), "batch norm": (True, 0.0), "dropout": (False, 0.4), "both": (True, 0.4)}
results = {name: [accuracy(*case, seed) for seed in range(SEEDS)] for name, case in CASES.items()}
(axis,) = new_axes(width=5.0, height=3.4)
for k, (name, values) in enumerate(results.items()):
    axis.plot([k] * SEEDS, 100 * np.array(values), "o", color="0.6", markersize=4)
    axis.plot(k, 100 * np.mean(values), "_", markersize=28, markeredgewidth=2, color="C0")
    print(f"{name:10} test accuracy {100 * np.mean(values):.2f} % (lowest {100 * min(values):.2f})")
axis.set_xticks(range(len(results)), results)
axis.set_xlim(-0.5, len(results) - 0.5)
axis.set_ylabel("test accuracy, %")
tidy(axis)
axis.figure.savefig("practice.png", dpi=120)
