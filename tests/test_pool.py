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


# Layers that work channel by channel ----------------------------------------------------------------------------------


def batch_norm(f: Any) -> Any:
    def forward(x: Array, w: dict[str, Array]) -> Array:
        axes = tuple(range(x.ndim - 1))
        return f(w["weights"] * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) + w["biases"])

    return forward


def layer_norm(x: Array, w: dict[str, Array]) -> Array:
    each = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return w["weights"] * each + w["biases"]


CHANNELS: dict[str, Any] = {
    "batch_norm": (cnn.BatchNorm(), batch_norm(lambda z: z)),
    "batch_norm_tanh": (cnn.BatchNorm(activation="tanh"), batch_norm(np.tanh)),
    "batch_norm_relu": (cnn.BatchNorm(activation="relu"), batch_norm(lambda z: np.maximum(z, 0))),
    "batch_norm_silu": (cnn.BatchNorm(activation="silu"), batch_norm(lambda z: z / (1 + np.exp(-z)))),  # keeps z
    "scale": (cnn.Scale("normal"), lambda x, w: w["weights"] * x),
    "prelu": (cnn.PReLU(), lambda x, w: np.maximum(x, 0) + w["weights"] * np.minimum(x, 0)),
    "parametric": (cnn.ParametricActivation("tanh"), lambda x, w: x + w["weights"] * (np.tanh(x) - x)),
    "layer_norm": (cnn.LayerNorm(), layer_norm),
}
SHAPES = [(3, 4, 5), (1, 1, 7), (6, 2), (5, 5, 1), (2, 3, 70), (7, 9, 3)]


def of_layer(net: cnn.Network, values: dict[str, Any]) -> dict[str, Array]:
    """Arrays of the first layer, by their names in it."""
    return {name.split(".")[-1]: np.array(v, float) for name, v in values.items() if name.startswith("layers.0.")}


def drawn(layer: cnn.layers.Layer, shape: tuple[int, ...], dtype: str) -> cnn.Network:
    """Parameters that are all different."""
    net = above(layer, shape, dtype)
    for name, values in net.parameters.items():
        if name.startswith("layers.0.") and "running" not in name:
            values[...] = rng.uniform(0.5, 1.5, values.shape)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [2, 16, 21, 1100])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", CHANNELS)
def test_kinds_on_images(kind: str, shape: tuple[int, ...], rows: int, dtype: str) -> None:
    """Values, and slopes along random directions by central differences of the formula."""
    layer, forward = CHANNELS[kind]
    net = drawn(layer, shape, dtype)
    assert {v.shape for n, v in net.parameters.items() if n.startswith("layers.0.")} == {shape[-1:]}
    X = rng.normal(1, 2, size=(rows, *shape)).astype(dtype).astype(float)
    G = rng.normal(size=(rows, 3))
    w = of_layer(net, net.parameters)
    last = net.layers[-1].weights.astype(float)
    close = {"rtol": 2e-4, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    outputs = forward(X, w).reshape(rows, -1) @ last
    np.testing.assert_allclose(net.forward(X.reshape(rows, -1), training=True), outputs, **close)
    dX = net.backward(G).reshape(X.shape).astype(float)
    gradient = of_layer(net, net.gradients)
    delta = (G @ last.T).reshape(X.shape)

    def loss(x: Array, parameters: dict[str, Array]) -> float:
        return float((forward(x, parameters) * delta).sum())

    h = 1e-6
    scale = np.sqrt((delta**2).sum())
    away = rng.normal(size=X.shape)
    slope = (loss(X + h * away, w) - loss(X - h * away, w)) / (2 * h)
    assert abs((dX * away).sum() - slope) < (1e-3 if dtype == "float32" else 1e-6) * scale
    for name in w:
        if "running" not in name:
            away = rng.normal(size=w[name].shape)
            up, down = ({**w, name: w[name] + s * h * away} for s in (1, -1))
            slope = (loss(X, up) - loss(X, down)) / (2 * h)
            assert abs((gradient[name] * away).sum() - slope) < (1e-3 if dtype == "float32" else 1e-6) * scale, name


def test_running_averages_are_those_of_rows_and_pixels() -> None:
    layer = cnn.BatchNorm(momentum=0.25)
    net = cnn.Network([layer, cnn.Flatten(), cnn.Dense(2)], optimizer=cnn.SGD(1e-12), dtype="float64").build((3, 5, 2))
    X = rng.normal(4, 3, size=(50, 3, 5, 2))
    net.fit(X.reshape(50, -1), np.ones((50, 2)), epochs=1, batch_size=50, verbose=0)
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(net.parameters["layers.0.running_mean"], 0.25 * mean, rtol=1e-12)
    np.testing.assert_allclose(net.parameters["layers.0.running_variance"], 0.75 + 0.25 * variance, rtol=1e-12)
    w = of_layer(net, net.parameters)
    expected = (X - w["running_mean"]) / np.sqrt(w["running_variance"] + 1e-5)
    expected = (expected * w["weights"] + w["biases"]).reshape(50, -1) @ net.layers[-1].weights + net.layers[-1].biases
    np.testing.assert_allclose(net.predict(X.reshape(50, -1)), expected, rtol=1e-9, atol=1e-9)


def test_one_image_has_a_mean_and_a_variance() -> None:
    """Of its pixels, as in PyTorch; one row of numbers has none."""
    net = cnn.Network([cnn.BatchNorm(), cnn.Flatten(), cnn.Dense(2)], dtype="float64", seed=0).build((2, 2, 3))
    x = rng.normal(size=(1, 12))
    each = x.reshape(4, 3)
    expected = ((each - each.mean(0)) / np.sqrt(each.var(0) + 1e-5)).reshape(1, 12) @ net.layers[-1].weights
    np.testing.assert_allclose(net.forward(x, training=True), expected, rtol=1e-12)


def test_a_channel_far_from_zero_keeps_its_digits() -> None:
    x = 1e6 + rng.normal(size=(100, 6 * 6 * 2)).astype("float32")
    net = cnn.Network([cnn.BatchNorm(), cnn.GlobalAvgPool2D(), cnn.Dense(2)], seed=0).build((6, 6, 2))
    net.forward(x, training=True)
    net.fit(x, np.ones((100, 2)), batch_size=100, epochs=1, verbose=0)
    variance = x.astype("float32").astype(float).reshape(-1, 2).var(0, ddof=1)
    np.testing.assert_allclose(net.parameters["layers.0.running_variance"], 0.9 + 0.1 * variance, rtol=1e-4)


def network(batch_norm: bool = True, dtype: str = "float32") -> cnn.Network:
    """All kinds at once, on images whose minibatches are several slabs."""
    norm = [cnn.BatchNorm(activation="relu")] if batch_norm else [cnn.LayerNorm()]
    layers = [
        cnn.Scale(), cnn.Conv2D(6, 3, padding="same"), *norm,
        cnn.Residual([cnn.Conv2D(6, 3, padding="same"), *norm]), cnn.MaxPool2D(3, 2, "same"), cnn.PReLU(),
        cnn.AvgPool2D(2), cnn.ParametricActivation("silu"), cnn.LayerNorm(), cnn.GlobalMaxPool2D(), cnn.Dense(3),
    ]  # fmt: skip
    return cnn.Network(layers, loss="mse", optimizer=cnn.SGD(0.05), dtype=dtype, seed=5).build((9, 8, 2))


@pytest.mark.parametrize("with_batch_norm", [True, False])
def test_bits_are_those_of_any_number_of_threads(with_batch_norm: bool) -> None:
    X, Y = rng.normal(size=(203, 144)), rng.normal(size=(203, 3))
    weights = []
    for threads in (1, 2, 3):
        net = network(with_batch_norm)
        net.fit(X, Y, epochs=2, batch_size=70, verbose=0, n_threads=threads)
        weights.append(net.get_weights())
    for name, value in weights[0].items():
        for other in weights[1:]:
            assert np.array_equal(value, other[name]), name
    one = network(with_batch_norm)
    assert np.array_equal(one.predict(X), np.concatenate([one.predict(X[i : i + 1]) for i in range(203)]))


@pytest.mark.parametrize("with_batch_norm", [True, False])
def test_a_step_of_several_slabs_is_that_of_one(with_batch_norm: bool) -> None:
    """One step of plain gradient descent beside the gradient that `backward` has of all rows as one slab."""
    X, Y = rng.normal(size=(150, 144)), rng.normal(size=(150, 3))
    net = network(with_batch_norm, "float64")
    before = net.get_weights()
    out = net.forward(X, training=True)
    net.backward(2 * (out - Y) / Y.size)
    gradient = {name: np.array(value) for name, value in net.gradients.items()}
    net.fit(X, Y, epochs=1, batch_size=150, verbose=0, shuffle=False)
    for name, value in net.get_weights().items():
        if "running" not in name:
            np.testing.assert_allclose(value, before[name] - 0.05 * gradient[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("place", range(9))
def test_what_is_no_number_goes_through_max_pooling(place: int) -> None:
    """inf - inf is not hidden by the numbers beside it."""
    layers = [cnn.Scale(), cnn.ParametricActivation("relu"), cnn.MaxPool2D(3), cnn.Flatten(), cnn.Dense(1)]
    net = cnn.Network(layers, dtype="float64").build((3, 3, 1))
    net.layers[0].weights[...] = 1e300
    X = np.arange(9.0)[None] - 4
    X[0, place] = 1e300
    with np.errstate(all="ignore"):
        assert np.isnan(net.forward(X)).all()
