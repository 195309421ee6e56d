"""The network, the optimizer and the length of a fit that `ImageClassifier` chooses, from sizes and effort alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cnn.layers import BatchNorm, Conv2D, Dense, GlobalAvgPool2D, MaxPool2D, Residual
from cnn.layers.layer import Layer
from cnn.network import Network
from cnn.optimizers import AdamW
from cnn.runtime.data import Array
from cnn.schedules import OneCycle

Effort = Literal["fast", "default", "best"]
_STEPS = 4  # that are timed, after one more
_SPARE = 0.95  # of the time is planned for


@dataclass(frozen=True)
class Budget:
    """How much a fit may take: filters of the first layer, and images that it sees in all epochs together."""

    filters: int
    images: float
    epochs: int  # at most


BUDGETS: dict[str, Budget] = {
    "fast": Budget(16, 250_000, 40), "default": Budget(16, 900_000, 80), "best": Budget(32, 2_400_000, 120),
}  # fmt: skip
RATE, DECAY = 0.01, 0.02


def layers(shape: tuple[int, ...], n_classes: int, filters: int) -> list[Layer]:
    """A small residual network (He et al. 2016): pixels are halved as filters are doubled, down to 8 a side.

    >>> [type(layer).__name__ for layer in layers((8, 8, 1), 10, 16)]
    ['Conv2D', 'BatchNorm', 'Conv2D', 'BatchNorm', 'Residual', 'GlobalAvgPool2D', 'Dense']
    """
    side, most = min(shape[:2]), 8 * filters
    made = _normed(filters, 1 if side <= 32 else 2)
    side = -(-side // (1 if side <= 32 else 2))
    if side >= 16:
        made.append(MaxPool2D(2))
        side //= 2
    filters *= 2
    made += [*_normed(filters), Residual([*_normed(filters), *_normed(filters)])]
    while side > 8:
        filters, side = min(2 * filters, most), -(-side // 2)
        made += [*_normed(filters, 2), Residual([*_normed(filters), *_normed(filters)])]
    return [*made, GlobalAvgPool2D(), Dense(n_classes)]


def _normed(filters: int, strides: int = 1) -> list[Layer]:
    """A convolution, whose biases batch normalisation makes superfluous."""
    return [Conv2D(filters, 3, strides=strides, padding="same", use_bias=False), BatchNorm(activation="relu")]


class Length(NamedTuple):
    """Epochs, and images of a step."""

    epochs: int
    batch_size: int


def length(effort: Effort, n: int, epochs: int | None, batch_size: int | None) -> Length:
    """What was asked for, else by the number of images.

    >>> length("fast", 60_000, None, None)
    Length(epochs=4, batch_size=128)
    """
    budget = BUDGETS[effort]
    if batch_size is None:
        batch_size = int(min(128, max(16, 2 ** round(np.log2(max(n, 2) / 40)))))
    if epochs is None:
        epochs = int(min(budget.epochs, max(1, round(budget.images / max(n, 1)))))
    return Length(epochs, batch_size)


def network(stack: list[Layer], seed: int, rate: float = RATE) -> Network:
    """Not built yet."""
    return Network(stack, loss="cross_entropy", optimizer=AdamW(OneCycle(rate), weight_decay=DECAY), seed=seed)


def affordable(stack: list[Layer], X: Array, y: Array, size: Length, seconds: float, n_threads: int | None) -> int:
    """How many epochs there is time for, by that of the first steps of another network; ValueError if for none."""
    net = network(stack, 0)
    some = min(len(X), size.batch_size * _STEPS)
    net.fit(X[: size.batch_size], y[: size.batch_size], epochs=1, batch_size=size.batch_size, metrics=(), verbose=0,
            n_threads=n_threads)  # fmt: skip
    start = time.perf_counter()
    net.fit(X[:some], y[:some], epochs=1, batch_size=size.batch_size, metrics=(), verbose=0, n_threads=n_threads)
    an_epoch = (time.perf_counter() - start) / some * len(X)
    if seconds * _SPARE < an_epoch:
        raise ValueError(f"max_seconds leaves {seconds:.2g} s, and one epoch takes about {an_epoch:.2g} s")
    return max(1, min(size.epochs, int(seconds * _SPARE / an_epoch)))
