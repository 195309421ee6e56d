"""Networks of images: kernels as pictures, and which pixels a prediction hangs on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn._common import checks
from cnn.layers import Layer
from cnn.plots.canvas import ACCENT, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
_MOST = 64  # kernels or images in a picture


class _Seen(Protocol):
    """What is asked of a `cnn.Network`."""

    descriptions: tuple[Layer, ...]

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def parameters(self) -> Mapping[str, Array]: ...

    def forward(self, X: Any) -> Array: ...

    def backward(self, dout: Any) -> Array | None: ...


def filters(net: _Seen, layer: int = 0) -> Figure:
    """The kernels of a convolution of images, a picture for each filter: of its mean over the channels, or in colour.

    Kernels of three channels have their weights as red, green and blue, 0 being grey. Others are dark below 0 and
    bright above it, on one scale for all.

    Args:
        net: a network that is built.
        layer: number of the layer, a `Conv2D` or a `DepthwiseConv2D`; at most 64 of its filters are drawn.

    Raises:
        TypeError: a layer that has no kernels of images.
        IndexError: no layer of that number.

    >>> import cnn
    >>> net = cnn.Network([cnn.Conv2D(6, 5), cnn.Flatten(), cnn.Dense(10)], seed=0).build((28, 28, 1))
    >>> len(filters(net).axes)
    6
    """
    number = checks.integer("layer", layer, 0)
    if number >= len(net.descriptions):
        raise IndexError(f"layer must be below {len(net.descriptions)}, the number of layers, got {number}")
    weights = net.parameters.get(f"layers.{number}.weights")
    if weights is None or weights.ndim != 4:
        raise TypeError(f"filters takes a layer such as cnn.Conv2D(8, 3), got {net.descriptions[number]!r}")
    kernels = np.moveaxis(np.asarray(weights, np.float64), -1, 0)[:_MOST]  # (filters, height, width, channels)
    largest = np.abs(kernels).max() or 1.0
    if kernels.shape[-1] == 3:
        return _gallery([(0.5 + kernel / (2 * largest), {}, "") for kernel in kernels])
    means = kernels.mean(axis=-1)
    largest = np.abs(means).max() or 1.0
    return _gallery([(mean, {"cmap": "gray", "vmin": -largest, "vmax": largest}, "") for mean in means])


def saliency(net: _Seen, X: Any, output: int | None = None) -> Figure:
    """Each image, and beside it |d score / d pixel|, the largest of its channels: what the score hangs on.

    The score is a raw output of the network (before the softmax): that of class `output`, or the largest one of each
    image. (Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks".)

    Args:
        net: a network for images that is built.
        X: (n, height, width, channels) of 1 or 3 channels; at most 32 of them are drawn.
        output: number of the output; None takes the largest one.

    Raises:
        ValueError: X has no such images, or `output` is not among the outputs.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Conv2D(4, 3), cnn.Flatten(), cnn.Dense(10)], seed=0).build((8, 8, 1))
    >>> len(saliency(net, np.ones((3, 8, 8, 1))).axes)
    6
    """
    given = np.asarray(X)
    if given.ndim != 4 or given.shape[1:] != net.input_shape or not len(given) or given.shape[-1] not in (1, 3):
        raise ValueError(
            f"saliency takes images (n, {', '.join(map(str, net.input_shape))}) of 1 or 3 channels, at least one; got "
            f"shape {given.shape}"
        )
    given = given[: _MOST // 2]
    scores = net.forward(given)
    if output is not None and checks.integer("output", output, 0) >= scores.shape[1]:
        raise ValueError(f"output must be below {scores.shape[1]}, the number of outputs, got {output}")
    chosen = scores.argmax(axis=1) if output is None else np.full(len(given), output)
    slopes = net.backward(np.eye(scores.shape[1], dtype=net.dtype)[chosen])
    assert slopes is not None  # X is dense
    strength = np.abs(slopes).max(axis=-1)
    panels: list[tuple[Array, dict[str, Any], str]] = []
    for image, map_, k in zip(given, strength, chosen, strict=True):
        panels.append((_visible(image), {"cmap": "gray"}, f"output {k}"))
        panels.append((map_, {"cmap": "inferno", "vmin": 0}, ""))
    return _gallery(panels, even=True)


def shares_of_pixels(found: Any, output: int | None) -> Figure:
    """What `attributions` draws of images: each one, and beside it the shares of its pixels, red above 0, blue below.

    The shares of a pixel's channels are added; the scale is each image's own. Without `output` the largest is drawn.
    """
    images = found.data[: _MOST // 2]
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(
            "attributions draws rows of numbers, or images (n, height, width, channels) of 1 or 3 channels, at least "
            f"one; got shape {found.data.shape}"
        )
    values = found.values[: len(images)]
    if values.ndim == images.ndim:
        values = values[..., None]
    if output is not None:
        checks.integer("output", output, 0, values.shape[-1] - 1)
    predictions = np.reshape(found.predictions, (len(found.predictions), -1))[: len(images)]
    chosen = predictions.argmax(axis=1) if output is None else np.full(len(images), output)
    panels: list[tuple[Array, dict[str, Any], str]] = []
    for image, shares, k in zip(images, values.sum(axis=3), chosen, strict=True):
        largest = np.abs(shares[..., k]).max() or 1.0
        panels.append((_visible(image), {"cmap": "gray"}, plain(found.output_names[k][:12])))
        panels.append((shares[..., k], {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}, ""))
    return _gallery(panels, even=True)


def _visible(image: Array) -> Array:
    """An image as matplotlib has it: one channel as it is, three within [0, 1]."""
    if image.shape[-1] == 1:
        return image[..., 0]
    low, high = float(image.min()), float(image.max())
    if image.dtype == np.uint8 or (low >= 0 and high <= 1):
        return image
    return (image - low) / ((high - low) or 1.0)


def _gallery(panels: list[tuple[Array, dict[str, Any], str]], *, even: bool = False) -> Figure:
    """Pictures side by side, in about twice as many columns as rows; an even number of columns where asked."""
    columns = min(len(panels), max(4, math.ceil(math.sqrt(2 * len(panels)))))
    columns += columns % 2 if even else 0
    rows = -(-len(panels) // columns)
    figure = new_figure(1.1 * columns + 0.2, (1.3 if even else 1.1) * rows + 0.2)
    for k, (picture, options, title) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, k + 1)
        axes.imshow(picture, interpolation="nearest", **options)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(ACCENT)
        if title:
            axes.set_title(title, fontsize=8)
    return figure
