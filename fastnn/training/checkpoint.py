"""Checkpoints: the state of a trainer as one sealed file, and back (see state.py for what is in it)."""

import json
import os

from .state import load_state_dict, state_dict

_KEY = "fastnn.checkpoint"


def _plain(value):
    """NumPy's numbers, which callbacks put into the history, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a checkpoint cannot keep {value!r}: plain numbers, texts, lists and dicts only")


def save(trainer, path: str | os.PathLike[str], extra: dict[str, str] | None = None) -> None:
    """See `Trainer.save_checkpoint`; `extra` are further texts for the file's metadata."""
    from ..io import checksum
    from ..io.atomic import write_atomic
    from ..io.safetensors import to_bytes

    arrays, values = state_dict(trainer)
    metadata = {"fastnn.schema": "1", _KEY: json.dumps(values, default=_plain), **(extra or {}),
                checksum.KEY: checksum.BLANK}  # fmt: skip
    write_atomic(path, *checksum.seal(to_bytes(arrays, metadata)))


def resume(trainer, path: str | os.PathLike[str]) -> None:
    """See `Trainer.resume`."""
    from ..io import checksum
    from ..io.safetensors import from_bytes, read_file, read_header

    data = read_file(path)
    _, metadata = read_header(data, path)
    checksum.check(data, metadata, path)
    if _KEY not in metadata:
        raise ValueError(f"{path} is not a checkpoint of a Trainer")
    load_state_dict(trainer, from_bytes(data, path), json.loads(metadata[_KEY]))


def resume_if_there(trainer, path: str | os.PathLike[str]) -> bool:
    """``fit(resume=path)``: load the checkpoint if there is one; whether there was."""
    path = os.fspath(path)  # a number would be taken for an open file
    if not os.path.exists(path):
        return False
    trainer.resume(path)
    return True
