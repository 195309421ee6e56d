"""Inputs and targets that are far from the order of 1, for which initial weights and steps are made."""

from __future__ import annotations

import numpy as np

from cnn.layers import BatchNorm, CategoryEmbedding, LayerNorm, PiecewiseEmbedding
from cnn.runtime.data import Array, Data
from cnn.runtime.state import NetworkState

_LARGE = 100.0  # root mean square of a column or target that steps and weights made for 1 do not reach
_OF_ANY_SIZE = (BatchNorm, CategoryEmbedding, LayerNorm, PiecewiseEmbedding)  # layers that make them so themselves


def far_from_one(net: NetworkState, rows: Data, most: int = 2048) -> list[str]:
    """A sentence each; of at most so many rows, evenly spread. Pixels are scaled by the network itself."""
    if not len(rows):
        return []
    seen = rows.take(np.linspace(0, len(rows) - 1, most).astype(int)) if len(rows) > most else rows
    found = []
    X = seen.with_own_X().X
    if isinstance(X, np.ndarray) and X.ndim == 2 and not isinstance(net.descriptions[0], _OF_ANY_SIZE):
        sizes = np.sqrt(np.mean(np.square(X, dtype=np.float64), axis=0))
        if sizes.max() > _LARGE:
            found.append(
                f"Column {sizes.argmax()} of X has values of the order of {sizes.max():.1g}, and "
                f"{np.sum(sizes > _LARGE)} of {len(sizes)} columns are above {_LARGE:.0f}. Standardise them: "
                "(X - X.mean(axis=0)) / X.std(axis=0), new rows by the same numbers (scikit-learn's StandardScaler)."
            )
    if seen.targets is not None and net.loss.link == "identity" and (size := rms(seen.targets)) > _LARGE:
        found.append(
            f"Targets are of the order of {size:.1g}, which takes many steps to reach. Learn (y - y.mean()) / y.std(), "
            "and turn predictions back."
        )
    return found


def rms(a: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))
