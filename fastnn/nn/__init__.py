"""Modules, layers, losses and initialisers. Names are imported on first use."""

from .._lazy import attach

_NAMES = {
    "Module": "module",
    "ModuleList": "lists",
    "ModuleDict": "lists",
    "Sequential": "sequential",
    "Residual": "sequential",
    "Concat": "sequential",
    "ProbabilityAverage": "sequential",
    "Highway": "highway",
    "Embedding": "embedding",
    "Scale": "scale",
    "Flatten": "shape",
    "Softmax": "shape",
    "LogSoftmax": "shape",
    "GLU": "shape",
    "Linear": "linear",
    "BatchNorm1d": "batch_norm",
    "LayerNorm": "layer_norm",
    "RMSNorm": "rms_norm",
    "Dropout": "dropout",
    "AlphaDropout": "dropout",
    "GaussianNoise": "dropout",
    "Loss": "losses",
    "CrossEntropyLoss": "losses",
    "PointwiseLoss": "losses",
    "FocalLoss": "likelihoods",
    "KLDivLoss": "likelihoods",
    "GaussianNLLLoss": "likelihoods",
    "from_config": "config",
    "probe": "probing",
    "signal_report": "signals",
    "predict_mc": "predict",
    "estimate_population": "population",
}

__all__ = ["init", "Parameter", *_NAMES]
_MODULES = ("init", "activations", "losses")
_attribute, _ = attach(__name__, _NAMES, _MODULES)


def __getattr__(name):
    if name in _NAMES or name in _MODULES or name.startswith("_"):
        return _attribute(name)
    if name == "Parameter":
        from ..graph.parameter import Parameter

        return Parameter
    made = _made()
    return made[name] if name in made else _attribute(name)


def _made():
    """The classes made from the native lists."""
    from . import activations, losses

    return {**activations.CLASSES, **losses.CLASSES}


def __dir__():
    return sorted({*globals(), *__all__, *_made()})
