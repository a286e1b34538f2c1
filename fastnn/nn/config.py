"""Architecture as a JSON-able dict and back: what a model file needs besides the weights.

{"class": "Sequential", "layers": [{"class": "Linear", "in_features": 64, ...}, {"same_as": "0"}, ...],
 "dtype": "float32", "tied": {"2.weight": "0.weight"}, "frozen": ["0.weight"]}
"""

from typing import Any

from .registry import find, is_own, options_of, tupled
from .state import tied_places

_OF_THE_WHOLE = ("dtype", "tied", "frozen")


def _describe(module, path, seen):
    if id(module) in seen:
        return {"same_as": seen[id(module)]}
    seen[id(module)] = path
    cls, dot = type(module), path + "." if path else ""
    options = module._config() if hasattr(module, "_config") else options_of(
        module, lambda inner, option: _describe(inner, dot + option, seen)
    )  # fmt: skip
    config = {"class": cls.__name__}
    if not is_own(cls):
        config["module"] = cls.__module__
    if hasattr(module, "_layers"):
        config["layers"] = [_describe(layer, dot + name, seen) for name, layer in _layers_of(module)]
        if module._names:
            config["names"] = [name for name, _ in _layers_of(module)]
    return {**config, **options} if is_own(cls) else {**config, "options": options}


def _layers_of(container):
    return list(container.named_children())[: len(container._layers)]


def to_config(module: Any) -> dict[str, Any]:
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
        if id(inner) in seen:
            repeated.update(f"{path}.{name}" if path else name for name, _ in inner._own_named_tensors())
        seen.add(id(inner))
    return repeated


def _build(config, path, built):
    if not isinstance(config, dict):
        raise ValueError(f"from_config: expected a dict at {path or 'the top'}, got {type(config).__name__}")
    if "same_as" in config:
        if config["same_as"] not in built:
            raise ValueError(f"from_config: {path} repeats {config['same_as']!r}, which does not come before it")
        return built[config["same_as"]]
    name, own = config.get("class"), "module" not in config
    cls = find(name, config.get("module")) if isinstance(name, str) else None
    if cls is None:
        where = "" if own else f": import {config['module']}, which defines it, first"
        raise ValueError(f"from_config: unknown class {name!r}{where}")
    rest = ("class", "module", "layers", "names", *_OF_THE_WHOLE)
    options = {k: v for k, v in config.items() if k not in rest} if own else dict(config.get("options", {}))
    dot = path + "." if path else ""
    described = config.get("layers", ())
    names = list(config.get("names", map(str, range(len(described)))))
    layers = [_build(layer, dot + name, built) for name, layer in zip(names, described, strict=True)]
    layers = [dict(zip(names, layers, strict=True))] if "names" in config else layers
    for option, value in options.items():
        if isinstance(value, dict) and ("class" in value or "same_as" in value):
            options[option] = _build(value, dot + option, built)
        else:
            options[option] = tupled(value)
    try:
        module = cls(*layers, **options)
    except TypeError as error:
        raise ValueError(f"from_config: {name} at {path or 'the top'}: {error}") from None
    built[path] = module
    return module


def _tie(module, place, first):
    """Put the parameter called `first` where the one called `place` is."""
    tensors = dict(module._all_named_tensors())
    if first not in tensors or place not in tensors:
        raise ValueError(f"from_config: there is no parameter {place if first in tensors else first!r}")
    modules = dict(module.named_modules())
    parts = place.split(".")
    depth = max(i for i in range(len(parts)) if ".".join(parts[:i]) in modules)
    owner, (name, *keys) = modules[".".join(parts[:depth])], parts[depth:]
    if not keys:
        setattr(owner, name, tensors[first])
        return
    holder = owner.__dict__[name]  # a list or dict of parameters
    for key in keys[:-1]:
        holder = holder[int(key) if isinstance(holder, list) else key]
    holder[int(keys[-1]) if isinstance(holder, list) else keys[-1]] = tensors[first]


def from_config(config: dict[str, Any]) -> Any:
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
    module = _build(config, "", {})
    for place, first in config.get("tied", {}).items():
        _tie(module, place, first)
    if config.get("dtype", "float32") != "float32":
        module.to(config["dtype"])
    names = dict(module.named_parameters())
    for name in config.get("frozen", ()):
        if name not in names:
            raise ValueError(f"from_config: there is no parameter {name!r} to freeze")
        names[name].requires_grad = False
    return module
