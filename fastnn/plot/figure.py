"""New figures, and what all pictures share."""

from __future__ import annotations

from typing import Any

TRAINING, VALIDATION, NEUTRAL = "#1f77b4", "#d1495b", "#6b7280"


def new_axes(columns: int = 1, rows: int = 1, *, width: float = 4.6, height: float = 3.6, **options: Any) -> list[Any]:
    """A new figure's axes as a list, row by row.

    Parameters
    ----------
    columns, rows : int
    width, height : float
        Of one panel, in inches.
    **options
        Of ``Figure.subplots``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("drawing needs matplotlib: pip install matplotlib") from None

    # Not pyplot: it would choose a window system and keep every figure alive.
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return list(figure.subplots(rows, columns, squeeze=False, **options).reshape(-1))


def tidy(axis: Any, grid: bool = True) -> None:
    """No frame above and at the right, and a faint grid."""
    if grid:
        axis.grid(alpha=0.25)
        axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def as_list(axes: Any, count: Any, what: str) -> list[Any]:
    """The caller's axes as a list of `count`; ValueError otherwise."""
    axes = list(axes.reshape(-1)) if hasattr(axes, "reshape") else list(axes) if hasattr(axes, "__iter__") else [axes]
    if len(axes) != count:
        raise ValueError(f"{what} needs {count} axes, not {len(axes)}")
    return axes
