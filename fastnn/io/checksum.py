"""SHA-256 inside a safetensors file: over every byte of it, with the digest's own 64 places taken as zeros."""

import hashlib
import os
import re
from typing import Any

KEY = "fastnn.sha256"
PREFIX = "fastnn."
BLANK = "0" * 64

_PATTERN = re.compile(rb'"fastnn\.sha256":"([0-9a-f]{64})"')


def _digest(pieces):
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def seal(pieces: Any) -> Any:
    """Put the digest into the pieces that `to_bytes` made with ``metadata[KEY] = BLANK``; return them."""
    head = pieces[0]
    places = list(_PATTERN.finditer(head))
    if len(places) != 1:
        raise ValueError(f"the metadata must hold {KEY!r} once, blank")
    start = places[0].start(1)
    text = _digest(pieces).encode()
    return [head[:start] + text + head[start + 64 :], *pieces[1:]]


def check(data: Any, metadata: dict[str, str], path: str | os.PathLike[str]) -> None:
    """Raise ValueError if a file of fastnn's is not the one that was written.

    A file without any ``fastnn.`` metadata comes from elsewhere and may lack a digest.

    Parameters
    ----------
    data : bytes
        The whole file.
    metadata : dict of str to str
    path : str
        For the message.
    """
    if not any(key.startswith(PREFIX) for key in metadata):
        return
    head_end = 8 + int.from_bytes(data[:8], "little")
    places = list(_PATTERN.finditer(data, 8, head_end))
    if KEY not in metadata or len(places) != 1 or places[0][1].decode() != metadata[KEY]:
        raise ValueError(f"{path} is damaged: a fastnn file must hold its SHA-256")
    start = places[0].start(1)
    view = memoryview(data)
    if _digest([view[:start], BLANK.encode(), view[start + 64 :]]) != metadata[KEY]:
        raise ValueError(f"{path} is damaged: its contents do not match its SHA-256")
