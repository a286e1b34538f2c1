"""The digits set that is part of the package (57 KB): 1,797 grey images of 8x8 pixels in 10 classes.

Source: Alpaydin, E. and Kaynak, C. (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository
(test part), CC BY 4.0; see ``digits.LICENSE.txt`` beside the data file.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("digits.csv.gz")
ROWS, PIXELS = 1797, 64


def load_digits(dtype: Any = np.float32) -> Any:
    """Return the embedded handwritten digits.

    Parameters
    ----------
    dtype : data type, default float32
        Type of the pixels.

    Returns
    -------
    x : ndarray of shape (1797, 64)
        Pixels from 0 (paper) to 16 (ink), the rows of the 8x8 image one after the other.
    y : int64 ndarray of shape (1797,)
        The digit, 0 to 9.

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, CC BY 4.0.
    """
    text = gzip.decompress(FILE.read_bytes())
    cells = np.array(text.replace(b"\n", b",").rstrip(b",").split(b","), dtype="S2")
    table = cells.astype(np.int64).reshape(ROWS, PIXELS + 1)
    return table[:, :PIXELS].astype(dtype), table[:, PIXELS].copy()
