"""Finer inputs of a column of numbers: spikes at its frequent values, and a staircase at the edges of a tree.

Spikes: an input of 0 or 1 for each value that many rows have. Staircase (the piecewise linear encoding of Gorishniy et
al. 2022, arXiv:2203.05556, with target-aware bins): of edges b_0 < ... < b_K the inputs
z_i = clip((x - b_{i-1}) / (b_i - b_{i-1}), 0, 1), but the first goes down to -1 and the last up to 2. The edges are the
smallest and largest number and the thresholds of a least-squares regression tree of the target on this column alone,
grown best first.
"""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass

import numpy as np

from cnn.table.blocks import CLOSEST
from cnn.table.frames import Array

LEAVES, SPIKES = 96, 256  # of a column, at most
MOST_EDGES = 257  # whose bins have a number of 8 bits
_FEWEST = 8  # of a column, if any
_CUTS = 1 << 10  # places where a tree may split
_OFTEN = 10  # rows of a frequent value
_SAMPLE = 1 << 17  # rows that trees are grown on
_CLASSES = 32
_GAIN = 1e-9  # of the sum of squares, that a split must explain
NONE: Array = np.zeros(0)


@dataclass(frozen=True)
class Stairs:
    """Where the staircases of one column go, in short: the bin and the height of each row."""

    bins: Array
    z: Array


@dataclass(frozen=True)
class Finer:
    """Which finer inputs a column gets: so many spikes and leaves at most, grown on the targets `y` (n, d).

    Rows that any network holds out have NaN in y: no tree sees them.
    """

    y: Array
    spikes: int
    leaves: int
    embedded: bool = False  # whether a staircase becomes one input, its place on it, for an embedding

    def within(self, spikes: int, leaves: int) -> Finer:
        """With at most so many of a column; none where these are too few to be of use."""
        room = [most if most >= _FEWEST else 0 for most in (spikes, leaves)]
        return dataclasses.replace(self, spikes=min(self.spikes, room[0]), leaves=min(self.leaves, room[1]))

    def learn(self, x: Array) -> tuple[Array, Array]:
        """(spikes, edges) of the cells of the training rows, NaN where missing; of many rows from a sample."""
        there = np.flatnonzero(~np.isnan(x))
        if len(there) > _SAMPLE:
            there = there[np.random.default_rng(0).integers(0, len(there), _SAMPLE)]
        order = there[np.argsort(x[there], kind="stable")]
        cells = x[order]
        with np.errstate(over="ignore"):
            steps, span = np.diff(cells), np.ptp(cells)
        begins = np.flatnonzero(steps > CLOSEST) + 1  # of each different number but the first
        if len(begins) < 2:  # a line through two numbers tells all
            return NONE, NONE
        spikes = frequent(cells, begins, self.spikes) if self.spikes else NONE
        if not self.leaves or not np.isfinite(span):
            return spikes, NONE
        seen = ~np.isnan(self.y[order]).any(axis=1)
        cells, y = cells[seen], self.y[order[seen]]
        begins = np.flatnonzero(np.diff(cells) > CLOSEST) + 1
        return spikes, edges(cells, y, begins, self.leaves, fewest(len(cells))) if len(begins) > 1 else NONE


def targets(y: Array, classes: int) -> Array:
    """(n, d) what trees are grown on: numbers, 0 and 1 of two classes, or of each of the most frequent classes."""
    if classes <= 2:
        return y.astype(np.float64).reshape(len(y), -1)
    counts = np.bincount(y.astype(np.int64), minlength=classes)
    most = np.argsort(-counts, kind="stable")[:_CLASSES]
    found: Array = (y[:, None] == most).astype(np.float64)
    return found


def fewest(n: int) -> int:
    """The rows that each leaf of a tree on n rows has, at least."""
    return max(12, n // 1400)


def frequent(cells: Array, begins: Array, most: int) -> Array:
    """The values of sorted numbers that many rows have, if these are few values and at least half of the rows."""
    n = len(cells)
    starts = np.append(0, begins)
    counts = np.diff(np.append(starts, n))
    often = counts >= _OFTEN
    if not 0 < often.sum() <= most or 2 * counts[often].sum() < n:
        return NONE
    found: Array = cells[starts[often]]
    return found


def edges(cells: Array, y: Array, begins: Array, leaves: int, least: int) -> Array:
    """(K + 1,) edges of a tree with K leaves of at least so many rows each; none if it has one leaf."""
    n = len(cells)
    if len(begins) >= _CUTS:
        wanted = np.arange(1, _CUTS) * n // _CUTS
        begins = np.unique(begins[np.searchsorted(begins, wanted).clip(max=len(begins) - 1)])
    cuts = grown(y, np.concatenate([[0], begins, [n]]), leaves, least)
    thresholds = cells[cuts - 1] / 2 + cells[cuts] / 2
    found = np.concatenate([cells[:1], thresholds, cells[-1:]])
    apart = np.diff(found) > CLOSEST
    found = found[np.append(True, apart)]
    return found if len(found) > 2 else NONE


def grown(y: Array, at: Array, leaves: int, least: int) -> Array:
    """Where a tree splits rows (n, d) that are in order, ascending; it may only `at` places, the ends 0 and n included.

    The split next made is the one that explains most of the sum of squares: N_l N_r / N |mean_l - mean_r|².
    """
    y = y - y.mean(axis=0)
    sums = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(y, axis=0)])[at]
    enough = _GAIN * float((y * y).sum())
    heap: list[tuple[float, int, int, int]] = []

    def offer(a: int, b: int) -> None:
        low = int(np.searchsorted(at, at[a] + least))
        high = int(np.searchsorted(at, at[b] - least, "right"))
        if low >= high:
            return
        left, right = at[low:high] - at[a], at[b] - at[low:high]
        apart = (sums[low:high] - sums[a]) / left[:, None] - (sums[b] - sums[low:high]) / right[:, None]
        gains = left * right / (at[b] - at[a]) * (apart * apart).sum(axis=1)
        best = int(gains.argmax())
        if gains[best] > enough:
            heapq.heappush(heap, (-float(gains[best]), a, b, low + best))

    offer(0, len(at) - 1)
    cuts: list[int] = []
    while heap and len(cuts) < leaves - 1:
        _, a, b, cut = heapq.heappop(heap)
        cuts.append(cut)
        offer(a, cut)
        offer(cut, b)
    found: Array = at[np.sort(np.array(cuts, np.intp))]
    return found


def codes(x: Array, spikes: Array) -> Array:
    """(n,) the number of the spike that each x is at, -1 where at none."""
    at = np.searchsorted(spikes, x).clip(max=len(spikes) - 1)
    return np.where(spikes[at] == x, at, -1)


def stairs(x: Array, edges: Array) -> tuple[Array, Array]:
    """(bin j, z) of each x: the inputs of a staircase are 1 below j, z at j and 0 above, K in all.

    z is in [0, 1], but from -1 on in the first bin and up to 2 in the last.
    """
    bins = np.searchsorted(edges[1:-1], x, "right")
    with np.errstate(over="ignore"):
        z = np.clip((x - edges[bins]) / (edges[bins + 1] - edges[bins]), -1.0, 2.0)
    return bins.astype(np.uint8), z.astype(np.float32)


def place(bins: Array, z: Array) -> Array:
    """(n,) how far up the stairs each row is: the sum of its inputs, from -1 to K + 1."""
    found: Array = bins + z
    return found


def write_codes(codes: Array, out: Array) -> None:
    """A 1 at the code of each row, 0 elsewhere."""
    out[...] = 0
    rows = np.flatnonzero(codes >= 0)
    out[rows, codes[rows]] = 1


def write_stairs(bins: Array, z: Array, out: Array) -> None:
    """The inputs (n, K) that `stairs` is short for."""
    k = out.shape[1]
    out[...] = np.tri(k, k, -1, dtype=np.float32)[bins]
    out[np.arange(len(z)), bins] = z
