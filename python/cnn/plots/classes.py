"""Pictures of probabilities: whether they come true, and how they tell classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn import metrics, uncertainty
from cnn.plots.canvas import ACCENT, HELD_OUT, TRAINING, bare, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
_MOST_CLASSES = 8  # that have a line of their own


def reliability(true: Any, probabilities: Any, labels: Sequence[Any] | None = None, bins: int = 15) -> Figure:
    """How often predictions of each probability came true, below it how many there are.

    On the diagonal probabilities are what they say. Lines are twice the standard error of the shares.

    Args:
        true: (n,) the numbers of the classes, 0 .. k - 1.
        probabilities: (n,) of the second of two classes, or (n, k): then of the most probable class.
        labels: names of the classes.
        bins: of equal width.

    >>> figure = reliability([0, 1, 1, 0], [0.1, 0.7, 0.9, 0.4], ["no", "yes"])
    >>> figure.axes[0].get_ylabel()
    'share that is yes'
    """
    found = uncertainty.reliability(true, probabilities, bins)
    one = np.ndim(probabilities) == 1
    figure = new_figure(5.2, 5.2)
    upper, lower = (bare(axes) for axes in figure.subplots(2, 1, sharex=True, height_ratios=[4, 1]))
    known = found.rows > 0
    x, y, n = found.predicted[known], found.true[known], found.rows[known]
    upper.plot([0, 1], [0, 1], color=HELD_OUT, lw=1.2, label="as predicted")
    upper.errorbar(x, y, 2 * np.sqrt(y * (1 - y) / n), fmt="o-", ms=5, lw=1.2, color=TRAINING, ecolor=ACCENT,
                   elinewidth=0.8, label="came true")  # fmt: skip
    what = plain(labels[1])[:24] if one and labels is not None else "1" if one else ""
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel=f"share that is {what}" if one else "share that came true")
    upper.set_title(f"expected calibration error {found.error:.3f}, {found.rows.sum():,} rows", fontsize=9)
    upper.legend(frameon=False, loc="upper left")
    edges = np.linspace(0, 1, len(found.rows) + 1)
    lower.bar(edges[:-1], found.rows, width=1 / len(found.rows), align="edge", color=TRAINING, ec="white", lw=0.5)
    lower.set(ylabel="rows", xlabel=f"predicted probability of {what}" if one else "probability of the predicted class")
    return figure


def roc(true: Any, probabilities: Any, labels: Sequence[Any] | None = None) -> Figure:
    """True positives over false ones, as the probability from which one says yes falls; each class against the rest.

    Args:
        true, probabilities, labels: see `reliability`; of many classes those with the most rows are drawn.

    >>> axes = roc([0, 1, 1, 0], [0.1, 0.7, 0.9, 0.4]).axes[0]
    >>> axes.get_legend().get_texts()[0].get_text()
    '1, area 1.000'
    """
    y, p = np.asarray(true), np.asarray(probabilities, np.float64)
    if len(y) != len(p) or not len(y):
        raise ValueError(f"as many classes as probabilities are needed, at least one; got {len(y)} and {len(p)}")
    columns = {1: p} if p.ndim == 1 else dict(enumerate(p.T))
    often = np.bincount(y.astype(np.int64), minlength=max(columns) + 1)
    drawn = sorted(sorted(columns, key=lambda k: -often[k])[:_MOST_CLASSES])
    figure = new_figure(5.2, 4.8)
    axes = bare(figure.add_subplot())
    for k in drawn:
        if not 0 < often[k] < len(y):
            continue
        false, hit = _steps(y == k, columns[k])
        area = metrics.roc_auc((y == k).astype(np.int64), columns[k])
        name = plain(labels[k])[:20] if labels is not None else str(k)
        axes.plot(false, hit, lw=1.6, label=f"{name}, area {area:.3f}", color=TRAINING if len(drawn) == 1 else None)
    axes.plot([0, 1], [0, 1], color="#999999", lw=0.9, ls="--")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positives, share of the other rows",
             ylabel="true positives, share of the class")  # fmt: skip
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure


def _steps(positive: Array, score: Array) -> tuple[Array, Array]:
    """(false, true positive rate) at each different score, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hit = np.cumsum(positive[order])[last]
    false = last + 1 - hit
    return np.append(0, false / false[-1]), np.append(0, hit / hit[-1])
