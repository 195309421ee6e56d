"""The picture of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.plots.canvas import HELD_OUT, TRAINING, bare, by_logarithms, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]


def search(
    results: Mapping[str, Any], metric: str, settings: Mapping[str, bool | None], larger: bool = False
) -> Figure:
    """Scores of a search in the order of its trials, and over each setting; `larger` is better.

    Settings are numbers on a log scale (True) or a linear one (False), or choices (None). The better half of the scores
    that were given up sets the range of the axis; the others stand at its edge.

    Args:
        results: a list of each setting's score by the name of the metric, of "state", and of each setting.
        metric: the name of the score.
        settings: their names, and how each is drawn.
        larger: whether larger scores are better.

    >>> found = {"state": ["pruned", "complete"], "rmse": [2.0, 1.0], "rate": [0.1, 0.01]}
    >>> len(search(found, "rmse", {"rate": True}).axes)
    2
    """
    y = np.array([np.nan if v is None else v for v in results[metric]], np.float64)
    done, columns = np.array(results["state"]) == "complete", min(len(settings) + 1, 4)
    rows, trials = -(-(len(settings) + 1) // columns), np.arange(1.0, len(y) + 1)
    edge, best = _edge(y, done, larger), (np.nanargmax if larger else np.nanargmin)(np.where(done, y, np.nan))
    beyond = ~done & ((y < edge) if larger else (y > edge))
    figure = new_figure(4.0 * columns, 3.0 * rows)
    for i, name in enumerate(["", *settings]):
        axes = bare(figure.add_subplot(rows, columns, i + 1))
        x = trials if not name else _places(axes, results[name], settings[name])
        axes.plot(
            x[~done & ~beyond], y[~done & ~beyond], "o", ms=4, mfc="none", mec=TRAINING, alpha=0.6, label="given up"
        )
        if beyond.any():
            axes.plot(x[beyond], np.full(beyond.sum(), edge), "v" if larger else "^", ms=4, mfc="none", mec=TRAINING,
                      alpha=0.6, clip_on=False, label="given up, beyond the axis")  # fmt: skip
        axes.plot(x[done], y[done], "o", ms=5, color=TRAINING, label="trained to the end")
        axes.plot(x[best], y[best], "o", ms=8, mfc="none", mew=1.5, mec=HELD_OUT, label="best")
        if 0 < 20 * np.nanmin(y) < np.nanmax(y[~beyond], initial=0):
            by_logarithms(axes, "y")
        if beyond.any():
            axes.set_ylim(**{"bottom" if larger else "top": edge})
        axes.set(xlabel=plain(name) or "trial", ylabel="" if i % columns else plain(metric))
        if not name:
            so_far = (np.maximum if larger else np.minimum).accumulate(y[done])
            axes.step([*x[done], x[-1]], [*so_far, so_far[-1]], where="post", color=HELD_OUT, label="best so far")
            handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, ncols=len(labels), loc="outside upper center")
    return figure


def _edge(y: Array, done: Array, larger: bool) -> float:
    """The median of what was given up, or the worst that was trained to the end where that is worse."""
    given_up = y[~done & np.isfinite(y)]
    scores = [*y[done], *([np.median(given_up)] if len(given_up) else [])]
    return float(min(scores) if larger else max(scores))


def _places(axes: Any, values: Sequence[Any], log: bool | None) -> Array:
    """Places on the axis: of numbers, none of None; of choices, side by side, later trials further to the right."""
    if log is not None:
        if log:
            by_logarithms(axes, "x")
        return np.array([np.nan if v is None else v for v in values], np.float64)
    try:
        names = list(map(str, sorted(set(values), key=lambda v: (v is not None, v))))
    except TypeError:  # of several types
        names = sorted(set(map(str, values)))
    axes.set(xticks=range(len(names)), xticklabels=[plain(name)[:12] for name in names], xlim=(-0.5, len(names) - 0.5))
    return np.array([names.index(str(v)) for v in values], np.float64) + np.linspace(-0.25, 0.25, len(values))
