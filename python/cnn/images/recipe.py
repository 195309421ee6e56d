"""The network, the optimizer and the length of a fit that `ImageClassifier` chooses, from sizes and effort alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cnn.augment import Augmentation, Flip, Shift
from cnn.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, GlobalAvgPool2D, MaxPool2D, Residual
from cnn.layers.layer import Layer
from cnn.network import Network
from cnn.optimizers import AdamW
from cnn.runtime.data import Array
from cnn.schedules import OneCycle

Effort = Literal["fast", "default", "best"]
_LONG = 8  # epochs from which on images are changed
_SMALL = 8  # pixels of a side that is not shifted
_PILOT = 6000  # rows of the two fits that tell whether flips help, a fourth of them held out
_STEPS = 4  # that are timed, after one more
_MOST_WEIGHTS = 1 << 20  # of the last layer
_SPARE = 0.95  # of the time is planned for


@dataclass(frozen=True)
class Budget:
    """How much a fit may take: filters of the first layer, and images that it sees in all epochs together."""

    filters: int
    images: float
    epochs: int  # at most


BUDGETS: dict[str, Budget] = {
    "fast": Budget(16, 240_000, 40), "default": Budget(16, 720_000, 80), "best": Budget(24, 1_800_000, 120),
}  # fmt: skip
RATE, DECAY = 0.01, 0.05


def layers(shape: tuple[int, ...], n_classes: int, filters: int) -> list[Layer]:
    """3 x 3 kernels: pixels are halved as filters are doubled, down to 8 a side; there stands a residual block.

    Two convolutions see all pixels of small images, before any is pooled away: on clothes of 28 x 28 pixels nothing
    else helped short fits as much. (He et al. 2016 for the block.) All of the last pixels stand before the last layer,
    where they are not too many: there that is better than their means.

    >>> [type(layer).__name__ for layer in layers((8, 8, 1), 10, 16)]
    ['Conv2D', 'BatchNorm', 'Conv2D', 'BatchNorm', 'Residual', 'Flatten', 'Dropout', 'Dense']
    """
    side, most = min(shape[:2]), 8 * filters
    stride = 1 if side <= 32 else 2
    made, side, filters = [*_normed(filters, stride), *_normed(2 * filters)], -(-side // stride), 2 * filters
    while side > 8:
        made.append(MaxPool2D(2))
        side //= 2
        if side > 8:
            filters = min(2 * filters, most)
            made += _normed(filters)
    made.append(Residual([*_normed(filters), *_normed(filters)]))
    if side * side * filters * n_classes > _MOST_WEIGHTS:
        return [*made, GlobalAvgPool2D(), Dense(n_classes)]
    return [*made, Flatten(), Dropout(0.3), Dense(n_classes)]


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


def augmentation(
    stack: list[Layer], X: Array, y: Array, size: Length, seed: int, n_threads: int | None
) -> list[Augmentation]:
    """What is done to images by default: shifts, and flips where held-out training rows are predicted better with them.

    Nothing in a fit so short that no image is learnt by heart, or of images too small for it; no flips where the fit is
    not six times as long as those that would tell.
    """
    side = min(X.shape[1:3])
    if size.epochs < _LONG or side < _SMALL:
        return []
    shift = Shift(max(1, round(side / 28)))
    asked = size.epochs * len(X) >= 6 * pilot_images(len(X))
    if asked and flips_help(stack, X, y, shift, seed, n_threads):
        return [shift, Flip()]
    return [shift]


def pilot_images(n: int) -> int:
    """How many images the fits see that tell whether flips help."""
    return 2 * _LONG * (min(n, _PILOT) * 3 // 4)


def flips_help(
    stack: list[Layer], X: Array, y: Array, shift: Shift, seed: int, n_threads: int | None
) -> bool:
    """Two short fits on some rows: whether the other rows have the smaller loss by the one that flips images."""
    rows = np.random.default_rng(seed).permutation(len(X))[:_PILOT]
    known, held = rows[len(rows) // 4 :], rows[: len(rows) // 4]
    batch_size = length("fast", len(known), None, None).batch_size
    losses = []
    for changes in ([shift], [shift, Flip()]):
        net = network(stack, seed)
        net.fit(X[known], y[known], epochs=_LONG, batch_size=batch_size, augment=changes, metrics=(), verbose=0,
                n_threads=n_threads)  # fmt: skip
        losses.append(net.evaluate(X[held], y[held], n_threads=n_threads)["loss"])
    return bool(losses[1] < losses[0])


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
        raise ValueError(f"max_seconds leaves {max(seconds, 0):.2g} s, and one epoch takes about {an_epoch:.2g} s")
    return max(1, min(size.epochs, int(seconds * _SPARE / an_epoch)))
