"""Arrays that may lie in a file larger than the memory: X and y as NumPy maps them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn._common import checks
from cnn._common.images import Images, Takes, alike
from cnn.runtime.data import Data
from cnn.runtime.sparse import SparseRows, is_sparse
from cnn.streams.source import Form, Source, drawn


def is_mapped(given: Any) -> bool:
    """Whether an array's numbers stay in a file until somebody looks at them.

    >>> is_mapped(np.zeros(3))
    False
    """
    while isinstance(given, np.ndarray):
        if isinstance(given, np.memmap) or isinstance(given.base, mmap.mmap):
            return True
        given = given.base
    return False


def _sliceable(name: str, given: Any) -> Any:
    """An array as it is; sparse rows as CSR, and everything else as an array."""
    if isinstance(given, SparseRows):
        raise TypeError(f"{name} is rows that have been checked, which are in memory: leave stream out")
    if is_sparse(given):
        return given.tocsr()
    return given if isinstance(given, np.ndarray) else checks.array(name, given)


class Arrays(Source):
    """Rows begin .. end - 1 of X, y and perhaps weights, which are read a piece at a time, each in one go."""

    def __init__(
        self, X: Any, y: Any, weights: Any, form: Form, takes: Takes, begin: int = 0, end: int | None = None
    ) -> None:
        self.form = form
        given = ("X", X), ("y", y), ("sample_weight", weights)
        X, y, weights = (None if array is None else _sliceable(form.prefix + name, array) for name, array in given)
        self._arrays = X, y, weights
        if X is None or X.ndim < 2 or 0 in X.shape or y is None or not y.ndim or (
            X.ndim > 2 and not isinstance(takes, Images)
        ):
            form.data(X, y, weights, takes, "")  # raises
        rows = int(X.shape[0])
        for name, array in (("y", y), ("sample_weight", weights)):
            if array is not None:
                checks.same_rows(f"{form.prefix}{name}", len(array), rows)
        self._begin, self._end = begin, rows if end is None else end
        self.rows = self._end - self._begin
        self.takes = alike(X)  # for its size
        self._first = self._part(self._begin, takes)
        self.takes = alike(self._first.X)

    def share(self, begin: int, end: int) -> Arrays:
        """Some of the rows, which count from the first of these."""
        return Arrays(*self._arrays, self.form, self.takes, self._begin + begin, self._begin + end)

    def _part(self, begin: int, takes: Takes) -> Data:
        X, y, weights = (
            None if array is None else array[begin : min(begin + self.piece, self._end)] for array in self._arrays
        )
        return self.form.data(X, y, weights, takes, f" from row {begin:,} on")

    def first(self) -> Data:
        return self._first

    def description(self) -> str:
        digest = hashlib.sha256()
        for array in self._arrays:
            if array is not None:
                for begin in (self._begin, max(self._begin, self._end - self.piece)):
                    part = array[begin : min(begin + self.piece, self._end)]
                    digest.update(np.ascontiguousarray(part.toarray() if is_sparse(part) else part).tobytes())
        return f"{self.rows} rows of {self.n_inputs} inputs, first and last {digest.hexdigest()}"

    def read(self, epoch: int, order: np.random.Generator | None) -> Iterator[Data]:
        for begin in drawn(range(self._begin, self._end, self.piece), order):
            yield self._part(begin, self.takes)
