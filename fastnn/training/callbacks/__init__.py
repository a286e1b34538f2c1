"""Callbacks: hooks around epochs and, only where asked for, around steps. Names are imported on first use."""

from ..._lazy import attach

_NAMES = {
    "Callback": "base",
    "LambdaCallback": "base",
    "TerminateOnNaN": "base",
    "EarlyStopping": "early_stopping",
    "ModelCheckpoint": "model_checkpoint",
    "ReduceLROnPlateau": "plateau",
    "CSVLogger": "csv_logger",
    "StepHistory": "step_history",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
