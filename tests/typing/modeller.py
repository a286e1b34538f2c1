"""Users' code that has to pass ``mypy --strict`` and pyright: somebody who writes models."""

from typing import Any

import numpy as np

import fastnn
from fastnn import functional as F
from fastnn import nn, optim


class Block(nn.Module):
    def __init__(self, width: int, *, dropout: float = 0.1) -> None:
        first = nn.Linear(width, width, init="kaiming_normal")
        self.layers = nn.Sequential(first, nn.LayerNorm(width), nn.GELU("tanh"))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        y = self.dropout(self.layers(x))
        return x + F.tanh(y)


class Net(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        self.stem = nn.Linear(features, 16)
        self.blocks = nn.ModuleList([Block(16), Block(16, dropout=0.0)])
        self.head = nn.Linear(16, classes)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def gaussian(output: Any, target: Any) -> Any:
    mean, log_variance = output[:, :1], output[:, 1:]
    return F.mean(F.square(target - mean) * F.exp(-log_variance) + log_variance)


def train(x: np.ndarray, y: np.ndarray) -> float:
    fastnn.manual_seed(1)
    model = Net(x.shape[1], 3).to("float32")
    names: list[str] = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    optimizer = optim.AdamW(lr=1e-3, weight_decay=1e-2, groups=[{"params": "*.bias", "weight_decay": 0.0}])
    schedule = optim.LinearWarmup(10) * optim.CosineAnnealingLR(20)
    trainer = fastnn.Trainer(
        model, nn.CrossEntropyLoss(label_smoothing=0.1), optimizer, scheduler=schedule, metrics=["accuracy"],
        clip_grad_norm=1.0, ema=0.99,
    )  # fmt: skip
    history = trainer.fit(
        x, y, epochs=3, validation_split=0.2, callbacks=[fastnn.EarlyStopping(patience=2)], progress=False
    )
    trainer.optimizer.lr = 1e-4
    loss: float = trainer.train_step(x[:8], y[:8])
    scores = trainer.evaluate(x, y)
    weights: dict[str, np.ndarray] = model.state_dict()
    report = model.load_state_dict(weights, strict=False)
    assert not report.missing_keys and len(names) == len(weights) and len(history) <= 3
    return float(scores["loss"]) + loss


def differentiate(model: nn.Module, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    def loss(params: dict[str, Any]) -> Any:
        return F.mse_loss(fastnn.functional_call(model, params, x), y)

    value, gradients = fastnn.value_and_grad(loss)(model.state_dict())
    assert float(value) >= 0
    curvature = fastnn.hessian(lambda w: F.sum(F.exp(w)))(np.ones(3))
    assert curvature.shape == (3, 3)
    return dict(gradients)


def losses() -> list[nn.Loss]:
    return [nn.MSELoss(), nn.HuberLoss(delta=0.5), nn.QuantileLoss(0.9), nn.BCEWithLogitsLoss(), nn.L1Loss()]
