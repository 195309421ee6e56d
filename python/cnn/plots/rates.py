"""The picture of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn._common import checks
from cnn.plots.canvas import ACCENT, HELD_OUT, TRAINING, bare, by_logarithms, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_rates(
    rates: Sequence[float] | np.ndarray[Any, Any], losses: Any, smoothed: Any = None, suggestion: float | None = None
) -> Figure:
    """The loss of each step over its learning rate, on a logarithmic axis, with the rate that is suggested.

    Args:
        rates: (n,) > 0, ascending.
        losses: (n,); the axis ends half as far above where they begin as their lowest lies below it.
        smoothed: (n,) the same without noise, or None.
        suggestion: the rate that is marked, or None.

    Raises:
        ValueError: arrays of different lengths, none at all, a number that is not finite.

    >>> len(learning_rates([0.01, 0.1, 1.0], [2.0, 1.0, 3.0], suggestion=0.1).axes)
    1
    """
    x, y = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    line = y if smoothed is None else np.asarray(smoothed, np.float64)
    if x.ndim != 1 or not len(x) or not x.shape == y.shape == line.shape:
        raise ValueError(f"a loss for each rate is needed, at least one; got {x.shape}, {y.shape} and {line.shape}")
    for name, array in (("rates", x), ("losses", y), ("smoothed", line)):
        checks.finite(name, array)
    figure = new_figure(5.5, 3.8)
    axes = bare(figure.add_subplot())
    by_logarithms(axes, "x")
    if smoothed is not None:
        axes.plot(x, y, color=TRAINING, lw=0.8, alpha=0.35, label="loss of a step")
    axes.plot(x, line, color=TRAINING, lw=1.8, label="loss of a step" if smoothed is None else "smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=HELD_OUT, lw=1.2, ls="--", label=f"suggested: {suggestion:.2g}")
    low, first = float(line.min()), float(line[: line.argmin() + 1].max())
    if first > low:
        axes.set_ylim(low - 0.1 * (first - low), first + 0.5 * (first - low))
    axes.set(xlabel="learning rate", ylabel="loss")
    axes.legend(frameon=False, labelcolor=ACCENT)
    return figure
