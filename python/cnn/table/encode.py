"""A whole table as the inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.table import columns, frames
from cnn.table.columns import Column
from cnn.table.frames import Array, TableError

_CATEGORIES = 64  # at most so many of a column get an input of their own, fewer in a table that is large
_SMALL = 1 << 26  # bytes of inputs that are never too many


@dataclass(frozen=True)
class Encoder:
    """The columns in use, in the order of the inputs; those left out, and why."""

    columns: tuple[Column, ...]
    dropped: Mapping[str, str]

    @staticmethod
    def learn(frame: Any, target: str, rows: Array) -> Encoder:
        """From these rows of a frame; all its columns but the target. TableError where nothing can be learnt from."""
        names = [str(name) for name in frame.columns if str(name) != target]
        most = _CATEGORIES
        while True:
            found = {name: columns.learn(frames.column(frame, name), rows, most) for name in names}
            kept = tuple(column for column in found.values() if not isinstance(column, str))
            # The inputs are to need no more than twice the memory of the table.
            size = 4 * len(frame) * sum(len(column.inputs) for column in kept)
            if most == 8 or size <= max(_SMALL, 2 * int(frame.memory_usage(deep=False).sum())):
                break
            most //= 2
        dropped = {name: column for name, column in found.items() if isinstance(column, str)}
        if not kept:
            why = "; ".join(f"{name!r}: {reason}" for name, reason in list(dropped.items())[:5])
            raise TableError(f"no column beside {target!r} has anything to learn from" + (f" ({why})" if why else ""))
        return Encoder(kept, dropped)

    @property
    def inputs(self) -> list[str]:
        """A name for each input of the network."""
        return [f"{column.name}: {part}" for column in self.columns for part in column.inputs]

    @property
    def slices(self) -> dict[str, slice]:
        """Where the inputs of each column are."""
        found, begin = {}, 0
        for column in self.columns:
            found[column.name] = slice(begin, begin + len(column.inputs))
            begin += len(column.inputs)
        return found

    def encode(self, frame: Any, rows: Array | None = None) -> Array:
        """(n, inputs) float32, of all rows or of these, which must ascend."""
        parts = [frames.column(frame, column.name, "the table") for column in self.columns]
        n = len(frame) if rows is None else len(rows)
        X = np.empty((n, sum(len(column.inputs) for column in self.columns)), np.float32)
        for series, column, place in zip(parts, self.columns, self.slices.values(), strict=True):
            for some, cells in frames.pieces(series, rows):
                column.write(cells, X[some, place])
                del cells
        return X
