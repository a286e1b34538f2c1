"""Files: safetensors, fastnn's model file, and writing that cannot leave half a file behind."""

from .._lazy import attach

_NAMES = {
    "TablePredictor": "predictor",
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

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
