"""Which rows of each minibatch a rank has, and how they are cut into chunks: as by one process wherever it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

import cnn_core
from cnn.runtime.data import Array
from cnn.runtime.plan import Cut


@dataclass(frozen=True)
class Division:
    """The minibatches of an epoch, divided among ranks; `table` (steps,) are this rank's shares (`ShareSpec`)."""

    table: Array
    cut: Cut  # of this rank's share
    as_one: bool  # whether all minibatches are cut as by one process: then its bits come out


def divide(cut_of: Callable[[int], Cut], rank: int, counts: Sequence[int], batch: int, same: bool) -> Division:
    """Minibatches of `batch` rows, rank 0's first, of ranks that have so many rows; `cut_of` cuts so many rows.

    A minibatch is cut into groups of 16 rows, the groups are divided as evenly as that allows. Ranks that have rows of
    their own (not the `same`) and too few for that give as much to each minibatch as their share of the rows left.

    >>> import cnn
    >>> cut = cnn.Network([cnn.Dense(1)]).build(2).plan.cut
    >>> divide(cut, 1, [50, 50], 64, same=False).table[["begin", "rows", "above"]].tolist()
    [(0, 32, 32), (32, 18, 18)]
    >>> divide(cut, 1, [30, 70], 64, same=False).table[["begin", "rows", "above"]].tolist()
    [(0, 45, 19), (45, 25, 11)]
    """
    ranks, whole = len(counts), cut_of(batch)
    chunks = 1 if whole.wide else 1 << max(whole.parts // ranks, 1).bit_length() - 1  # of a rank, a power of two
    total = counts[0] if same else sum(counts)
    sizes = np.full(-(-total // batch), batch)
    sizes[-1] = total - batch * (len(sizes) - 1)
    even = np.array([_bounds(n, ranks, chunks) for n in (batch, sizes[-1])])
    bounds = even[np.r_[np.zeros(len(sizes) - 1, int), 1]]  # (steps, ranks + 1): where each rank's rows begin
    if not same:
        bounds = _of_own_rows(np.array(counts), sizes, bounds)
    first, end = bounds[:, rank], bounds[:, rank + 1]
    table = np.zeros(len(sizes), cnn_core.share_dtype)
    table["rows"], table["above"], table["all_rows"], table["weight"] = end - first, first, sizes, sizes
    table["begin"] = batch * np.arange(len(sizes)) + first if same else np.cumsum(end - first) - (end - first)
    fits = (bounds == even[np.r_[np.zeros(len(sizes) - 1, int), 1]]).all(axis=1)
    table["cut_rows"] = np.where(fits, sizes, end - first)
    table["first_chunk"] = np.where(fits, rank * chunks, 0)
    table["all_chunks"] = np.where(fits, ranks * chunks, chunks)
    cut = cut_of(max(1, int((end - first).max()))) if whole.wide else replace(whole, parts=chunks, feeds=chunks)
    as_one = bool(fits.all()) and ranks * chunks == whole.parts and (not whole.wide or ranks == 1)
    return Division(table, cut, as_one)


def _bounds(rows: int, ranks: int, chunks: int) -> list[int]:
    """Where each rank's rows of a minibatch begin, if every rank has as many chunks: `chunk_begin` of the core."""
    return [cnn_core.engine.first_of_chunk(rows, rank * chunks, ranks * chunks) for rank in range(ranks + 1)]


def _of_own_rows(counts: Array, sizes: Array, even: Array) -> Array:
    """(steps, ranks + 1): even shares while all have the rows for them, what is left in the last minibatch."""
    full = np.diff(even[0]) * (len(sizes) - 1)
    if (counts >= full).all():
        bounds = even.copy()
        bounds[-1] = np.cumsum([0, *(counts - full)])
        return bounds
    left, bounds = counts.copy(), np.zeros_like(even)
    for step, size in enumerate(sizes.tolist()):
        shares, over = np.divmod(size * left, left.sum())
        shares[np.argsort(-over, kind="stable")[: size - shares.sum()]] += 1  # the largest remainders
        bounds[step, 1:] = np.cumsum(shares)
        left -= shares
    return bounds
