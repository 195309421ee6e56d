"""A process alone: what `Ranks` does among several, for code that need not know how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnn.runtime.data import Array


class Alone:
    """The only rank.

    >>> alone = Alone()
    >>> alone.broadcast(3), alone.gather(3), alone.size
    (3, [3], 1)
    """

    rank, size = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes and shows what all have done."""
        return self.rank == 0

    def add(self, values: Array, sums: Array, stop: Array | None = None) -> None:
        """In place, on all ranks to the same bits: values (n,) and float64 sums (k,) become their sums (see `Tree`).

        A KeyboardInterrupt ends it where another thread sets `stop` (1,) to 1.
        """

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, pickled."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, pickled."""
        return [value]

    def rows(self, own: Array, counts: Sequence[int]) -> Array:
        """The rows (n, ...) of all ranks, rank 0's first; each has as many as `counts` says."""
        return own

    def relay(self, values: Array, go_on: Any) -> None:
        """go_on(values) on each rank in turn, each with what the one before has left; all get the last one's values."""
        go_on(values)


ALONE = Alone()
