"""Networks of images that tests share: each kind of layer that reads images, at sizes around blocks and edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from helpers import reference_gradient

import cnn
from cnn.layers import Layer

Conv, Deep, Max, Avg = cnn.Conv2D, cnn.DepthwiseConv2D, cnn.MaxPool2D, cnn.AvgPool2D
Shape = tuple[int, ...]
ROWS = (1, 2, 15, 16, 17, 31, 33, 64, 65)
H = 2e-6  # steps of central differences; no kink of a relu or a maximum of these data lies within two of them

# Shape of X and the layers below the last one, Dense(2).
STACKS: dict[str, tuple[Shape, list[Layer]]] = {
    "lenet": ((12, 12, 1), [
        Conv(6, 3, activation="relu"), Max(2), Conv(16, 3, activation="relu"), Max(2), cnn.Flatten(),
        cnn.Dense(9, "relu")]),
    "same": ((5, 7, 3), [
        Conv(5, 3, padding="same", activation="tanh"), Conv(4, (3, 5), padding="same"), cnn.GlobalAvgPool2D()]),
    "strides": ((9, 10, 2), [
        Conv(7, 3, strides=2, activation="silu"), Conv(3, 2, strides=(1, 2), padding="same"), cnn.Flatten()]),
    "strides that leave pixels out": ((11, 9, 2), [Conv(3, 2, strides=3, activation="gelu"), cnn.Flatten()]),
    "padding of numbers": ((6, 5, 2), [
        Conv(3, 3, padding=1, activation="tanh"), Conv(4, (3, 2), padding=(2, 1), strides=2), cnn.Flatten()]),
    "dilation": ((9, 9, 2), [
        Conv(4, 3, dilation_rate=2, activation="tanh"), Conv(3, 3, dilation_rate=(2, 1), padding="same"),
        cnn.Flatten()]),
    "groups": ((6, 6, 4), [
        Conv(6, 3, groups=2, activation="tanh", padding="same"), Conv(9, 3, groups=3), cnn.Flatten()]),
    "depthwise": ((7, 6, 3), [
        Deep(3, depth_multiplier=2, activation="tanh", padding="same"), Conv(5, 1, activation="relu"),
        Deep(3, strides=2), cnn.GlobalAvgPool2D()]),
    "pointwise": ((5, 5, 3), [Conv(17, 1, activation="silu"), Conv(9, 1, use_bias=False), cnn.GlobalAvgPool2D()]),
    "a kernel as large as the image": ((4, 5, 3), [Conv(8, (4, 5), activation="tanh"), cnn.Flatten()]),
    "one pixel": ((1, 1, 3), [Conv(8, 3, padding="same", activation="tanh"), cnn.Flatten()]),
    "pools that overlap": ((8, 9, 3), [
        Conv(4, 3, activation="tanh"), Max(3, strides=2, padding=1), Avg(2, strides=1, padding="same"),
        cnn.Flatten()]),
    "pools behind ReLU": ((10, 9, 1), [
        Conv(8, 3, activation="relu", bias_initializer="normal"), Max(3, strides=2, padding=1),
        Conv(4, 2, activation="relu"), cnn.Residual([Max(3, strides=1, padding=1)]), Conv(6, 1, activation="relu"),
        cnn.GlobalMaxPool2D()]),
    "average pools": ((9, 8, 2), [Avg(2), Conv(4, 3, activation="mish"), Avg((1, 2), padding=(0, 1)),
                                  cnn.Flatten()]),
    "a pool first": ((7, 7, 2), [Max(2, padding="same"), Conv(3, 2, activation="tanh"), cnn.GlobalMaxPool2D()]),
    "dropouts and noise": ((6, 6, 2), [
        cnn.Dropout(0.2), Conv(4, 3, activation="tanh"), cnn.GaussianNoise(0.1), cnn.Dropout(0.3), Max(2),
        Conv(3, 2), cnn.Dropout(0.2), cnn.Flatten(), cnn.Dropout(0.1)]),
    "residuals": ((5, 5, 3), [
        cnn.Residual([Conv(3, 3, padding="same", activation="tanh"), Conv(3, 3, padding="same")]),
        Conv(4, 3), cnn.Residual([Deep(3, padding="same"), cnn.Residual([Conv(4, 1, activation="relu")])]),
        cnn.GlobalAvgPool2D()]),
    "norms of channels": ((6, 5, 3), [
        cnn.BatchNorm(), Conv(7, 3, padding="same", use_bias=False), cnn.BatchNorm(activation="tanh"),
        cnn.Residual([Conv(7, 3, padding="same", use_bias=False), cnn.BatchNorm(0.1, 0.5, activation="gelu")]), Max(2),
        cnn.LayerNorm(), cnn.GlobalAvgPool2D()]),
    "norms with a function's parameter": ((5, 4, 3), [
        Conv(6, 3, padding="same", use_bias=False), cnn.BatchNorm(activation="elu"), Conv(3, 2),
        cnn.BatchNorm(activation="leaky_relu"), cnn.Flatten()]),
    "bends of channels": ((5, 6, 2), [
        cnn.Scale("normal"), Conv(5, 2), cnn.PReLU(), Conv(9, 2), cnn.ParametricActivation("tanh", "uniform"),
        cnn.LayerNorm(0.1), cnn.Dropout(0.2), cnn.Scale(), cnn.Flatten()]),
    "norms of signals": ((9, 2), [
        cnn.Conv1D(5, 3, use_bias=False), cnn.BatchNorm(activation="silu"), cnn.Dropout(0.1), cnn.Conv1D(4, 2),
        cnn.LayerNorm(), cnn.PReLU(0.1), cnn.GlobalAvgPool1D()]),
    "signals": ((17, 3), [
        cnn.Conv1D(5, 3, activation="tanh"), cnn.MaxPool1D(2), cnn.Conv1D(4, 3, padding="same", dilation_rate=2),
        cnn.AvgPool1D(2), cnn.Flatten()]),
    "global pools of signals": ((9, 2), [
        cnn.Residual([cnn.Conv1D(2, 3, padding="same", groups=2)]), cnn.Conv1D(3, 2, strides=2, activation="silu"),
        cnn.GlobalAvgPool1D()]),
    "largest of signals": ((9, 2), [cnn.Conv1D(6, 3, activation="tanh"), cnn.GlobalMaxPool1D(), cnn.Dense(5, "tanh")]),
    "wide dense layers": ((8, 8, 2), [
        Conv(20, 3, padding="same", activation="tanh"), Max(2), cnn.Flatten(), cnn.Dropout(0.2),
        cnn.Dense(300, "silu"), cnn.Dense(17, "tanh")]),
    "wide convolutions": ((5, 4, 3), [
        cnn.Dropout(0.1), Conv(90, 1, activation="tanh"), cnn.Residual([Conv(90, 3, padding="same")]),
        Conv(19, 2, activation="gelu"), cnn.GlobalMaxPool2D()]),
    "Winograd's products": ((8, 6, 16), [
        Conv(16, 3, padding="same", activation="tanh"),
        cnn.Residual([Conv(16, 3, padding="same", use_bias=False), cnn.BatchNorm()]), Conv(32, 3, activation="silu"),
        Conv(16, 3, padding=2, activation="relu", bias_initializer="normal"), Max(2), cnn.Flatten()]),
}  # fmt: skip


def build(shape: Shape, layers: list[Layer], dtype: str = "float64", seed: int = 3, **options: Any) -> cnn.Network:
    """A network of 2 outputs, no parameter of which has a value that hides a mistake."""
    options.setdefault("optimizer", cnn.AdamW(0.01))
    net = cnn.Network([*layers, cnn.Dense(2)], dtype=dtype, seed=seed, **options).build(shape)
    rng = np.random.default_rng(5)
    for view in net.parameters.values():
        view += 0.1 * rng.normal(size=view.shape)
    return net


def stack(name: str, dtype: str = "float64", **options: Any) -> cnn.Network:
    return build(*STACKS[name], dtype, **options)


def data(net: cnn.Network, rows: int, seed: int = 0) -> tuple[Any, Any]:
    """X (rows, ...) in the network's shape and type, y (rows, outputs)."""
    rng = np.random.default_rng((seed, rows))
    return rng.normal(size=(rows, *net.plan.shapes[0])), rng.normal(size=(rows, net.n_outputs))


def agrees(net: cnn.Network, rows: int, training: bool = False) -> None:
    """Loss and gradients are the reference's; those of images and parameters are central differences, along a way."""
    X, y = data(net, rows, seed=2)
    loss, gradient = net.loss_and_gradient(X, y, training=training)
    expected, by_reference = reference_gradient(net, X, y, training=training)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert set(gradient) == set(by_reference)
    for what, found in gradient.items():
        bound = 1e-12 * np.abs(by_reference[what]).max() + 1e-14  # of a bias below a norm all is rounding
        np.testing.assert_allclose(found, by_reference[what], rtol=1e-9, atol=bound, err_msg=what)
    out = net.forward(X, training=training)
    dX = net.backward(2 * (out - y) / y.size)
    for what, found in gradient.items():
        np.testing.assert_allclose(net.gradients[what], found, rtol=1e-9, atol=1e-13, err_msg=what)
    if not training:
        central_differences(net, X, y, gradient, dX)


def central_differences(net: cnn.Network, X: Any, y: Any, gradient: dict[str, Any], dX: Any) -> None:
    """|g - d| <= 1e-7 (|g| + |d|) for the slope d of the loss along a way, by differences of the fourth order."""
    rng = np.random.default_rng(1)
    taught = [name for name in net.parameters if not name.endswith(reference.RUNNING)]
    arrays = [(name, net.parameters[name], gradient[name]) for name in taught]
    for name, array, g in [*arrays, ("X", X, dX.reshape(X.shape))]:
        way = rng.normal(size=g.shape) / np.sqrt(g.size) + g / (np.linalg.norm(g) + 1e-30)  # never across the gradient
        kept, loss = array.copy(), {}
        for step in (-2, -1, 1, 2):
            array[...] = kept + step * H * way
            loss[step] = ((net.predict(X) - y) ** 2).mean()
        array[...] = kept
        slope = (8 * (loss[1] - loss[-1]) - (loss[2] - loss[-2])) / (12 * H)
        assert (g * way).sum() == pytest.approx(slope, rel=1e-7, abs=1e-10), name
