"""Initialisers: by name (``Linear(..., init="xavier_normal")``), as functions on arrays or parameters (``*_``).

Shapes are logical, (out, in): fan_in is the last axis, fan_out the first. Every draw takes a seed or a NumPy
generator; nothing here touches NumPy's global state.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..seeds import next_seed


def stream(seed: Any, path: str) -> Any:
    """The generator of one parameter: keyed by the seed and the parameter's name."""
    import zlib

    if seed is None or isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
    return np.random.default_rng([int(seed), zlib.crc32(path.encode())])


def _fans(shape):
    if len(shape) < 2:
        raise ValueError(f"this initialiser needs a weight of shape (out, in), got shape {tuple(shape)}")
    return shape[-1], shape[0]


def torch_bound(shape: Any) -> Any:
    """1/sqrt(fan_in): PyTorch's default bound for weights and biases of a linear layer."""
    return 1.0 / math.sqrt(_fans(shape)[0])


_GAINS = {"linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: Any, param: Any = None) -> Any:
    """PyTorch's gains: linear and sigmoid 1, tanh 5/3, relu sqrt(2), leaky_relu sqrt(2/(1+slope^2)), selu 3/4."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: unknown {nonlinearity!r}; known: leaky_relu, {', '.join(_GAINS)}")
    return _GAINS[nonlinearity]


_SPARSE_INPUTS = 15  # non-zero weights per unit of the sparse draw (Martens 2010, section 5)


# ---- draws: (shape, rng, options) -> float64 array ------------------------------------------------------------------


def _uniform(shape, rng, a=0.0, b=1.0):
    return rng.uniform(a, b, shape)


def _normal(shape, rng, mean=0.0, std=1.0):
    return rng.normal(mean, std, shape)


def _constant(shape, rng, val=0.0):
    return np.full(shape, float(val))


def _zeros(shape, rng):
    return np.zeros(shape)


def _ones(shape, rng):
    return np.ones(shape)


def _xavier_uniform(shape, rng, gain=1.0):
    bound = gain * math.sqrt(6.0 / sum(_fans(shape)))
    return rng.uniform(-bound, bound, shape)


def _xavier_normal(shape, rng, gain=1.0):
    return rng.normal(0.0, gain * math.sqrt(2.0 / sum(_fans(shape))), shape)


def _kaiming_std(shape, mode, nonlinearity, a):
    fan_in, fan_out = _fans(shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    gain = calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" else None)
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _kaiming_uniform(shape, rng, a=0.0, mode="fan_in", nonlinearity="relu"):
    bound = math.sqrt(3.0) * _kaiming_std(shape, mode, nonlinearity, a)
    return rng.uniform(-bound, bound, shape)


def _kaiming_normal(shape, rng, a=0.0, mode="fan_in", nonlinearity="relu"):
    return rng.normal(0.0, _kaiming_std(shape, mode, nonlinearity, a), shape)


def _lecun_normal(shape, rng):
    return rng.normal(0.0, 1.0 / math.sqrt(_fans(shape)[0]), shape)


def _lecun_uniform(shape, rng):
    bound = math.sqrt(3.0 / _fans(shape)[0])
    return rng.uniform(-bound, bound, shape)


def _orthogonal(shape, rng, gain=1.0):
    _fans(shape)
    rows, cols = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.normal(size=(max(rows, cols), min(rows, cols))))
    q *= np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices (Mezzadri 2007)
    return gain * (q if rows >= cols else q.T).reshape(shape)


def _sparse(shape, rng, sparsity=None, std=None, k=None):
    fan_in, fan_out = _fans(shape)
    if sparsity is not None and k is not None:
        raise ValueError("sparse: give either k= (non-zero weights per unit) or sparsity= (share of zeros, PyTorch)")
    if sparsity is None and k is None:
        k = min(_SPARSE_INPUTS, fan_in)
    if k is not None:
        if not 1 <= k <= fan_in:
            raise ValueError(f"sparse: k must be between 1 and {fan_in} inputs, got {k}")
        zeros_of = [rng.permutation(fan_in)[k:] for _ in range(fan_out)]
        weights = rng.normal(0.0, 1.0 / math.sqrt(k) if std is None else std, shape)
        for unit, zeros in enumerate(zeros_of):
            weights[unit, zeros] = 0.0
        return weights
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity must be between 0 and 1, got {sparsity}")
    weights = rng.normal(0.0, 0.01 if std is None else std, shape)
    for column in range(fan_in):
        weights[rng.permutation(fan_out)[: math.ceil(sparsity * fan_out)], column] = 0.0
    return weights


def _torch(shape, rng):
    bound = torch_bound(shape)
    return rng.uniform(-bound, bound, shape)


_DRAWS = {
    name[1:]: function
    for name, function in list(globals().items())
    if name
    in (
        "_uniform _normal _constant _zeros _ones _xavier_uniform _xavier_normal _kaiming_uniform _kaiming_normal "
        "_lecun_normal _lecun_uniform _orthogonal _sparse _torch"
    ).split()
}


# What follows a layer -> the draw that keeps the signal's size; all others and what is not known: He
FITTING = {
    "linear": "xavier_uniform",
    "sigmoid": "xavier_uniform",
    "tanh": "xavier_uniform",
    "softsign": "xavier_uniform",
    "hardtanh": "xavier_uniform",
    "hardsigmoid": "xavier_uniform",
    "selu": "lecun_normal",
}


def fitting(following: Any) -> Any:
    """Name of the default draw before an activation of this name ("linear": before none, None: not known).

    Glorot & Bengio 2010 for tanh and its like; He, Zhang, Ren & Sun 2015 for ReLU and its like; Klambauer et al. 2017
    for SELU.
    """
    return FITTING.get(following, "kaiming_uniform")


def check(init: str | Callable[..., Any]) -> None:
    """Raise unless `init` is "auto", a known name or a callable."""
    if not callable(init) and init != "auto" and init not in _DRAWS:
        known = ", ".join(sorted([*_DRAWS, "auto"]))
        raise ValueError(f"unknown init {init!r}; known: {known}, or a callable (shape, rng)")


def draw(init: str | Callable[..., Any], shape: Any, rng: Any) -> Any:
    """Return a float64 array of `shape` drawn by a name or a callable ``init(shape, rng)``."""
    check(init)
    if not callable(init):
        return _DRAWS[fitting(None) if init == "auto" else init](shape, rng)
    values = np.asarray(init(shape, rng), dtype=np.float64)
    if values.shape != tuple(shape):
        raise ValueError(f"the init callable returned shape {values.shape}, the parameter has {tuple(shape)}")
    return values


def _in_place(name, function):
    def fill(target, *args, seed=None, rng=None, **options):
        if rng is None:
            rng = np.random.default_rng(next_seed() if seed is None else seed)
        values = function(tuple(target.shape), rng, *args, **options)
        if hasattr(target, "assign"):
            target.assign(values.astype(target.dtype))
        else:
            target[...] = values
        return target

    fill.__name__ = fill.__qualname__ = name + "_"
    fill.__doc__ = (
        f"Fill an array or Parameter of shape (out, in) in place by `{name}` and return it.\n\n"
        "    The options are PyTorch's; `seed` or `rng`, a NumPy generator, gives the random stream;\n"
        "    by default another one at every call, see ``fastnn.manual_seed``."
    )
    return fill


for _name, _function in _DRAWS.items():
    if _name != "torch":
        globals()[_name + "_"] = _in_place(_name, _function)
del _name, _function
