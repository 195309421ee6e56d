"""What Winograd's products gain over plain sums: steps and predictions of four convolutions of 3 x 3 points.

    python benchmarks/winograd.py [--sizes 28,32,32 14,32,32 7,64,64] [--rounds 9] [--rows 640]

A size is the pixels of a side and the channels before and behind each layer. One thread, whose processor time is taken;
the two take turns, and the best of each counts. The ratios are plain sums over Winograd's products.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest import mock

import numpy as np

import cnn
from cnn.layers import convolution


def network(side: int, channels: int, filters: int, winograd: bool) -> cnn.Network:
    layers: list[cnn.layers.Layer] = [cnn.Conv2D(channels, 1)]
    layers += [cnn.Conv2D((filters, channels)[i % 2], 3, padding="same", use_bias=False) for i in range(4)]
    with mock.patch.object(convolution, "_winograd_pays", return_value=winograd):
        net = cnn.Network([*layers, cnn.GlobalAvgPool2D(), cnn.Dense(10)], loss="cross_entropy", seed=0)
        return net.build((side, side, channels))


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    start = time.process_time()
    work()
    return time.process_time() - start


def gains(size: str, rows: int, rounds: int) -> tuple[float, float]:
    """Plain sums over Winograd's products, of steps and of predictions."""
    side, channels, filters = map(int, size.split(","))
    rng = np.random.default_rng(0)
    X, y = rng.random((rows, side, side, channels), dtype=np.float32), rng.integers(0, 10, rows)
    nets = [network(side, channels, filters, winograd) for winograd in (False, True)]

    def fit(net: cnn.Network) -> float:
        return seconds(lambda: net.fit(X, y, epochs=1, verbose=0, metrics=(), n_threads=1))

    def predict(net: cnn.Network) -> float:
        return seconds(lambda: net.predict(X, n_threads=1))

    times = np.array([[[fit(net), predict(net)] for net in nets] for _ in range(rounds)]).min(axis=0)
    a, b = times[0] / times[1]
    return float(a), float(b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["28,32,32", "14,32,32", "7,64,64"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=640)
    given = parser.parse_args()
    print("| pixels, channels, filters | a step | a prediction |\n| --- | ---: | ---: |")
    for size in given.sizes:
        a, b = gains(size, given.rows, given.rounds)
        print(f"| {size} | {a:.2f} | {b:.2f} |", flush=True)


if __name__ == "__main__":
    main()
