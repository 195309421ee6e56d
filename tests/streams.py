"""Rows for the tests of streams, and what they are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn.losses import Loss
from cnn.runtime import data
from cnn.runtime.data import Data
from cnn.streams.source import Form

FLOAT = np.dtype(np.float32)
FORM = Form(Loss("mse"), FLOAT, 1)
X = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
Y = np.arange(1000, dtype=np.float32)


def rows(n: int, weights: bool = False, start: int = 0, kind: Any = np.asarray) -> Data:
    """Rows numbered from `start` on, by which they are known again."""
    number = np.arange(start, start + n, dtype=np.float32)
    table, w = kind(np.stack([number, -number], axis=1)), number + 1 if weights else None
    return data.prepare(table, number, w, Loss("mse"), FLOAT, 2, 1, "", " of a part")


def first(begin: int, end: int) -> Data:
    """Those rows of X and Y."""
    return data.prepare(X[begin:end], Y[begin:end], None, FORM.loss, FLOAT, 3, 1)


def alike(found: list[Data], expected: Data) -> None:
    """That the rows of the parts are those, in that order."""
    X = np.concatenate([part.X if isinstance(part.X, np.ndarray) else part.X.to_scipy().toarray() for part in found])
    np.testing.assert_array_equal(X, expected.X)
    np.testing.assert_array_equal(np.concatenate([part.y for part in found]), expected.y)
    np.testing.assert_array_equal(np.concatenate([part.targets for part in found]), expected.targets)  # type: ignore[arg-type]
    if expected.weights is not None:
        np.testing.assert_array_equal(np.concatenate([part.weights for part in found]), expected.weights)  # type: ignore[arg-type]
