"""The operands of every case, the same numbers for every library: small, random, never zero or denormal."""

import gzip
import struct
from pathlib import Path

import numpy as np


def normal(shape, seed, dtype="float32", scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def linear(case):
    """x (rows, in), weight (in, out), bias (out,)."""
    rows, depth, cols, dtype = case["rows"], case["in"], case["out"], case["dtype"]
    weight = normal((depth, cols), 2, dtype, depth**-0.5)
    return normal((rows, depth), 1, dtype), weight, normal(cols, 3, dtype)


def plain_linear(case):
    """x (rows, in), weight (out, in), bias (out,): C-contiguous arrays as a user has them."""
    x, weight, bias = linear(case)
    return x, np.ascontiguousarray(weight.T), bias


def grad(case):
    return normal((case["rows"], case["out"]), 4, case["dtype"])


def matrix(case, seed=1):
    return normal((case["rows"], case["cols"]), seed, case["dtype"])


def positive(case, seed=1):
    """For functions that need it (log, sqrt, divisors): values in [0.5, 2)."""
    values = np.random.default_rng(seed).uniform(0.5, 2.0, (case["rows"], case["cols"]))
    return values.astype(case["dtype"])


def unary(case):
    """What a unary function takes: anything, or positive values."""
    return (positive if case["name"] in ("log", "sqrt", "reciprocal", "power") else matrix)(case)


def labels(rows, classes, seed=5):
    return np.random.default_rng(seed).integers(0, classes, rows)


def pointwise_loss(case, target):
    """x and a target of the kind that the row of losses.def names; x in (0, 1) for cross-entropy of probabilities."""
    x = matrix(case)
    if case["name"] == "binary_cross_entropy":
        x = np.random.default_rng(1).uniform(0.01, 0.99, x.shape).astype(x.dtype)
    t = matrix(case, 2)
    kinds = {"probability": t > 0, "sign": np.sign(t), "count": np.floor(np.abs(3 * t))}
    return x, kinds.get(target, t).astype(x.dtype)


def optimizer(case):
    """param and grad, 1-D."""
    return normal(case["n"], 1, case["dtype"]), normal(case["n"], 2, case["dtype"], 0.01)


def images_and_moves(case):
    """x (images, size, size) in [0, 1), and per image degrees, rows, columns (pixels) and zoom."""
    count, rng = case["images"], np.random.default_rng(1)
    x = rng.random((count, case["size"], case["size"]), dtype=np.float32)
    return x, rng.uniform(-15, 15, count), *rng.uniform(-3, 3, (2, count)), rng.uniform(0.9, 1.1, count)


def batch(case):
    """x (batch, features) and integer labels of a network case."""
    x = normal((case["batch"], case["layers"][0]), 1, case["dtype"])
    return x, labels(case["batch"], case["layers"][-1])


def parameters(case):
    """(weight (in, out), bias (out,)) of each layer, PyTorch's default bounds."""
    result = []
    for seed, (fan_in, fan_out) in enumerate(zip(case["layers"][:-1], case["layers"][1:], strict=True)):
        rng = np.random.default_rng(100 + seed + case.get("seed", 0))
        bound = fan_in**-0.5
        result.append(
            (
                rng.uniform(-bound, bound, (fan_in, fan_out)).astype(case["dtype"]),
                rng.uniform(-bound, bound, fan_out).astype(case["dtype"]),
            )
        )
    return result


def _idx(path):
    data = gzip.open(path).read()
    ndim = data[3]
    shape = struct.unpack(f">{ndim}i", data[4 : 4 + 4 * ndim])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def images(folder):
    """x_train, y_train, x_test, y_test of an IDX directory (MNIST's names), pixels divided by 255."""
    folder, result = Path(folder), []
    for part in ("train", "t10k"):
        pixels = _idx(folder / f"{part}-images-idx3-ubyte.gz")
        result.append((pixels.reshape(len(pixels), -1) / 255.0).astype(np.float32))
        result.append(_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64))
    return result
