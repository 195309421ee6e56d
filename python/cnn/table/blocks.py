"""Columns of numbers, many at once: what training rows teach of them, and the inputs they become.

A block is (k, n): k columns of n cells, float64, NaN where missing. Thousands of columns of few rows cost a few calls
of NumPy then, not some for each. What is learnt and written has the same bits for a column alone and among others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.table import decimals, frames
from cnn.table.frames import Array

# Beyond 3 robust deviations a number counts less and less: an outlier can't become an input of 1,000.
SQUASH = 3.0
_NODES = 256
# Numbers no further apart count as the same: the slope from one to the other has to be a number.
CLOSEST = 1e-306
_SAMPLE = 1 << 17  # rows that quantiles are taken of
_READ, _WRITTEN = 1 << 20, 1 << 18  # cells of a block that is learnt from, and of one that is written


def is_plain(dtype: Any) -> bool:
    """Whether cells of that type are numbers or truth values as they are."""
    return dtype.kind in "biuf"


def is_text(dtype: Any) -> bool:
    """Whether cells of that type are text, or a mixture."""
    return dtype.kind not in "biufcmM" and not hasattr(dtype, "categories")


def read(frame: Any, places: Array) -> Iterator[tuple[slice, Array]]:
    """(which of these columns, their block, which nobody may write to), some columns at a time."""
    step = max(1, _READ // max(1, len(frame)))
    for begin in range(0, len(places), step):
        some = slice(begin, min(begin + step, len(places)))
        yield some, _cells(frame, places[some])


def read_pieces(
    frame: Any, places: Array, rows: Array | None, text: bool = False
) -> Iterator[tuple[slice, slice, Array]]:
    """(which of the rows, which of the columns, their block), of all rows or of these, which must ascend.

    Of columns of `text` the block is infinite where a cell is no number.
    """
    cells_of = _numbers if text else _cells
    for begin in range(0, len(frame), frames.PIECE):
        piece = frame.iloc[begin : begin + frames.PIECE]
        wanted: Any = slice(None)
        place = slice(begin, begin + len(piece))
        if rows is not None:
            place = slice(*np.searchsorted(rows, (place.start, place.stop)).tolist())
            wanted = rows[place] - begin
        n = place.stop - place.start
        step = max(1, _WRITTEN // max(1, n))
        for first in range(0, len(places) if n else 0, step):
            some = slice(first, min(first + step, len(places)))
            yield place, some, cells_of(piece, places[some])[:, wanted]


def _cells(frame: Any, places: Array) -> Array:
    some = frame.iloc[:, places]
    values: Array = some.to_numpy(np.float64, na_value=np.nan).T
    short = np.array([decimals.is_short(dtype) for dtype in some.dtypes], bool)
    if short.any():
        values = values.copy()
        values[short] = decimals.of(values[short])
    return values


def _numbers(frame: Any, places: Array) -> Array:
    texts = frame.iloc[:, places].to_numpy(object).T
    values, bad = frames.as_numbers(frames.pandas().Series(texts.reshape(-1), dtype=object))
    return np.where(bad, np.inf, values).reshape(texts.shape)


def known(values: Array) -> Array:
    """A block with NaN in place of infinite numbers."""
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


# Learning -------------------------------------------------------------------------------------------------------------


def learn(values: Array) -> Iterator[tuple[Array, Array, float, float, bool]]:
    """(nodes, heights, center, scale, gaps) of each column, of which one cell at least is not missing."""
    from scipy.special import ndtri

    gaps: Any = np.isnan(values).any(axis=1)
    if values.shape[1] > _SAMPLE:  # as good for 256 quantiles, and much less memory
        sample = values[:, np.random.default_rng(0).integers(0, values.shape[1], _SAMPLE)]
        values = sample if np.isfinite(np.fmin.reduce(sample, axis=1)).all() else values
    ordered = np.array(values, order="C")
    ordered.sort()  # what is missing comes last
    counts = values.shape[1] - np.isnan(ordered).sum(axis=1)
    quantiles = _nearest(ordered, counts)
    center, scale = _scale(ordered, counts)
    new: Array = np.ones(quantiles.shape, bool)
    with np.errstate(all="ignore"):
        new[:, 1:] = quantiles[:, 1:] - quantiles[:, :-1] > CLOSEST
    for i, n in enumerate(counts.tolist()):
        cells, nodes = ordered[i, :n], quantiles[i][new[i]]
        # Ranks of the quantiles; rows of the same number share one, the mean of theirs.
        below, upto = np.searchsorted(cells, nodes, "left"), np.searchsorted(cells, nodes, "right")
        heights = ndtri(np.clip((below + upto) / (2 * n), 1e-3, 1 - 1e-3))
        yield nodes, heights, float(center[i]), float(scale[i]), bool(gaps[i])


def _nearest(ordered: Array, counts: Array) -> Array:
    """(k, 256): quantiles, each the cell of the nearest rank."""
    places = np.floor(counts[:, None] * np.linspace(0, 1, _NODES) - 0.5).clip(0).astype(np.intp)
    return np.take_along_axis(ordered, places, axis=1)


def _scale(ordered: Array, counts: Array) -> tuple[Array, Array]:
    """(median, robust deviation) of each column."""
    with np.errstate(all="ignore"):
        places = (counts[:, None] - 1) * np.array([0.25, 0.5, 0.75])
        below = places.astype(np.intp)
        t = places - below
        above = np.minimum(below + 1, counts[:, None] - 1)
        # Half of them: 1e308 less -1e308 is no number.
        a, b = (np.take_along_axis(ordered, part, axis=1) / 2 for part in (below, above))
        low, center, high = 2 * np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t)).T
        scale = (high - low) / 1.349
        for i in np.flatnonzero(scale <= CLOSEST):
            scale[i] = float(ordered[i, : counts[i]].std()) or 1.0
    scale[~np.isfinite(scale)] = np.finfo(np.float64).max  # numbers up to 1e308 and down to -1e308
    return center, scale


# Writing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curves:
    """The polygons of k columns, and their centers and scales.

    Each column has as many places for nodes, a power of two; those that it does not need are infinite.
    """

    nodes: Array  # (k, places)
    heights: Array
    slopes: Array  # from each node to the next, 0 from the last of a column on
    last: Array  # (k, 1)
    center: Array
    scale: Array
    odd: Array  # (k,) whether the column has slopes or differences that are no numbers

    @staticmethod
    def of(nodes: Sequence[Array], heights: Sequence[Array], center: Sequence[float], scale: Sequence[float]) -> Curves:
        most = max(map(len, nodes), default=1)
        shape = len(nodes), 1 << (most - 1).bit_length()
        x, y, slopes, odd = np.full(shape, np.inf), np.zeros(shape), np.zeros(shape), np.zeros(shape[0], bool)
        for i, (some, their) in enumerate(zip(nodes, heights, strict=True)):
            n = len(some)
            x[i, :n], y[i, :n] = some, their
            with np.errstate(all="ignore"):
                widths = some[1:] - some[:-1]
                slopes[i, : n - 1] = (their[1:] - their[:-1]) / widths
            odd[i] = not (np.isfinite(widths).all() and np.isfinite(slopes[i]).all())
        last, center_of, scale_of = (
            np.array(part).reshape(-1, 1) for part in ([some[-1] for some in nodes], center, scale)
        )
        return Curves(x, y, slopes, last, center_of, scale_of, odd)

    def part(self, some: Array) -> Curves:
        """Of some of the columns."""
        return Curves(*(getattr(self, field.name)[some] for field in dataclasses.fields(self)))

    def inputs(self, x: Array) -> tuple[Array, Array, Array]:
        """(rank, value, missing) of a block; see `columns.Number`."""
        missing = np.isnan(x)
        x = np.where(missing, self.center, x)
        with np.errstate(all="ignore"):
            t = np.clip(x / self.scale - self.center / self.scale, -1e6, 1e6)
            value = t / np.sqrt(1 + (t / SQUASH) ** 2)
            rank = self._rank(x)
        return np.where(missing, 0.0, rank), value, missing

    def _rank(self, x: Array) -> Array:
        """Linear between the nodes, as np.interp has it, but by the same operations on every processor."""
        inside = np.clip(x, self.nodes[:, :1], self.last)
        at = self._search(inside)
        rank: Array = self.slopes.take(at) * (inside - self.nodes.take(at)) + self.heights.take(at)
        for i in np.flatnonzero(self.odd):
            n = np.isfinite(self.nodes[i]).sum()
            rank[i] = np.interp(x[i], self.nodes[i, :n], self.heights[i, :n])
        return rank

    def _search(self, x: Array) -> Array:
        """Where the last node is that is not above x; by halves, without a branch: half the time of np.searchsorted."""
        k, places = self.nodes.shape
        at = np.repeat(np.arange(0, k * places, places)[:, None], x.shape[1], axis=1)
        nodes, node, step = self.nodes.reshape(-1), np.empty(x.shape), np.empty(x.shape, np.intp)
        for power in reversed(range(places.bit_length() - 1)):
            np.take(nodes[1 << power :], at, out=node, mode="clip")  # "raise", the default, would make a copy
            np.multiply(node <= x, 1 << power, out=step)
            at += step
        return at
