"""Convolutions of each channel by itself: all sizes around their blocks, and the same bits however the work is cut."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from image_networks import ROWS, Deep, agrees, build, data

import cnn


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (1, {}), (2, {"padding": "same"}), (3, {"padding": "same"}), (3, {"padding": 2}), (3, {"strides": 2}),
        (3, {"strides": (1, 3), "padding": 1}), (3, {"dilation_rate": 2, "padding": "same"}), ((3, 1), {}),
        ((1, 4), {"padding": "same"}), (5, {"padding": "same"}), (5, {"strides": 2, "padding": 2}),
    ],
    ids=str,
)  # fmt: skip
def test_sizes(kernel: Any, options: dict[str, Any], channels: int) -> None:
    """The lower of two has no gradient of its input, the upper one has."""
    rows = cycle(ROWS)
    for image in ((5, 5), (6, 9), (11, 7)):
        net = build((*image, channels), [
            Deep(2, padding="same", activation="tanh"), Deep(kernel, activation="silu", **options),
            cnn.GlobalAvgPool2D(),
        ])  # fmt: skip
        agrees(net, next(rows))


@pytest.mark.parametrize("kernel", [7, 9])
@pytest.mark.parametrize("bias", [False, True])
def test_many_points(kernel: int, bias: bool) -> None:
    """More of them than are summed in registers at a time, on an image that has fewer lines than the kernel."""
    net = build((6, 12, 3), [
        cnn.Scale(), Deep(kernel, padding="same", activation="tanh", use_bias=bias), cnn.GlobalAvgPool2D(),
    ])  # fmt: skip
    agrees(net, 17)


def test_signals() -> None:
    net = build((23, 9), [
        cnn.Conv1D(9, 5, groups=9, activation="tanh"), cnn.Conv1D(9, 3, groups=9, padding="same", dilation_rate=3),
        cnn.GlobalAvgPool1D(),
    ])  # fmt: skip
    agrees(net, 33)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "side"), [(2, 61), (15, 33), (64, 8)])
def test_bits(rows: int, side: int, dtype: str) -> None:
    """Of weights and predictions, for every number of threads, of few rows and of many."""
    found = []
    for n_threads in (1, 2, 3, 8):
        net = build((side, side, 11), [
            Deep(3, padding="same", activation="relu"), Deep(3, strides=2), Deep(5, padding="same"),
            cnn.GlobalAvgPool2D(),
        ], dtype)  # fmt: skip
        X, y = (a.astype(dtype) for a in data(net, 2 * rows + 1))
        net.fit(X, y, epochs=1, batch_size=rows, verbose=0, n_threads=n_threads)
        p = net.predict(X, n_threads=n_threads)
        assert all(np.array_equal(net.predict(X[i : i + 3]), p[i : i + 3]) for i in range(0, len(X), 3))
        found.append([*net.get_weights().values(), p])
    for other in found[1:]:
        for expected, got in zip(found[0], other, strict=True):
            assert np.array_equal(expected, got)
