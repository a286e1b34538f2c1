"""JAX on the CPU: one jitted function per case, operands on the device, state donated, results awaited."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from cases import list_row

from . import inputs

NAME = "JAX"


def version():
    return jax.__version__


def setup(threads):
    pass  # XLA reads its flags and the affinity, set by the driver before this process started


def _jit(function, *arrays):
    """A call that runs the jitted function on device copies of the arrays and waits for the result."""
    compiled, operands = jax.jit(function), [jnp.asarray(array) for array in arrays]
    return lambda: jax.block_until_ready(compiled(*operands))


UNARY = {
    "identity": jnp.copy, "relu": jax.nn.relu, "shifted_relu": lambda x: jnp.maximum(x, -1),
    "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu,
    "selu": jax.nn.selu, "celu": jax.nn.celu, "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh,
    "gelu": partial(jax.nn.gelu, approximate=False), "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu, "mish": jax.nn.mish, "hardtanh": jax.nn.hard_tanh, "hardsigmoid": jax.nn.hard_sigmoid,
    "hardswish": jax.nn.hard_swish, "erf": jax.lax.erf, "heaviside": lambda x: jnp.heaviside(x, 0),
    "power": lambda x: x**2.5,
}  # fmt: skip


def unary(case):
    function = UNARY.get(case["name"]) or getattr(jnp, case["name"], None)
    return function and _jit(function, inputs.unary(case))


def unary_backward(case):
    """The pullback of one function: recomputes what it needs from x inside the same fused loop."""
    function = UNARY.get(case["name"])
    return function and _jit(
        lambda grad, x: jax.vjp(function, x)[1](grad)[0], inputs.matrix(case, 2), inputs.matrix(case)
    )


def binary(case):
    function = getattr(jnp, case["name"], None)
    return function and _jit(function, inputs.matrix(case), inputs.positive(case, 2))


def where(case):
    a = inputs.matrix(case)
    return _jit(jnp.where, a > 0, a, inputs.positive(case, 2))


def concatenate(case):
    return _jit(lambda a, b: jnp.concatenate((a, b), case["axis"]), inputs.matrix(case), inputs.matrix(case, 2))


def reduce(case):
    return _jit(lambda x: getattr(jnp, case["name"])(x, case["axis"]), inputs.matrix(case))


def softmax_backward(case):
    def softmax_pullback(grad, y):
        return y * (grad - (grad * y).sum(1, keepdims=True))

    def log_softmax_pullback(grad, y):
        return grad - jnp.exp(y) * grad.sum(1, keepdims=True)

    function = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}[case["name"]]
    pullback = {"softmax": softmax_pullback, "log_softmax": log_softmax_pullback}[case["name"]]
    return _jit(pullback, inputs.matrix(case, 2), function(inputs.matrix(case)))


def linear(case):
    if case.get("activation") == "relu":
        return _jit(lambda x, w, b: jax.nn.relu(x @ w + b), *inputs.linear(case))
    return _jit(lambda x, w, b: x @ w + b, *inputs.linear(case))


def linear_plain(case):
    return _jit(lambda x, w, b: jax.nn.relu(x @ w.T + b), *inputs.plain_linear(case))


def linear_backward(case):
    x, weight, _ = inputs.linear(case)
    return _jit(lambda g, x, w: (g @ w.T, x.T @ g, g.sum(0)), inputs.grad(case), x, weight)


def softmax(case):
    function = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}[case["name"]]
    return _jit(function, inputs.matrix(case))


def _mean_cross_entropy(logits, labels):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -picked.mean()


def cross_entropy(case):
    labels = inputs.labels(case["rows"], case["cols"]).astype(np.int32)
    return _jit(jax.value_and_grad(_mean_cross_entropy), inputs.matrix(case), labels)


def _binary_cross_entropy(x, t):
    return -(t * jnp.maximum(jnp.log(x), -100) + (1 - t) * jnp.maximum(jnp.log1p(-x), -100))


def _sigmoid_cross_entropy(x, t):
    return jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _huber(x, t):
    d = jnp.abs(x - t)
    return jnp.where(d <= 1, 0.5 * d * d, d - 0.5)


POINTWISE_LOSSES = {
    "mse": lambda x, t: (x - t) ** 2,
    "mae": lambda x, t: jnp.abs(x - t),
    "huber": _huber,
    "smooth_l1": _huber,
    "quantile": lambda x, t: jnp.maximum(0.5 * (t - x), -0.5 * (t - x)),
    "poisson": lambda x, t: jnp.exp(x) - t * x,
    "hinge": lambda x, t: jnp.maximum(0, 1 - t * x),
    "squared_hinge": lambda x, t: jnp.maximum(0, 1 - t * x) ** 2,
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
}


def pointwise_loss(case):
    function = POINTWISE_LOSSES.get(case["name"])
    if function is None:
        return None
    operands = inputs.pointwise_loss(case, list_row("losses", case["name"])["target"])
    return _jit(jax.value_and_grad(lambda x, t: function(x, t).mean()), *operands)


def _drop(x, p, key):
    return jnp.where(jax.random.bernoulli(key, 1 - p, x.shape), x / (1 - p), 0)


def dropout(case):
    x, run = jnp.asarray(inputs.matrix(case)), jax.jit(lambda x, key: _drop(x, case["p"], key))
    key = jax.random.key(0)
    return lambda: run(x, key).block_until_ready()


def _normalize(x, weight, bias, eps=1e-5):
    mean, var = x.mean(0), x.var(0)
    return (x - mean) * (weight / jnp.sqrt(var + eps)) + bias, mean, var


def _batch_norm_inputs(case):
    return inputs.matrix(case), inputs.normal(case["cols"], 2), inputs.normal(case["cols"], 3)


def batch_norm(case):
    return _jit(_normalize, *_batch_norm_inputs(case))


def batch_norm_backward(case):
    x, weight, _ = _batch_norm_inputs(case)
    mean, inverse = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + np.float32(1e-5))

    def backward(grad, x, mean, inverse, weight):
        normal = (x - mean) * inverse
        dweight, dbias = (grad * normal).sum(0), grad.sum(0)
        return weight * inverse * (grad - dbias / len(x) - normal * dweight / len(x)), dweight, dbias

    return _jit(backward, inputs.matrix(case, 4), x, mean, inverse, weight)


def layer_norm(case):
    def forward(x, weight, bias):
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-5) * weight + bias, mean, var

    return _jit(forward, *_batch_norm_inputs(case))


def layer_norm_backward(case):
    x, weight, _ = _batch_norm_inputs(case)
    mean, inverse = x.mean(axis=1, keepdims=True), 1 / np.sqrt(x.var(axis=1, keepdims=True) + np.float32(1e-5))

    def backward(grad, x, mean, inverse, weight):
        normal, g = (x - mean) * inverse, grad * weight
        dx = inverse * (g - g.mean(1, keepdims=True) - normal * (g * normal).mean(1, keepdims=True))
        return dx, (grad * normal).sum(0), grad.sum(0)

    return _jit(backward, inputs.matrix(case, 4), x, mean, inverse, weight)


def gaussian_noise(case):
    x, key = jnp.asarray(inputs.matrix(case)), jax.random.key(0)
    run = jax.jit(lambda x, key: x + 0.5 * jax.random.normal(key, x.shape))
    return lambda: run(x, key).block_until_ready()


def _adam(param, grad, m, v, step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    update = (m / (1 - beta1**step)) / (jnp.sqrt(v / (1 - beta2**step)) + eps)
    return param - lr * update, m, v


def _rmsprop(param, grad, m, v, step):
    v = 0.99 * v + 0.01 * grad * grad
    return param - 1e-2 * grad / (jnp.sqrt(v) + 1e-8), m, v


def _sgd(param, grad, m, v, step):
    m = 0.9 * m + grad
    return param - 1e-2 * m, m, v


def _adamw(param, grad, m, v, step):
    return _adam(param * (1 - 1e-5), grad, m, v, step)


def _adagrad(param, grad, m, v, step):
    v = v + grad * grad
    return param - 1e-2 * grad / (jnp.sqrt(v) + 1e-10), m, v


def _adadelta(param, grad, m, v, step):
    v = 0.9 * v + 0.1 * grad * grad
    update = jnp.sqrt(m + 1e-6) / jnp.sqrt(v + 1e-6) * grad
    return param - update, 0.9 * m + 0.1 * update * update, v


def _lars(param, grad, m, v, step):
    ratio = 1e-3 * jnp.linalg.norm(param) / jnp.linalg.norm(grad)
    m = 0.9 * m + 0.1 * ratio * grad
    return param - m, m, v


def _lamb(param, grad, m, v, step):
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
    update = (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-6)
    return param - 1e-3 * jnp.linalg.norm(param) / jnp.linalg.norm(update) * update, m, v


UPDATES = {
    "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop, "sgd": _sgd, "adagrad": _adagrad, "adadelta": _adadelta,
    "lars": _lars, "lamb": _lamb,
}  # fmt: skip


def optimizer(case):
    if case["name"] not in UPDATES:
        return None
    param, grad = (jnp.asarray(array) for array in inputs.optimizer(case))
    run = jax.jit(UPDATES[case["name"]], donate_argnums=(0, 2, 3))
    state = [param, jnp.zeros_like(param), jnp.zeros_like(param)]

    def step():
        state[:] = run(state[0], grad, state[1], state[2], 10.0)
        jax.block_until_ready(state)

    return step


# ---- networks ---------------------------------------------------------------------------------------------------


def _parameters(case):
    """Per layer: weight, bias and, with batch norm (not on the last), its weight, bias, running mean and variance."""
    result, pairs = [], inputs.parameters(case)
    for index, (weight, bias) in enumerate(pairs):
        layer = {"w": jnp.asarray(weight), "b": jnp.asarray(bias)}
        if case["batch_norm"] and index < len(pairs) - 1:
            layer |= {"gamma": jnp.ones(len(bias)), "beta": jnp.zeros(len(bias))}
        result.append(layer)
    return result


def _statistics(case):
    return [(jnp.zeros(n), jnp.ones(n)) for n in case["layers"][1:-1]] if case["batch_norm"] else []


def _forward(case, parameters, running, x, key):
    """Logits and the new running statistics; ``key`` None means inference."""
    new = []
    for index, layer in enumerate(parameters):
        x = x @ layer["w"] + layer["b"]
        if index == len(parameters) - 1:
            return x, new
        if "gamma" in layer:
            mean, var = running[index]
            if key is not None:
                x, batch_mean, batch_var = _normalize(x, layer["gamma"], layer["beta"])
                unbiased = batch_var * (len(x) / max(len(x) - 1, 1))
                new.append((0.9 * mean + 0.1 * batch_mean, 0.9 * var + 0.1 * unbiased))
            else:
                x = (x - mean) * (layer["gamma"] / jnp.sqrt(var + 1e-5)) + layer["beta"]
        x = jax.nn.relu(x)
        if case["dropout"] and key is not None:
            key, this = jax.random.split(key)
            x = _drop(x, case["dropout"], this)
    raise AssertionError("a network has at least one layer")


def predict(case):
    parameters, (x, _) = _parameters(case), inputs.batch(case)
    return _jit(lambda x: _forward(case, parameters, _statistics(case), x, None)[0], x)


def _make_step(case):
    def loss_of(parameters, running, x, labels, key):
        logits, new = _forward(case, parameters, running, x, key)
        return _mean_cross_entropy(logits, labels), new

    @partial(jax.jit, donate_argnums=(0,))
    def step(state, x, labels):
        parameters, m, v, running, key, count = state
        key, this = jax.random.split(key)
        (loss, running), grads = jax.value_and_grad(loss_of, has_aux=True)(parameters, running, x, labels, this)
        count = count + 1
        leaves, tree = jax.tree.flatten(parameters)
        moved = [
            _adam(*args, count, case["lr"])
            for args in zip(leaves, jax.tree.leaves(grads), jax.tree.leaves(m), jax.tree.leaves(v), strict=True)
        ]
        parameters, m, v = (jax.tree.unflatten(tree, [row[i] for row in moved]) for i in range(3))
        return (parameters, m, v, running, key, count), loss

    return step


def _state(case):
    parameters = _parameters(case)
    m, v = jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters)
    return parameters, m, v, _statistics(case), jax.random.key(case.get("seed", 0)), jnp.float32(0)


def train_step(case):
    x, labels = inputs.batch(case)
    x, labels, step = jnp.asarray(x), jnp.asarray(labels.astype(np.int32)), _make_step(case)
    state = [_state(case)]

    def run():
        state[0], loss = step(state[0], x, labels)
        return float(loss)

    return run


def fit(case):
    x, y, x_test, y_test = inputs.images(case["folder"])
    y = y.astype(np.int32)
    inference = jax.jit(lambda p, running, x: _forward(case, p, running, x, None)[0].argmax(1))

    def run():
        step, state, rng = _make_step(case), _state(case), np.random.default_rng(case["seed"])
        start = time.perf_counter()
        for _ in range(case["epochs"]):
            order = rng.permutation(len(x))
            for first in range(0, len(x), case["batch"]):
                rows = order[first : first + case["batch"]]
                state, loss = step(state, x[rows], y[rows])
            loss.block_until_ready()
        seconds = time.perf_counter() - start
        predicted = np.asarray(inference(state[0], state[3], x_test))
        return {"seconds": seconds, "accuracy": float((predicted == y_test).mean())}

    return run


FACTORIES = {
    "unary": unary,
    "unary_backward": unary_backward,
    "binary": binary,
    "where": where,
    "concatenate": concatenate,
    "reduce": reduce,
    "softmax_backward": softmax_backward,
    "linear": linear,
    "linear_plain": linear_plain,
    "linear_backward": linear_backward,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "pointwise_loss": pointwise_loss,
    "dropout": dropout,
    "batch_norm": batch_norm,
    "batch_norm_backward": batch_norm_backward,
    "layer_norm": layer_norm,
    "layer_norm_backward": layer_norm_backward,
    "gaussian_noise": gaussian_noise,
    "optimizer": optimizer,
    "predict": predict,
    "train_step": train_step,
    "fit": fit,
}
