"""The networks of images.py, their data and initial weights, and an oracle for outputs and losses in float64."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from networks import Parameters, log_softmax

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """`filters` of size x size over all channels, or each channel by itself; then a relu."""

    filters: int
    size: int
    same: bool = False
    depthwise: bool = False


@dataclass(frozen=True)
class Pool:
    """The largest of 2 x 2 pixels."""


@dataclass(frozen=True)
class Mean:
    """Of all pixels of a channel."""


@dataclass(frozen=True)
class Dense:
    """Of all numbers of an image, by rows of pixels, then pixels, then channels."""

    units: int
    relu: bool = True


Layer = Conv | Pool | Mean | Dense


@dataclass(frozen=True)
class Network:
    """A network of relus for classes, trained by Adam; `n_batches` full minibatches make an epoch."""

    name: str
    shape: Shape
    layers: tuple[Layer, ...]
    batch_size: int
    n_batches: int
    judged: int  # rows of which the loss is taken
    learning_rate: float = 1e-3
    optimizer: str = "adam"

    @property
    def rows(self) -> int:
        return self.batch_size * self.n_batches

    def shapes(self) -> list[Shape]:
        """Of the images, and of each layer's output."""
        found = [self.shape]
        for layer in self.layers:
            height, width, channels = found[-1] if len(found[-1]) == 3 else (0, 0, 0)
            if isinstance(layer, Conv):
                less = 0 if layer.same else layer.size - 1
                found.append((height - less, width - less, layer.filters))
            elif isinstance(layer, Pool):
                found.append((height // 2, width // 2, channels))
            else:
                found.append((channels,) if isinstance(layer, Mean) else (layer.units,))
        return found

    def weights(self) -> list[Shape]:
        """Shapes of W: (height, width, channels of a group, filters), or (inputs, units)."""
        found: list[Shape] = []
        for layer, below in zip(self.layers, self.shapes(), strict=False):
            if isinstance(layer, Conv):
                found.append((layer.size, layer.size, 1 if layer.depthwise else below[-1], layer.filters))
            elif isinstance(layer, Dense):
                found.append((math.prod(below), layer.units))
        return found

    def flops(self, kernels: bool = False) -> int:
        """Of a step's products: forward, weight gradient, input gradient above the first layer; or of kernels alone."""
        each, shapes = [], self.weights()
        for layer, out in zip(self.layers, self.shapes()[1:], strict=True):
            if isinstance(layer, Conv | Dense):
                pixels = math.prod(out[:-1]) if isinstance(layer, Conv) else 1
                each.append((pixels * math.prod(shapes.pop(0)), isinstance(layer, Conv)))
        counted = [n for n, kernel in each if kernel or not kernels]
        return 2 * self.batch_size * (3 * sum(counted) - each[0][0])


def _lenet(batch_size: int) -> Network:
    layers = (Conv(6, 5), Pool(), Conv(16, 5), Pool(), Dense(120), Dense(84), Dense(10, relu=False))
    return Network(f"lenet {batch_size}", (28, 28, 1), layers, batch_size, 60_000 // batch_size, judged=512)


NETWORKS = {
    network.name: network
    for network in (
        _lenet(32),
        _lenet(128),
        Network("three", (28, 28, 1), (Conv(32, 3, same=True), Conv(32, 3, same=True), Pool(), Conv(64, 3, same=True),
                Conv(64, 3, same=True), Pool(), Dense(128), Dense(10, relu=False)), 128, 16, judged=64),
        Network("depthwise", (32, 32, 3), (Conv(32, 3, same=True), Conv(32, 3, same=True, depthwise=True), Conv(64, 1),
                Pool(), Conv(64, 3, same=True, depthwise=True), Conv(128, 1), Pool(),
                Conv(128, 3, same=True, depthwise=True), Conv(128, 1), Mean(), Dense(10, relu=False)), 64, 40, 64),
        Network("large", (224, 224, 1), (Conv(16, 3, same=True), Pool(), Conv(32, 3, same=True), Pool(),
                Conv(64, 3, same=True), Pool(), Conv(64, 3, same=True), Mean(), Dense(10, relu=False)), 32, 4, 2),
    )
}  # fmt: skip
# One epoch of a few minibatches, to see that all works.
FIRST = 10  # minibatches, after which losses are compared
QUICK = {f"quick {name}": Network(f"quick {name}", n.shape, n.layers, 8, 2, 8) for name, n in NETWORKS.items()}
NETWORKS |= QUICK


@dataclass(frozen=True)
class Problem:
    """What every contestant starts from: X (rows, height, width, channels), classes y int64, (W, b) of layers."""

    network: Network
    X: np.ndarray
    y: np.ndarray
    parameters: Parameters


def read_idx(path: Path) -> np.ndarray:
    """Bytes in MNIST's idx format, compressed or not: the shape stands in the header, as big-endian integers."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def _images(network: Network, folder: str | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes: MNIST's files in a folder where the size is theirs, else random ones that can be learnt."""
    if folder is not None and network.shape == (28, 28, 1):
        X, y = (read_idx(next(Path(folder).glob(f"train-{what}*"))) for what in ("images-idx3", "labels-idx1"))
        rows = np.arange(network.rows) % len(X)
        return (X[rows, :, :, None] / np.float32(255)).astype(np.float32), y[rows].astype(np.int64)
    y = rng.integers(0, 10, network.rows)
    patterns = rng.standard_normal((10, *network.shape), np.float32)
    return 0.3 * patterns[y] + rng.random((network.rows, *network.shape), np.float32), y


@lru_cache(maxsize=1)
def problem(network: Network, folder: str | None = None) -> Problem:
    """The same numbers in every process."""
    rng = np.random.default_rng(0)
    parameters = [
        (rng.normal(0, np.sqrt(2 / math.prod(shape[:-1])), shape).astype(np.float32), np.zeros(shape[-1], np.float32))
        for shape in network.weights()
    ]  # He et al. 2015
    return Problem(network, *_images(network, folder, rng), parameters)


def inputs(network: Network, rows: int) -> np.ndarray:
    """Images to predict."""
    return np.random.default_rng(1).random((rows, *network.shape), np.float32)


def channels_first(network: Network, parameters: Parameters) -> Parameters:
    """W of kernels as (filters, channels, height, width), and of the first dense layer for images that are so."""
    turned, shapes = [], network.shapes()
    weighed = [i for i, layer in enumerate(network.layers) if isinstance(layer, Conv | Dense)]
    for i, (W, b) in zip(weighed, parameters, strict=True):
        if isinstance(network.layers[i], Conv):
            W = W.transpose(3, 2, 0, 1)
        elif len(shapes[i]) == 3:
            W = W.reshape(*shapes[i], -1).transpose(2, 0, 1, 3).reshape(W.shape)
        turned.append((np.ascontiguousarray(W), b))
    return turned


def channels_last(network: Network, parameters: Parameters) -> Parameters:
    """The way back."""
    turned, shapes = [], network.shapes()
    weighed = [i for i, layer in enumerate(network.layers) if isinstance(layer, Conv | Dense)]
    for i, (W, b) in zip(weighed, parameters, strict=True):
        if isinstance(network.layers[i], Conv):
            W = W.transpose(2, 3, 1, 0)
        elif len(shapes[i]) == 3:
            height, width, channels = shapes[i]
            W = W.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(W.shape)
        turned.append((W.copy(), b))
    return turned


def _convolved(layer: Conv, x: np.ndarray, W: np.ndarray) -> np.ndarray:
    """The sums, point by point of the kernel."""
    pad = (layer.size - 1) // 2 if layer.same else 0
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = (n - layer.size + 1 for n in x.shape[1:3])
    seen = {(i, j): x[:, i : i + height, j : j + width] for i in range(layer.size) for j in range(layer.size)}
    return sum(part * W[at][0] if layer.depthwise else part @ W[at] for at, part in seen.items())


def outputs(network: Network, parameters: Parameters, X: np.ndarray) -> np.ndarray:
    """(rows, classes) in float64, before the softmax."""
    a, left = X.astype(np.float64), [(W.astype(np.float64), b.astype(np.float64)) for W, b in parameters]
    for layer in network.layers:
        if isinstance(layer, Pool):
            n, height, width, channels = a.shape
            even = a[:, : height // 2 * 2, : width // 2 * 2]
            a = even.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
        elif isinstance(layer, Mean):
            a = a.mean((1, 2))
        elif isinstance(layer, Conv):
            W, b = left.pop(0)
            a = np.maximum(_convolved(layer, a, W) + b, 0)
        else:
            W, b = left.pop(0)
            a = a.reshape(len(a), -1) @ W + b
            a = np.maximum(a, 0) if layer.relu else a
    return a


def predictions(network: Network, parameters: Parameters, X: np.ndarray) -> np.ndarray:
    """Probabilities of the classes."""
    return np.exp(log_softmax(outputs(network, parameters, X)))


def loss(problem: Problem, parameters: Parameters) -> float:
    """The mean loss of a network with these parameters over the first rows, in float64: judges all contestants."""
    rows = problem.network.judged
    z, y = outputs(problem.network, parameters, problem.X[:rows]), problem.y[:rows]
    return float(-log_softmax(z)[np.arange(len(y)), y].mean())
