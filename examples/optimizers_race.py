"""The optimizers' race: on an elongated quadratic, and on a real net.

The quadratic 1/2 (x1^2 + 50 x2^2) is what a badly scaled problem looks like from near a minimum: plain gradient descent
must take steps small enough for the steep direction and crawls along the flat one. Writes optimizers_race.png.
"""

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import nn, optim
from fastnn.data import load_digits
from fastnn.plot.figure import new_axes, tidy

KINDS = {
    "SGD": lambda: optim.SGD(lr=0.03),
    "momentum": lambda: optim.SGD(lr=0.01, momentum=0.9),
    "Nesterov": lambda: optim.SGD(lr=0.01, momentum=0.9, nesterov=True),
    "AdaGrad": lambda: optim.Adagrad(lr=0.5),
    "RMSProp": lambda: optim.RMSprop(lr=0.02),
    "Adam": lambda: optim.Adam(lr=0.1),
}
NET_RATES = {"AdaGrad": 0.02, "RMSProp": 0.002, "Adam": 0.004}


class Point(nn.Module):
    """Two numbers that are trained; the input is ignored but for its rows."""

    def __init__(self):
        self.place = nn.Linear(2, 1, bias=False, seed=0)
        self.place.weight.assign(np.array([[4.0, 1.5]], np.float32))

    def forward(self, x):
        return self.place(x)


def quadratic(output, target):
    # rows are the two axes, scaled: the output's row i is sqrt(h_i) * place_i
    return F.sum(output * output) * 0.5


def race_on_the_quadratic(optimizer):
    trainer = fastnn.Trainer(Point(), quadratic, optimizer)
    x, path = np.diag([1.0, np.sqrt(50.0)]).astype(np.float32), []
    for _ in range(120):
        path.append(trainer.model.place.weight.numpy()[0].copy())
        trainer.train_step(x, np.zeros((2, 1), np.float32))
    return np.array(path)


def race_on_digits(name, optimizer):
    x, y = load_digits()
    optimizer.lr = NET_RATES.get(name, optimizer.lr)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), seed=0)
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=0)
    return trainer.fit((x / 16).astype(np.float32), y, epochs=15, batch_size=64, progress=False)["loss"]


left, right = new_axes(2, width=5.0, height=3.8)
a, b = np.meshgrid(np.linspace(-2, 4.5, 100), np.linspace(-1.7, 1.7, 100))
left.contour(a, b, 0.5 * (a**2 + 50 * b**2), levels=np.geomspace(0.05, 80, 12), colors="0.85", linewidths=0.8)
for name, make in KINDS.items():
    path = race_on_the_quadratic(make())
    left.plot(*path.T, marker=".", markersize=3, linewidth=1.2, label=name)
    losses = race_on_digits(name, make())
    right.plot(range(1, 16), losses, linewidth=1.6, label=name)
    value = 0.5 * (path[-1, 0] ** 2 + 50 * path[-1, 1] ** 2)
    print(f"{name:9} quadratic after 120 steps {value:.2e}, digits after 15 epochs {losses[-1]:.4f}")
left.set_title("elongated quadratic")
right.set_title("digits, 64-64-10")
right.set_yscale("log")
right.set_xlabel("epoch")
right.set_ylabel("loss")
right.legend(frameon=False)
tidy(left, grid=False)
tidy(right)
left.figure.savefig("optimizers_race.png", dpi=120)
