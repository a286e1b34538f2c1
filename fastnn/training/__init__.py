"""Training: Trainer, callbacks, history. Names are imported on first use."""

from .._lazy import attach

_NAMES = {
    "Trainer": "trainer",
    "History": "history",
    "Callback": "callbacks",
    "EarlyStopping": "callbacks",
    "LambdaCallback": "callbacks",
    "TerminateOnNaN": "callbacks",
    "ModelCheckpoint": "callbacks",
    "ReduceLROnPlateau": "callbacks",
    "CSVLogger": "callbacks",
    "StepHistory": "callbacks",
    "Curriculum": "feed.curriculum",
    "Feed": "feed.options",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
