"""The picture of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.plots.canvas import HELD_OUT, TRAINING, bare, by_logarithms, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]


def search(results: Mapping[str, Any], metric: str, settings: Mapping[str, bool], larger: bool = False) -> Figure:
    """Scores of a search in the order of its trials, and over each setting (by logarithms or not); `larger` is better.

    >>> found = {"state": ["pruned", "complete"], "rmse": [2.0, 1.0], "rate": [0.1, 0.01]}
    >>> len(search(found, "rmse", {"rate": True}).axes)
    2
    """
    y = np.array([np.nan if v is None else v for v in results[metric]], np.float64)
    done, columns = np.array(results["state"]) == "complete", min(len(settings) + 1, 4)
    rows = -(-(len(settings) + 1) // columns)
    figure = new_figure(4.0 * columns, 3.0 * rows)
    for i, name in enumerate(["", *settings]):
        axes = bare(figure.add_subplot(rows, columns, i + 1))
        x = np.arange(1.0, len(y) + 1) if not name else _numbers(axes, results[name], settings[name])
        axes.plot(x[~done], y[~done], "o", ms=4, mfc="none", mec=TRAINING, alpha=0.6, label="given up")
        axes.plot(x[done], y[done], "o", ms=5, color=TRAINING, label="to the end")
        if not name:
            best = (np.maximum if larger else np.minimum).accumulate(y[done])
            axes.step(x[done], best, where="post", color=HELD_OUT, label="best so far")
            axes.legend(frameon=False, fontsize=8)
        if 0 < 20 * np.nanmin(y) < np.nanmax(y):
            by_logarithms(axes, "y")
        axes.set(xlabel=plain(name) or "trial", ylabel="" if i % columns else plain(metric))
    return figure


def _numbers(axes: Any, values: Sequence[Any], log: bool) -> Array:
    """Places of a setting's values on the axis; texts side by side."""
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        if log:
            by_logarithms(axes, "x")
        return np.asarray(values, np.float64)
    names = sorted({str(v) for v in values})
    axes.set(xticks=range(len(names)), xticklabels=[plain(name)[:12] for name in names], xlim=(-0.5, len(names) - 0.5))
    return np.array([names.index(str(v)) for v in values], np.float64)
