"""Pooling, and the layers that work channel by channel, on images: plain loops of NumPy, PyTorch's numbers, bits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import cnn

rng = np.random.default_rng(0)
Array = np.ndarray[Any, Any]

WINDOWS = [  # image (height, width, channels), pool_size, strides, padding
    ((4, 6, 3), 2, None, "valid"), ((5, 7, 2), 2, None, "valid"), ((5, 7, 2), 2, None, "same"),
    ((7, 8, 1), 3, 2, "same"), ((7, 8, 2), 3, 2, 1), ((6, 5, 3), 3, 1, "same"), ((6, 5, 1), (2, 3), (1, 2), "valid"),
    ((7, 7, 2), 2, 3, "valid"), ((7, 7, 2), 1, 3, "same"), ((1, 1, 4), 2, 1, "same"), ((3, 4, 2), 5, 1, "same"),
    ((2, 3, 2), 4, 2, 2), ((8, 3, 5), (8, 3), 1, "valid"), ((5, 6, 2), (4, 1), (2, 1), (2, 0)),
]  # fmt: skip
KINDS = {"max": cnn.MaxPool2D, "mean": cnn.AvgPool2D}


def windows(shape: tuple[int, ...], pool: Any, strides: Any, padding: Any) -> list[list[tuple[int, int]]]:
    """The pixels inside the image of each window, row by row; of a row of windows first."""
    axes = []
    both = [(v, v) if not isinstance(v, tuple) else v for v in (pool, pool if strides is None else strides)]
    for n, k, s, i in zip(shape, *both, range(2), strict=False):
        if padding == "same":
            count = -(-n // s)
            begin = -(max(0, (count - 1) * s + k - n) // 2)
        else:
            pad = 0 if padding == "valid" else padding[i] if isinstance(padding, tuple) else padding
            count, begin = (n + 2 * pad - k) // s + 1, -pad
        axes.append([[p for p in range(begin + o * s, begin + o * s + k) if 0 <= p < n] for o in range(count)])
    return [list(itertools.product(ys, xs)) for ys, xs in itertools.product(*axes)]


def pooled(kind: str, X: Array, taps: list[list[tuple[int, int]]], delta: Array) -> tuple[Array, Array]:
    """Outputs (rows, windows, channels) and dL/dX of delta, of the same shape as the outputs."""
    out, dX = np.zeros((len(X), len(taps), X.shape[-1])), np.zeros(X.shape)
    for w, pixels in enumerate(taps):
        seen = np.stack([X[:, y, x] for y, x in pixels], axis=1)
        if kind == "mean":
            out[:, w] = seen.mean(axis=1)
            for y, x in pixels:
                dX[:, y, x] += delta[:, w] / len(pixels)
            continue
        out[:, w] = seen.max(axis=1)
        first = seen.argmax(axis=1)  # the first of equals
        for i, (y, x) in enumerate(pixels):
            dX[:, y, x] += np.where(first == i, delta[:, w], 0)
    return out, dX


def above(layer: cnn.layers.Layer, shape: tuple[int, ...], dtype: str) -> cnn.Network:
    """A network of a layer and a dense one, so that dL/d(output) of the layer is known."""
    layers = [layer, cnn.Dense(3)] if len(layer.output_shape(shape)) == 1 else [layer, cnn.Flatten(), cnn.Dense(3)]
    return cnn.Network(layers, dtype=dtype, seed=1).build(shape)


def passes(net: cnn.Network, X: Array) -> tuple[Array, Array, Array, Array]:
    """Outputs of the first layer, the same in prediction, dL/d(output) of it and dL/dX, all (rows, numbers)."""
    flat = X.reshape(len(X), -1)
    G = rng.normal(size=(len(X), 3))
    kept = net.layer_outputs(flat)[0].reshape(len(X), -1)
    net.forward(flat, training=True)
    dX = net.backward(G)
    return kept, net.predict(flat), G @ net.layers[-1].weights.astype(float).T, dX.reshape(X.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 16, 37])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_windows_of_all_kinds(window: Any, kind: str, rows: int, dtype: str) -> None:
    shape, pool, strides, padding = window
    layer = KINDS[kind](pool, strides, padding)
    net = above(layer, shape, dtype)
    X = rng.integers(-3, 4, size=(rows, *shape)) / 4  # many equals
    taps = windows(shape, pool, strides, padding)
    assert len(taps) == np.prod(layer.output_shape(shape)[:-1])
    kept, predicted, delta, dX = passes(net, X)
    out, expected = pooled(kind, X, taps, delta.reshape(rows, len(taps), -1))
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-13, "atol": 1e-14}
    np.testing.assert_allclose(kept, out.reshape(rows, -1), **close)
    np.testing.assert_allclose(dX, expected, **close)
    dense = out.reshape(rows, -1) @ net.layers[-1].weights + net.layers[-1].biases
    np.testing.assert_allclose(predicted, dense, **close)


@pytest.mark.parametrize(("kind", "layer"), [
    ("max", cnn.GlobalMaxPool2D()), ("mean", cnn.GlobalAvgPool2D()),
    ("max", cnn.GlobalMaxPool1D()), ("mean", cnn.GlobalAvgPool1D()),
    ("max", cnn.MaxPool1D(3, 2)), ("mean", cnn.AvgPool1D(3, 2)), ("max", cnn.MaxPool1D(2)), ("mean", cnn.AvgPool1D(2)),
], ids=str)  # fmt: skip
def test_global_pooling_and_signals(kind: str, layer: Any) -> None:
    size = (5, 4) if layer.rank == 2 else (1, 20)
    X = rng.integers(-3, 4, size=(19, *size, 3)) / 4
    if isinstance(layer, cnn.MaxPool1D | cnn.AvgPool1D):
        taps = windows(size, (1, layer.pool_size), (1, layer.strides or layer.pool_size), "valid")
    else:
        taps = [list(itertools.product(range(size[0]), range(size[1])))]
    shape = X.shape[1:] if layer.rank == 2 else X.shape[2:]
    kept, _, delta, dX = passes(above(layer, shape, "float64"), X)
    out, expected = pooled(kind, X, taps, delta.reshape(19, len(taps), 3))
    np.testing.assert_allclose(kept, out.reshape(19, -1), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(dX, expected, rtol=1e-12, atol=1e-14)


def test_of_equals_the_first_gets_the_gradient() -> None:
    """Also across the groups of four taps in which windows are taken."""
    net = above(cnn.MaxPool2D(3), (3, 3, 1), "float64")
    net.layers[-1].weights[...] = 1
    for first in range(9):
        X = np.zeros((1, 9))
        X[0, first:] = 2
        net.forward(X, training=True)
        dX = net.backward(np.ones((1, 3)))
        assert dX.ravel().tolist() == [3.0 * (i == first) for i in range(9)]


def test_predictions_of_one_row_and_of_many_have_the_same_bits() -> None:
    layers = [cnn.MaxPool2D(3, 2, "same"), cnn.AvgPool2D(2, 1), cnn.Flatten(), cnn.Dense(3)]
    net = cnn.Network(layers, seed=0).build((9, 8, 3))
    X = rng.normal(size=(300, 216)).astype("float32")
    whole = net.predict(X)
    assert np.array_equal(whole, np.concatenate([net.predict(X[i : i + 1]) for i in range(300)]))
    assert np.array_equal(whole, net.forward(X))


def test_a_window_that_float32_can_not_count_is_refused() -> None:
    with pytest.raises(ValueError, match=r"GlobalMaxPool2D takes windows of 16,777,216 pixels at most, got 16,785,409"):
        cnn.Network([cnn.GlobalMaxPool2D(), cnn.Dense(1)]).build((4097, 4097, 1))
