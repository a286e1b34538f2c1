"""Users' code that has to pass ``mypy --strict`` and pyright: somebody who has a table and saves models."""

from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.data import load_digits, train_dev_test_split
from fastnn.ensemble import Bagging
from fastnn.io import load_safetensors, save_safetensors


def factory(seed: int) -> fastnn.Trainer:
    model = nn.Sequential({"hidden": nn.Linear(64, 32), "act": nn.ReLU(), "out": nn.Linear(32, 10)}, seed=seed)
    return fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3), metrics=["accuracy"], seed=seed)


def digits(folder: Path) -> float:
    x, y = load_digits()
    (x, y), (x_dev, y_dev), (x_test, y_test) = train_dev_test_split(x, y, stratify=True, seed=0)
    trainer = factory(1)
    with fastnn.num_threads(1), fastnn.isa(fastnn.available_isas()[0]):
        trainer.fit(x, y, epochs=2, batch_size=64, validation_data=(x_dev, y_dev), progress=False)
    fastnn.save(trainer, folder / "digits.safetensors")
    model: Any = fastnn.load(folder / "digits.safetensors")
    save_safetensors(model.state_dict(), folder / "weights.safetensors", metadata={"note": "digits"})
    arrays = load_safetensors(folder / "weights.safetensors")
    assert "hidden.weight" in arrays
    body = trainer.model[:-1] if isinstance(trainer.model, nn.Sequential) else trainer.model
    assert body.predict(x_test).shape[1] == 32
    return float(trainer.evaluate(x_test, y_test)["accuracy"])


def ensemble(x: np.ndarray, y: np.ndarray) -> Any:
    return Bagging(factory, 3, seed=0).fit(x, y, epochs=1, batch_size=64).predict(x)
