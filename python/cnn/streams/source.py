"""What all sources of rows have in common, and which one is meant by what a user gave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common.images import Images, Takes
from cnn.losses import Loss
from cnn.runtime import data
from cnn.runtime.data import Array, Data
from cnn.streams import parts

# Bytes of X that are read together, and of those whose rows are mixed: by sizes alone, for the order must not depend on
# the machine.
_PIECE, _WINDOW = 1 << 22, 1 << 25
_MOST_ROWS = 1 << 16


@dataclass(frozen=True)
class Form:
    """What rows must be for a network and its loss; `prefix` names the set in errors, `factors` weigh the classes."""

    loss: Loss
    dtype: np.dtype[Any]
    n_outputs: int
    prefix: str = ""
    factors: Array | None = None

    def data(self, X: Any, y: Any, weights: Any, takes: Takes, place: str) -> Data:
        """Checked rows of the network's type; `place` tells in errors where they are, as in "X of batch 3 has ..."."""
        rows = data.prepare(X, y, weights, self.loss, self.dtype, takes, self.n_outputs, self.prefix, place)
        if self.factors is None:
            return rows
        return data.weighted(rows, data.labels_of(rows, self.loss, self.n_outputs), self.factors, self.dtype)


class Source(ABC):
    """Rows that can be read part by part, once an epoch."""

    form: Form
    takes: Takes  # what its rows are
    rows: int | None  # None: nobody knows yet
    batches: int | None = None  # how many are given in each epoch, where that is known
    once: bool = False  # whether there is one epoch only
    mixes: bool = True  # whether rows can come in another order than they stand in

    @property
    def n_inputs(self) -> int:
        """Numbers of a row."""
        found = self.takes.n_inputs if isinstance(self.takes, Images) else self.takes
        assert found is not None
        return found

    @property
    def piece(self) -> int:
        """Rows that are read together."""
        return max(1, min(_PIECE // (self.n_inputs * self.form.dtype.itemsize), _MOST_ROWS))

    @abstractmethod
    def read(self, epoch: int, order: np.random.Generator | None) -> Iterator[Data]:
        """The rows as they are read; in parts of a drawn order where there is an `order`."""

    @abstractmethod
    def first(self) -> Data:
        """Some of the rows, for what is to be known before the first step."""

    @abstractmethod
    def description(self) -> str:
        """By which a checkpoint tells the source from others."""

    def parts(self, epoch: int, seed: int | None) -> Iterator[Data]:
        """The rows of an epoch; mixed by (seed, epoch) unless that is None: drawn parts, and rows within a window."""
        if seed is None or not self.mixes:
            return self.read(epoch, None)
        order = np.random.default_rng((seed, 3, epoch))
        window = max(1, _WINDOW // _PIECE) * self.piece
        return parts.shuffled(self.read(epoch, order), window, order)


def drawn(units: Sequence[Any], order: np.random.Generator | None) -> Iterator[Any]:
    """The units, in another order where there is one to draw."""
    return iter(units) if order is None else (units[i] for i in order.permutation(len(units)))
