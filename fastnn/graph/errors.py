"""Messages that lead the user to his own line."""

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def user_line():
    """`file:line` of the innermost caller outside the package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "line unknown"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def shapes_text(values):
    """`(rows, 784), (256, 784)`: the shapes of tensors, arrays and parameters in a message."""
    return ", ".join(shape_text(v.shape) for v in values if hasattr(v, "shape"))


def shape_text(shape):
    """A shape as Python prints a tuple, with `rows` for the symbol."""
    inner = ", ".join(str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
