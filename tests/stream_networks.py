"""Rows, batches and networks for the tests of fits on streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import cnn

RNG = np.random.default_rng(0)
N = 1000
X = RNG.normal(size=(N, 5)).astype(np.float32)
Y = (2 * X[:, 0] + X[:, 1] ** 2).astype(np.float32)
LABELS = (X[:, :3].argmax(axis=1)).astype(np.int64)
WEIGHTS = (np.arange(N) % 4).astype(np.float32)
LENGTHS = (7, 93, 233, 1, 0, 665, 1)


def network(units: int = 1, **options: Any) -> cnn.Network:
    layers = [cnn.Dense(8, "tanh", l2=1e-3), cnn.Dropout(0.2), cnn.Dense(units)]
    return cnn.Network(layers, seed=3, **{"optimizer": cnn.Adam(0.01), **options})


def batches(*arrays: Any, lengths: tuple[int, ...] = LENGTHS) -> list[tuple[Any, ...]]:
    ends = np.cumsum(lengths).tolist()
    return [tuple(a[e - n : e] for a in arrays) for n, e in zip(lengths, ends, strict=True)]


class Loader:
    """Batches that begin anew with each iter(), without a length."""

    def __init__(self, *arrays: Any, lengths: tuple[int, ...] = LENGTHS) -> None:
        self.given, self.begun = batches(*arrays, lengths=lengths), 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        yield from self.given
