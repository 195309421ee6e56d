"""500 random networks of images and signals agree with the reference: outputs, loss, gradients, a training step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from helpers import ReferenceTraining, reference_gradient, reference_layers
from image_networks import build, data

import cnn
from cnn.layers import Layer

TESTS, NETWORKS = 25, 20  # each so many
SMOOTH = ("identity", "tanh", "sigmoid", "gelu", "silu", "mish", "softplus", "elu")


class Drawn:
    """A random network, layer by layer; `shape` is what the next one reads."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rank = int(self.rng.integers(1, 3))
        self.start = (*self._each(1, 10), int(self.rng.integers(1, 7)))
        self.shape = self.start
        self.layers: list[Layer] = []
        for _ in range(self.rng.integers(1, 5)):
            self._add(self._one())
        self._add(self._end())

    def _each(self, low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self.rng.integers(low, high, self.rank))

    def _add(self, layer: Layer) -> None:
        for part in layer.flat():
            self.shape = part.output_shape(self.shape)
        self.layers.append(layer)

    def _of(self, name: str) -> Any:
        return getattr(cnn, f"{name}{self.rank}D")

    def _window(self, what: str, stride: bool = True) -> dict[str, Any]:
        """A kernel that is in the image, or padding around."""
        size = self._each(1, 5)
        padding = self.rng.choice(["valid", "same", "number"])
        given: dict[str, Any] = {what: size, "padding": str(padding)}
        if padding == "number":
            given["padding"] = tuple(n // 2 for n in size)
        if padding != "same":
            given[what] = tuple(min(k, n) for k, n in zip(size, self.shape, strict=False))
            if padding == "number":
                given["padding"] = tuple(n // 2 for n in given[what])
        if stride:
            given["strides"] = self._each(1, 4)
        return given

    def _conv(self, filters: int | None = None, same: bool = False) -> Layer:
        channels, activation = self.shape[-1], str(self.rng.choice(SMOOTH))
        divisors = [g for g in range(1, channels + 1) if channels % g == 0]
        groups = int(self.rng.choice(divisors))
        filters = groups * int(self.rng.integers(1, 5)) if filters is None else filters
        groups = groups if filters % groups == 0 else 1
        window = self._window("kernel_size") if not same else {"kernel_size": self._each(1, 4), "padding": "same"}
        if window["padding"] == "same" and not same and self.rng.random() < 0.5:
            window |= {"dilation_rate": self._each(1, 3)}
        bias = bool(self.rng.random() < 0.8)
        return self._of("Conv")(filters, **window, groups=groups, activation=activation, use_bias=bias)

    def _one(self) -> Layer:
        kind = self.rng.choice(["conv", "conv", "conv", "depthwise", "max", "average", "residual", "dropout"])
        if kind == "depthwise" and self.rank == 2:
            multiplier = int(self.rng.integers(1, 3))
            return cnn.DepthwiseConv2D(**self._window("kernel_size"), depth_multiplier=multiplier, activation="tanh")
        if kind == "max":
            return self._of("MaxPool")(**self._window("pool_size"))
        if kind == "average":
            return self._of("AvgPool")(**self._window("pool_size"))
        if kind == "residual":
            return cnn.Residual([self._conv(self.shape[-1], same=True)])
        if kind == "dropout":
            return cnn.Dropout(0.3)
        return self._conv()

    def _end(self) -> Layer:
        kind = self.rng.choice(["Flatten", "GlobalAvgPool", "GlobalMaxPool"])
        return cnn.Flatten() if kind == "Flatten" else self._of(kind)()


@pytest.mark.parametrize("test", range(TESTS))
def test_networks_agree(test: int) -> None:
    for seed in range(test * NETWORKS, (test + 1) * NETWORKS):
        drawn = Drawn(seed)
        net = build(drawn.start, drawn.layers, seed=seed)
        (X, y), name = data(net, int(drawn.rng.integers(1, 36)), seed), f"seed {seed}: {drawn.layers} of {drawn.start}"
        layers = [layer | ({"rate": 0.0} if "rate" in layer else {}) for layer in reference_layers(net)]
        out = reference.forward(layers, X)[0]
        np.testing.assert_allclose(net.predict(X), out, rtol=1e-10, atol=1e-11, err_msg=name)
        loss, gradient = net.loss_and_gradient(X, y, training=True)
        expected, by_reference = reference_gradient(net, X, y, training=True)
        assert loss == pytest.approx(expected, rel=1e-11), name
        for what, found in gradient.items():
            bound = 1e-11 * np.abs(by_reference[what]).max(initial=1)
            np.testing.assert_allclose(found, by_reference[what], rtol=1e-9, atol=bound, err_msg=f"{what}, {name}")
        training = ReferenceTraining(net)
        training.step(0.01, X, y)
        net.fit(X, y, epochs=1, batch_size=len(X), shuffle=False, verbose=0)
        for what, moved in training.weights().items():
            found = net.parameters[what]
            np.testing.assert_allclose(found, moved, rtol=1e-6, atol=1e-6, err_msg=f"{what}, {name}")
