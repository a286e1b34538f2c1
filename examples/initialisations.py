"""Initialisations: the variance of activations through twenty layers, before any training.

Weights that are too small make every layer's output smaller than its input until nothing arrives; too large ones
saturate or explode. Glorot's variance 2/(fan_in + fan_out) fits tanh, He's 2/fan_in fits ReLU, which halves the second
moment; LeCun's 1/fan_in fits SELU, which then drives mean and variance to 0 and 1. Writes initialisations.png.
"""

import numpy as np

from fastnn import nn
from fastnn.plot.figure import new_axes, tidy

DEPTH, WIDTH = 20, 200
x = np.random.default_rng(0).normal(size=(500, WIDTH)).astype(np.float32)


def small(shape, rng):
    return rng.normal(0, 0.01, shape)


CASES = {
    "tanh": (nn.Tanh, {"N(0, 0.01²)": small, "xavier_normal": "xavier_normal", "kaiming_normal": "kaiming_normal"}),
    "ReLU": (nn.ReLU, {"N(0, 0.01²)": small, "xavier_normal": "xavier_normal", "kaiming_normal": "kaiming_normal"}),
    "SELU": (nn.SELU, {"lecun_normal": "lecun_normal", "kaiming_normal": "kaiming_normal"}),
}


def deviations(activation, init):
    """Standard deviation of each layer's activations."""
    value, result = x, []
    for k in range(DEPTH):
        layer = nn.Sequential(nn.Linear(WIDTH, WIDTH, init=init, seed=k), activation())
        value = layer.predict(value)
        result.append(float(value.std(dtype=np.float64)))
    return result


axes = new_axes(3, width=3.8, height=3.3, sharey=True)
for axis, (title, (activation, inits)) in zip(axes, CASES.items(), strict=True):
    for name, init in inits.items():
        curve = deviations(activation, init)
        axis.plot(range(1, DEPTH + 1), curve, marker=".", label=name)
        print(f"{title:5} {name:15} deviation after layer 1 {curve[0]:.3g}, after layer {DEPTH} {curve[-1]:.3g}")
    axis.set_title(title)
    axis.set_yscale("log")
    axis.set_ylim(1e-6, 1e3)
    axis.set_xlabel("layer")
    axis.legend(frameon=False, fontsize=8)
    tidy(axis)
axes[0].set_ylabel("deviation of activations")
axes[0].figure.savefig("initialisations.png", dpi=120)
