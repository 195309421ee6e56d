"""Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn.layers.layer import Layer, Shape


@dataclass(frozen=True)
class GaussianNoise(Layer):
    """Adds normal numbers of mean 0 to its inputs while training; nothing in prediction (Bishop 1995).

    They are a function of the network's seed, the step and the position alone, as the masks of `Dropout`.

    Args:
        stddev: their standard deviation, >= 0.

    Raises:
        TypeError, ValueError: no number, or a negative one.

    >>> GaussianNoise(0.1)
    GaussianNoise(stddev=0.1)
    """

    stddev: float

    def __post_init__(self) -> None:
        self.check_numbers("stddev")

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["rate"] = cnn_core.LayerKind.GAUSSIAN_NOISE, self.stddev
