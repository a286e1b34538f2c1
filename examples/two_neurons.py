"""Two neurons of which one learns only under dropout.

Two linear units see the same two inputs and their outputs are added; the target is x1 + x2. The first unit starts where
it does the whole job, the second at zero. Without dropout the error is zero at the start, so that no gradient ever
reaches the second unit. Under dropout either unit must do without the other now and then: the second learns until they
are alike. Writes two_neurons.png.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.plot.figure import new_axes, tidy

STEPS, ROWS = 400, 256


class TwoNeurons(nn.Module):
    """y = u1 + u2, each unit linear in x and each dropped with probability p."""

    def __init__(self, p):
        self.units = nn.Linear(2, 2, bias=False, seed=0)
        self.drop = nn.Dropout(p)
        self.units.weight = np.array([[1.0, 1.0], [0.0, 0.0]])  # a row per unit

    def forward(self, x):
        return self.drop(self.units(x)).sum(axis=1, keepdims=True)


def lengths(p):
    """Length of each unit's weight vector after every step."""
    model = TwoNeurons(p)
    trainer = fastnn.Trainer(model, nn.MSELoss(), optim.SGD(0.02))
    rng = np.random.default_rng(0)
    curve = [np.linalg.norm(model.units.weight.numpy(), axis=1)]
    for _ in range(STEPS):
        x = rng.normal(size=(ROWS, 2)).astype(np.float32)
        trainer.train_step(x, x.sum(axis=1, keepdims=True))
        curve.append(np.linalg.norm(model.units.weight.numpy(), axis=1))
    return np.array(curve)


axes = new_axes(2, width=4.0, height=3.3, sharey=True)
for axis, p in zip(axes, (0.0, 0.5), strict=True):
    first, second = lengths(p).T
    axis.plot(first, label="first neuron")
    axis.plot(second, label="second neuron")
    axis.set_title(f"dropout {p}" if p else "no dropout")
    axis.set_xlabel("step")
    tidy(axis)
    print(f"dropout {p}: first neuron {first[-1]:.3f}, second neuron {second[-1]:.3f}")
axes[0].set_ylabel("length of the weight vector")
axes[0].legend(frameon=False, loc="center right")
axes[0].figure.savefig("two_neurons.png", dpi=120)
