"""What a run was made of, kept in its checkpoint: ``--resume`` goes on with the same data and settings, or refuses."""

import json
import os

from fastnn.search.study import fingerprint, plain
from fastnn.training.callbacks import ModelCheckpoint

_KEY = "fastnn.run"
_SETTINGS = ("layers", "activation", "dropout", "batch_norm", "dtype", "batch_size", "optimizer", "lr", "momentum",
             "weight_decay", "seed", "schedule", "ema", "augment", "loss", "class_weight")  # fmt: skip


def mark(options, made, x, y):
    """What has to be the same for a run to go on, as plain values."""
    values = {name: getattr(options, name) for name in _SETTINGS}
    if options.schedule not in ("constant", "plateau"):
        values["epochs"] = options.epochs  # the schedule ends with them
    data = {"rows": len(x), "features": made.feature_names or int(made.scale.features), "target": made.class_names,
            "values": fingerprint(x, y)}  # fmt: skip
    return plain({"settings": values, "data": data})


def differences(old, new):
    """What differs between two marks, in words."""
    found = []
    for name, value in new["settings"].items():
        before = old.get("settings", {}).get(name)
        if before != value:
            found.append(f"--{name.replace('_', '-')} was {_typed(before)} and is {_typed(value)}")
    data = old.get("data", {})
    for name in ("rows", "features", "target"):
        if data.get(name) != new["data"][name]:
            found.append(f"the data have other {'classes' if name == 'target' else name}")
    if not found and data.get("values") != new["data"]["values"]:
        found.append("the data hold other values")
    return found


def _typed(value):
    if isinstance(value, list):
        return ",".join(map(_typed, value))
    return "the default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def check(path, own):
    """ValueError that names what differs, if the checkpoint at `path` is of another run."""
    from fastnn.io.safetensors import load_safetensors_metadata

    if not os.path.exists(path):
        return
    metadata = load_safetensors_metadata(path)
    if _KEY not in metadata:
        raise ValueError(f"{path} is not a checkpoint of fastnn train --resume; choose another name")
    try:
        found = differences(json.loads(metadata[_KEY]), own)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged: it does not say what its run was made of") from None
    if found:
        raise ValueError(f"{path} is of another run: {'; '.join(found)}; give --resume another name, or the old "
                         "settings")  # fmt: skip


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint after every epoch that says what the run was made of."""

    def __init__(self, path, own):
        super().__init__(path)
        self._extra = {_KEY: json.dumps(own)}

    def _write(self, name):
        from fastnn.training.checkpoint import save

        save(self.trainer, name, self._extra)
