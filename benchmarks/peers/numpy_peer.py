"""NumPy as a careful user writes it: float32 throughout, outputs reused, no copy that can be avoided.

A row of a list that has no entry here runs its float64 twin from ``tests/reference``, so that a new row has a
baseline from the start; write it out here when the comparison matters.
"""

import sys
from pathlib import Path

import numpy as np
from cases import list_row, optimizer_states

from . import inputs

NAME = "NumPy"
TWIN_LIMIT = 1 << 20  # elements from which on a float64 twin would only take time


def version():
    return np.__version__


def setup(threads):
    pass  # the BLAS reads its environment variable, set by the driver before this process started


def _twin(module, name):
    tests = str(Path(__file__).resolve().parents[2] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    return getattr(__import__(f"reference.{module}", fromlist=[name]), name)


# ---- element-wise -----------------------------------------------------------------------------------------------


def _sigmoid(x, y):
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.reciprocal(y, out=y)


def _sigmoid_backward(grad, x, dx):
    y = np.empty_like(x)
    _sigmoid(x, y)
    np.subtract(1, y, out=dx)
    dx *= y
    dx *= grad


def _tanh_backward(grad, x, dx):
    np.tanh(x, out=dx)
    np.square(dx, out=dx)
    np.subtract(1, dx, out=dx)
    dx *= grad


UNARY = {
    "identity": lambda x, y: np.copyto(y, x),
    "relu": lambda x, y: np.maximum(x, 0, out=y),
    "sigmoid": _sigmoid,
    "tanh": lambda x, y: np.tanh(x, out=y),
    "heaviside": lambda x, y: np.heaviside(x, 0, out=y),
    "power": lambda x, y: np.power(x, np.float32(2.5), out=y),
}
UNARY_BACKWARD = {
    "identity": lambda grad, x, dx: np.copyto(dx, grad),
    "relu": lambda grad, x, dx: np.multiply(grad, x > 0, out=dx),
    "sigmoid": _sigmoid_backward,
    "tanh": _tanh_backward,
}


def _by_name(table, name, twin_modules):
    if name in table:
        return table[name]
    if hasattr(np, name):
        ufunc = getattr(np, name)
        return lambda *operands: ufunc(*operands[:-1], out=operands[-1], casting="unsafe")
    for module in twin_modules:
        try:
            twin = _twin(module, name)
        except AttributeError:
            continue
        return lambda *operands: np.copyto(operands[-1], twin(*operands[:-1]), casting="unsafe")
    raise LookupError(f"no NumPy baseline for {name!r}: write its twin in tests/reference")


def unary(case):
    run = _by_name(UNARY, case["name"], ("activations", "elementwise"))
    x = inputs.unary(case)
    y = np.empty_like(x)
    return lambda: run(x, y)


def unary_backward(case):
    grad, x = inputs.matrix(case, 2), inputs.matrix(case)
    dx = np.empty_like(x)
    if case["name"] in UNARY_BACKWARD:
        run = UNARY_BACKWARD[case["name"]]
        return lambda: run(grad, x, dx)
    derivative = _twin("activations", case["name"] + "_derivative")
    return lambda: np.multiply(grad, derivative(x), out=dx, casting="unsafe")


def binary(case):
    run = _by_name({}, case["name"], ("elementwise",))
    a, b = inputs.matrix(case), inputs.positive(case, 2)
    y = np.empty_like(a)
    return lambda: run(a, b, y)


def where(case):
    a, b = inputs.matrix(case), inputs.positive(case, 2)
    mask = a > 0
    return lambda: np.where(mask, a, b)


def concatenate(case):
    parts = inputs.matrix(case), inputs.matrix(case, 2)
    y = np.concatenate(parts, case["axis"])
    return lambda: np.concatenate(parts, case["axis"], out=y)


def reduce(case):
    run, x = getattr(np, case["name"]), inputs.matrix(case)
    y = np.asarray(run(x, case["axis"]))
    return lambda: run(x, case["axis"], out=y)


# ---- products ---------------------------------------------------------------------------------------------------


def matmul(case):
    x, weight, _ = inputs.linear(case)
    y = np.empty((case["rows"], case["out"]), case["dtype"])
    return lambda: np.matmul(x, weight, out=y)


def linear(case):
    return _linear(case, *inputs.linear(case))


def linear_plain(case):
    x, weight, bias = inputs.plain_linear(case)
    return _linear(case, x, weight.T, bias)


def _linear(case, x, weight, bias):
    y = np.empty((case["rows"], case["out"]), case["dtype"])
    relu = case.get("activation") == "relu"

    def run():
        np.matmul(x, weight, out=y)
        np.add(y, bias, out=y)
        if relu:
            np.maximum(y, 0, out=y)

    return run


def linear_backward(case):
    x, weight, bias = inputs.linear(case)
    grad, dx, dweight = inputs.grad(case), np.empty_like(x), np.empty_like(weight)

    def run():
        np.matmul(x.T, grad, out=dweight)
        np.matmul(grad, weight.T, out=dx)
        return grad.sum(axis=0)

    return run


# ---- rows, columns, losses --------------------------------------------------------------------------------------


def _softmax(x, y):
    np.subtract(x, x.max(axis=1, keepdims=True), out=y)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)


def softmax(case):
    x = inputs.matrix(case)
    y = np.empty_like(x)
    if case["name"] == "softmax":
        return lambda: _softmax(x, y)

    def log_softmax():
        np.subtract(x, x.max(axis=1, keepdims=True), out=y)
        np.subtract(y, np.log(np.exp(y).sum(axis=1, keepdims=True)), out=y)

    return log_softmax


def cross_entropy_and_gradient(logits, labels, dlogits):
    """Mean cross-entropy; its gradient into ``dlogits``."""
    rows = np.arange(len(labels))
    _softmax(logits, dlogits)
    loss = -np.log(dlogits[rows, labels]).mean()
    dlogits[rows, labels] -= 1
    dlogits /= len(labels)
    return float(loss)


def cross_entropy(case):
    logits, labels = inputs.matrix(case), inputs.labels(case["rows"], case["cols"])
    dlogits = np.empty_like(logits)
    return lambda: cross_entropy_and_gradient(logits, labels, dlogits)


def pointwise_loss(case):
    x, target = inputs.pointwise_loss(case, list_row("losses", case["name"])["target"])
    if case["name"] != "mse":
        if x.size > TWIN_LIMIT:
            return None
        loss, derivative = (_twin("pointwise_losses", case["name"] + part) for part in ("", "_derivative"))
        return lambda: (loss(x, target).mean(), derivative(x, target) / x.size)
    dx = np.empty_like(x)

    def mse():
        np.subtract(x, target, out=dx)
        loss = float(np.vdot(dx, dx)) / x.size
        np.multiply(dx, 2 / x.size, out=dx)
        return loss

    return mse


def dropout(case):
    x, rng = inputs.matrix(case), np.random.default_rng(0)
    y, p = np.empty_like(x), case["p"]

    def run():
        mask = rng.random(x.shape, dtype=np.float32) >= p
        np.multiply(x, mask, out=y)
        np.multiply(y, np.float32(1 / (1 - p)), out=y)

    return run


def _batch_norm_inputs(case):
    x = inputs.matrix(case)
    return x, inputs.normal(case["cols"], 2, case["dtype"]), inputs.normal(case["cols"], 3, case["dtype"])


def batch_norm(case):
    x, weight, bias = _batch_norm_inputs(case)
    y = np.empty_like(x)

    def run():
        mean = x.mean(axis=0)
        np.subtract(x, mean, out=y)
        var = np.einsum("ij,ij->j", y, y) / len(x)
        np.multiply(y, weight / np.sqrt(var + np.float32(1e-5)), out=y)
        np.add(y, bias, out=y)
        return mean, var

    return run


def batch_norm_inference(case):
    x, weight, bias = _batch_norm_inputs(case)
    mean, var, y = x.mean(axis=0), x.var(axis=0), np.empty_like(x)

    def run():
        scale = weight / np.sqrt(var + np.float32(1e-5))
        np.multiply(x, scale, out=y)
        np.add(y, bias - mean * scale, out=y)

    return run


def batch_norm_backward(case):
    x, weight, _ = _batch_norm_inputs(case)
    grad, mean, inverse = inputs.matrix(case, 4), x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + np.float32(1e-5))
    dx, work = np.empty_like(x), np.empty_like(x)

    def run():
        np.subtract(x, mean, out=work)
        np.multiply(work, inverse, out=work)
        dbias, dweight = grad.sum(axis=0), np.einsum("ij,ij->j", grad, work)
        np.multiply(work, dweight / len(x), out=work)
        np.subtract(grad, work, out=dx)
        np.subtract(dx, dbias / len(x), out=dx)
        np.multiply(dx, weight * inverse, out=dx)
        return dweight, dbias

    return run


# ---- optimizers, networks ---------------------------------------------------------------------------------------


def layer_norm(case):
    x, weight, bias = _batch_norm_inputs(case)
    y = np.empty_like(x)

    def run():
        mean = x.mean(axis=1, keepdims=True)
        np.subtract(x, mean, out=y)
        var = np.einsum("ij,ij->i", y, y)[:, None] / x.shape[1]
        np.divide(y, np.sqrt(var + np.float32(1e-5)), out=y)
        np.multiply(y, weight, out=y)
        np.add(y, bias, out=y)
        return mean, var

    return run


def layer_norm_backward(case):
    x, weight, _ = _batch_norm_inputs(case)
    grad, mean = inputs.matrix(case, 4), x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axis=1, keepdims=True) + np.float32(1e-5))
    dx, normal = np.empty_like(x), np.empty_like(x)

    def run():
        np.subtract(x, mean, out=normal)
        np.multiply(normal, inverse, out=normal)
        dweight, dbias = np.einsum("ij,ij->j", grad, normal), grad.sum(axis=0)
        np.multiply(grad, weight, out=dx)
        slope = np.einsum("ij,ij->i", dx, normal)[:, None] / x.shape[1]
        np.subtract(dx, dx.mean(axis=1, keepdims=True), out=dx)
        np.multiply(normal, slope, out=normal)
        np.subtract(dx, normal, out=dx)
        np.multiply(dx, inverse, out=dx)
        return dweight, dbias

    return run


def alpha_dropout(case):
    x, rng, p, alpha = inputs.matrix(case), np.random.default_rng(0), case["p"], -1.7580993408473766
    y, a = np.empty_like(x), ((1 - p) * (1 + p * alpha**2)) ** -0.5
    scale, shift, dropped = np.float32(a), np.float32(-a * p * alpha), np.float32(a * alpha * (1 - p))

    def run():
        mask = rng.random(x.shape, dtype=np.float32) < p
        np.multiply(x, scale, out=y)
        np.add(y, shift, out=y)
        np.copyto(y, dropped, where=mask)

    return run


def gaussian_noise(case):
    x, rng = inputs.matrix(case), np.random.default_rng(0)
    y = np.empty_like(x)

    def run():
        rng.standard_normal(x.shape, dtype=np.float32, out=y)
        np.multiply(y, np.float32(0.5), out=y)
        np.add(y, x, out=y)

    return run


def adam_step(param, grad, m, v, work, step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    np.multiply(m, beta1, out=m)
    np.multiply(grad, 1 - beta1, out=work)
    np.add(m, work, out=m)
    np.multiply(v, beta2, out=v)
    np.square(grad, out=work)
    np.multiply(work, 1 - beta2, out=work)
    np.add(v, work, out=v)
    np.sqrt(v, out=work)
    np.multiply(work, (1 - beta2**step) ** -0.5, out=work)
    np.add(work, eps, out=work)
    np.divide(m, work, out=work)
    np.multiply(work, lr / (1 - beta1**step), out=work)
    np.subtract(param, work, out=param)


def _rmsprop_step(param, grad, v, work, lr=1e-2, alpha=0.99, eps=1e-8):
    np.multiply(v, alpha, out=v)
    np.square(grad, out=work)
    np.multiply(work, 1 - alpha, out=work)
    np.add(v, work, out=v)
    np.sqrt(v, out=work)
    np.add(work, eps, out=work)
    np.divide(grad, work, out=work)
    np.multiply(work, lr, out=work)
    np.subtract(param, work, out=param)


def _sgd_step(param, grad, buffer, work, lr=1e-2, momentum=0.9):
    np.multiply(buffer, momentum, out=buffer)
    np.add(buffer, grad, out=buffer)
    np.multiply(buffer, lr, out=work)
    np.subtract(param, work, out=param)


def optimizer(case):
    param, grad = inputs.optimizer(case)
    s0, s1, work = np.zeros_like(param), np.zeros_like(param), np.empty_like(param)
    known = {
        "adam": lambda: adam_step(param, grad, s0, s1, work, 10),
        "rmsprop": lambda: _rmsprop_step(param, grad, s0, work),
        "sgd": lambda: _sgd_step(param, grad, s0, work),
    }
    if case["name"] in known:
        return known[case["name"]]
    if case["n"] > TWIN_LIMIT:
        return None
    twin, states = _twin("optimizers", case["name"]), optimizer_states(case["name"])
    return lambda: twin(param, grad, *[s0] * states, step=10)


def _forward(x, layers):
    """Every layer's input and the logits; ReLU between the layers."""
    values = [x]
    for index, (weight, bias) in enumerate(layers):
        y = values[-1] @ weight
        y += bias
        if index < len(layers) - 1:
            np.maximum(y, 0, out=y)
        values.append(y)
    return values


def predict(case):
    x, _ = inputs.batch(case)
    layers = inputs.parameters(case)
    return lambda: _forward(x, layers)[-1]


def train_step(case):
    if case["batch_norm"] or case["dropout"]:
        return None
    x, labels = inputs.batch(case)
    layers = inputs.parameters(case)
    flat = [array for pair in layers for array in pair]
    m, v, work = ([np.zeros_like(array) for array in flat] for _ in range(3))
    steps = [0]

    def run():
        values = _forward(x, layers)
        grad = np.empty_like(values[-1])
        loss = cross_entropy_and_gradient(values[-1], labels, grad)
        gradients = []
        for index in reversed(range(len(layers))):
            gradients += [grad.sum(axis=0), values[index].T @ grad]
            if index:
                grad = grad @ layers[index][0].T
                grad *= values[index] > 0
        steps[0] += 1
        for i, gradient in enumerate(reversed(gradients)):
            adam_step(flat[i], gradient, m[i], v[i], work[i], steps[0], case["lr"])
        return loss

    return run


FACTORIES = {
    "unary": unary,
    "unary_backward": unary_backward,
    "binary": binary,
    "where": where,
    "concatenate": concatenate,
    "reduce": reduce,
    "matmul": matmul,
    "linear": linear,
    "linear_plain": linear_plain,
    "linear_backward": linear_backward,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "pointwise_loss": pointwise_loss,
    "dropout": dropout,
    "dropout_backward": dropout,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_backward": batch_norm_backward,
    "layer_norm": layer_norm,
    "layer_norm_backward": layer_norm_backward,
    "alpha_dropout": alpha_dropout,
    "gaussian_noise": gaussian_noise,
    "optimizer": optimizer,
    "predict": predict,
    "train_step": train_step,
}
