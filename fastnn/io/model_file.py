"""Model file, version 1: one safetensors file with everything needed to predict.

Arrays: the model's ``state_dict()``, readable by PyTorch as any safetensors file. Metadata (texts)::

    fastnn.schema         "1"
    fastnn.version        version of fastnn that wrote the file
    fastnn.architecture   JSON of module.to_config(); read with nn.from_config
    fastnn.preprocessing  JSON of what happens to data before the model: schema, clip, scale, class names, ...
    fastnn.training       JSON summary of the training
    fastnn.sha256         digest over every byte of the file, its own 64 characters taken as zeros

No pickle anywhere: reading a model file runs no code from it and opens no other file.
"""

import json
import os
from typing import Any

from fastnn.io import checksum
from fastnn.io.atomic import write_atomic
from fastnn.io.safetensors import from_bytes, read_file, read_header, to_bytes

SCHEMA = "1"

# In the place of an architecture: the name of a Module class of the user's own.
CUSTOM = "custom class"


class ModelFile:
    """What a model file holds.

    Attributes
    ----------
    model : fastnn.nn.Module
    preprocessing : dict
        Plain values; see ``fastnn.io.model_file``.
    training : dict
        Summary of the training.
    version : str
        Version of fastnn that wrote the file.
    """

    __slots__ = ("model", "preprocessing", "training", "version")

    def __init__(
        self, model: Any, preprocessing: dict[str, Any] | None = None, training: dict[str, Any] | None = None,
        version: str = "",
    ) -> None:  # fmt: skip
        self.model = model
        self.preprocessing = preprocessing or {}
        self.training = training or {}
        self.version = version


def _to_json(name, value):
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be saved: {error}; plain numbers, texts, lists and dicts only") from None


def _from_json(metadata, key, path):
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {key} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: {key} must be a JSON object")
    return value


def _architecture(model):
    """What `nn.from_config` needs, or the name of a class that only its author can build."""
    try:
        return model.to_config()
    except TypeError as error:
        return {CUSTOM: type(model).__name__, "reason": str(error)}


def save_model_file(
    path: str | os.PathLike[str], model: Any, preprocessing: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write a model file.

    Parameters
    ----------
    path : str or path-like
        Replaced in one step; see `fastnn.io.write_atomic`.
    model : fastnn.nn.Module
        One that holds classes of your own is loaded with ``load(path, model=...)``.
    preprocessing, training : dict, optional
        Plain values (numbers, texts, lists, dicts) kept as JSON.
    """
    from fastnn import __version__

    metadata = {
        "fastnn.schema": SCHEMA,
        "fastnn.version": str(__version__),
        "fastnn.architecture": _to_json("the architecture", _architecture(model)),
        "fastnn.preprocessing": _to_json("preprocessing", preprocessing or {}),
        "fastnn.training": _to_json("the training summary", training or {}),
        checksum.KEY: checksum.BLANK,
    }
    write_atomic(path, *checksum.seal(to_bytes(model.state_dict(), metadata)))


def is_fastnn_file(path: str | os.PathLike[str]) -> Any:
    """True if `path` is a safetensors file with fastnn's metadata (damaged or not)."""
    from fastnn.io.safetensors import load_safetensors_metadata

    try:
        return any(key.startswith(checksum.PREFIX) for key in load_safetensors_metadata(path))
    except (ValueError, OSError):
        return False


def _read(path):
    """(tensors, metadata) of a sealed file of fastnn's that describes a model."""
    data = read_file(path)
    _, metadata = read_header(data, path)
    checksum.check(data, metadata, path)
    schema = metadata.get("fastnn.schema")
    if schema is None:
        raise ValueError(f"{path} is a safetensors file without fastnn's description of a model")
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema}; this fastnn reads schema {SCHEMA}: a newer fastnn is needed")
    if "fastnn.architecture" not in metadata:
        other = "a checkpoint of a Trainer (Trainer.resume reads it)" if "fastnn.checkpoint" in metadata else "no model"
        raise ValueError(f"{path} is {other}, not a model file")
    return from_bytes(data, path), metadata


def _build(architecture, tensors, model):
    from fastnn import nn
    from fastnn.graph.parameter import unallocated
    from fastnn.nn.state import checked_writes

    if model is None:
        if CUSTOM in architecture:
            name = architecture[CUSTOM]
            reason = architecture.get("reason", f"{name} is a class of your own")
            raise ValueError(f"{reason}: say fastnn.load(path, model={name}(...))")
        with unallocated():
            model = nn.from_config(architecture)
            for tensor, _ in checked_writes(model, tensors, True):  # what is allocated is stored in the file
                tensor.allocate()
    model.load_state_dict(tensors)
    return model


def load_model_file(path: str | os.PathLike[str], model: Any = None) -> Any:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like
    model : fastnn.nn.Module, optional
        Gets the weights, instead of a new model made from the file's description. Needed for classes of your own.

    Returns
    -------
    ModelFile

    Raises
    ------
    ValueError
        In one line that names the file: not a model file, damaged (the SHA-256 does not fit), a newer schema, or
        weights that do not fit the architecture.
    OSError
        If it cannot be read.
    """
    path = os.fspath(path)
    tensors, metadata = _read(path)
    architecture = _from_json(metadata, "fastnn.architecture", path)
    try:
        model = _build(architecture, tensors, model)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        # A KeyError's text would be its argument in quotes.
        message = error.args[0] if error.args else type(error).__name__
        raise ValueError(f"{path}: the model cannot be rebuilt: {message}") from None
    return ModelFile(
        model,
        _from_json(metadata, "fastnn.preprocessing", path),
        _from_json(metadata, "fastnn.training", path),
        metadata.get("fastnn.version", ""),
    )


def save(model_or_trainer: Any, path: str | os.PathLike[str]) -> None:
    """Save a model to one file, to be read back with `load`.

    Parameters
    ----------
    model_or_trainer : fastnn.nn.Module, fastnn.Trainer or fastnn.io.TablePredictor
        Of a trainer the model is saved (``Trainer.save_checkpoint`` keeps the state of the training as well).
    path : str or path-like
        Usually ends in ``.safetensors``. An existing file is replaced in one step.

    Raises
    ------
    TypeError
        If it is neither.
    OSError
        If the file cannot be written; an old file is then unchanged.
    """
    from fastnn.io.predictor import TablePredictor

    if isinstance(model_or_trainer, TablePredictor):
        made = model_or_trainer
        save_model_file(path, made.model, made.preprocessing.to_dict(), made.training)
        return
    model = getattr(model_or_trainer, "model", model_or_trainer)
    if not hasattr(model, "to_config") or not hasattr(model, "state_dict"):
        raise TypeError(f"save needs a Module or a Trainer, not {type(model_or_trainer).__name__}")
    save_model_file(path, model)


def load(path: str | os.PathLike[str], model: Any = None) -> Any:
    """Read a model that `save`, or the command line, wrote.

    Parameters
    ----------
    path : str or path-like
    model : fastnn.nn.Module, optional
        Gets the weights and is returned; needed if the saved model holds classes of your own.

    Returns
    -------
    fastnn.nn.Module or fastnn.io.TablePredictor
        A predictor for a table's model: it takes raw rows by the schema in the file and gives labels or numbers; its
        ``model`` is the network alone. With `model`: that Module.

    Raises
    ------
    ValueError
        If it is not a model file or is damaged.
    OSError
        If it cannot be read.
    """
    file = load_model_file(path, model)
    if model is not None or file.preprocessing.get("kind") != "table":
        return file.model
    from fastnn.io.predictor import TablePredictor
    from fastnn.io.preprocessing import Preprocessing

    try:
        return TablePredictor(file.model, Preprocessing.from_dict(file.preprocessing), file.training)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
