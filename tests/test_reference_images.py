"""The reference of image layers: right by central differences, and beside PyTorch's and TensorFlow's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import reference_images as images
from helpers import reference_layers
from image_networks import STACKS, data, stack


@pytest.mark.parametrize("name", STACKS)
def test_gradients_are_central_differences(name: str) -> None:
    net = stack(name)
    layers, (x, t) = reference_layers(net), data(net, 7)
    gradient = reference.loss_and_gradient(layers, "mse", x, t, i=4)[2]
    rng = np.random.default_rng(0)
    for (index, what), g in gradient.items():
        if what in reference.RUNNING:  # no gradient teaches them
            continue
        theta, way = layers[index][what], rng.normal(size=g.shape)
        assert g.shape == theta.shape
        sides = []
        for step in (1e-6, -1e-6):
            layers[index][what] = theta + step * way
            sides.append(reference.loss_and_gradient(layers, "mse", x, t, i=4)[0])
        layers[index][what] = theta
        assert (g * way).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-8), (index, what)


@pytest.mark.parametrize("name", STACKS)
def test_shapes_are_those_of_the_descriptions(name: str) -> None:
    net = stack(name)
    out, read, _ = reference.forward(reference_layers(net), data(net, 3)[0])
    assert [a.shape[1:] for a in (*read, out)] == list(net.plan.shapes)


# The numbers below are PyTorch 2.13's, float64, of integers that both sides make: nothing is rounded in convolutions.
def ramp(*shape: int, m: int = 7) -> Any:
    """0 .. m - 1 again and again, less m // 2."""
    return (np.arange(np.prod(shape)) % m - m // 2).astype(float).reshape(shape)


def prints(a: Any) -> list[float]:
    """Three sums that tell arrays apart."""
    k = np.arange(a.size)
    return [float(a.sum()), float((a.ravel() * (k % 5)).sum()), float((a.ravel() * (k % 11)).sum())]


@pytest.mark.parametrize(
    ("sizes", "options", "shape", "z", "weights", "below"),
    [
        ((2, 6, 7, 3, 2, 4), {"kernel_size": (3, 2)}, (2, 4, 6, 4),
         [-64, -116, -358], [-9, -6, -49], [11, -107, -443]),
        ((2, 6, 7, 3, 3, 4), {"kernel_size": (3, 2), "strides": (2, 1)}, (2, 2, 6, 4),
         [-32, -57, 257], [3, 13, 24], [4, 281, -159]),
        ((1, 8, 8, 4, 3, 6), {"padding": 1, "dilation_rate": 2, "groups": 2}, (1, 6, 6, 6),
         [9, 572, 483], [44, 642, 734], [-11, 30, 39]),
        ((2, 7, 5, 4, 3, 8), {"padding": (2, 1), "strides": 2, "groups": 4}, (2, 5, 3, 8),
         [-6, -304, -2035], [28, -236, 642], [-28, -84, -146]),
        ((2, 5, 5, 2, 3, 2), {"padding": "same"}, (2, 5, 5, 2), [-1, 19, 152], [2, 25, -42], [10, 554, 113]),
    ],
)  # fmt: skip
def test_convolutions_are_pytorchs(
    sizes: Any, options: Any, shape: Any, z: list[float], weights: list[float], below: list[float]
) -> None:
    n, height, width, channels, _, filters = sizes
    layer = {"kernel_size": 3, "strides": 1, "padding": "valid", "dilation_rate": 1, "groups": 1, **options}
    x = ramp(n, height, width, channels)
    layer["W"] = ramp(*images.as_tuple(layer["kernel_size"], 2), channels // layer["groups"], filters, m=5)
    out = images.product(layer, x)
    gradient, dx = images.product_back(layer, x, ramp(*out.shape, m=5))
    assert out.shape == shape
    assert (prints(out), prints(gradient), prints(dx)) == (z, weights, below)


@pytest.mark.parametrize(
    ("kind", "sizes", "options", "shape", "z", "below"),
    [
        ("MaxPool2D", (2, 6, 7, 3), {"pool_size": 2}, (2, 3, 3, 3), [257, 506, 1290], [-2, -4, 41]),
        ("MaxPool2D", (2, 7, 7, 2), {"pool_size": 3, "strides": 2, "padding": 1}, (2, 4, 4, 2),
         [220, 437, 1206], [-2, -10, -93]),
        ("AvgPool2D", (2, 6, 7, 3), {"pool_size": 2}, (2, 3, 3, 3), [-1.25, 10, 14], [-2, -7.75, 60.75]),
        ("AvgPool2D", (2, 6, 6, 2), {"pool_size": 4, "strides": 2, "padding": 2}, (2, 4, 4, 2),
         [-2.125, -11.125, 47.25], [-2, -6.75, -5.875]),
    ],
)  # fmt: skip
def test_pools_are_pytorchs(
    kind: str, sizes: Any, options: Any, shape: Any, z: list[float], below: list[float]
) -> None:
    layer = {"kind": kind, "strides": None, "padding": "valid", **options}
    forward, back = reference.KINDS[kind]
    out, kept = forward(layer, ramp(*sizes, m=13))
    assert out.shape == shape
    np.testing.assert_allclose(prints(out), z, rtol=1e-14)
    np.testing.assert_allclose(prints(back(layer, kept, ramp(*out.shape, m=5))[0]), below, rtol=1e-14)


def test_the_first_of_equals_gets_the_gradient() -> None:
    layer = {"kind": "MaxPool2D", "pool_size": 2, "strides": 1, "padding": "valid"}
    out, kept = images.max_pool(layer, np.zeros((1, 3, 3, 1)))
    below, _ = images.max_pool_back(layer, kept, np.ones_like(out))
    assert below[0, :, :, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "fields", "z", "below", "gradient"),
    [
        ("BatchNorm", {"epsilon": 1e-5, "momentum": 0.1, "activation": "identity", "running_mean": np.zeros(3),
                       "running_variance": np.ones(3)},
         [-36.0, -79.23257438738024, -187.2500188257041], [0.0, -19.88789998724586, -11.618571678132415],
         {"weights": [2.63386536923703, 2.8749639378170495, -2.6885887292323574], "biases": [0.0, -1.0, -2.0],
          "running_mean": [-0.020833333333333336, -0.02916666666666667, -0.037500000000000006],
          "running_variance": [2.404166666666667, 2.347644927536232, 2.2722826086956522]}),
        ("LayerNorm", {"epsilon": 1e-5}, [4.89598952432457, 5.343402120441118, 21.28311939072217],
         [0.0, -21.693217679542276, 0.6691491193331949],
         {"weights": [2.878668836847668, -0.7970810064859359, -0.058228352358972835], "biases": [0.0, -1.0, -2.0]}),
        ("PReLU", {}, [168, 329, 746], [3.5, 18.5, -48.5], {"weights": [1, 11, 0]}),
    ],
)  # fmt: skip
def test_norms_of_channels_are_pytorchs(
    kind: str, fields: Any, z: list[float], below: list[float], gradient: dict[str, list[float]]
) -> None:
    layer = {**fields, "weights": ramp(3, m=5) + 0.5, "biases": ramp(3, m=5) + 0.5}
    forward, back = reference.KINDS[kind]
    out, kept = forward(layer, ramp(2, 3, 4, 3, m=13))
    dx, found = back(layer, kept, ramp(2, 3, 4, 3, m=5))
    np.testing.assert_allclose(prints(out), z, rtol=1e-13)
    np.testing.assert_allclose(prints(dx), below, rtol=1e-12, atol=1e-13)
    for what, expected in gradient.items():
        moved = layer[what] - found[what] if what in reference.RUNNING else found[what]
        np.testing.assert_allclose(moved, expected, rtol=1e-13, atol=1e-15)


def test_same_is_tensorflows() -> None:
    """The example of its documentation: 13 pixels, a kernel of 6, strides of 5: one zero before, two behind."""
    assert images.Window((13,), (6,), (5,), "same", (1,)).pad == [(1, 2)]
    assert images.Window((13,), (6,), (5,), "valid", (1,)).out == (2,)
