"""Image layers through the engine: gradients by central differences, and all numbers beside the reference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import reference
from helpers import ONLY_TRAINING, ReferenceTraining, reference_gradient, reference_layers
from image_networks import ROWS, STACKS, Avg, Conv, Deep, Max, agrees, build, data, stack

import cnn
from cnn.layers import Layer

CHANNELS = (1, 2, 3, 5, 6, 7, 8, 9, 16, 17, 33)


# Sizes around blocks of channels and rows, each with another window. --------------------------------------------------
WINDOWS: tuple[dict[str, Any], ...] = (
    {"kernel_size": 3}, {"kernel_size": 3, "padding": "same"}, {"kernel_size": (3, 2), "strides": 2},
    {"kernel_size": 1}, {"kernel_size": 5, "padding": 2}, {"kernel_size": 2, "padding": "same", "strides": 2},
    {"kernel_size": 3, "dilation_rate": 2, "padding": "same"}, {"kernel_size": (1, 3), "strides": (2, 1)},
    {"kernel_size": 3, "padding": (1, 0), "dilation_rate": (1, 2)}, {"kernel_size": 3, "strides": 3},
    {"kernel_size": (4, 5)}, {"kernel_size": 2, "strides": 3, "padding": 1},
)  # fmt: skip
IMAGES = ((5, 5), (7, 6), (6, 9), (8, 5))


def sweep() -> Iterator[tuple[int, int, int, tuple[int, int], dict[str, Any]]]:
    """(rows, channels, filters, image, window): all pairs of channels, and every window with each of them."""
    rows, windows, images = cycle(ROWS), cycle(WINDOWS), cycle(IMAGES)
    for channels in CHANNELS:
        for filters in CHANNELS:
            yield next(rows), channels, filters, next(images), next(windows)


@pytest.mark.parametrize(("rows", "channels", "filters", "image", "window"), list(sweep()))
def test_convolutions(rows: int, channels: int, filters: int, image: tuple[int, int], window: dict[str, Any]) -> None:
    """The second one has a gradient of its input, the first one has none."""
    layers: list[Layer] = [Conv(channels, 1, activation="tanh"), Conv(filters, **window, activation="silu")]
    agrees(build((*image, 2), [*layers, cnn.Flatten()]), rows)
    agrees(build((*image, channels), [Conv(filters, **window, activation="tanh"), cnn.Flatten()]), rows)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_groups(groups: int, window: dict[str, Any]) -> None:
    layers: list[Layer] = [Conv(6, 1, activation="tanh"), Conv(18, groups=groups, **window, activation="tanh")]
    for rows in (3, 17):
        agrees(build((6, 7, 2), [*layers, cnn.Flatten()]), rows)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "multiplier"), [(1, 3), (3, 1), (8, 2), (17, 1), (5, 4)])
def test_depthwise(channels: int, multiplier: int, window: dict[str, Any]) -> None:
    deep = Deep(**window, depth_multiplier=multiplier, activation="tanh")
    agrees(build((6, 7, 2), [Conv(channels, 1, activation="tanh"), deep, cnn.Flatten()]), 18)
    agrees(build((6, 7, channels), [deep, cnn.Flatten()]), 5)


POOLS: tuple[dict[str, Any], ...] = (
    {}, {"pool_size": 3}, {"pool_size": 3, "strides": 2}, {"pool_size": 2, "padding": "same"},
    {"pool_size": (2, 3), "strides": 1, "padding": "same"}, {"pool_size": 3, "strides": 2, "padding": 1},
    {"pool_size": (1, 2)}, {"pool_size": 4, "strides": (3, 1), "padding": (2, 1)}, {"pool_size": 2, "strides": 3},
)  # fmt: skip


@pytest.mark.parametrize("window", POOLS, ids=str)
@pytest.mark.parametrize("kind", [Max, Avg])
@pytest.mark.parametrize("channels", [1, 3, 8, 17])
def test_pools(kind: Any, channels: int, window: dict[str, Any]) -> None:
    for rows, image in ((2, (5, 7)), (17, (8, 6))):
        agrees(build((*image, 2), [Conv(channels, 1, activation="tanh"), kind(**window), cnn.Flatten()]), rows)
        agrees(build((*image, channels), [kind(**window), cnn.Flatten(), cnn.Dense(3, "tanh")]), rows)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kind", [cnn.GlobalAvgPool2D, cnn.GlobalMaxPool2D])
def test_global_pools(kind: Any, rows: int) -> None:
    agrees(build((5, 4, 2), [Conv(7, 3, activation="tanh"), kind()]), rows)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_signals(channels: int, rows: int) -> None:
    layers: list[Layer] = [
        cnn.Conv1D(channels, 3, activation="tanh", padding="same"), cnn.MaxPool1D(2),
        cnn.Conv1D(4, 3, strides=2, padding=1, activation="tanh"), cnn.Flatten(),
    ]  # fmt: skip
    agrees(build((11, 2), layers), rows)


def test_the_first_of_equals_gets_the_gradient() -> None:
    net = build((3, 3, 1), [Max(2, strides=1), cnn.Flatten()])
    net.layers[2].weights[...] = 1
    net.forward(np.zeros((1, 3, 3, 1)))
    dX = net.backward(np.array([[1.0, 0.0]]))
    assert dX is not None
    assert dX.ravel().tolist() == [1, 1, 0, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("activation", [name for name in reference.ACTIVATIONS if name not in ("hard_swish",)])
def test_activations(activation: Any) -> None:
    """Each is one pass over the sums, and its slope another, whether or not it keeps z."""
    net = build((5, 5, 2), [Conv(5, 3, activation=activation), Conv(3, 2, activation=activation), cnn.Flatten()])
    X, y = data(net, 9)
    found, expected = net.loss_and_gradient(X, y)[1], reference_gradient(net, X, y)[1]
    for what, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[what], rtol=1e-9, atol=1e-12, err_msg=what)


# Whole networks. -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 130])
@pytest.mark.parametrize("name", STACKS)
def test_gradients(name: str, rows: int, training: bool) -> None:
    agrees(stack(name), rows, training)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_predictions(name: str, dtype: str) -> None:
    net = stack(name, dtype)
    layers = [layer | {name: 0.0 for name in ONLY_TRAINING if name in layer} for layer in reference_layers(net)]
    bound = 1e-11 if dtype == "float64" else 2e-4
    for rows in (1, 3, 9, 130):
        X = data(net, rows)[0].astype(dtype)
        out, read, _ = reference.forward(layers, X.astype(float))
        np.testing.assert_allclose(net.predict(X), out, rtol=bound, atol=bound)
        for below, expected in zip(net.layer_outputs(X), [*read[1:], out], strict=True):
            np.testing.assert_allclose(below, expected, rtol=bound, atol=bound)
    assert net.predict(X[:0]).shape == (0, 2)


@pytest.mark.parametrize("name", STACKS)
def test_float32_is_float64_rounded(name: str) -> None:
    single, double = stack(name, "float32"), stack(name)
    double.set_weights(single.get_weights())
    X, y = (a.astype(np.float32) for a in data(single, 133))
    found, expected = single.loss_and_gradient(X, y)[1], double.loss_and_gradient(X, y)[1]
    for what, gradient in expected.items():
        np.testing.assert_allclose(found[what], gradient, rtol=1e-4, atol=2e-5 * np.abs(gradient).max(), err_msg=what)


OPTIMIZERS = {
    "adamw": cnn.AdamW(0.01), "momentum": cnn.SGD(0.05, momentum=0.9),
    "clipped": cnn.Adam(0.01, clip_norm=0.05, weight_decay=0.1, decay_biases=True),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", STACKS)
def test_steps(name: str, optimizer: str) -> None:
    net = stack(name, optimizer=OPTIMIZERS[optimizer])
    X, y = data(net, 90)
    training = ReferenceTraining(net)
    for begin in range(0, 90, 40):
        training.step(0.05 if optimizer == "momentum" else 0.01, X[begin : begin + 40], y[begin : begin + 40])
    net.fit(X, y, epochs=1, batch_size=40, shuffle=False, verbose=0)
    for what, expected in training.weights().items():
        np.testing.assert_allclose(net.parameters[what], expected, rtol=1e-7, atol=1e-10, err_msg=what)


def test_penalties_and_factors() -> None:
    layers: list[Layer] = [
        Conv(4, 3, activation="tanh", l1=1e-3, l2=1e-2, learning_rate_factor=3, decay_factor=0.5),
        Deep(2, l2=1e-2, learning_rate_factor=0), cnn.GlobalAvgPool2D(),
    ]  # fmt: skip
    net = build((6, 6, 2), layers, optimizer=cnn.AdamW(0.01, weight_decay=0.1))
    X, y = data(net, 30)
    loss, gradient = net.loss_and_gradient(X, y)
    expected, by_reference = reference_gradient(net, X, y)
    assert loss == pytest.approx(expected, rel=1e-12)
    for what, found in gradient.items():
        np.testing.assert_allclose(found, by_reference[what], rtol=1e-9, atol=1e-12)
    training, kept = ReferenceTraining(net), net.layers[1].weights.copy()
    training.step(0.01, X, y)
    net.fit(X, y, epochs=1, batch_size=30, shuffle=False, verbose=0)
    for what, moved in training.weights().items():
        np.testing.assert_allclose(net.parameters[what], moved, rtol=1e-8, atol=1e-11, err_msg=what)
    assert np.array_equal(net.layers[1].weights, kept)


def test_initial_weights_are_hes() -> None:
    """Their variance is 2 / (kernel height * kernel width * channels of a group) before a relu."""
    net = cnn.Network([Conv(256, (3, 5), groups=2, activation="relu"), cnn.GlobalAvgPool2D(), cnn.Dense(1)], seed=0)
    weights = net.build((9, 9, 8)).layers[0].weights
    assert weights.shape == (3, 5, 4, 256)
    assert weights.std() == pytest.approx(np.sqrt(2 / (3 * 5 * 4)), rel=0.02)
    assert not net.layers[0].biases.any()
