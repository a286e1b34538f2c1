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
    "curvature": "hessian",
    "Curvature": "hessian",
    "Curriculum": "feed.curriculum",
    "Feed": "feed.options",
    "lr_find": "lr_finder",
    "RangeTest": "lr_finder",
    "HealthMonitor": "callbacks",
    "HealthWarning": "callbacks",
    "health": "layer_health",
    "Health": "layer_health",
    "unit_statistics": "units",
    "bias_variance": "bias",
    "BiasVariance": "bias",
    "diagnose": "diagnosis",
    "Diagnosis": "diagnosis",
    "judge_rate": "rate",
    "learning_curve": "size_curve",
    "LearningCurve": "size_curve",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
