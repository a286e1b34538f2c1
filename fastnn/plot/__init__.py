"""Pictures, in scikit-learn's Display style. matplotlib is imported only when something is drawn."""

from .._lazy import attach

_NAMES = {
    "HistoryDisplay": "history",
    "ScheduleDisplay": "schedule",
    "SignalDisplay": "signal",
    "ConfusionMatrixDisplay": "confusion_matrix",
    "HistogramDisplay": "histogram",
    "SearchDisplay": "search",
    "BaggingDisplay": "bagging",
    "RangeTestDisplay": "range_test",
    "LearningCurveDisplay": "learning_curve",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
