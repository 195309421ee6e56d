"""Dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn._common import checks
from cnn.layers.layer import Layer, Shape
from cnn.schedules import Schedule


@dataclass(frozen=True)
class Dropout(Layer):
    """Sets a share of its inputs to 0 while training and scales the others by 1 / (1 - rate); nothing in prediction.

    The mask is a function of the network's seed, the step and the position alone (Srivastava et al. 2014).

    Args:
        rate: the share, in [0, 1).

    >>> Dropout(0.1)
    Dropout(rate=0.1)
    """

    rate: float

    def __post_init__(self) -> None:
        if isinstance(self.rate, Schedule):
            raise TypeError(
                f"rate of Dropout must be a number, got {self.rate!r}; a schedule is a factor on the rates of all "
                "layers: cnn.Network(..., dropout_factor=schedule)"
            )
        object.__setattr__(self, "rate", checks.number("rate of Dropout", self.rate, 0, 1, open_high=True))

    def kept(self, shape: Shape) -> int:
        return math.prod(shape)  # the mask

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["rate"] = cnn_core.LayerKind.DROPOUT, self.rate
