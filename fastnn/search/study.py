"""The trials of a search in one JSON file, replaced in one step after each trial, so that a search can go on later."""

import json
import math
import os
import zlib

import numpy as np

_KEY = "fastnn.study"
_VERSION = 1


def plain(value):
    """A value as JSON keeps it: numbers and texts as they are, tuples as lists, anything else by its repr."""
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return getattr(value, "__qualname__", None) or repr(value)


def described(value):
    """An option of a fit as a study keeps it: plain values as they are, arrays by shape and checksum."""
    if isinstance(value, dict):
        return {str(name): described(one) for name, one in value.items()}
    if not isinstance(value, (str, bytes)) and (hasattr(value, "__array__") or isinstance(value, (list, tuple))):
        array = np.ascontiguousarray(value)
        return [list(array.shape), zlib.crc32(repr(array.tolist()).encode())] if array.size > 100 else array.tolist()
    return value


def fingerprint(x, y):
    """Shape and checksum of a data set: of the whole target and of at most a thousand rows of the inputs."""
    if isinstance(x, (tuple, dict)):
        parts = list(x.values() if isinstance(x, dict) else x)
    else:
        parts = [x]
    crc = zlib.crc32(np.ascontiguousarray(y).view(np.uint8).reshape(-1).data) if y.dtype.kind != "O" else 0
    for part in parts:
        some = np.ascontiguousarray(part[:: max(1, len(part) // 1000)])
        crc = zlib.crc32(some.view(np.uint8).reshape(-1).data, crc) if some.dtype.kind != "O" else crc
    return [list(part.shape) for part in parts] + [crc]


def _difference(name, old, new):
    """What is not the same, in words."""
    if name != "data":
        return f"another {name}: {old}, not {new}"
    shapes = [" and ".join(" x ".join(map(str, shape)) for shape in data[:-1]) for data in (old or [[]], new)]
    if shapes[0] != shapes[1]:
        return f"other data: {shapes[0]} then, {shapes[1]} now"
    return f"other data: {shapes[1]} as now, but with other values"


class Study:
    """Trials by number, and the settings that they were made with.

    Parameters
    ----------
    path : str or path-like, optional
        File to read and write; None: in memory only.
    settings : dict
        What must be the same for trials to be comparable; plain values.
    """

    def __init__(self, path, settings):
        self.path = None if path is None else os.fspath(path)
        self.settings = plain(settings)
        self.trials = {}
        if self.path is not None and os.path.exists(self.path):
            self._read()

    def _read(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                content = json.load(file)
            version, settings, trials = content[_KEY], content["settings"], content["trials"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise ValueError(f"{self.path} is not a study of fastnn.search; choose another name") from None
        if version != _VERSION:
            raise ValueError(f"{self.path} is a study of version {version}; this fastnn reads {_VERSION}")
        for name, value in self.settings.items():
            if settings.get(name) != value:
                raise ValueError(
                    f"{self.path} was made with {_difference(name, settings.get(name), value)}; give the study another "
                    "name, or remove the file"
                )
        self.trials = {int(trial["number"]): trial for trial in trials}

    def get(self, number, params):
        """The trial of that number if it has been made, else None; ValueError if it was of other parameters."""
        trial = self.trials.get(number)
        if trial is not None and trial["params"] != plain(params):
            raise ValueError(f"{self.path}: trial {number} has the parameters {trial['params']}, not {plain(params)}; "
                             "give the study another name, or remove the file")  # fmt: skip
        return trial

    def add(self, trial):
        """Keep a trial, and write the file."""
        self.trials[trial["number"]] = plain(trial)
        self.save()

    def save(self):
        if self.path is None:
            return
        from ..io.atomic import write_atomic

        trials = [self.trials[number] for number in sorted(self.trials)]
        content = {_KEY: _VERSION, "settings": self.settings, "trials": trials}
        write_atomic(self.path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
