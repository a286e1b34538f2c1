"""Pictures of a report that show single rows: the ROC curve of two classes, predicted against true numbers."""

import base64
import io

import numpy as np


def as_html(figure, title):
    """HTML of a figure, as a PNG inside the page."""
    import html

    data = io.BytesIO()
    figure.savefig(data, dpi=110, format="png")
    text = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{text}">'


def roc(truth, score):
    """Figure of the share of the second class that is found over the share of the first that is taken for it."""
    from fastnn.plot.figure import NEUTRAL, TRAINING, new_axes, tidy

    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # equal scores are one step
    found, false = np.cumsum(truth[order] == 1)[ends], np.cumsum(truth[order] == 0)[ends]
    (axis,) = new_axes()
    axis.plot([0, *(false / max(false[-1], 1))], [0, *(found / max(found[-1], 1))], color=TRAINING)
    axis.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle="--")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axis.set_aspect("equal")
    tidy(axis)
    return axis.figure


def predicted_against_true(truth, predicted, most=2000):
    """Figure of predictions over true numbers; of at most so many rows, evenly chosen."""
    from fastnn.plot.figure import NEUTRAL, TRAINING, new_axes, tidy

    step = -(-len(truth) // most)
    truth, predicted = truth[::step], predicted[::step]
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    (axis,) = new_axes()
    axis.scatter(truth, predicted, s=8, alpha=0.5, color=TRAINING, linewidths=0)
    axis.plot(ends, ends, color=NEUTRAL, linewidth=1, linestyle="--")
    axis.set(xlabel="true", ylabel="predicted")
    tidy(axis)
    return axis.figure
