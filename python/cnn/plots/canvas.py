"""What every picture begins with: a figure, axes without a frame, numbers as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING, HELD_OUT, ACCENT = "#4477aa", "#ee6677", "#222222"  # told apart by colour-blind eyes, too


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    try:
        from cnn._common.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib (extra 'plot'): pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def plain(text: object) -> str:
    """Text that matplotlib does not take for a formula."""
    return str(text).replace("\\", "/").replace("$", r"\$")


def bare(axes: Any) -> Any:
    """The axes with a grid, and thousands apart."""
    from cnn._common.figure import Separated

    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(Separated())
    axes.xaxis.get_major_locator().set_params(nbins=4, min_n_ticks=3)  # numbers of ten places stand side by side
    axes.grid(alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    return axes


def by_logarithms(axes: Any, which: str) -> None:
    """Makes "x" or "y" an axis of logarithms."""
    from cnn._common.figure import PlainLog

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    for pick in (axis.set_major_formatter, axis.set_minor_formatter):
        pick(PlainLog())
