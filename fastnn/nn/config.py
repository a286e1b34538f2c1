"""Architecture as a JSON-able dict and back: what a model file needs besides the weights.

{"class": "Sequential", "layers": [{"class": "Linear", "in_features": 64, ...}, {"same_as": "0"}, ...],
 "dtype": "float32", "tied": {"2.weight": "0.weight"}, "frozen": ["0.weight"]}
"""

from .module import Module
from .sequential import Concat, Container, ProbabilityAverage, Residual, Sequential
from .state import tied_places


def _classes():
    from .activations import CLASSES
    from .batch_norm import BatchNorm1d
    from .dropout import AlphaDropout, Dropout, GaussianNoise
    from .embedding import Embedding
    from .highway import Highway
    from .layer_norm import LayerNorm
    from .linear import Linear
    from .scale import Scale
    from .shape import Flatten, LogSoftmax, Softmax

    own = (BatchNorm1d, LayerNorm, Dropout, AlphaDropout, GaussianNoise, Linear, Embedding, Highway, Scale, Flatten,
           LogSoftmax, Softmax, Sequential, Residual, Concat, ProbabilityAverage)  # fmt: skip
    return {**CLASSES, **{cls.__name__: cls for cls in own}}


def _describe(module, path, seen):
    if id(module) in seen:
        return {"same_as": seen[id(module)]}
    seen[id(module)] = path
    name, dot = type(module).__name__, path + "." if path else ""
    if _classes().get(name) is not type(module):
        raise TypeError(
            f"{name} is a class of your own: its architecture cannot be written as data. Save the weights, and load "
            f"them with fastnn.load(path, model={name}(...))"
        )
    config = {"class": name}
    if isinstance(module, Container):
        config["layers"] = [_describe(layer, f"{dot}{i}", seen) for i, layer in enumerate(module)]
    for option, value in module._config().items():
        config[option] = _describe(value, dot + option, seen) if isinstance(value, Module) else value
    return config


def to_config(module):
    """See `Module.to_config`."""
    config = _describe(module, "", {})
    shared_layers = _places_below_shared_modules(module)
    tied = {place: first for place, first in tied_places(module).items() if place not in shared_layers}
    frozen = [name for name, tensor in module.named_parameters() if not tensor.requires_grad]
    return {**config, "dtype": str(module.dtype), "tied": tied, "frozen": frozen}


def _places_below_shared_modules(module):
    """Paths that repeat a shared module's own: "same_as" covers them already."""
    seen, repeated = set(), set()
    for path, inner in module.named_modules():
        for name, value in inner.__dict__.items():
            if hasattr(value, "storage"):
                place = f"{path}.{name}" if path else name
                if id(inner) in seen:
                    repeated.add(place)
        seen.add(id(inner))
    return repeated


def _build(config, path, built, classes):
    if not isinstance(config, dict):
        raise ValueError(f"from_config: expected a dict at {path or 'the top'}, got {type(config).__name__}")
    if "same_as" in config:
        if config["same_as"] not in built:
            raise ValueError(f"from_config: {path} repeats {config['same_as']!r}, which does not come before it")
        return built[config["same_as"]]
    options = {k: v for k, v in config.items() if k not in ("class", "dtype", "tied", "frozen")}
    name, dot = config.get("class"), path + "." if path else ""
    if name not in classes:
        raise ValueError(f"from_config: unknown class {name!r}; this version knows {', '.join(classes)}")
    layers = [_build(layer, f"{dot}{i}", built, classes) for i, layer in enumerate(options.pop("layers", ()))]
    for option, value in options.items():
        if isinstance(value, dict):
            options[option] = _build(value, dot + option, built, classes)
    try:
        module = classes[name](*layers, **options)
    except TypeError as error:
        raise ValueError(f"from_config: {name} at {path or 'the top'}: {error}") from None
    built[path] = module
    return module


def _owner(module, place):
    *path, name = place.split(".")
    inner = dict(module.named_modules()).get(".".join(path))
    if inner is None or not hasattr(inner.__dict__.get(name), "storage"):
        raise ValueError(f"from_config: there is no parameter {place!r}")
    return inner, name


def from_config(config):
    """Build the module that ``module.to_config()`` described; weights are freshly drawn.

    Parameters
    ----------
    config : dict
        As returned by `Module.to_config`, also after a round trip through JSON.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        Unknown class or options, or places that do not exist.
    """
    module = _build(config, "", {}, _classes())
    for place, first in config.get("tied", {}).items():
        source, source_name = _owner(module, first)
        target, name = _owner(module, place)
        setattr(target, name, getattr(source, source_name))
    if config.get("dtype", "float32") != "float32":
        module.to(config["dtype"])
    names = dict(module.named_parameters())
    for name in config.get("frozen", ()):
        if name not in names:
            raise ValueError(f"from_config: there is no parameter {name!r} to freeze")
        names[name].requires_grad = False
    if not isinstance(module, Module):
        raise ValueError("from_config: the description is not a module")
    return module
