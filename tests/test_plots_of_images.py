"""Pictures of kernels, of what predictions hang on, and of networks of images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import cnn
from cnn import plots
from cnn.layers import Layer

pytest.importorskip("matplotlib")


def network(channels: int = 1, *layers: Layer) -> cnn.Network:
    first = layers or (cnn.Conv2D(6, 3, activation="tanh"), cnn.DepthwiseConv2D(2), cnn.GlobalAvgPool2D())
    return cnn.Network([*first, cnn.Dense(4)], seed=0, dtype="float64").build((7, 8, channels))


def drawn(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40)
    return out.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_are_the_kernels(channels: int) -> None:
    net = network(channels)
    figure, weights = plots.filters(net), net.layers[0].weights
    assert len(figure.axes) == 6
    for k, axes in enumerate(figure.axes):
        shown = np.asarray(axes.get_images()[0].get_array())
        if channels == 3:
            np.testing.assert_allclose(shown, 0.5 + weights[..., k] / (2 * np.abs(weights).max()))
        else:
            np.testing.assert_allclose(shown, weights[..., k].mean(axis=-1))
    assert drawn(figure).startswith(b"\x89PNG")
    assert len(plots.filters(net, layer=1).axes) == 6
    assert len(plots.filters(network(1, cnn.Conv2D(100, 3), cnn.Flatten())).axes) == 64


def test_saliency_is_the_slope_of_the_largest_output() -> None:
    net = network(3)
    X = np.random.default_rng(0).random((3, 7, 8, 3))
    axes = plots.saliency(net, X).axes
    assert len(axes) == 6
    scores, step = net.predict(X), 1e-6
    for i in range(3):
        k = int(scores[i].argmax())
        assert axes[2 * i].get_title() == f"output {k}"
        np.testing.assert_array_equal(np.asarray(axes[2 * i].get_images()[0].get_array()), X[i])
        slopes = np.empty((7, 8, 3))
        for place in np.ndindex(slopes.shape):
            moved = X[i : i + 1].copy()
            moved[(0, *place)] += step
            slopes[place] = (net.predict(moved)[0, k] - scores[i, k]) / step
        shown = np.asarray(axes[2 * i + 1].get_images()[0].get_array())
        np.testing.assert_allclose(shown, np.abs(slopes).max(axis=-1), atol=1e-5)
    assert {a.get_title() for a in plots.saliency(net, X, output=2).axes[::2]} == {"output 2"}
    assert drawn(plots.saliency(net, 5 * X - 2)).startswith(b"\x89PNG")
    assert len(plots.saliency(net, np.zeros((50, 7, 8, 3))).axes) == 64


def test_networks_of_images_are_blocks_and_units() -> None:
    net = network(3, cnn.Conv2D(6, 3, padding="same"), cnn.PReLU(),
                  cnn.MaxPool2D(2), cnn.Flatten(), cnn.Dense(5, "tanh"))  # fmt: skip
    figure = plots.network(net)
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_text() != "⋮"]
    assert texts == ["inputs\n7 x 8 x 3", "layers.0\nConv2D\n7 x 8 x 6", "layers.2\nMaxPool2D\n3 x 4 x 6",
                     "layers.3\nFlatten\n72", "layers.4\ntanh\n5", "layers.5\nidentity\n4"]  # fmt: skip
    assert drawn(figure).startswith(b"\x89PNG")
    signals = cnn.Network([cnn.Conv1D(3, 2), cnn.GlobalMaxPool1D(), cnn.Dense(1)], seed=0).build((9, 2))
    assert drawn(plots.network(signals)).startswith(b"\x89PNG")


def test_errors() -> None:
    net = network(2)
    with pytest.raises(IndexError, match="layer must be below 4, the number of layers, got 7"):
        plots.filters(net, 7)
    for layer in (2, 3):
        with pytest.raises(TypeError, match="filters takes a layer such as"):
            plots.filters(net, layer)
    with pytest.raises(ValueError, match=r"saliency takes images \(n, 7, 8, 2\) of 1 or 3 channels"):
        plots.saliency(net, np.ones((2, 7, 8, 2)))
    with pytest.raises(ValueError, match="output must be below 4, the number of outputs, got 4"):
        plots.saliency(network(), np.ones((1, 7, 8, 1)), output=4)
