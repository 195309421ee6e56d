"""Any iterable of (X, y) or (X, y, weights): lists, generators, loaders of other libraries."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from typing import Any

import numpy as np

from cnn._common.errors import StreamError
from cnn._common.images import Takes, alike, is_bytes
from cnn.runtime.data import Data
from cnn.streams.source import Form, Source

_PAIRS = (2, 3)


def is_batches(given: Any) -> bool:
    """Whether that is no table of numbers, but something that gives batches.

    >>> is_batches([[1, 2], [3, 4]]), is_batches([([[1, 2]], [3])]), is_batches(iter(()))
    (False, True, True)
    """
    tables = ("shape", "__array__", "__dataframe__", "tocsr")
    if isinstance(given, str | bytes | Mapping | Set) or any(hasattr(given, name) for name in tables):
        return False
    if not isinstance(given, list | tuple):
        return hasattr(given, "__iter__")
    return len(given) > 0 and isinstance(given[0], tuple | list) and len(given[0]) in _PAIRS and _has_rows(given[0][0])


def _has_rows(X: Any) -> bool:
    return not isinstance(X, str) and hasattr(X, "__len__")


class Batches(Source):
    """Batches as an iterable gives them, in its own order.

    The first one is looked at before the fit begins, and is then the first of its first epoch.
    """

    mixes = False

    def __init__(self, given: Iterable[Any], form: Form, takes: Takes) -> None:
        self.form, self._given = form, given
        iterator = iter(given)
        self.once = iterator is given
        self.batches = len(given) if isinstance(given, Sized) else None
        begin = next(iterator, None)
        if begin is None:
            raise StreamError(f"the stream of {form.prefix}batches is empty")
        self._first = self._taken(begin, 1, takes)
        self.takes = alike(self._first.X)
        self._begun: tuple[Any, Iterator[Any]] | None = (begin, iterator)
        self._weighted = self._first.weights is not None
        self.rows = None
        if isinstance(given, list | tuple):
            self.rows = sum(_length(_parts(batch, number)[0]) for number, batch in enumerate(given, 1))

    def first(self) -> Data:
        return self._first

    def description(self) -> str:
        return f"batches of {self.n_inputs} inputs"

    def read(self, epoch: int, order: np.random.Generator | None) -> Iterator[Data]:
        begin, iterator = ((), iter(self._given)) if self._begun is None else ((self._begun[0],), self._begun[1])
        self._begun, number = None, 0
        try:
            for number, batch in enumerate(itertools.chain(begin, iterator), 1):
                if number == (self.batches or 0) + 1 and self.batches is not None:
                    raise StreamError(f"the stream goes on after the {self.batches} batches that it is to have")
                rows = self._taken(batch, number, self.takes)
                self._alike(rows, len(batch) > 2 and batch[2] is not None, number)
                if len(rows):
                    yield rows
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        if number < (self.batches or 1):
            expected = "it had some before" if self.batches is None else f"it is to have {self.batches}"
            raise StreamError(f"the stream ended early, with {number} batches in epoch {epoch + 1}: {expected}")

    def _taken(self, batch: Any, number: int, takes: Takes) -> Data:
        parts = map(_plain, _parts(batch, number))
        X, y, *weights = parts if isinstance(self._given, list | tuple) else map(_kept, parts)
        return self.form.data(X, y, weights[0] if weights else None, takes, f" of batch {number}")

    def _alike(self, rows: Data, weighted: bool, number: int) -> None:
        """Refuses what can't stand in one block with the first batch."""
        for what, here, there in (
            ("weights", weighted, self._weighted),
            ("classes", rows.classes is not None, self._first.classes is not None),
            ("uint8 images", is_bytes(rows.X), is_bytes(self._first.X)),
            ("sparse rows", not isinstance(rows.X, np.ndarray), not isinstance(self._first.X, np.ndarray)),
        ):
            if here != there:
                has, had = ("has", "has none") if here else ("has no", "has some")
                raise StreamError(f"batch {number} {has} {what}, but the first one {had}: they must be alike")
        if rows.y.ndim != self._first.y.ndim:
            raise StreamError(
                f"y of batch {number} has {rows.y.ndim} dimensions, but the first one has {self._first.y.ndim}"
            )


def _parts(batch: Any, number: int) -> Sequence[Any]:
    """The two or three of them."""
    if not isinstance(batch, tuple | list) or len(batch) not in _PAIRS:
        what = f"{len(batch)} items" if isinstance(batch, tuple | list) else type(batch).__name__
        raise StreamError(f"batch {number} must be (X, y) or (X, y, weights), got {what}")
    return batch


def _length(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)  # sparse arrays have no length


def _kept(part: Any) -> Any:
    """A copy of an array: what gives batches may write the next one into the memory of the last."""
    return part.copy() if hasattr(part, "copy") and hasattr(part, "shape") else part


def _plain(part: Any) -> Any:
    """A tensor of another library as an array; everything else as it is."""
    if hasattr(part, "detach") and hasattr(part, "numpy"):  # PyTorch, whichever device it is on
        return part.detach().cpu().numpy()
    return part.numpy() if hasattr(part, "numpy") and callable(part.numpy) else part
