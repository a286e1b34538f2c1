"""Nested tuples, lists and dicts of arrays, as functions take and return them."""


def flatten(value):
    """(leaves, structure) of nested tuples, lists and dicts; anything else is a leaf."""
    leaves = []
    return leaves, _flatten(value, leaves)


def _flatten(value, leaves):
    if isinstance(value, (tuple, list)):
        return (type(value), [_flatten(item, leaves) for item in value])
    if isinstance(value, dict):
        return (dict, [(key, _flatten(item, leaves)) for key, item in value.items()])
    leaves.append(value)
    return None


def unflatten(structure, leaves):
    """The inverse of flatten; leaves is any iterable."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure, leaves):
    if structure is None:
        return next(leaves)
    kind, items = structure
    if kind is dict:
        return {key: _unflatten(item, leaves) for key, item in items}
    made = [_unflatten(item, leaves) for item in items]
    if kind is list:
        return made
    return kind(*made) if hasattr(kind, "_fields") else tuple(made)


def describe(structure):
    """A hashable form of a structure."""
    if structure is None:
        return None
    kind, items = structure
    if kind is dict:
        return (kind, tuple((key, describe(item)) for key, item in items))
    return (kind, tuple(describe(item) for item in items))
