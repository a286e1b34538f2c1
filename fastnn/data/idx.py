"""IDX, the file format of MNIST and Fashion-MNIST.

Layout (LeCun, Cortes, Burges; the MNIST page): two zero bytes, one byte that codes the type, one byte with the number
of dimensions, each dimension as a big-endian 32-bit integer, then the values in C order, big-endian.
"""

import os

import numpy as np

from fastnn.data.files import check_is_file, is_gzip, open_binary, read_at_most

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# The usual names, and the spelling with a dot that some archives carry.
FOLDER_NAMES = {
    "train images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}


def _read_header(file, path):
    head = read_at_most(file, 4)
    if len(head) < 4 or head[0] or head[1] or head[2] not in TYPES or head[3] == 0:
        raise ValueError(f"{path} is not an IDX file (it does not start with 0, 0, a type code and a number of axes)")
    axes = head[3]
    sizes = read_at_most(file, 4 * axes)
    if len(sizes) < 4 * axes:
        raise ValueError(f"{path} is truncated: the file ends inside its IDX header")
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(axes))
    return np.dtype(TYPES[head[2]]), shape


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read one IDX file, plain or gzip.

    Parameters
    ----------
    path : str or path-like
        For example ``train-images-idx3-ubyte.gz``. gzip is recognised by content.

    Returns
    -------
    ndarray
        Shape and type as the header says, in native byte order: ``(60000, 28, 28)`` uint8 for MNIST's images.

    Raises
    ------
    ValueError
        If the file is not IDX, is truncated, or has bytes after its data.
    OSError
        If there is no such file.
    """
    with open_binary(path) as file:
        dtype, shape = _read_header(file, path)
        count = 1
        for size in shape:  # Python integers: the product cannot wrap
            count *= size
        wanted = count * dtype.itemsize
        if not is_gzip(path):
            held = os.path.getsize(path) - file.tell()
            if held < wanted:
                raise _truncated(path, shape, held, wanted)
        data = read_at_most(file, wanted)
        if len(data) < wanted:
            raise _truncated(path, shape, len(data), wanted)
        if read_at_most(file, 1):
            raise ValueError(f"{path}: there are bytes after the {wanted:,} that its header announces {shape}")
    if len(shape) > 64:
        raise ValueError(f"{path}: {len(shape)} axes are more than the 64 that NumPy can hold")
    values = np.frombuffer(data, dtype=dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def _truncated(path, shape, held, wanted):
    return ValueError(
        f"{path} is truncated: its header announces {shape}, {wanted:,} bytes of data, but it holds {held:,}"
    )


def _find(folder, part):
    for name in FOLDER_NAMES[part]:
        for candidate in (name, name + ".gz"):
            path = os.path.join(folder, candidate)
            if os.path.isfile(path):
                return path
    name = FOLDER_NAMES[part][0]
    raise FileNotFoundError(f"there is no {name} or {name}.gz in {folder}")


def _read_pair(folder, part):
    image_path, label_path = _find(folder, part + " images"), _find(folder, part + " labels")
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim < 2:
        raise ValueError(f"{image_path} has {images.ndim} axis; images need at least 2 (rows, pixels)")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{label_path} must hold one integer per image; it has {labels.dtype} of shape {labels.shape}")
    if len(images) != len(labels):
        raise ValueError(f"{image_path} has {len(images):,} images but {label_path} has {len(labels):,} labels")
    if len(images) == 0:
        raise ValueError(f"{image_path} holds no images")
    return images.reshape(len(images), -1), labels.astype(np.int64)


def read_idx_folder(folder: str | os.PathLike, parts: tuple[str, ...] = ("train", "test")) -> tuple:
    """Read a data set kept under MNIST's usual file names, each plain or ``.gz``.

    Parameters
    ----------
    folder : str or path-like
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``.
    parts : tuple of "train" and "test", default both
        What to read.

    Returns
    -------
    tuple of (images, labels), one pair for each part
        Images of shape (rows, pixels) in the file's type, labels int64 of shape (rows,).
    """
    if not os.path.isdir(folder):
        check_is_file(folder)
        raise NotADirectoryError(f"{folder} is a file; a folder with the four IDX files is needed")
    return tuple(_read_pair(folder, part) for part in parts)
