"""Reading data, splitting it, scaling it and cutting it into batches.

Everything here works on NumPy arrays and needs nothing else of fastnn.
"""

_PUBLIC = {
    "load_digits": "digits",
    "read_idx": "idx",
    "read_idx_folder": "idx",
    "read_csv": "csv",
    "Table": "csv",
    "TableEncoder": "encoder",
    "StandardScale": "scale",
    "train_dev_test_split": "split",
    "split_indices": "split",
    "iterate_batches": "batches",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'fastnn.data' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("fastnn.data." + module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
