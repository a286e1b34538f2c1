"""Trains random nets with random options and prints a digest of every weight byte, one JSON object per line.

    python tests/helpers/random_trainings.py FIRST COUNT

Uses only names that every build has, so that two builds can be compared: see test_builds.py. Any change of a draw
changes all cases behind it, so draws are only ever appended.
"""

import hashlib
import json
import sys

import numpy as np

import fastnn
from fastnn import Trainer, nn, optim
from fastnn.threads import num_threads

ACTIVATIONS = ["ReLU", "Tanh", "Sigmoid", "GELU", "SELU", "Softplus", "LeakyReLU", "SiLU", "ELU", "Mish"]
OPTIMIZERS = [
    lambda: optim.SGD(lr=0.05), lambda: optim.SGD(lr=0.05, momentum=0.9, nesterov=True), lambda: optim.Adam(lr=3e-3),
    lambda: optim.AdamW(lr=3e-3, weight_decay=0.05), lambda: optim.NAdam(lr=2e-3), lambda: optim.RMSprop(lr=1e-3),
    lambda: optim.Adagrad(lr=0.02), lambda: optim.Adadelta(lr=1.0), lambda: optim.LAMB(lr=5e-3),
    lambda: optim.LARS(lr=0.5), lambda: optim.SGD(lr=0.05, l1=1e-3, max_norm=2.0, weight_decay=1e-2),
]  # fmt: skip


def net(rng, features, outputs, seed):
    layers, width = [], features
    for _ in range(int(rng.integers(0, 4))):
        out = int(rng.choice([1, 3, 8, 17, 32, 65, 130]))
        layers.append(nn.Linear(width, out, bias=bool(rng.random() < 0.9)))
        kind = rng.random()
        if kind < 0.3:
            layers.append(nn.BatchNorm1d(out))
        elif kind < 0.4:
            layers.append(nn.LayerNorm(out))
        layers.append(getattr(nn, str(rng.choice(ACTIVATIONS)))())
        if rng.random() < 0.3:
            layers.append(nn.Dropout(float(rng.choice([0.1, 0.5]))))
        width = out
    return nn.Sequential(*layers, nn.Linear(width, outputs), seed=seed)


def case(number):
    """(arguments of a fit, trainer) of a number."""
    rng = np.random.default_rng([20261127, number])
    rows, features, outputs = int(rng.integers(40, 400)), int(rng.integers(1, 40)), int(rng.integers(2, 7))
    x = rng.normal(size=(rows, features)).astype(str(rng.choice(["f4", "f8"])))
    if rng.random() < 0.2:
        x = np.abs(x * 40).astype("u1")
    classes = bool(rng.random() < 0.6)
    y = rng.integers(0, outputs, rows) if classes else rng.normal(size=(rows, outputs))
    loss = nn.CrossEntropyLoss() if classes else [nn.MSELoss, nn.L1Loss, nn.HuberLoss][int(rng.integers(3))]()
    if classes and rng.random() < 0.3:
        loss = nn.CrossEntropyLoss(label_smoothing=0.1, weight=rng.random(outputs) + 0.1)
    dtype = "float64" if rng.random() < 0.25 else "float32"
    options = {}
    if rng.random() < 0.3:
        options["clip_grad_norm"] = 0.5
    if rng.random() < 0.2:
        options["clip_grad_value"] = 0.05
    if rng.random() < 0.2:
        options["ema"] = 0.9
    if rng.random() < 0.3:
        options["scheduler"] = [optim.StepLR(2), optim.OneCycleLR(0.01, total_steps=30),
                                optim.CosineAnnealingLR(5)][int(rng.integers(3))]  # fmt: skip
    if rng.random() < 0.15:
        options["gradient_hook"] = lambda gradients: [np.multiply(g, 0.5, out=g) for g in gradients.values()]
    optimizer = OPTIMIZERS[int(rng.integers(len(OPTIMIZERS)))]()
    trainer = Trainer(net(rng, features, outputs, number).to(dtype), loss, optimizer, seed=number, **options)
    fit = {"epochs": int(rng.integers(1, 6)), "batch_size": int(rng.choice([7, 16, 32, 64, 100]))}
    fit["shuffle"] = [True, "once", False][int(rng.integers(3))]
    if rng.random() < 0.3:
        fit["sample_weight"] = rng.random(rows) + 0.01
    if rng.random() < 0.3:
        fit["validation_split"] = 0.25
    isa = str(rng.choice(fastnn.available_isas()))
    threads = int(rng.choice([1, 2, 3, 5]))
    single = bool(rng.random() < 0.3)  # steps one by one afterwards
    return trainer, x, y, fit, isa, threads, single


def digest(number):
    trainer, x, y, fit, isa, threads, single = case(number)
    with fastnn.isa(isa), num_threads(threads, force=True):
        trainer.fit(x, y, progress=False, **fit)
        if single:
            for start in range(0, 30, 10):
                trainer.train_step(x[start : start + 10], y[start : start + 10])
        prediction = trainer.model.predict(x)
    state = trainer.model.state_dict()
    parts = {
        "weights": b"".join(name.encode() + array.tobytes() for name, array in state.items()),
        "prediction": prediction.tobytes(),
        "loss": np.array(trainer.history["loss"]).tobytes(),
    }
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    return {"case": number, "isa": isa, "threads": threads, **digests, "model": repr(trainer.model)}


def main(first, count):
    for number in range(first, first + count):
        try:
            print(json.dumps(digest(number)), flush=True)
        except Exception as error:
            print(json.dumps({"case": number, "error": f"{type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
