"""Winograd's convolution: all sizes around its squares, and the same bits however the work is cut."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from helpers import reference_gradient
from image_networks import ROWS, Conv, agrees, build, data

import cnn
from cnn.layers import convolution

CHANNELS = ((16, 16), (16, 32), (32, 16), (48, 16), (16, 80))


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes all convolutions that it can."""
    monkeypatch.setattr(convolution, "_winograd_pays", lambda _, channels, filters: channels % 16 == filters % 16 == 0)


def by_winograd(net: cnn.Network) -> list[int]:
    return [int(n) for n in net.plan.layers["winograd"]]


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("padding", ["same", "valid", 1, 2, (0, 3)], ids=str)
@pytest.mark.parametrize("image", [(1, 1), (1, 4), (2, 2), (3, 5), (4, 3), (5, 6), (6, 7), (9, 8)], ids=str)
def test_sizes(image: tuple[int, int], padding: Any) -> None:
    """The lower of two has no gradient of its input, the upper one has."""
    if (padding in ("valid", (0, 3)) and image[0] < 3) or (padding == "valid" and image[1] < 3):
        with pytest.raises(ValueError, match="kernel"):
            build((*image, 16), [Conv(1, 3, padding=padding), cnn.Flatten()])
        return
    rows = cycle(ROWS)
    for channels, filters in CHANNELS:
        net = build((*image, channels), [
            Conv(filters, 3, padding=padding, activation="tanh"),
            Conv(16, 3, padding=1, activation="silu", use_bias=False), cnn.Flatten(),
        ])  # fmt: skip
        assert by_winograd(net)[:2] == [1, 1]
        agrees(net, next(rows))


def few_and_many() -> list[tuple[int, int, int]]:
    """(rows of a minibatch, pixels of a side, filters): lines shared out, chunks of rows, all rows for each layer."""
    return [(2, 61, 32), (15, 33, 32), (64, 8, 16), (48, 14, 64)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("rows", "side", "filters"), few_and_many())
def test_bits(rows: int, side: int, filters: int, norm: bool, dtype: str) -> None:
    """Of weights and predictions, for every number of threads."""
    layers = [Conv(filters, 3, padding="same", activation="relu") for _ in range(3)]
    between: list[Any] = [cnn.BatchNorm()] if norm else []
    found = []
    for n_threads in (1, 2, 3, 8):
        net = build((side, side, 2), [*layers[:2], *between, *layers[2:], cnn.GlobalAvgPool2D()], dtype)
        X, y = (a.astype(dtype) for a in data(net, 2 * rows + 1))
        net.fit(X, y, epochs=1, batch_size=rows, verbose=0, n_threads=n_threads)
        found.append([*net.get_weights().values(), net.predict(X, n_threads=n_threads)])
    assert by_winograd(net)[:3] == [0, 1, 0] if norm else [0, 1, 1]
    for other in found[1:]:
        for expected, got in zip(found[0], other, strict=True):
            assert np.array_equal(expected, got)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_gradient_is_none(dtype: str) -> None:
    """Of weights between zeros and filters that answer to few pixels it is exactly 0, not a rounding error."""
    net = build((8, 8, 1), [
        Conv(16, 3, activation="relu"), Conv(32, 3, activation="relu"), Conv(16, 3, activation="relu"), cnn.Flatten(),
    ], dtype)  # fmt: skip
    for layer in net.layers[:3]:
        layer.biases[...] -= 0.8
    X, y = data(net, 2)
    expected = reference_gradient(net, X, y)[1]
    found = net.loss_and_gradient(X.astype(dtype), y.astype(dtype))[1]
    assert by_winograd(net)[:3] == [0, 1, 1]
    for i in (1, 2):
        none = expected[f"layers.{i}.weights"] == 0
        assert 0.02 < none.mean() < 0.98
        assert not found[f"layers.{i}.weights"][none].any()


def test_accuracy() -> None:
    """In float32 errors are those of sums term by term, or less: sums are shorter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 12, 12, 64))
    errors = []
    for pays in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convolution, "_winograd_pays", lambda *sizes, pays=pays: pays)
            single, double = (build((12, 12, 64), [Conv(64, 3, use_bias=False), cnn.Flatten()], t)
                              for t in ("float32", "float64"))  # fmt: skip
        assert by_winograd(single)[0] == pays
        double.set_weights(single.get_weights())
        found = single.layer_outputs(X.astype(np.float32))[0]
        expected = double.layer_outputs(X.astype(np.float32).astype(float))[0]
        errors.append(np.sqrt(((found - expected) ** 2).mean()) / np.sqrt((expected**2).mean()))
    assert errors[0] < 1.2 * errors[1] < 1e-6


@pytest.mark.parametrize(
    ("layer", "image", "expected"),
    [
        (Conv(16, 3), (10, 10, 16), 1), (Conv(64, 3, padding="same"), (7, 7, 64), 1), (Conv(8, 3), (30, 30, 8), 0),
        (Conv(64, 3, padding="same"), (3, 3, 64), 0), (Conv(64, 5), (30, 30, 64), 0),
        (Conv(64, (3, 1)), (30, 30, 64), 0), (Conv(64, 3, strides=2), (30, 30, 64), 0),
        (Conv(64, 3, strides=(1, 2)), (30, 30, 64), 0), (Conv(64, 3, dilation_rate=2), (30, 30, 64), 0),
        (Conv(64, 3, groups=2), (30, 30, 64), 0), (Conv(33, 3), (30, 30, 33), 0),
    ],
    ids=str,
)  # fmt: skip
def test_the_rule(layer: Any, image: tuple[int, int, int], expected: int) -> None:
    """Kernels of 3 x 3 that slide pixel by pixel, of enough channels, on images that squares of 2 x 2 fill."""
    assert by_winograd(build(image, [layer, cnn.Flatten()]))[0] == expected


def test_unlike_networks_side_by_side() -> None:
    """What they work in is of the largest one's size in each thread."""
    shapes = ((8, 8, 16), (6, 6, 64), (5, 5, 1))
    nets = [build(shape, [Conv(16, 3, padding="same", activation="relu"), cnn.GlobalAvgPool2D()]) for shape in shapes]
    alone = [build(shape, [Conv(16, 3, padding="same", activation="relu"), cnn.GlobalAvgPool2D()]) for shape in shapes]
    for i in range(len(nets)):
        alone[i].fit(*data(nets[i], 70), epochs=2, batch_size=32, verbose=0)
    X, y = ([part[k] for part in (data(net, 70) for net in nets)] for k in (0, 1))
    cnn.train_many(nets, X, y, epochs=2, batch_size=32, verbose=0, n_threads=2)
    for net, expected in zip(nets, alone, strict=True):
        for a, b in zip(net.get_weights().values(), expected.get_weights().values(), strict=True):
            assert np.array_equal(a, b)
