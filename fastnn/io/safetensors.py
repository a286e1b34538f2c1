"""Reading and writing safetensors, the format that PyTorch, JAX and others share.

Layout (huggingface/safetensors, format description): 8 bytes with the length of the header, little-endian; the header,
a JSON object name -> {dtype, shape, data_offsets} with an optional ``__metadata__`` object of texts; the values.

Writing is done here, because the package writes ``__metadata__`` in random order and the same model would give a new
file each time. Reading goes through the package's parser, which has been fuzzed, after the checks it leaves out.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.data.files import check_is_file
from fastnn.io.atomic import write_atomic

NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}
TYPES = {code: np.dtype(name).newbyteorder("<") for name, code in NAMES.items()}

# The limit of the safetensors package; a larger number is a damaged length, not a header.
MAX_HEADER = 100_000_000

METADATA = "__metadata__"


def to_bytes(tensors: Mapping[str, Any], metadata: dict[str, str] | None = None) -> Any:
    """A safetensors file as a list of bytes-like pieces: length and header first, then one piece for each array.

    Parameters
    ----------
    tensors : dict of str to array
    metadata : dict of str to str, optional

    Raises
    ------
    TypeError
        If a name or text is not a str, or a type has no safetensors name.
    """
    header: dict[str, Any] = {}
    pieces: list[Any] = []
    if metadata is not None:
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"safetensors metadata must map texts to texts; {key!r} is {type(value).__name__}")
        header[METADATA] = dict(sorted(metadata.items()))
    arrays = {}
    for name, value in tensors.items():
        array = np.asarray(value)
        if not isinstance(name, str) or name == METADATA:
            raise TypeError(f"a tensor's name must be a str other than {METADATA!r}, not {name!r}")
        if array.dtype.name not in NAMES:
            raise TypeError(f"tensor {name!r} has type {array.dtype}, which safetensors does not know")
        arrays[name] = array
    offset = 0
    # Widest types first, as the package does it, so that every array is aligned in the file.
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = arrays[name]
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
        header[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + data.nbytes],
        }
        offset += data.nbytes
        pieces.append(data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the header would take {len(text):,} bytes; safetensors allows {MAX_HEADER:,}")
    return [len(text).to_bytes(8, "little") + text, *pieces]


def save_safetensors(
    tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Write arrays to a safetensors file.

    Parameters
    ----------
    tensors : dict of str to array
        For example a ``state_dict()``. The same contents give the same bytes.
    path : str or path-like
        Replaced in one step; see `fastnn.io.write_atomic`.
    metadata : dict of str to str, optional

    Raises
    ------
    TypeError
        If a name is not a text, or an array's type has no safetensors name.
    OSError
        If the file cannot be written; the old one is then unchanged.
    """
    write_atomic(path, *to_bytes(tensors, metadata))


def _refuse_duplicates(pairs):
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name occurs twice in the header")
    return result


def _header_size(head, total, path):
    """Bytes of the header of a file of `total` bytes that begins so."""
    if total < 8:
        raise ValueError(f"{path} is not a safetensors file: it holds {total} bytes, fewer than a header's length")
    size = int.from_bytes(head[:8], "little")
    if size > MAX_HEADER or 8 + size > total or head[8:9] != b"{":
        raise ValueError(f"{path} is not a safetensors file, or is truncated (its header does not fit)")
    return size


def read_header(data: Any, path: str | os.PathLike[str]) -> Any:
    """Parse and check the header of a safetensors file held in `data`.

    Returns
    -------
    header : dict
        Name -> description, without the metadata.
    metadata : dict of str to str

    Raises
    ------
    ValueError
        In one line that starts with `path`.
    """
    size = _header_size(data[:9], len(data), path)
    try:
        header = json.loads(bytes(data[8 : 8 + size]).decode(), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(f"{path} is not a safetensors file: bad header ({_one_line(error)})") from None
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"{path} is not a safetensors file: its {METADATA} must map texts to texts")
    return header, metadata


def _one_line(error):
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _bfloat16(data):
    """float32 of the same values: bfloat16 is the upper half of float32."""
    return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


def from_bytes(data: Any, path: str | os.PathLike[str]) -> Any:
    """Arrays of a safetensors file held in `data`; ValueError (one line that starts with `path`) if it is not one."""
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        raise ImportError("reading model files needs the package safetensors: pip install safetensors") from None

    try:
        entries = deserialize(bytes(data))
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {_one_line(error)}") from None
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] == "BF16":
            array = _bfloat16(entry["data"])
        elif entry["dtype"] in TYPES:
            array = np.frombuffer(entry["data"], dtype=TYPES[entry["dtype"]])
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
        else:
            raise ValueError(f"{path}: tensor {name!r} has type {entry['dtype']}, which NumPy does not have")
        array = array.reshape(entry["shape"])
        # Older versions of the package hand out immutable bytes.
        tensors[name] = array if array.flags.writeable else array.copy()
    return tensors


def read_file(path: str | os.PathLike[str]) -> Any:
    """The bytes of a safetensors file, read as a whole only if it begins like one; OSError if it cannot be read."""
    with _open(path) as file:
        head, total = file.read(9), os.fstat(file.fileno()).st_size
        _header_size(head, total, path)
        return head + file.read(total - len(head))


def _open(path):
    check_is_file(path)
    return open(path, "rb")


def load_safetensors(path: str | os.PathLike[str], *, return_metadata: bool = False) -> Any:
    """Read a safetensors file.

    Parameters
    ----------
    path : str or path-like
    return_metadata : bool, default False
        Return ``(tensors, metadata)``.

    Returns
    -------
    dict of str to ndarray
        Arrays that own their memory, sorted by name; bfloat16 becomes float32. With metadata if asked for.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, names a tensor twice, or is a fastnn file whose SHA-256 does not fit.
    OSError
        If it cannot be read.
    """
    from fastnn.io.checksum import check

    path = os.fspath(path)
    data = read_file(path)
    _, metadata = read_header(data, path)
    check(data, metadata, path)
    tensors = from_bytes(data, path)
    tensors = {name: tensors[name] for name in sorted(tensors)}
    return (tensors, metadata) if return_metadata else tensors


def load_safetensors_metadata(path: str | os.PathLike[str]) -> Any:
    """The ``__metadata__`` of a safetensors file, a dict of texts, without reading the arrays."""
    path = os.fspath(path)
    with _open(path) as file:
        head = file.read(9)
        size = _header_size(head, os.fstat(file.fileno()).st_size, path)
        return read_header(head + file.read(size - 1), path)[1]
