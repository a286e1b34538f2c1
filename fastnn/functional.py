"""Differentiable functions under PyTorch's names: on arrays they compute now, on symbolic tensors they record an op.

Same names, same semantics: what a model's `forward` is written with. Arrays follow the rules of `fastnn.kernels`
(float32 or float64, never mixed; integers become float32). Every activation, elementwise function, binary operator
and pointwise loss (under the name that its row gives) of the native lists is here by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from . import _native, kernels
from .hints import keywords
from .seeds import next_seed

if TYPE_CHECKING:
    from typing_extensions import Never

_ROWS = {which: {row["name"]: row for row in _native.list_rows(which)} for which in
         ("activations", "elementwise", "binary", "losses")}  # fmt: skip


def _tracer(*values):
    """The first symbolic value among the arguments, or None."""
    for value in values:
        if type(value) is not ndarray and hasattr(value, "_fastnn_symbolic_"):
            return value
    return None


def _array(value):
    """A parameter as the array it holds; everything else as it is."""
    return value.numpy() if hasattr(value, "storage") else value


# --- products ---------------------------------------------------------------------------------------------------------
def matmul(a: Any, b: Any) -> Any:
    """Matrix product ``a @ b``; at most `a` may have more than two dimensions."""
    tracer = _tracer(a, b)
    if tracer is not None:
        return tracer._apply("matmul", (a, b))
    return kernels.matmul(_array(a), _array(b))


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Any:
    """Dense layer ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : (..., in_features)
    weight : (out_features, in_features)
    bias : (out_features,), optional
    activation : str, optional
        Name of an activation, with its default parameters.
    """
    tracer = _tracer(x, weight, bias)
    if tracer is not None:
        return tracer._apply("linear", (x, weight, bias), {"activation": activation})
    return kernels.linear(_array(x), _array(weight), _array(bias), activation=activation)


# --- element by element -----------------------------------------------------------------------------------------------
def where(mask: Any, a: Any, b: Any) -> Any:
    """``a`` where `mask` is not 0, else ``b``, with broadcasting. The mask has no gradient."""
    tracer = _tracer(mask, a, b)
    if tracer is not None:
        return tracer._apply("where", (mask, a, b))
    return kernels.where(_array(mask), _array(a), _array(b))


def gelu(x: Any, approximate: str = "none") -> Any:
    """GELU: ``x * Phi(x)``, Phi the distribution function of the standard normal law.

    Parameters
    ----------
    x : any shape
    approximate : {"none", "tanh"}
        "tanh": ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``, the same as :func:`gelu_tanh`.

    Notes
    -----
    Source: Hendrycks & Gimpel 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'approximate must be "none" or "tanh", not {approximate!r}')
    return _made["gelu" if approximate == "none" else "gelu_tanh"](x)


def prelu(x: Any, weight: Any) -> Any:
    """``x`` where x is positive, else ``weight * x``, with a gradient for the weight.

    Parameters
    ----------
    x : any shape
        Axis 1 is the channel (axis 0 of a vector).
    weight : one number, or (channels,)

    Notes
    -----
    Source: He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers".
    """
    tracer = _tracer(x, weight)
    shape = weight.shape if hasattr(weight, "shape") else ()
    if len(shape) > 1:
        raise ValueError(f"weight must be a number or have one dimension, not shape {shape}")
    x = x if tracer is not None else _float_array(x)
    if len(shape) == 1 and len(x.shape) > 2 and shape[0] != 1:
        weight = reshape(weight, (shape[0], *[1] * (len(x.shape) - 2)))
    return tracer._apply("prelu", (x, weight)) if tracer is not None else kernels.prelu(x, _array(weight))


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """``x`` limited to [min, max]; None is no limit. The gradient passes where x is inside or at a limit."""
    if min is None and max is None:
        raise ValueError("clamp needs min, max or both")
    tracer = _tracer(x, min, max)
    for limit, lower in ((min, True), (max, False)):
        if limit is None:
            continue
        if tracer is not None:
            x = tracer._apply("clamp", (x, limit), {"lower": lower})
        else:
            x = (kernels.maximum if lower else kernels.minimum)(_array(x), _array(limit))
    return x


def power(x: Any, exponent: float) -> Any:
    """``x ** exponent`` for a number `exponent`."""
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("power", (x,), {"exponent": exponent})
    return kernels.power(_array(x), exponent)


def abs(x: Any) -> Any:
    """``|x|`` element by element, NumPy's ``absolute``."""
    return absolute(x)  # noqa: F821 (from the lists)


def _float_array(x):
    x = np.asarray(_array(x))
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def stop_gradient(x: Any) -> Any:
    """`x` as a constant for differentiation."""
    tracer = _tracer(x)
    return x if tracer is None else tracer._apply("stop_gradient", (x,))


# --- reductions -------------------------------------------------------------------------------------------------------
def sum(x: Any, axis: Any = None, keepdims: bool = False, **other: Never) -> Any:
    """Sum over an axis, several, or all."""
    if other:
        raise TypeError(keywords("sum", other))
    return _reduce("sum", x, axis, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False, **other: Never) -> Any:
    """Mean over an axis, several, or all."""
    if other:
        raise TypeError(keywords("mean", other))
    return _reduce("mean", x, axis, keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False, **other: Never) -> Any:
    """Largest element over an axis, several, or all; at ties the gradient is shared equally."""
    if other:
        raise TypeError(keywords("max", other))
    return _reduce("max", x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False, **other: Never) -> Any:
    """Smallest element over an axis, several, or all."""
    if other:
        raise TypeError(keywords("min", other))
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("min", (x,), {"axis": axis, "keepdims": keepdims})
    return kernels.negative(kernels.max(kernels.negative(_array(x)), axis, keepdims=keepdims))


def var(x: Any, axis: Any = None, keepdims: bool = False, **other: Never) -> Any:
    """Biased variance over an axis, several, or all: the mean squared distance from the mean."""
    if other:
        raise TypeError(keywords("var", other))
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("var", (x,), {"axis": axis, "keepdims": keepdims})
    x = _float_array(x)
    centred = kernels.subtract(x, kernels.mean(x, axis, keepdims=True))
    return kernels.mean(kernels.square(centred), axis, keepdims=keepdims)


def _reduce(name, x, axis, keepdims):
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply(name, (x,), {"axis": axis, "keepdims": keepdims})
    return getattr(kernels, name)(_array(x), axis, keepdims=keepdims)


# --- shapes -----------------------------------------------------------------------------------------------------------
def reshape(x: Any, shape: Any) -> Any:
    """The same elements in another shape; one size may be -1."""
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("reshape", (x,), {"shape": shape})
    return np.reshape(_array(x), shape)


def flatten(x: Any) -> Any:
    """All axes but the first as one."""
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("flatten", (x,))
    x = np.asarray(_array(x))
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


def transpose(x: Any, axes: Any = None) -> Any:
    """Axes in another order; reversed without `axes`."""
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("transpose", (x,), {"axes": axes})
    return np.transpose(_array(x), axes)


def broadcast_to(x: Any, shape: Any) -> Any:
    """`x` repeated to `shape` by NumPy's broadcasting."""
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("broadcast_to", (x,), {"shape": tuple(shape)})
    return np.broadcast_to(_array(x), shape)


def concatenate(arrays: Any, axis: Any = 0, **other: Never) -> Any:
    """Join along an existing axis."""
    if other:
        raise TypeError(keywords("concatenate", other))
    arrays = tuple(arrays)
    tracer = _tracer(*arrays)
    if tracer is not None:
        return tracer._apply("concatenate", arrays, {"axis": axis})
    return kernels.concatenate([_array(x) for x in arrays], axis)


def stack(arrays: Any, axis: Any = 0, **other: Never) -> Any:
    """Join along a new axis."""
    if other:
        raise TypeError(keywords("stack", other))
    arrays = tuple(arrays)
    tracer = _tracer(*arrays)
    if tracer is not None:
        return tracer._apply("stack", arrays, {"axis": axis})
    return np.stack([_array(x) for x in arrays], axis)


def one_hot(labels: Any, num_classes: int) -> Any:
    """1 in the column of each label, else 0: (...) becomes (..., num_classes). Without a gradient.

    A label outside of 0 .. num_classes - 1, as that of a row to ignore, gives zeros.
    """
    if not 1 <= num_classes <= 1 << 24:  # larger integers are not exact in float32
        raise ValueError(f"one_hot: num_classes must be from 1 to {1 << 24}, got {num_classes}")
    labels = labels if _tracer(labels) is not None else _float_array(labels)
    classes = np.arange(num_classes, dtype=labels.dtype if isinstance(labels, ndarray) else np.float32)
    return equal(reshape(labels, (*labels.shape, 1)), classes)  # noqa: F821 (from the lists)


# --- softmax and losses -----------------------------------------------------------------------------------------------
def softmax(x: Any, axis: Any = -1, **other: Never) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis."""
    if other:
        raise TypeError(keywords("softmax", other))
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("softmax", (x,), {"axis": axis})
    return kernels.softmax(_array(x), axis=axis)


def hardmax(x: Any, axis: Any = -1) -> Any:
    """1 where `x` is largest along an axis, else 0; at ties every largest element is 1. For decisions: no gradient."""
    return equal(x, max(x, axis, keepdims=True))  # noqa: F821 (from the lists)


def log_softmax(x: Any, axis: Any = -1, **other: Never) -> Any:
    """``x - log(sum(exp(x)))`` along an axis."""
    if other:
        raise TypeError(keywords("log_softmax", other))
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("log_softmax", (x,), {"axis": axis})
    return kernels.log_softmax(_array(x), axis=axis)


def logsumexp(x: Any, axis: Any = -1, keepdims: bool = False, **other: Never) -> Any:
    """``log(sum(exp(x)))`` along an axis, without overflow; -inf where every element is -inf."""
    if other:
        raise TypeError(keywords("logsumexp", other))
    x = x if _tracer(x) is not None else _float_array(x)
    largest = stop_gradient(max(x, axis, keepdims=True))
    shift = where(absolute(largest) < np.inf, largest, 0.0)  # noqa: F821 (from the lists)
    shifted = log(sum(exp(x - shift), axis, keepdims=True)) + shift  # noqa: F821
    return shifted if keepdims else sum(shifted, axis)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Any = None,
) -> Any:
    """Softmax cross-entropy of logits: ``-log softmax(input)[target]``.

    Parameters
    ----------
    input : (rows, classes)
        Logits.
    target : int (rows,), or (rows, classes)
        Labels, or rows of probabilities.
    weight : (classes,), optional
        Class weights; a mean divides by the sum of the weights that were used.
    ignore_index : int, optional
        Rows with this label count for nothing.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float, default 0
        Share of the target that is spread evenly over the classes.
    sample_weight : (rows,), optional
    """
    tracer = _tracer(input, target, weight, sample_weight)
    if tracer is not None:
        options = {"label_smoothing": label_smoothing, "ignore_index": ignore_index, "reduction": reduction}
        return tracer._apply("cross_entropy", (input, target, weight, sample_weight), options)
    loss, _ = kernels.softmax_cross_entropy(
        _array(input), target, class_weight=weight, sample_weight=sample_weight, label_smoothing=label_smoothing,
        ignore_index=ignore_index, reduction=reduction, gradient=False,
    )  # fmt: skip
    return loss


# --- dropout and batch norm -------------------------------------------------------------------------------------------
def dropout(
    x: Any, p: float = 0.5, training: bool = True, *, seed: int | None = None, layer: int | None = None,
    shared: bool = False,
) -> Any:  # fmt: skip
    """Drop each element with probability `p` and divide the others by 1 - p; identity unless `training`.

    Parameters
    ----------
    x : any shape
        Axis 0 is the batch.
    p : float in [0, 1]
        Probability of dropping.
    seed : int, optional
        Key of the random stream. Default: the trainer's seed in a model; on arrays another one at every call, see
        ``fastnn.manual_seed``.
    layer : int, optional
        Number of the stream; in a model every dropout has its own by default.
    shared : bool, default False
        One mask for all rows of the batch.
    """
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply(
            "dropout", (x,), {"p": p, "training": training, "seed": seed, "layer": layer, "shared": shared}
        )
    x = _float_array(x)
    if not training:
        return x
    seed = next_seed() if seed is None else seed
    if shared and x.ndim > 1:
        return x * kernels.dropout(np.ones((1, *x.shape[1:]), x.dtype), p, seed=seed)
    return kernels.dropout(x, p, seed=seed)


def batch_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *, unbiased: bool = True,
) -> Any:  # fmt: skip
    """Batch normalisation of x (rows, features): ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Training (or without running statistics) uses the batch's mean and biased variance, and moves the running
    statistics in place, ``running = (1 - momentum) * running + momentum * batch``; inference uses them as they are.
    In a model they are buffers (Parameters), written when the program runs.

    Parameters
    ----------
    unbiased : bool, default True
        The running variance takes rows/(rows - 1) times the batch's, as PyTorch's does.
    """
    tracer = _tracer(x, weight, bias)
    if tracer is not None:
        options = {"training": training, "momentum": momentum, "eps": eps, "unbiased": unbiased}
        options["states"] = (running_mean, running_var)
        return tracer._apply("batch_norm", (x, running_mean, running_var, weight, bias), options)
    x, weight, bias = _array(x), _array(weight), _array(bias)
    if not training and running_mean is not None and running_var is not None:
        return kernels.batch_norm_inference(x, _array(running_mean), _array(running_var), weight, bias, eps=eps)
    y, mean, var = kernels.batch_norm(x, weight, bias, eps=eps)
    if training and running_mean is not None:
        rows = len(x)
        _move(running_mean, mean, momentum)
        _move(running_var, var * (rows / (rows - 1)) if unbiased else var, momentum)
    return y


def _move(running, batch, momentum):
    """running = (1 - momentum) * running + momentum * batch, in place."""
    value = (1.0 - momentum) * _array(running) + momentum * batch
    if hasattr(running, "assign"):
        running.assign(value)
    else:
        running[...] = value


def layer_norm(
    x: Any, normalized_shape: int | tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Layer normalisation over the trailing axes: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    x : (..., *normalized_shape)
    normalized_shape : int or tuple of int
        The trailing axes that share a mean and a biased variance.
    weight, bias : normalized_shape, optional
    eps : float, default 1e-5
    """
    axes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    tracer = _tracer(x, weight, bias)
    if tracer is not None:
        return tracer._apply("layer_norm", (x, weight, bias), {"normalized_shape": axes, "eps": eps})
    x = _float_array(x)
    if not axes or x.shape[-len(axes) :] != axes:
        raise ValueError(f"layer norm over the shape {axes} does not fit x of shape {x.shape}")
    size = int(np.prod(axes))
    vectors = [None if v is None else np.reshape(_array(v), size) for v in (weight, bias)]
    matrix = x.reshape(x.size // size if size else 0, size)
    return kernels.layer_norm(matrix, *vectors, eps=eps)[0].reshape(x.shape)


def alpha_dropout(
    x: Any, p: float = 0.5, training: bool = True, *, seed: int | None = None, layer: int | None = None,
) -> Any:  # fmt: skip
    """Dropout for SELU networks: keeps mean 0 and variance 1 (see `kernels.alpha_dropout`); identity unless `training`.

    `seed` and `layer` as in :func:`dropout`.
    """
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("alpha_dropout", (x,), {"p": p, "training": training, "seed": seed, "layer": layer})
    x = _float_array(x)
    return kernels.alpha_dropout(x, p, seed=next_seed() if seed is None else seed) if training else x


def gaussian_noise(
    x: Any, std: float = 0.1, training: bool = True, *, seed: int | None = None, layer: int | None = None,
) -> Any:  # fmt: skip
    """``x`` plus independent normal noise of deviation `std`; identity unless `training`.

    `seed` and `layer` as in :func:`dropout`.
    """
    tracer = _tracer(x)
    if tracer is not None:
        return tracer._apply("gaussian_noise", (x,), {"std": std, "training": training, "seed": seed, "layer": layer})
    x = _float_array(x)
    return kernels.gaussian_noise(x, std, seed=next_seed() if seed is None else seed) if training else x


# --- Python-defined ops -----------------------------------------------------------------------------------------------
def python_op(
    forward: Callable[..., Any], *inputs: Any, vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None, shape: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """An op written in Python, inside a model: the program is split around it.

    Parameters
    ----------
    forward : callable
        forward(*arrays) -> array, or several as a tuple.
    *inputs : tensors
    vjp : callable, optional
        vjp(grad, *arrays) -> the gradient of each input (None for zero); `grad` is a tuple for several outputs.
    jvp : callable, optional
        jvp(tangents, *arrays) -> the tangent of each output; `tangents` is a tuple for several inputs.
    shape : tuple, optional
        Shape of the output, by default that of the first input; may use ``x.shape[0]``. A list of shapes declares
        several outputs.
    name : str, optional
        For summaries and messages.

    Notes
    -----
    Gradients of a vjp need ops of the graph, so a Python-defined op can be differentiated once.
    """
    tracer = _tracer(*inputs)
    if tracer is not None:
        options = {"forward": forward, "vjp": vjp, "jvp": jvp, "shape": shape, "name": name}
        return tracer._apply("python_op", inputs, options)
    return forward(*[_array(x) for x in inputs])


# --- from the lists ---------------------------------------------------------------------------------------------------
def _unary(row):
    name, parameters, kernel = row["name"], tuple(row["params"]), getattr(kernels, row["name"])
    allowed = {*parameters, "out"}

    def function(x, *args, **options):
        if options and not options.keys() <= allowed:
            raise TypeError(keywords(name, options.keys() - allowed))
        tracer = _tracer(x)
        if tracer is None:
            return kernel(_array(x), *args, **options)
        if len(args) > len(parameters):
            raise TypeError(f"{name} takes {len(parameters)} parameters, got {len(args)}")
        return tracer._apply(name, (x,), {**dict(zip(parameters, args, strict=False)), **options})

    function.__doc__ = kernel.__doc__
    return function


def _binary(row):
    name, kernel = row["name"], getattr(kernels, row["name"])

    def function(a, b):
        tracer = _tracer(a, b)
        return kernel(_array(a), _array(b)) if tracer is None else tracer._apply(name, (a, b))

    function.__doc__ = kernel.__doc__
    return function


def _loss(row):
    name, kernel = row["function"], getattr(kernels, row["name"])

    def function(input, target, *, sample_weight=None, reduction="mean", **options):
        tracer = _tracer(input, target, sample_weight)
        if tracer is not None:
            return tracer._apply(name, (input, target, sample_weight), {"reduction": reduction, **options})
        loss, _ = kernel(
            _array(input), target, sample_weight=sample_weight, reduction=reduction, gradient=False, **options
        )
        return loss

    defaults = zip(row["params"], row["defaults"], strict=True)
    lines = [
        f"{row['doc'][0].upper()}{row['doc'][1:]}.\n\n    Parameters\n    ----------",
        "input, target : the same shape",
        *(f"{option} : float, default {default:g}" for option, default in defaults),
        'sample_weight : (rows,), optional\n    reduction : {"mean", "sum", "none"}\n    ',
    ]
    function.__doc__ = "\n    ".join(lines)
    return function


def _from_lists():
    made = {}
    for make, which in ((_unary, "activations"), (_unary, "elementwise"), (_binary, "binary"), (_loss, "losses")):
        for name, row in _ROWS[which].items():
            public = row.get("function") or name
            made[public] = function = make(row)
            function.__name__ = function.__qualname__ = public
            function.__module__ = __name__
    return made


_made = _from_lists()
globals().update({name: function for name, function in _made.items() if name not in globals()})

__all__ = sorted(
    [
        "abs",
        "alpha_dropout",
        "batch_norm",
        "broadcast_to",
        "clamp",
        "concatenate",
        "cross_entropy",
        "dropout",
        "flatten",
        "gaussian_noise",
        "hardmax",
        "layer_norm",
        "linear",
        "log_softmax",
        "logsumexp",
        "matmul",
        "max",
        "mean",
        "min",
        "one_hot",
        "power",
        "python_op",
        "reshape",
        "softmax",
        "stack",
        "stop_gradient",
        "sum",
        "transpose",
        "var",
        "where",
        *_made,
    ]  # fmt: skip
)
