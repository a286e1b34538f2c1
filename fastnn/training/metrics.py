"""Metrics by name: functions of (target, output) over a whole part of the data, in double."""

import numpy as np


def accuracy(target, output):
    """Share of rows whose largest output is the target class (or, for one output, whose sign or side of 0.5 fits)."""
    target, output = np.asarray(target), np.asarray(output)
    if target.shape == output.shape and output.ndim == 2 and output.shape[1] > 1:
        target = target.argmax(axis=1)
    if output.ndim == 2 and output.shape[1] > 1:
        return float(np.mean(output.argmax(axis=1) == target.reshape(-1)))
    return float(np.mean((output.reshape(-1) > 0) == (target.reshape(-1) > 0.5)))


def _difference(target, output):
    output = np.asarray(output, dtype=np.float64)
    return output - np.asarray(target, dtype=np.float64).reshape(output.shape)


def mse(target, output):
    """Mean squared error."""
    return float(np.mean(_difference(target, output) ** 2))


def rmse(target, output):
    """Root of the mean squared error."""
    return float(np.sqrt(mse(target, output)))


def mae(target, output):
    """Mean absolute error."""
    return float(np.mean(np.abs(_difference(target, output))))


def r2(target, output):
    """1 - residual sum of squares / total sum of squares, averaged over outputs; 0 for a constant column missed."""
    difference = _difference(target, output).reshape(len(output), -1)
    target = np.asarray(target, dtype=np.float64).reshape(difference.shape)
    residual = (difference**2).sum(axis=0)
    total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
    scores = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), np.where(residual > 0, 0.0, 1.0))
    return float(scores.mean())


METRICS = {"accuracy": accuracy, "mse": mse, "rmse": rmse, "mae": mae, "r2": r2}


def resolve(metrics):
    """[(name, function)] of names and callables ``metric(target, output) -> float``."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    resolved = []
    for metric in metrics:
        if callable(metric):
            resolved.append((getattr(metric, "__name__", type(metric).__name__), metric))
        elif metric in METRICS:
            resolved.append((metric, METRICS[metric]))
        else:
            raise ValueError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}, or a callable (target, output)")
    return resolved
