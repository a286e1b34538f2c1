"""One step of each optimizer in PyTorch's form, one entry per row of optimizers.def; returns (param, *states).

sgd      g += weight_decay p; buf = g at the first step, else momentum buf + (1 - dampening) g;
         p -= lr (g + momentum buf) with Nesterov, lr buf with momentum, lr g without (Sutskever et al. 2013)
rmsprop  g += weight_decay p; v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps) (Tieleman & Hinton 2012)
adam     g += weight_decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
         p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) (Kingma & Ba 2015, algorithm 1)
"""

import numpy as np

from .precision import wide


def sgd(p, g, buf=None, *, step, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    p, g = wide(p), wide(g)
    g = g + weight_decay * p
    if momentum == 0:
        return p - lr * g, buf
    buf = g if step == 1 else momentum * wide(buf) + (1 - dampening) * g
    return p - lr * (g + momentum * buf if nesterov else buf), buf


def rmsprop(p, g, v, *, step, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0):
    p, g, v = wide(p), wide(g), wide(v)
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g**2
    return p - lr * g / (np.sqrt(v) + eps), v


def adam(p, g, m, v, *, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    p, g, m, v = wide(p), wide(g), wide(m), wide(v)
    g = g + weight_decay * p
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    denominator = np.sqrt(v / (1 - betas[1] ** step)) + eps
    return p - lr * (m / (1 - betas[0] ** step)) / denominator, m, v
