"""Random networks for images and signals exported to ONNX and to C: both must give what the network gives.

    python tools/export_images.py --count 200 [--seed 0]

ONNX Runtime: 1e-5 of the largest magnitude. C: raw outputs within 4 ULP times the layers with weights, the ULP that of
the sums of magnitudes (docs/deploy.md); compiled without a warning by each of gcc and clang that is there. What the
network gives is held to formulas in NumPy, float64, by the same bound.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from export_test import COMPILERS, by_c, by_onnx, close
from scipy.special import expit, softmax

import cnn

Array = np.ndarray[Any, Any]
ACTIVATIONS = {
    "identity": lambda z: z, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "silu": lambda z: z * expit(z),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}  # fmt: skip
LINKS = {"mse": lambda f: f, "cross_entropy": lambda f: softmax(f, axis=1), "poisson": np.exp}
EXACT = ("identity", "relu", "leaky_relu")  # activations that keep sums of magnitudes what they are
MAX = (cnn.MaxPool1D, cnn.MaxPool2D, cnn.GlobalMaxPool1D, cnn.GlobalMaxPool2D)
GLOBAL = (cnn.GlobalAvgPool1D, cnn.GlobalAvgPool2D, cnn.GlobalMaxPool1D, cnn.GlobalMaxPool2D)


def windows(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Array, Array]:
    """(values, there): what each window sees of x (n, *image, channels), of shape (n, *out, *kernel, channels).

    Outside the image values are 0, and not there. Element by element, by the definition.
    """
    image = x.shape[1:-1]
    kernel, stride, dilation = (np.broadcast_to(size, len(image)) for size in (kernel, stride, dilation))
    reach = (kernel - 1) * dilation + 1
    if padding == "same":
        out = -(-np.array(image) // stride)
        before = np.maximum(0, (out - 1) * stride + reach - image) // 2
    else:
        before = np.broadcast_to(0 if padding == "valid" else padding, len(image))
        out = (np.array(image) + 2 * before - reach) // stride + 1
    values = np.zeros((len(x), *out, *kernel, x.shape[-1]))
    there = np.zeros((*out, *kernel, 1), bool)
    for place in itertools.product(*map(range, out)):
        for point in itertools.product(*map(range, kernel)):
            at = tuple(np.array(place) * stride + np.array(point) * dilation - before)
            if all(0 <= a < size for a, size in zip(at, image, strict=True)):
                values[(slice(None), *place, *point)] = x[(slice(None), *at)]
                there[(*place, *point)] = True
    return values, there


def convolution(layer: Any, x: Array, w: Array, b: Any) -> Array:
    """Σ over points and channels of the group."""
    seen, _ = windows(x, layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate)
    groups = x.shape[-1] // w.shape[-2]
    parts = zip(np.split(seen, groups, axis=-1), np.split(w, groups, axis=-1), strict=True)
    axes = w.ndim - 1
    return np.concatenate([np.tensordot(part, of, axes) for part, of in parts], axis=-1) + b


def pool(layer: Any, x: Array) -> Array:
    largest = isinstance(layer, MAX)
    if isinstance(layer, GLOBAL):
        axes = tuple(range(1, x.ndim - 1))
        return x.max(axes) if largest else x.mean(axes)
    stride = layer.pool_size if layer.strides is None else layer.strides
    seen, there = windows(x, layer.pool_size, stride, layer.padding)
    axes = tuple(range(x.ndim - 1, seen.ndim - 1))
    if largest:
        return np.where(there, seen, -np.inf).max(axes)
    return seen.sum(axes) / there.sum(tuple(axis - 1 for axis in axes))


def norm(layer: Any, x: Array, s: Array, own: dict[str, Array]) -> tuple[Array, Array]:
    """Layers with a parameter for each channel: outputs, and the sums they are made of."""
    w = own["weights"]
    if isinstance(layer, cnn.Scale):
        return x * w, s * np.abs(w)
    if isinstance(layer, cnn.PReLU):
        return np.where(x > 0, x, w * x), s * np.maximum(1, np.abs(w))
    if isinstance(layer, cnn.ParametricActivation):
        return x + w * (ACTIVATIONS[layer.function.name](x) - x), s + np.abs(w) * (2.2 * s + 1)
    if isinstance(layer, cnn.BatchNorm):
        mean, factor = own["running_mean"], w / np.sqrt(own["running_variance"] + layer.epsilon)
        return (x - mean) * factor + own["biases"], (s + np.abs(mean)) * np.abs(factor) + np.abs(own["biases"])
    factor = w / np.sqrt(x.var(-1, keepdims=True) + layer.epsilon)  # LayerNorm, of each pixel
    both = s + s.mean(-1, keepdims=True)
    share = np.abs(x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.epsilon)
    sums = both * np.abs(factor) * (1 + share * share.mean(-1, keepdims=True)) + np.abs(own["biases"])
    return (x - x.mean(-1, keepdims=True)) * factor + own["biases"], sums


def forward(net: cnn.Network, X: Array) -> tuple[Array, Array]:
    """Raw outputs by NumPy in float64, and the sums they are made of, without signs."""
    x = np.asarray(X, np.float64)
    s, read = np.abs(x), []
    for i, layer in enumerate(net.descriptions):
        read.append((x, s))
        own = {name.rpartition(".")[2]: value.astype(np.float64) for name, value in net.parameters.items()
               if name.startswith(f"layers.{i}.")}  # fmt: skip
        w, b = own.get("weights"), own.get("biases", np.zeros(1))
        if isinstance(layer, cnn.Dense):
            x, s = x @ w + b, s @ np.abs(w) + np.abs(b)
        elif isinstance(layer, cnn.Conv2D | cnn.DepthwiseConv2D):
            x, s = convolution(layer, x, w, b), convolution(layer, s, np.abs(w), np.abs(b))
        elif isinstance(layer, cnn.Flatten):
            x, s = x.reshape(len(x), -1), s.reshape(len(x), -1)
        elif isinstance(layer, cnn.Add):
            x, s = x + read[i - layer.span][0], s + read[i - layer.span][1]
        elif own:
            x, s = norm(layer, x, s, own)
        elif not isinstance(layer, cnn.Dropout | cnn.GaussianNoise):
            x, s = pool(layer, x), pool(layer, s)
        name = layer.function.name
        if not isinstance(layer, cnn.ParametricActivation):
            x, s = ACTIVATIONS[name](x), s if name in EXACT else 1.2 * s + 1
    return x, s


def layer_for(rng: random.Random, shape: tuple[int, ...]) -> cnn.layers.Layer:
    """A layer that takes such images or signals; ValueError now and then, where its kernel is too large."""
    rank, channels = len(shape) - 1, shape[-1]

    def size(*of: int) -> Any:
        return tuple(rng.choice(of) for _ in range(rank)) if rank > 1 and rng.random() < 0.4 else rng.choice(of)

    window = {"strides": size(1, 1, 2, 3), "padding": rng.choice(("valid", "same", "same", 1))}
    conv = {"dilation_rate": size(1, 1, 2), "activation": rng.choice(list(ACTIVATIONS)),
            "use_bias": rng.random() < 0.8}  # fmt: skip
    kind = rng.randrange(8)
    if kind < 4 or (kind == 4 and rank == 1):
        groups = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
        made = cnn.Conv1D if rank == 1 else cnn.Conv2D
        return made(groups * rng.randint(1, 3), size(1, 2, 3, 5), groups=groups, **window, **conv)
    if kind == 4:
        return cnn.DepthwiseConv2D(size(2, 3), depth_multiplier=rng.choice((1, 1, 2)), **window, **conv)
    if rng.random() < 0.25:
        name = rng.choice(list(ACTIVATIONS))
        return rng.choice((cnn.BatchNorm(activation=name), cnn.LayerNorm(), cnn.PReLU(), cnn.Scale(),
                           cnn.ParametricActivation(name)))  # fmt: skip
    if kind == 5:
        same = (cnn.Conv1D if rank == 1 else cnn.Conv2D)(channels, 3, padding="same", activation="tanh")
        return cnn.Residual([same, cnn.Dropout(0.1)])
    pools = (cnn.MaxPool1D, cnn.AvgPool1D) if rank == 1 else (cnn.MaxPool2D, cnn.AvgPool2D)
    return rng.choice(pools)(size(2, 3), rng.choice((None, window["strides"])), window["padding"])


def network(rng: random.Random) -> cnn.Network:
    """Any kinds, sizes, strides, paddings, dilations and groups that fit to one another."""
    shape: tuple[int, ...] = tuple(rng.choice((5, 8, 13)) for _ in range(rng.choice((1, 2, 2))))
    shape = inputs = (*shape, rng.choice((1, 2, 3, 4)))
    layers: list[cnn.layers.Layer] = []
    wanted = rng.randint(1, 4)
    while len(layers) < wanted:
        layer = layer_for(rng, shape)
        try:
            for part in layer.flat():
                part.parameters(shape)
                shape = part.output_shape(shape)
        except ValueError:
            continue
        layers.append(layer)
    layers.append(rng.choice((cnn.Flatten, cnn.Flatten, *GLOBAL[len(shape) - 2 :: 2]))())
    loss = rng.choice(list(LINKS))
    net = cnn.Network([*layers, cnn.Dense(7, "tanh"), cnn.Dense(3)], loss=loss, seed=rng.randrange(2**32),
                      dtype=rng.choice(("float32", "float32", "float64"))).build(inputs)  # fmt: skip
    numbers = np.random.default_rng(net.seed)
    for name, view in net.parameters.items():
        if name.endswith(("biases", "running_mean")):
            view[...] = numbers.normal(size=view.shape)
        elif view.ndim == 1:
            view[...] = numbers.uniform(0.2, 1.5, view.shape)
    return net


def check(net: cnn.Network, X: Array, folder: Path, onnx: bool) -> dict[str, float]:
    """The largest differences; AssertionError where one is too large."""
    worst: dict[str, float] = {}
    raw, expected = net.forward(X), net.predict(X)
    exact, sums = forward(net, X)
    unit = np.spacing(sums.astype(net.dtype)).astype(np.float64)
    unit *= sum(name.endswith(".weights") for name in net.parameters)
    worst["NumPy"] = float((np.abs(raw - exact) / unit).max())
    close(expected, LINKS[net.loss.name](exact), 1e-5)
    if onnx:
        worst["onnx"] = close(by_onnx(net, X, folder), expected, 1e-5)
    for compiler in COMPILERS:
        found, predicted = by_c(net, X, folder, compiler)
        worst["C"] = float((np.abs(raw.astype(np.float64) - found) / unit).max())
        close(predicted, expected, 1e-5 if net.dtype == np.float32 else 1e-11)
    assert max(worst["NumPy"], worst.get("C", 0.0)) <= 4, f"{worst} ULP by layer"
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-onnx", action="store_true", help="where ONNX Runtime is not installed")
    arguments = parser.parse_args()
    rng, worst = random.Random(arguments.seed), dict[str, float]()
    for i in range(arguments.count):
        net = network(rng)
        X = np.random.default_rng(i).normal(size=(5, *net.input_shape)).astype(np.float32)
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = check(net, X, Path(folder), not arguments.skip_onnx)
        except BaseException:
            print(f"network {i} of seed {arguments.seed}: {net!r}, input {net.input_shape}")
            raise
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in found.items()}
    print(f"{arguments.count} networks for images, {' and '.join(COMPILERS)}: "
          + ", ".join(f"{name} {value:.2g}" for name, value in worst.items())
          + " (NumPy, C: ULP by layer)")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
