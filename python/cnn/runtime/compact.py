"""Rows given compactly: columns that the dense form has as staircases or one-hot, by one number or one code a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.runtime.sparse import Array, SparseRows

HIGHEST = 4096  # inputs of a staircase (cnn_core/stairs.pxd)


@dataclass(frozen=True)
class Layout:
    """Where the columns of compact rows stand among the inputs of the dense form; inputs of no column are 0.

    `plain` has the input of each ordinary column, `stairs` and `one_hot` the first input of each such column and the
    one behind its last.
    """

    n_inputs: int
    plain: tuple[int, ...] = ()
    stairs: tuple[tuple[int, int], ...] = ()
    one_hot: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """ValueError: ranges that are empty, too high, beyond the inputs, or that share some."""
        ranges = [*((at, at + 1) for at in self.plain), *self.stairs, *self.one_hot]
        taken = np.zeros(self.n_inputs, bool)
        for begin, end in ranges:
            if not 0 <= begin < end <= self.n_inputs:
                raise ValueError(f"inputs {begin} .. {end - 1} of a column are not among 0 .. {self.n_inputs - 1}")
            if taken[begin:end].any():
                raise ValueError(f"inputs {begin} .. {end - 1} of a column belong to another one, too")
            taken[begin:end] = True
        for begin, end in self.stairs:
            if end - begin > HIGHEST:
                raise ValueError(f"a staircase has at most {HIGHEST} inputs, got {end - begin}")


@dataclass(frozen=True)
class CompactRows(SparseRows):
    """Rows (n, n_inputs) of the dense form, where a staircase is one number of a row, and so is a one-hot column.

    `stairs` (s, 2) int32 has the first input of each staircase, ascending, and the one behind its last. The first s
    numbers of a row are theirs: where z stands at input j, the dense form has 1 at the inputs below j, z at j, and 0
    above.
    """

    def __getitem__(self, which: slice | Array) -> CompactRows:
        """Some of the rows: neighbours without copying, others copied."""
        if isinstance(which, slice):
            return self._with(*self.cut(which))
        begins, counts = self.indptr[:-1][which], np.diff(self.indptr)[which]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        at = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], counts)
        return self._with(indptr, self.indices[at], self.values[at])

    def _with(self, indptr: Array, indices: Array, values: Array) -> CompactRows:
        return CompactRows(indptr, indices, values, self.n_inputs, self.stairs)

    def astype(self, dtype: np.dtype[Any]) -> CompactRows:
        """The same rows in another type."""
        return self._with(self.indptr, self.indices, checks.numeric("X", self.values, dtype))

    def to_scipy(self) -> Any:
        """The dense form as a `scipy.sparse.csr_array`, with every 1 of the staircases."""
        from scipy.sparse import csr_array

        assert self.stairs is not None
        indptr, indices, values = self.parts()
        first = indptr[:-1, None] + np.arange(len(self.stairs))  # where the numbers of staircases stand
        inputs = np.ones(len(indices), np.int64)  # of which each number tells
        inputs[first] += indices[first] - self.stairs[:, 0]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(inputs)])
        columns = np.arange(ends[-1]) + np.repeat(indices - ends[1:] + 1, inputs)
        numbers = np.ones(len(columns), values.dtype)
        numbers[ends[1:] - 1] = values
        return csr_array((numbers, columns, ends[indptr]), shape=self.shape)


def compact(
    layout: Layout, dtype: Any, *, plain: Any = None, bins: Any = None, heights: Any = None, codes: Any = None,
    ones: Sequence[float] | None = None,
) -> SparseRows:  # fmt: skip
    """The rows of that layout from `plain` numbers (n, p), and `bins` and `heights` (n, s) of staircases.

    A bin is the input of a staircase, from 0 on, at which the height stands. `codes` (n, c) are the inputs of one-hot
    columns, from 0 on, or -1 where all are 0. What the layout has none of may be None. `ones` (c,) are the numbers that
    one-hot columns have in the place of 1.

    Raises:
        TypeError, ValueError: types or shapes that are not these, numbers that are not finite, bins and codes that
            their columns don't have.

    >>> import numpy as np
    >>> layout = Layout(6, plain=(0,), stairs=((1, 4),), one_hot=((4, 6),))
    >>> X = compact(layout, np.float32, plain=[[0.5]], bins=[[1]], heights=[[0.25]], codes=[[1]])
    >>> X.to_scipy().toarray()
    array([[0.5 , 1.  , 0.25, 0.  , 0.  , 1.  ]], dtype=float32)
    """
    given = {"plain": plain, "bins": bins, "heights": heights, "codes": codes}
    widths = {name: len(layout.stairs) for name in ("bins", "heights")}
    widths |= {"plain": len(layout.plain), "codes": len(layout.one_hot)}
    rows = {name: len(array) for name, array in given.items() if array is not None}
    if len(set(rows.values())) != 1:
        raise ValueError(f"all parts of compact rows must have as many rows, got {rows}")
    n = next(iter(rows.values()))
    parts = {name: _part(name, array, (n, widths[name]), dtype) for name, array in given.items()}
    order = sorted(range(len(layout.stairs)), key=layout.stairs.__getitem__)
    begins, ends = np.array(layout.stairs, np.int32).reshape(-1, 2)[order].T
    bins, heights = _inside("bins", parts["bins"], 0, ends - begins, order), parts["heights"][:, order]
    first, behind = np.array(layout.one_hot, np.int32).reshape(-1, 2).T
    codes = _inside("codes", parts["codes"], -1, behind - first, range(len(first)))
    indices = np.concatenate(
        [bins + begins, codes + first, np.broadcast_to(np.array(layout.plain, np.int32), parts["plain"].shape)], axis=1
    )
    hot = (codes >= 0) * np.asarray([1.0] * len(first) if ones is None else ones, dtype)
    values = np.concatenate([heights, hot, parts["plain"]], axis=1)
    kept = values != 0
    kept[:, : len(order)] = True
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept.sum(axis=1, dtype=np.int64))])
    arrays = indptr, indices[kept].astype(np.int32, copy=False), values[kept]
    if not order:
        return SparseRows(*arrays, layout.n_inputs)
    return CompactRows(*arrays, layout.n_inputs, np.stack([begins, ends], axis=1))


def scattered(parts: list[SparseRows], places: Array) -> SparseRows:
    """All rows of the parts, of one kind, copied: the i-th one goes to `places[i]`. Empties the list of parts."""
    like, n = parts[0], len(places)
    counts, begin = np.empty(n, np.int64), 0
    for part in parts:
        counts[places[begin : begin + len(part)]] = np.diff(part.indptr)
        begin += len(part)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], like.dtype)
    while parts:
        part = parts.pop()
        own, own_indices, own_values = part.parts()
        begin -= len(part)
        first = indptr[places[begin : begin + len(part)]] - own[:-1]
        at = np.arange(own[-1]) + np.repeat(first, np.diff(own))
        indices[at], values[at] = own_indices, own_values
    return type(like)(indptr, indices, values, like.n_inputs, like.stairs)


def _part(name: str, given: Any, shape: tuple[int, int], dtype: Any) -> Array:
    """(n, columns), integers for bins and codes and finite numbers of the type else."""
    integers = name in ("bins", "codes")
    if given is None and shape[1] == 0:
        return np.zeros(shape, np.int32 if integers else dtype)
    if given is None:
        raise ValueError(f"{name} must be of shape {shape}, got None")
    array = checks.array(name, given)
    if array.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, got {array.shape}")
    if not integers:
        array = checks.numeric(name, array, np.dtype(dtype))
        checks.finite(name, array)
    elif array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def _inside(name: str, given: Array, least: int, ends: Array, order: Sequence[int]) -> Array:
    """Columns of integers in that order, each from `least` to below its end, as int32."""
    given = given[:, order]
    if (wrong := (given < least) | (given >= ends)).any():
        row, column = np.argwhere(wrong)[0]
        what = f"{least} .. {ends[column] - 1}"
        raise ValueError(f"{name} must be {what} in column {order[column]}, got {given[row, column]} in row {row}")
    return given.astype(np.int32)
