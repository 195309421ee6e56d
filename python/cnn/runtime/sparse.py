"""X given by its non-zeros: SciPy's sparse arrays and matrices, checked, as the engine reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnn_core
from cnn._common import checks, images
from cnn._common.images import Images, Takes

Array = np.ndarray[Any, Any]
_COLUMNS_MAX = 2**31 - 1
# Where leaving out zeros pays, by measurement (benchmarks/zeros.py; docs/design.md, section 4).
_COLUMNS_MIN, _SHARE_MAX = 96, 0.2
_UNITS_BASE, _UNITS_PER_SHARE = 16, 400.0
_PIECE = 2**24  # numbers that are looked at in one call into the core: some 10 ms, between which Ctrl-C is seen


@dataclass(frozen=True)
class SparseRows:
    """Rows (n, n_inputs) as CSR: numbers indptr[i] .. indptr[i + 1] - 1 of `indices` and `values` are those of row i.

    Columns stand in any order; one that stands in a row several times counts as the sum.
    """

    indptr: Array  # (n + 1,) int64
    indices: Array  # int32
    values: Array
    n_inputs: int
    stairs: Array | None = None  # see `cnn.runtime.compact`

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.n_inputs

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __getitem__(self, which: slice | Array) -> SparseRows:
        """Some of the rows: neighbours without copying, others copied."""
        if isinstance(which, slice):
            return SparseRows(*self.cut(which), self.n_inputs)
        return _rows("X", self.to_scipy()[which], self.dtype)

    def cut(self, which: slice) -> tuple[Array, Array, Array]:
        """(indptr, indices, values) of neighbours."""
        begin, end, _ = which.indices(len(self))
        return self.indptr[begin : max(begin, end) + 1], self.indices, self.values

    def astype(self, dtype: np.dtype[Any]) -> SparseRows:
        """The same rows in another type."""
        return _rows("X", self.to_scipy(), dtype)

    def parts(self) -> tuple[Array, Array, Array]:
        """(indptr from 0 on, indices, values) of these rows alone, not to be written to."""
        begin, end = self.indptr[0], self.indptr[-1]
        found = self.indptr - begin, self.indices[begin:end], self.values[begin:end]
        for array in found:
            array.flags.writeable = False
        return found

    def to_scipy(self) -> Any:
        """A `scipy.sparse.csr_array` that shares their numbers, and so can't be changed in place."""
        from scipy.sparse import csr_array

        indptr, indices, values = self.parts()
        return csr_array((values, indices, indptr), shape=self.shape)


def stacked(parts: Sequence[SparseRows]) -> SparseRows:
    """The rows of all parts, of one kind, one after another, copied."""
    indptr, indices, values = zip(*(part.parts() for part in parts), strict=True)
    begins = np.cumsum([0, *(len(own) for own in values)])
    ends = [own[1:] + begin for own, begin in zip(indptr, begins, strict=False)]
    rows = np.concatenate([np.zeros(1, np.int64), *ends])
    first = parts[0]
    return type(first)(rows, np.concatenate(indices), np.concatenate(values), first.n_inputs, first.stairs)


def without_zeros(X: Array | SparseRows, units: int) -> Array | SparseRows:
    """Dense X as the rows of its non-zeros, where a first layer of so many units is faster with them; else X itself.

    That depends on the shape of X and the number of its non-zeros alone, and the fit's bits are the same.
    """
    engine = cnn_core.engine
    if isinstance(X, SparseRows) or (share := largest_share(X.shape[1], units)) == 0:
        return X
    indptr, most = np.zeros(len(X) + 1, np.int64), int(share * X.size)
    step = max(1, _PIECE // X.shape[1])
    pieces = [slice(begin, min(begin + step, len(X))) for begin in range(0, len(X), step)]
    for rows in pieces:
        if not engine.count_nonzeros(X[rows], most, indptr[rows.start : rows.stop + 1]):
            return X
    indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], X.dtype)
    for rows in pieces:
        engine.take_nonzeros(X[rows], indptr[rows.start : rows.stop + 1], indices, values)
    return SparseRows(indptr, indices, values, X.shape[1])


def largest_share(n_inputs: int, units: int) -> float:
    """The share of non-zeros up to which a first layer of that size is faster with sparse rows."""
    if n_inputs < _COLUMNS_MIN:
        return 0.0
    return min(max((units - _UNITS_BASE) / _UNITS_PER_SHARE, 0.0), _SHARE_MAX)


def is_sparse(X: Any) -> bool:
    """Whether X is one of SciPy's sparse arrays or matrices, or rows of them that have been checked."""
    return type(X) is not np.ndarray and (isinstance(X, SparseRows) or hasattr(X, "tocsr"))


def features(name: str, X: Any, dtype: np.dtype[Any], takes: Takes, *, look_for_nan: bool = True) -> Array | SparseRows:
    """X (n, n_inputs), dense or sparse, or images, in the network's type; not copied where the engine can read it.

    `look_for_nan`: dense X is searched for numbers that are not finite, as sparse X always is.

    Raises:
        TypeError, ValueError: wrong types or shapes, numbers that are not finite, positions that are not there.
    """
    if not is_sparse(X):
        if isinstance(takes, Images):
            return images.features(name, X, dtype, takes, look_for_nan=look_for_nan)
        return checks.features(name, X, dtype, takes, look_for_nan=look_for_nan)
    n_inputs = takes.n_inputs if isinstance(takes, Images) else takes
    if len(shape := tuple(X.shape)) != 2:
        raise ValueError(f"{name} must have two dimensions (rows, inputs), got shape {shape}")
    if not 0 < shape[1] <= _COLUMNS_MAX:
        raise ValueError(f"{name} must have from 1 to {_COLUMNS_MAX} columns, got shape {shape}")
    if n_inputs is not None and shape[1] != n_inputs:
        raise ValueError(f"{name} has {shape[1]} columns, but the network takes {n_inputs} inputs")
    if isinstance(X, SparseRows) and X.dtype == dtype:
        return X
    rows = X.astype(dtype) if isinstance(X, SparseRows) else _rows(name, X, dtype)
    _finite(name, rows)
    return rows


def _rows(name: str, X: Any, dtype: np.dtype[Any]) -> SparseRows:
    """Positions are copied before they are checked: whoever changes X later, the engine reads and writes what is there.

    That costs 4 bytes a number, and 8 a row.
    """
    check_positions(name, X)
    if getattr(X, "format", "") != "csr":
        X = X.tocsr()
    own = _Positions(X.shape, X.data, np.array(X.indptr, np.int64), np.array(X.indices, np.int32))
    check_positions(name, own)
    values = checks.numeric(name, own.data, dtype)
    return SparseRows(own.indptr, own.indices, values, X.shape[1])


@dataclass(frozen=True)
class _Positions:
    """CSR whose positions are our own."""

    shape: tuple[int, int]
    data: Any
    indptr: Array
    indices: Array

    format = "csr"


def check_positions(name: str, X: Any) -> None:
    """Refuses positions that are not there: SciPy does not always look, and they would be read, and written to."""
    if len(X.shape) != 2:
        return
    kind, (n, n_inputs) = getattr(X, "format", ""), X.shape
    if kind == "csr":
        _compressed(name, X, n, n_inputs, "column")
    elif kind == "csc":
        _compressed(name, X, n_inputs, n, "row")
    elif kind == "bsr":
        height, width = X.blocksize
        _compressed(name, X, n // height, n_inputs // width, "column of blocks")
    elif kind == "coo" and hasattr(X, "row"):
        for what, index, end in (("row", X.row, n), ("column", X.col, n_inputs)):
            if len(index) != len(X.data):
                raise ValueError(f"{name} has {len(X.data)} numbers, but {len(index)} {what}s for them")
            _inside(name, what, index, end)


def _compressed(name: str, X: Any, n: int, width: int, what: str) -> None:
    """The parts of n compressed rows (or columns), whose indices are below `width`."""
    indptr, indices = X.indptr, X.indices
    for part, array in (("indptr", indptr), ("indices", indices)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.ndim != 1:
            raise ValueError(f"{part} of {name} must be a one-dimensional array of integers")
    if len(indptr) != n + 1 or indptr[0] != 0:
        raise ValueError(f"indptr of {name} must be {n + 1} numbers from 0 on, got {len(indptr)} from {indptr[:1]} on")
    if len(down := np.flatnonzero(indptr[1:] < indptr[:-1])):
        raise ValueError(f"indptr of {name} must not fall, but does so at {down[0] + 1}")
    if indptr[-1] > min(len(indices), len(X.data)):
        raise ValueError(
            f"indptr of {name} ends at {indptr[-1]}, but there are {len(indices)} indices and {len(X.data)} numbers"
        )
    _inside(name, what, indices[: indptr[-1]], width)


def _inside(name: str, what: str, index: Any, end: int) -> None:
    if len(index) and (index.min() < 0 or index.max() >= end):
        wrong = index.min() if index.min() < 0 else index.max()
        raise ValueError(f"{name} has a number in {what} {wrong}, but its {what}s are 0 .. {end - 1}")


def _finite(name: str, rows: SparseRows) -> None:
    """Refuses NaN and infinity, and says where the first one is."""
    _, indices, values = rows.parts()
    try:
        checks.finite(name, values)
    except ValueError:
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
        raise ValueError(
            f"{name} holds {values[at]} at row {row}, column {indices[at]}; fill or drop such values first"
        ) from None
