"""One step of each optimizer, one entry per row of optimizers.def; returns (param, *states).

g = -grad if maximize else grad; g += weight_decay p, except where the decay is decoupled (adamw) or said otherwise.

sgd      buf = g at the first step, else momentum buf + (1 - dampening) g;
         p -= lr (g + momentum buf) with Nesterov, lr buf with momentum, lr g without (Sutskever et al. 2013, PyTorch)
         classical: buf = momentum buf - lr g; p += momentum buf - lr g with Nesterov, buf without (Keras)
         averaging: buf = momentum buf + (1 - momentum) g; p -= lr buf
adagrad  sum += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(sum) + eps) (Duchi, Hazan & Singer 2011)
adadelta v = rho v + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(v + eps) g; a = rho a + (1 - rho) d^2; p -= lr d (Zeiler)
rmsprop  v = alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + eps); p -= lr d (Tieleman & Hinton 2012)
         centred: a = alpha a + (1 - alpha) g; sqrt(v - a^2) (Graves 2013); momentum: b = momentum b + d; p -= lr b
adam     m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
         p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) (Kingma & Ba 2015, algorithm 1)
         AMSGrad: the largest v so far takes the place of v (Reddi et al. 2018)
adamw    p *= 1 - lr weight_decay; then adam (Loshchilov & Hutter 2019)
nadam    mu_t = b1 (1 - 0.96^(t psi) / 2), P_t = mu_1 ... mu_t;
         p -= lr (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) / (sqrt(v / (1 - b2^t)) + eps) (Dozat, PyTorch)
lars     ratio = trust_coefficient ||p|| / (||grad|| + weight_decay ||p|| + eps), 1 if a norm is 0;
         buf = momentum buf + lr ratio (grad + weight_decay p); p -= buf (You et al. 2017, algorithm 1)
lamb     u = m' / (sqrt(v') + eps) + weight_decay p; p -= lr ||p|| / ||u|| u (You et al. 2020, algorithm 2)
"""

import numpy as np

from .precision import wide


def _gradient(p, g, weight_decay, maximize):
    p, g = wide(p), wide(g)
    return p, (-g if maximize else g) + weight_decay * p


def sgd(
    p, g, buf=None, *, step, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False,
    form="torch",
):  # fmt: skip
    p, g = _gradient(p, g, weight_decay, maximize)
    if momentum == 0:
        return p - lr * g, buf
    before = np.zeros_like(g) if step == 1 else wide(buf)
    if form == "classical":
        buf = momentum * before - lr * g
        return p + (momentum * buf - lr * g if nesterov else buf), buf
    if form == "averaging":
        buf = momentum * before + (1 - momentum) * g
    else:
        buf = g if step == 1 else momentum * before + (1 - dampening) * g
    return p - lr * (g + momentum * buf if nesterov else buf), buf


def adagrad(p, g, total, *, step, lr=1e-2, lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False):
    p, g = _gradient(p, g, weight_decay, maximize)
    total = wide(total) + g**2
    return p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(total) + eps), total


def adadelta(p, g, v, a, *, step, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    p, g = _gradient(p, g, weight_decay, maximize)
    v = rho * wide(v) + (1 - rho) * g**2
    d = np.sqrt(wide(a) + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * wide(a) + (1 - rho) * d**2


def rmsprop(
    p, g, v, a=None, buf=None, *, step, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, maximize=False
):
    p, g = _gradient(p, g, weight_decay, maximize)
    v = alpha * wide(v) + (1 - alpha) * g**2
    variance = v
    if a is not None:
        a = alpha * wide(a) + (1 - alpha) * g
        variance = v - a**2
    d = g / (np.sqrt(variance) + eps)
    if momentum > 0:
        d = buf = momentum * wide(buf) + d
    return p - lr * d, v, a, buf


def adam(
    p, g, m, v, largest=None, *, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False
):
    p, g = _gradient(p, g, weight_decay, maximize)
    m = betas[0] * wide(m) + (1 - betas[0]) * g
    v = betas[1] * wide(v) + (1 - betas[1]) * g**2
    if largest is not None:
        largest = np.maximum(wide(largest), v)
    denominator = np.sqrt((v if largest is None else largest) / (1 - betas[1] ** step)) + eps
    return p - lr * (m / (1 - betas[0] ** step)) / denominator, m, v, largest


def adamw(p, g, m, v, largest=None, *, lr=1e-3, weight_decay=1e-2, **options):
    return adam(wide(p) * (1 - lr * weight_decay), g, m, v, largest, lr=lr, **options)


def nadam(
    p, g, m, v, *, step, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, maximize=False
):
    p, g = _gradient(p, g, weight_decay, maximize)
    m = betas[0] * wide(m) + (1 - betas[0]) * g
    v = betas[1] * wide(v) + (1 - betas[1]) * g**2
    mu = betas[0] * (1 - 0.5 * 0.96 ** (np.arange(1, step + 2) * momentum_decay))
    product, following = np.prod(mu[:-1]), np.prod(mu)
    mixed = mu[-1] * m / (1 - following) + (1 - mu[-2]) * g / (1 - product)
    return p - lr * mixed / (np.sqrt(v / (1 - betas[1] ** step)) + eps), m, v


def lars(
    p, g, buf, *, step, lr=0.1, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=0.0, maximize=False
):
    p, g = _gradient(p, g, 0.0, maximize)
    w_norm, g_norm = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(g**2))
    ratio = 1.0
    if w_norm != 0 and g_norm != 0:
        ratio = trust_coefficient * w_norm / (g_norm + weight_decay * w_norm + eps)
    buf = (0.0 if step == 1 else momentum * wide(buf)) + lr * ratio * (g + weight_decay * p)
    return p - buf, buf


def lamb(
    p, g, m, v, *, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, eps_inside_root=False,
    trust_clip=None, maximize=False,
):  # fmt: skip
    p, g = _gradient(p, g, 0.0, maximize)
    m = betas[0] * wide(m) + (1 - betas[0]) * g
    v = betas[1] * wide(v) + (1 - betas[1]) * g**2
    corrected = v / (1 - betas[1] ** step)
    root = np.sqrt(corrected + eps) if eps_inside_root else np.sqrt(corrected) + eps
    u = m / (1 - betas[0] ** step) / root + weight_decay * p
    w_norm, u_norm = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(u**2))
    ratio = w_norm / u_norm if w_norm != 0 and u_norm != 0 else 1.0
    ratio = ratio if trust_clip is None else min(ratio, trust_clip)
    return p - lr * ratio * u, m, v
