"""The native lists, read once: a new row in a .def file needs no Python."""

import functools

ACTIVATION, ELEMENTWISE, BINARY, LOSS = "activations", "elementwise", "binary", "losses"


@functools.cache
def _rows(which):
    from ... import _native

    rows = {}
    for row in _native.list_rows(which):
        row = dict(row)
        row.setdefault("params", ())
        row.setdefault("defaults", ())
        rows[row["name"]] = row
    return rows


def activations():
    """name -> row of activations.def."""
    return _rows(ACTIVATION)


def elementwise():
    """name -> row of elementwise.def."""
    return _rows(ELEMENTWISE)


def binaries():
    """name -> row of binary.def."""
    return _rows(BINARY)


def losses():
    """name -> row of losses.def."""
    return _rows(LOSS)
