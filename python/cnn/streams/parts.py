"""Parts of any number of rows, joined and cut anew: nothing is dropped, and minibatches are exact."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from cnn.runtime.data import Array, Data
from cnn.runtime.sparse import SparseRows, stacked


def joined(parts: list[Data]) -> Data:
    """The rows of all parts, which are alike; of a single one without copying."""
    if len(parts) == 1:
        return parts[0]
    X: list[Any] = [part.X for part in parts]
    return Data(
        stacked(X) if isinstance(X[0], SparseRows) else np.concatenate(X),
        _joined([part.targets for part in parts]),
        _joined([part.classes for part in parts]),
        _joined([part.weights for part in parts]),
        np.concatenate([part.y for part in parts]),
    )


def _joined(arrays: list[Array | None]) -> Array | None:
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if there else None


def mixed(parts: list[Data], rng: np.random.Generator) -> Data:
    """The rows of all parts in a drawn order: each is copied once, to its place."""
    if isinstance(parts[0].X, SparseRows):
        whole = joined(parts)
        return whole.take(rng.permutation(len(whole)))
    begins = np.cumsum([0, *map(len, parts)])
    order = rng.permutation(begins[-1])
    places = [order[begin:end] for begin, end in itertools.pairwise(begins.tolist())]
    first, put = parts[0], partial(_put, places)
    targets = None if first.targets is None else put([part.targets for part in parts])
    classes = None if first.classes is None else put([part.classes for part in parts])
    weights = None if first.weights is None else put([part.weights for part in parts])
    flat = targets is not None and first.y.ndim == 1
    y = classes if targets is None else targets.reshape(-1) if flat else targets
    assert y is not None
    return Data(put([part.X for part in parts]), targets, classes, weights, y)


def _put(places: list[Array], arrays: list[Any]) -> Array:
    """The rows of the arrays, each at its place."""
    found = np.empty((sum(map(len, places)), *arrays[0].shape[1:]), arrays[0].dtype)
    for place, array in zip(places, arrays, strict=True):
        found[place] = array
    return found


def until(unwanted: threading.Event, parts: Iterator[Data]) -> Iterator[Data]:
    """The parts, as long as somebody wants them."""
    with closing(parts) as found:  # type: ignore[type-var]
        for part in found:
            if unwanted.is_set():
                return
            yield part


def recut(
    parts: Iterable[Data], rows: int, batch: int = 1, join: Callable[[list[Data]], Data] = joined
) -> Iterator[Data]:
    """The rows of the parts in blocks of so many, the last one shorter.

    Where the parts end with an error, the whole minibatches of `batch` rows before it come first.
    """
    held: list[Data] = []
    n = 0
    try:
        for part in parts:
            begin = 0
            while begin < len(part):
                end = min(begin + rows - n, len(part))
                held.append(part.rows(begin, end))
                n, begin = n + end - begin, end
                if n == rows:
                    full, held, n = join(held), [], 0
                    yield full
    except Exception:
        if n >= batch:
            yield joined(held).rows(0, n // batch * batch)
        raise
    if held:
        yield join(held)


def alike(parts: Iterable[Data], rows: int) -> Iterator[tuple[Data, int]]:
    """(parts of one length that follow one another, joined up to so many rows; that length).

    Where the parts end with an error, those before it come first.
    """
    held: list[Data] = []
    try:
        for part in parts:
            if held and (len(part) != len(held[0]) or len(held) * len(part) >= rows):
                full, held = held, []
                yield joined(full), len(full[0])
            held.append(part)
    except Exception:
        if held:
            yield joined(held), len(held[0])
        raise
    if held:
        yield joined(held), len(held[0])


def shuffled(parts: Iterable[Data], rows: int, rng: np.random.Generator) -> Iterator[Data]:
    """The rows of `parts`, those of each window of so many mixed."""
    return recut(parts, rows, join=partial(mixed, rng=rng))
