"""A matplotlib figure that shows itself in notebooks; imported when a plot is made, for matplotlib is an extra."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib.dates
from matplotlib import figure
from matplotlib.ticker import LogFormatter, ScalarFormatter


class Figure(figure.Figure):
    """matplotlib's, which notebooks show as a picture whether or not they have said `%matplotlib inline`.

    After that line matplotlib's own picture comes in the place of this one, not beside it.
    """

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()


class Separated(ScalarFormatter):
    """1,250,000 and 3,500 in place of 1.25, 0.0035 and a 1e6 at the end of the axis; a year stays 2025."""

    def __init__(self) -> None:
        super().__init__(useOffset=False)
        self.set_powerlimits((-4, 7))
        self.largest = 0.0

    def set_locs(self, locs: list[float]) -> None:
        super().set_locs(locs)
        self.largest = max(map(abs, locs), default=0.0)

    def __call__(self, x: float, pos: int | None = None) -> str:
        text: str = super().__call__(x, pos)
        if self.largest < 10_000:
            return text
        whole, point, decimals = text.partition(".")
        return re.sub(r"(?<=\d)(?=(\d{3})+$)", ",", whole) + point + decimals


class PlainLog(LogFormatter):
    """0.3 in place of 3 × 10⁻¹ on an axis of logarithms; small steps between powers of ten have no number."""

    def __init__(self) -> None:
        super().__init__(minor_thresholds=(1.5, 0.4))

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.3g}" if super().__call__(x, pos) else ""


def dates(axis: Any) -> None:
    """Makes it an axis of dates."""
    kinds: Any = matplotlib.dates
    locator = kinds.AutoDateLocator(minticks=3, maxticks=6)
    axis.set_major_locator(locator)
    axis.set_major_formatter(kinds.ConciseDateFormatter(locator))
