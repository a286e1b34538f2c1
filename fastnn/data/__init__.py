"""Reading data, splitting it, scaling it and cutting it into batches.

Everything here works on NumPy arrays and needs nothing else of fastnn (`augment`: its kernels).
"""

from .._lazy import attach

_NAMES = {
    "load_digits": "digits",
    "read_idx": "idx",
    "read_idx_folder": "idx",
    "read_csv": "table",
    "read_table": "table",
    "Table": "table",
    "TableSchema": "schema",
    "ColumnSchema": "schema",
    "SchemaError": "infer",
    "open_dataset": "dataset",
    "stream_table": "dataset",
    "TableDataset": "dataset",
    "TableStream": "dataset",
    "StandardScale": "scale",
    "train_dev_test_split": "split",
    "split_indices": "split",
    "iterate_batches": "batches",
    "compare_parts": "distribution",
    "read_npy": "npy",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES, ("augment",))
