"""Files: safetensors, fastnn's model file, and writing that cannot leave half a file behind."""

_PUBLIC = {
    "save_safetensors": "safetensors",
    "load_safetensors": "safetensors",
    "load_safetensors_metadata": "safetensors",
    "ModelFile": "model_file",
    "Preprocessing": "preprocessing",
    "save": "model_file",
    "load": "model_file",
    "save_model_file": "model_file",
    "load_model_file": "model_file",
    "write_atomic": "atomic",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'fastnn.io' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("fastnn.io." + module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
