"""fastnn through its public names only; outputs reused (``out=``) as NumPy's are."""

import time

import numpy as np
from cases import list_row, optimizer_states

import fastnn
from fastnn import kernels, nn, optim

from . import inputs

NAME = "fastnn"
SEED = 7


def version():
    return fastnn.__version__


def setup(threads):
    fastnn.set_num_threads(threads)


def _function(name):
    """An eager function by name: a kernel, or arithmetic that only ``functional`` exports."""
    return getattr(kernels, name) if hasattr(kernels, name) else getattr(fastnn.functional, name)


def unary(case):
    run = _function(case["name"])
    x = inputs.unary(case)
    y = np.empty_like(x)
    if case["name"] == "power":
        return lambda: run(x, 2.5, out=y)
    return lambda: run(x, out=y)


def unary_backward(case):
    run = _function(case["name"] + "_backward")
    grad, x = inputs.matrix(case, 2), inputs.matrix(case)
    dx = np.empty_like(x)
    if list_row("activations", case["name"])["from_output"]:  # as the peers', and the graph's
        y = _function(case["name"])(x)
        return lambda: run(grad, None, output=y, out=dx)
    return lambda: run(grad, x, out=dx)


def binary(case):
    run = _function(case["name"])
    a, b = inputs.matrix(case), inputs.positive(case, 2)
    y = np.empty_like(a)
    return lambda: run(a, b, out=y)


def where(case):
    a, b = inputs.matrix(case), inputs.positive(case, 2)
    mask, y = a > 0, np.empty_like(a)
    return lambda: kernels.where(mask, a, b, out=y)


def concatenate(case):
    parts = inputs.matrix(case), inputs.matrix(case, 2)
    y = kernels.concatenate(parts, case["axis"])
    return lambda: kernels.concatenate(parts, case["axis"], out=y)


def reduce(case):
    run, x = getattr(kernels, case["name"]), inputs.matrix(case)
    y = np.asarray(run(x, case["axis"]))
    return lambda: run(x, case["axis"], out=y)


def softmax_backward(case):
    run, forward = _function(case["name"] + "_backward"), _function(case["name"])
    grad, y = inputs.matrix(case, 2), forward(inputs.matrix(case))
    dx = np.empty_like(grad)
    return lambda: run(grad, None, output=y, out=dx)


def _parameter(weight_in_out):
    """The weight as a Parameter stores it: in x out with a padded leading dimension, seen as (out, in)."""
    return fastnn.Parameter(weight_in_out.T).numpy()


def matmul(case):
    x, weight, _ = inputs.linear(case)
    y = np.empty((case["rows"], case["out"]), case["dtype"])
    return lambda: kernels.matmul(x, weight, out=y)


def linear(case):
    x, weight, bias = inputs.linear(case)
    weight, y = _parameter(weight), np.empty((case["rows"], case["out"]), case["dtype"])
    return lambda: kernels.linear(x, weight, bias, activation=case.get("activation"), out=y)


def linear_plain(case):
    x, weight, bias = inputs.plain_linear(case)
    y = np.empty((case["rows"], case["out"]), case["dtype"])
    return lambda: kernels.linear(x, weight, bias, activation=case.get("activation"), out=y)


def layer(case):
    x, weight, bias = inputs.plain_linear(case)
    model = nn.Sequential(nn.Linear(case["in"], case["out"]), nn.ReLU()).to(case["dtype"])
    model[0].load_state_dict({"weight": weight, "bias": bias})
    y = np.empty((case["rows"], case["out"]), case["dtype"])
    return lambda: model.predict(x, out=y)


def linear_backward(case):
    x, weight, bias = inputs.linear(case)
    weight, grad = _parameter(weight), inputs.grad(case)
    out = (np.empty_like(x), np.empty((case["out"], case["in"]), case["dtype"]), np.empty_like(bias))
    return lambda: kernels.linear_backward(grad, x, weight, out=out)


def softmax(case):
    run, x = _function(case["name"]), inputs.matrix(case)
    y = np.empty_like(x)
    return lambda: run(x, out=y)


def cross_entropy(case):
    logits, labels = inputs.matrix(case), inputs.labels(case["rows"], case["cols"])
    out = (None, np.empty_like(logits))
    return lambda: kernels.softmax_cross_entropy(logits, labels, out=out)


def pointwise_loss(case):
    run, (x, target) = _function(case["name"]), inputs.pointwise_loss(case, list_row("losses", case["name"])["target"])
    out = (None, np.empty_like(x))
    return lambda: run(x, target, out=out)


def dropout(case):
    x = inputs.matrix(case)
    y = np.empty_like(x)
    return lambda: kernels.dropout(x, case["p"], seed=SEED, out=y)


def dropout_backward(case):
    grad = inputs.matrix(case)
    dx = np.empty_like(grad)
    return lambda: kernels.dropout_backward(grad, case["p"], seed=SEED, out=dx)


def _batch_norm_inputs(case):
    return inputs.matrix(case), inputs.normal(case["cols"], 2), inputs.normal(case["cols"], 3)


def batch_norm(case):
    x, weight, bias = _batch_norm_inputs(case)
    out = kernels.batch_norm(x, weight, bias)
    return lambda: kernels.batch_norm(x, weight, bias, out=out)


def batch_norm_inference(case):
    x, weight, bias = _batch_norm_inputs(case)
    mean, var, y = x.mean(axis=0), x.var(axis=0), np.empty_like(x)
    return lambda: kernels.batch_norm_inference(x, mean, var, weight, bias, out=y)


def batch_norm_backward(case):
    x, weight, bias = _batch_norm_inputs(case)
    grad, (_, mean, var) = inputs.matrix(case, 4), kernels.batch_norm(x, weight, bias)
    out = kernels.batch_norm_backward(grad, x, mean, var, weight)
    return lambda: kernels.batch_norm_backward(grad, x, mean, var, weight, out=out)


def layer_norm(case):
    x, weight, bias = _batch_norm_inputs(case)
    out = kernels.layer_norm(x, weight, bias)
    return lambda: kernels.layer_norm(x, weight, bias, out=out)


def layer_norm_backward(case):
    x, weight, bias = _batch_norm_inputs(case)
    grad, (_, mean, var) = inputs.matrix(case, 4), kernels.layer_norm(x, weight, bias)
    out = kernels.layer_norm_backward(grad, x, mean, var, weight)
    return lambda: kernels.layer_norm_backward(grad, x, mean, var, weight, out=out)


def alpha_dropout(case):
    x = inputs.matrix(case)
    y = np.empty_like(x)
    return lambda: kernels.alpha_dropout(x, case["p"], seed=SEED, out=y)


def gaussian_noise(case):
    x = inputs.matrix(case)
    y = np.empty_like(x)
    return lambda: kernels.gaussian_noise(x, 0.5, seed=SEED, out=y)


def augment(case):
    x, degrees, rows, columns, zoom = inputs.images_and_moves(case)
    y = np.empty_like(x)
    if case["name"] == "elastic":
        return lambda: kernels.elastic(x, alpha=34.0, sigma=4.0, seed=SEED, out=y)
    return lambda: kernels.affine(x, degrees=degrees, rows=rows, columns=columns, zoom=zoom, out=y)


def optimizer(case):
    run = _function(case["name"])
    param, grad = inputs.optimizer(case)
    states = [np.zeros_like(param) for _ in range(optimizer_states(case["name"]))]
    options = {"momentum": 0.9} if case["name"] == "sgd" else {}
    return lambda: run(param, grad, *states, step=10, **options)


# ---- networks ---------------------------------------------------------------------------------------------------


def _model(case):
    sequence, last = [], len(case["layers"]) - 2
    for index, (weight, bias) in enumerate(inputs.parameters(case)):
        linear_layer = nn.Linear(*weight.shape)
        linear_layer.load_state_dict({"weight": weight.T, "bias": bias})
        sequence.append(linear_layer)
        if index < last:
            sequence += [nn.BatchNorm1d(weight.shape[1])] if case["batch_norm"] else []
            sequence += [nn.ReLU()] + ([nn.Dropout(case["dropout"])] if case["dropout"] else [])
    return nn.Sequential(*sequence)


def predict(case):
    model, (x, _) = _model(case), inputs.batch(case)
    out = model.predict(x)
    return lambda: model.predict(x, out=out)


def _trainer(case):
    return fastnn.Trainer(_model(case), nn.CrossEntropyLoss(), optim.Adam(lr=case["lr"]), seed=case.get("seed", 0))


def train_step(case):
    trainer, (x, labels) = _trainer(case), inputs.batch(case)
    return lambda: trainer.train_step(x, labels)


def fit(case):
    x, y, x_test, y_test = inputs.images(case["folder"])

    def run():
        trainer = _trainer(case)
        start = time.perf_counter()
        trainer.fit(x, y, epochs=case["epochs"], batch_size=case["batch"], progress=False)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "accuracy": float((trainer.predict(x_test).argmax(axis=1) == y_test).mean())}

    return run


FACTORIES = {
    "unary": unary,
    "unary_backward": unary_backward,
    "binary": binary,
    "where": where,
    "concatenate": concatenate,
    "reduce": reduce,
    "softmax_backward": softmax_backward,
    "matmul": matmul,
    "linear": linear,
    "linear_plain": linear_plain,
    "layer": layer,
    "linear_backward": linear_backward,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "pointwise_loss": pointwise_loss,
    "dropout": dropout,
    "dropout_backward": dropout_backward,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_backward": batch_norm_backward,
    "layer_norm": layer_norm,
    "layer_norm_backward": layer_norm_backward,
    "alpha_dropout": alpha_dropout,
    "gaussian_noise": gaussian_noise,
    "augment": augment,
    "optimizer": optimizer,
    "predict": predict,
    "train_step": train_step,
    "fit": fit,
}
