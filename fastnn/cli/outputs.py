"""Names of the files to be written, checked before any work is done."""

import os

from fastnn.io.model_file import is_fastnn_file

SUFFIX = ".safetensors"


def check_writable(path):
    """Raise the OSError that writing `path` would meet, as far as that can be known before."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: the folder {folder} is read-only")


def _stem(data):
    """digits, houses for houses.csv.gz, fashion-mnist for a folder."""
    name = os.path.basename(os.path.normpath(data)).split(".")[0]
    return name if name not in ("", "-") else "model"


def picture_of(model_path):
    """Name of the picture that belongs to a model file."""
    base, suffix = os.path.splitext(model_path)
    return (base if suffix else model_path) + ".png"


def model_path(asked, data, force):
    """Where the model shall go.

    Parameters
    ----------
    asked : str or None
        What --output says. None: a name made from `data` in the current folder; unless `force`, one that is not taken.
    data : str
    force : bool
        Replace an existing model file.

    Raises
    ------
    ValueError
        If the name is taken. A file that is not fastnn's is never replaced.
    OSError
        If the folder is missing or read-only.
    """
    path = asked or _stem(data) + SUFFIX
    number = 2
    while asked is None and not force and (os.path.exists(path) or os.path.exists(picture_of(path))):
        path = f"{_stem(data)}-{number}{SUFFIX}"
        number += 1
    check_writable(path)
    if os.path.exists(path):
        if not is_fastnn_file(path):
            raise ValueError(f"{path} exists and is not a fastnn model file; choose another name")
        if not force:
            raise ValueError(f"{path} exists; --force replaces it, or -o gives another name")
    return path


def text_path(asked, force, inputs):
    """Where predictions shall go; ValueError if the file is there already or is one of the inputs."""
    check_writable(asked)
    if os.path.exists(asked):
        if any(name and os.path.exists(name) and os.path.samefile(asked, name) for name in inputs):
            raise ValueError(f"{asked} is an input of this command; choose another name")
        if not force:
            raise ValueError(f"{asked} exists; --force replaces it, or -o gives another name")
    return asked
