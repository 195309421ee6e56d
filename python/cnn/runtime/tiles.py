"""How rows are predicted: so many at a time in slabs, or each by itself, in buffers that take turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

import cnn_core

Spec = np.ndarray[Any, Any]
# Kinds that prediction leaves out.
LEFT_OUT = (cnn_core.LayerKind.DROPOUT, cnn_core.LayerKind.GAUSSIAN_NOISE, cnn_core.LayerKind.FLATTEN)

# A tile of rows while predicting: its two buffers should stay in L1 cache, and every weight is read once for a tile.
_TILE_ELEMENTS, _TILE_ROWS, _IMAGE_ROWS = 6144, 64, 32
# Numbers of a tile of images that no cache holds: from so many on, each image is predicted by itself.
_APART_ELEMENTS = 1 << 22
_NUMBER_FLOPS = 20.0  # what gathering an input or an activation may take, in the time of so much arithmetic
_VECTOR = 16  # numbers of the widest vectors


@dataclass(frozen=True)
class Tiles:
    """Layers and workspace of a tile of so many rows; the arithmetic of one row, functions included.

    `places` are the numbers of the buffers that layers write to, but for those that only training has. `apart`: tiles
    are too large, and each row is predicted by itself where the core can do that.
    """

    layers: Spec
    workspace: Spec
    rows: int
    flops: float
    places: tuple[int, ...]
    apart: bool

    @classmethod
    def of(cls, layers: Spec, n_inputs: int, image: bool, work: float) -> Self:
        """Those of a network's layers; `n_inputs` is 0 where X is sparse, `work` a row's multiply-adds."""
        layers = layers.copy()
        layers["saved"] = -1  # nothing is kept for a way back
        seen = np.flatnonzero(~np.isin(layers["kind"], LEFT_OUT))  # all that prediction has
        first = n_inputs or int(layers["n_units"][seen[0]])
        places, widths = _buffers(layers, seen, first)
        layers["output"][seen] = (np.cumsum(widths) - widths)[places]
        workspace = np.zeros(1, cnn_core.workspace_dtype)
        workspace["room"] = sum(widths)
        columns = workspace["columns"] = sum(widths) + cnn_core.engine.room(layers)
        rows = max(_TILE_ROWS, min(_TILE_ELEMENTS // columns // _TILE_ROWS * _TILE_ROWS, 4 * _TILE_ROWS))
        if image:  # its pixels are what fills caches
            rows = _IMAGE_ROWS
        workspace["capacity"] = rows
        numbers = first + int(layers["n_units"][seen].sum())
        apart = columns * rows >= _APART_ELEMENTS and _suits_rows(layers)
        return cls(layers, workspace, rows, 2.0 * work + _NUMBER_FLOPS * numbers, tuple(places), apart)

    @property
    def flops_of_a_few(self) -> float:
        """Arithmetic of a row that is predicted with few others: to read W takes ten times as long as to use it."""
        return self.flops + 9 * 2.0 * _dense_weights(self.layers)


def _dense_weights(layers: Spec) -> float:
    dense = layers[layers["kind"] == cnn_core.LayerKind.DENSE]
    return float((dense["n_inputs"].astype(float) * dense["n_units"]).sum())


def _suits_rows(layers: Spec) -> bool:
    """Whether channels fill the vectors of an image that is stored by itself, and it is larger than the W read for it.

    The image is the largest output of a convolution.
    """
    kernels = layers[layers["kind"] == cnn_core.LayerKind.CONVOLUTION]
    if not len(kernels):
        return False
    largest = kernels[kernels["n_units"].argmax()]
    return bool(largest["window"]["out_channels"] >= _VECTOR and 2 * _dense_weights(layers) <= largest["n_units"])


def _buffers(layers: Spec, seen: Spec, first: int) -> tuple[list[int], list[int]]:
    """Which buffer each layer of `seen` writes to in prediction, and the widths of all; number 0 has the `first` input.

    A buffer is free again when the last layer that reads it is done: in a chain two take turns.
    """
    last = {k - 1: k for k in range(len(seen))}  # the last reader of each output, by places in `seen`; -1: the input
    for reader in np.flatnonzero(layers["source"][seen] >= 0):
        last[int(np.searchsorted(seen, layers["source"][seen[reader]])) - 1] = int(reader)
    places, widths, until = [], [first, 1], [last[-1], -1]
    for k, i in enumerate(seen):
        place = next((b for b, end in enumerate(until) if end < k), len(widths))
        if place == len(widths):
            widths.append(0)
            until.append(-1)
        widths[place] = max(widths[place], int(layers["n_units"][i]))
        until[place] = last.get(k, len(seen))
        places.append(place)
    return places, widths
