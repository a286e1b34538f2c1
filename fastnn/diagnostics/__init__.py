"""Diagnostics: what trainers and networks do, measured and judged. Reads trainers, and leaves them as they were.

Names are imported on first use.
"""

from .._lazy import attach

_NAMES = {
    "lr_find": "lr_finder",
    "RangeTest": "lr_finder",
    "judge_rate": "lr_diagnosis",
    "guessing_loss": "lr_diagnosis",
    "diagnose": "diagnosis",
    "Diagnosis": "diagnosis",
    "bias_variance": "bias_variance",
    "BiasVariance": "bias_variance",
    "health": "layer_health",
    "Health": "layer_health",
    "HealthMonitor": "health_monitor",
    "HealthWarning": "health_monitor",
    "unit_statistics": "units",
    "curvature": "curvature",
    "Curvature": "curvature",
    "gradcheck": "gradcheck",
    "profile": "profile",
    "learning_curve": "learning_curve",
    "LearningCurve": "learning_curve",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
