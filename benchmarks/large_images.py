"""Prediction of large images: each by itself beside tiles of 32 of them, and one image by two threads beside one.

    python benchmarks/large_images.py [--sizes 32,32 64,16 64,32 64,64 128,32] [--rounds 9] [--threads 2]

A size is the pixels of a side and the channels behind the first convolution. Milliseconds an image, the best of the
rounds, in which all take turns. What each network does by itself (`apart`, by its sizes alone) is said as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import cnn

Layers = Callable[[int], list[cnn.layers.Layer]]


def _same(filters: int) -> cnn.Conv2D:
    return cnn.Conv2D(filters, 3, padding="same", activation="relu")


def _separable(c: int) -> list[cnn.layers.Layer]:
    deep = cnn.DepthwiseConv2D(3, padding="same", activation="relu")
    return [_same(c), deep, cnn.Conv2D(2 * c, 1, activation="relu"), cnn.MaxPool2D(2), deep, cnn.GlobalAvgPool2D()]


KINDS: dict[str, Layers] = {
    "convolutions": lambda c: [_same(c), _same(c), cnn.MaxPool2D(2), _same(2 * c), cnn.GlobalAvgPool2D()],
    "separable": _separable,
    "a dense layer": lambda c: [_same(c), cnn.MaxPool2D(2), _same(2 * c), cnn.Flatten(), cnn.Dense(64, "relu")],
}


def milliseconds(net: cnn.Network, X: np.ndarray, apart: bool, n_threads: int) -> float:
    """Of an image."""
    net.predictor.apart = apart
    start = time.perf_counter()
    net.predict(X, n_threads=n_threads)
    return 1e3 * (time.perf_counter() - start) / len(X)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["32,32", "64,16", "64,32", "64,64", "128,32"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    n = given.threads
    print(f"| layers | size | tiles, {n} threads | each by itself | times | apart | one image | {n} threads | times |\n"
          "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |")  # fmt: skip
    for kind, layers in KINDS.items():
        for size in given.sizes:
            side, channels = map(int, size.split(","))
            net = cnn.Network([*layers(channels), cnn.Dense(10)], seed=0).build((side, side, 3))
            rule = net.predictor.apart
            X = np.random.default_rng(0).random((32 * n, side, side, 3), dtype=np.float32)
            ways = ((X, False, n), (X, True, n), (X[:1], True, 1), (X[:1], True, n))
            times = [[milliseconds(net, *way) for way in ways] for _ in range(given.rounds)]
            tiles, rows, alone, team = np.min(times, axis=0)
            print(f"| {kind} | {size} | {tiles:.3f} ms | {rows:.3f} ms | {tiles / rows:.2f} | {rule} "
                  f"| {alone:.3f} ms | {team:.3f} ms | {alone / team:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
