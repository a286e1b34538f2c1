"""PyTorch, eager, on the CPU: in-place and ``out=`` forms where it has them, fused optimizers."""

import time

import numpy as np
import torch
from cases import list_row
from torch import nn
from torch.nn import functional

from . import inputs

NAME = "PyTorch"
aten = torch.ops.aten


def version():
    return torch.__version__


def setup(threads):
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)


def _tensors(*arrays):
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _inference(run):
    return torch.inference_mode()(run)


SELU = (1.6732632423543772, 1.0507009873554805)
#: y = f(x) into y; names that are not here are torch.<name>(x, out=y)
UNARY = {
    "identity": lambda x, y: y.copy_(x),
    "relu": lambda x, y: torch.clamp_min(x, 0, out=y),
    "shifted_relu": lambda x, y: torch.clamp_min(x, -1, out=y),
    "leaky_relu": lambda x, y: aten.leaky_relu.out(x, 0.01, out=y),
    "elu": lambda x, y: aten.elu.out(x, 1.0, 1.0, 1.0, out=y),
    "selu": lambda x, y: aten.elu.out(x, *SELU, 1.0, out=y),
    "celu": lambda x, y: aten.elu.out(x, 1.0, 1.0, 1.0, out=y),
    "softplus": lambda x, y: aten.softplus.out(x, 1, 20, out=y),
    "softsign": lambda x, y: functional.softsign(x),
    "gelu": lambda x, y: aten.gelu.out(x, approximate="none", out=y),
    "gelu_tanh": lambda x, y: aten.gelu.out(x, approximate="tanh", out=y),
    "silu": lambda x, y: aten.silu.out(x, out=y),
    "mish": lambda x, y: aten.mish.out(x, out=y),
    "hardtanh": lambda x, y: torch.clamp(x, -1, 1, out=y),
    "hardsigmoid": lambda x, y: aten.hardsigmoid.out(x, out=y),
    "hardswish": lambda x, y: aten.hardswish.out(x, out=y),
    "heaviside": lambda x, y: aten.threshold_backward.grad_input(torch.ones(()).expand_as(x), x, 0, grad_input=y),
    "power": lambda x, y: torch.pow(x, 2.5, out=y),
}
UNARY_BACKWARD = {
    "identity": lambda grad, x, y, dx: dx.copy_(grad),
    "relu": lambda grad, x, y, dx: aten.threshold_backward.grad_input(grad, x, 0, grad_input=dx),
    "shifted_relu": lambda grad, x, y, dx: aten.threshold_backward.grad_input(grad, x, -1, grad_input=dx),
    "leaky_relu": lambda grad, x, y, dx: aten.leaky_relu_backward.grad_input(grad, x, 0.01, False, grad_input=dx),
    "elu": lambda grad, x, y, dx: aten.elu_backward.grad_input(grad, 1, 1, 1, True, y, grad_input=dx),
    "selu": lambda grad, x, y, dx: aten.elu_backward.grad_input(grad, *SELU, 1, True, y, grad_input=dx),
    "celu": lambda grad, x, y, dx: aten.elu_backward.grad_input(grad, 1, 1, 1, True, y, grad_input=dx),
    "softplus": lambda grad, x, y, dx: aten.softplus_backward.grad_input(grad, x, 1, 20, grad_input=dx),
    "sigmoid": lambda grad, x, y, dx: aten.sigmoid_backward.grad_input(grad, y, grad_input=dx),
    "tanh": lambda grad, x, y, dx: aten.tanh_backward.grad_input(grad, y, grad_input=dx),
    "gelu": lambda grad, x, y, dx: aten.gelu_backward.grad_input(grad, x, approximate="none", grad_input=dx),
    "gelu_tanh": lambda grad, x, y, dx: aten.gelu_backward.grad_input(grad, x, approximate="tanh", grad_input=dx),
    "silu": lambda grad, x, y, dx: aten.silu_backward.grad_input(grad, x, grad_input=dx),
    "mish": lambda grad, x, y, dx: aten.mish_backward(grad, x),
    "hardtanh": lambda grad, x, y, dx: aten.hardtanh_backward.grad_input(grad, x, -1, 1, grad_input=dx),
    "hardsigmoid": lambda grad, x, y, dx: aten.hardsigmoid_backward.grad_input(grad, x, grad_input=dx),
    "hardswish": lambda grad, x, y, dx: aten.hardswish_backward(grad, x),
}


def unary(case):
    (x,) = _tensors(inputs.unary(case))
    y, run = torch.empty_like(x), UNARY.get(case["name"])
    if run:
        return _inference(lambda: run(x, y))
    run = getattr(torch, case["name"], None)
    return run and _inference(lambda: run(x, out=y))


def unary_backward(case):
    grad, x = _tensors(inputs.matrix(case, 2), inputs.matrix(case))
    run, y, dx = UNARY_BACKWARD.get(case["name"]), torch.empty_like(x), torch.empty_like(x)
    if run is None:
        return None
    forward = UNARY.get(case["name"], lambda x, y: getattr(torch, case["name"])(x, out=y))
    forward(x, y)
    return _inference(lambda: run(grad, x, y, dx))


def binary(case):
    a, b = _tensors(inputs.matrix(case), inputs.positive(case, 2))
    y, run = torch.empty_like(a), getattr(torch, case["name"], None)
    return run and _inference(lambda: run(a, b, out=y))


def where(case):
    a, b = _tensors(inputs.matrix(case), inputs.positive(case, 2))
    y, mask = torch.empty_like(a), a > 0
    return _inference(lambda: torch.where(mask, a, b, out=y))


def concatenate(case):
    parts, axis = _tensors(inputs.matrix(case), inputs.matrix(case, 2)), case["axis"]
    y = torch.cat(parts, axis)
    return _inference(lambda: torch.cat(parts, axis, out=y))


def reduce(case):
    (x,) = _tensors(inputs.matrix(case))
    if case["axis"] is None:
        run = {"sum": torch.sum, "mean": torch.mean, "max": torch.max}[case["name"]]
        return _inference(lambda: run(x))
    run = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[case["name"]]
    y = run(x, case["axis"])
    return _inference(lambda: run(x, case["axis"], out=y))


def softmax_backward(case):
    grad, x = _tensors(inputs.matrix(case, 2), inputs.matrix(case))
    forward = {"softmax": torch.softmax, "log_softmax": torch.log_softmax}[case["name"]]
    run = {"softmax": aten._softmax_backward_data.out, "log_softmax": aten._log_softmax_backward_data.out}[case["name"]]
    y, dx, name = forward(x, 1), torch.empty_like(x), "grad_input" if case["name"] == "softmax" else "out"
    return _inference(lambda: run(grad, y, 1, torch.float32, **{name: dx}))


def linear(case):
    x, weight, bias = inputs.linear(case)
    x, weight, bias = _tensors(x, weight.T, bias)
    if case.get("activation") == "relu":
        return _inference(lambda: torch.relu_(functional.linear(x, weight, bias)))
    return _inference(lambda: functional.linear(x, weight, bias))


def linear_backward(case):
    x, weight, _ = inputs.linear(case)
    x, weight, grad = _tensors(x, weight.T, inputs.grad(case))
    return _inference(lambda: (grad @ weight, grad.T @ x, grad.sum(0)))


def softmax(case):
    (x,) = _tensors(inputs.matrix(case))
    y, run = torch.empty_like(x), {"softmax": aten._softmax, "log_softmax": aten._log_softmax}[case["name"]]
    return _inference(lambda: run(x, 1, False, out=y))


def cross_entropy(case):
    logits, labels = _tensors(inputs.matrix(case), inputs.labels(case["rows"], case["cols"]))
    logits.requires_grad_()

    def run():
        logits.grad = None
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        return loss.item()

    return run


POINTWISE_LOSSES = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "quantile": lambda x, t: torch.maximum(0.5 * (t - x), -0.5 * (t - x)).mean(),
    "poisson": functional.poisson_nll_loss,
    "hinge": lambda x, t: torch.clamp_min(1 - x * t, 0).mean(),
    "squared_hinge": lambda x, t: torch.clamp_min(1 - x * t, 0).square().mean(),
    "sigmoid_cross_entropy": functional.binary_cross_entropy_with_logits,
    "binary_cross_entropy": functional.binary_cross_entropy,
}


def pointwise_loss(case):
    function = POINTWISE_LOSSES.get(case["name"])
    if function is None:
        return None
    x, target = _tensors(*inputs.pointwise_loss(case, list_row("losses", case["name"])["target"]))
    x.requires_grad_()

    def run():
        x.grad = None
        loss = function(x, target)
        loss.backward()
        return loss.item()

    return run


def dropout(case):
    (x,) = _tensors(inputs.matrix(case))
    return _inference(lambda: functional.dropout(x, case["p"], training=True))


def batch_norm(case):
    x, weight, bias = _tensors(
        inputs.matrix(case), inputs.normal(case["cols"], 2), inputs.normal(case["cols"], 3)
    )
    return _inference(lambda: aten.native_batch_norm(x, weight, bias, None, None, True, 0.1, 1e-5))


def batch_norm_backward(case):
    x, weight, bias, grad = _tensors(
        inputs.matrix(case), inputs.normal(case["cols"], 2), inputs.normal(case["cols"], 3), inputs.matrix(case, 4)
    )
    _, mean, inverse = aten.native_batch_norm(x, weight, bias, None, None, True, 0.1, 1e-5)
    wanted = [True, True, True]
    return _inference(
        lambda: aten.native_batch_norm_backward(grad, x, weight, None, None, mean, inverse, True, 1e-5, wanted)
    )


def layer_norm(case):
    size = [case["cols"]]
    x, weight, bias = _tensors(inputs.matrix(case), inputs.normal(size, 2), inputs.normal(size, 3))
    return _inference(lambda: aten.native_layer_norm(x, size, weight, bias, 1e-5))


def layer_norm_backward(case):
    size, wanted = [case["cols"]], [True, True, True]
    x, weight, bias, grad = _tensors(
        inputs.matrix(case), inputs.normal(size, 2), inputs.normal(size, 3), inputs.matrix(case, 4)
    )
    _, mean, inverse = aten.native_layer_norm(x, size, weight, bias, 1e-5)
    return _inference(lambda: aten.native_layer_norm_backward(grad, x, size, mean, inverse, weight, bias, wanted))


def alpha_dropout(case):
    (x,) = _tensors(inputs.matrix(case))
    return _inference(lambda: functional.alpha_dropout(x, case["p"], training=True))


def gaussian_noise(case):
    (x,) = _tensors(inputs.matrix(case))
    return _inference(lambda: torch.randn_like(x).mul_(0.5).add_(x))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, foreach=True),
    "adam": lambda p: torch.optim.Adam(p, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, fused=True),
    "nadam": lambda p: torch.optim.NAdam(p, foreach=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, fused=True),
    "adadelta": lambda p: torch.optim.Adadelta(p, foreach=True),
}


def optimizer(case):
    if case["name"] not in OPTIMIZERS:
        return None
    param, grad = _tensors(*inputs.optimizer(case))
    param = nn.Parameter(param)
    param.grad = grad
    return OPTIMIZERS[case["name"]]([param]).step


# ---- networks ---------------------------------------------------------------------------------------------------


def _model(case):
    sequence, last = [], len(case["layers"]) - 2
    for index, (weight, bias) in enumerate(inputs.parameters(case)):
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
            layer.bias.copy_(torch.from_numpy(bias))
        sequence.append(layer)
        if index < last:
            sequence += [nn.BatchNorm1d(weight.shape[1])] if case["batch_norm"] else []
            sequence += [nn.ReLU()] + ([nn.Dropout(case["dropout"])] if case["dropout"] else [])
    return nn.Sequential(*sequence)


def predict(case):
    model, (x,) = _model(case).eval(), _tensors(inputs.batch(case)[0])
    return _inference(lambda: model(x))


def _step(model, adam, x, labels):
    adam.zero_grad()
    loss = functional.cross_entropy(model(x), labels)
    loss.backward()
    adam.step()
    return loss.item()


def train_step(case):
    model, (x, labels) = _model(case), _tensors(*inputs.batch(case))
    adam = torch.optim.Adam(model.parameters(), lr=case["lr"], fused=True)
    return lambda: _step(model, adam, x, labels)


def fit(case):
    x, y, x_test, y_test = _tensors(*inputs.images(case["folder"]))

    def run():
        torch.manual_seed(case["seed"])
        model = _model(case)
        adam = torch.optim.Adam(model.parameters(), lr=case["lr"], fused=True)
        start = time.perf_counter()
        for _ in range(case["epochs"]):
            for rows in torch.randperm(len(x)).split(case["batch"]):
                _step(model, adam, x[rows], y[rows])
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            right = (model.eval()(x_test).argmax(1) == y_test).float().mean()
        return {"seconds": seconds, "accuracy": float(right)}

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
    "linear_plain": linear,
    "linear_backward": linear_backward,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "pointwise_loss": pointwise_loss,
    "dropout": dropout,
    "batch_norm": batch_norm,
    "batch_norm_backward": batch_norm_backward,
    "layer_norm": layer_norm,
    "layer_norm_backward": layer_norm_backward,
    "alpha_dropout": alpha_dropout,
    "gaussian_noise": gaussian_noise,
    "optimizer": optimizer,
    "predict": predict,
    "train_step": train_step,
    "fit": fit,
}
