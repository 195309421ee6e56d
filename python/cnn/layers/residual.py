"""Residual blocks: what a stack of layers makes of its input, plus that input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn._common import checks
from cnn.layers.layer import Layer, Shape


@dataclass(frozen=True)
class Add(Layer):
    """The end of a residual block: adds what the layer `span` places before it reads, a = x + that.

    `Residual` writes it, and it may stand by itself. Both must have the same number of units.

    Args:
        span: how many layers the block has, >= 1.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([cnn.Dense(4, "relu"), cnn.Dense(4), Add(1), cnn.Dense(1)], seed=0).build(3)
    >>> outputs = net.layer_outputs([[1.0, 2.0, 3.0]])
    >>> bool((outputs[2] == outputs[1] + outputs[0]).all())
    True
    """

    span: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "span", checks.integer("span of Add", self.span, 1))

    @property
    def reach(self) -> int:
        return self.span

    def kept(self, shape: Shape) -> int:
        return math.prod(shape)  # the delta, for the beginning of the block

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.ADD


@dataclass(frozen=True)
class Residual(Layer):
    """A residual block, a = x + f(x), f being a stack of layers (He et al. 2016, "Deep residual learning").

    f must give as many units as it gets. In a network the block stands as its layers and an `Add` behind them.

    Args:
        layers: of f, at least one; blocks may stand in blocks.

    Raises:
        TypeError, ValueError: no list of layers, or an empty one.

    >>> import cnn
    >>> net = cnn.Network([cnn.Dense(8), Residual([cnn.Dense(32, "gelu"), cnn.Dense(8)]), cnn.Dense(1)])
    >>> net.layers[3].description
    Add(span=2)
    """

    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        given = self.layers
        if isinstance(given, (Layer, str)) or not isinstance(given, Sequence):
            raise TypeError(f"Residual takes a list of layers such as [cnn.Dense(8)], got {given!r}")
        for layer in given:
            if not isinstance(layer, Layer):
                raise TypeError(f"Residual takes layers such as cnn.Dense(8), got {layer!r}")
        if not given:
            raise ValueError("Residual needs at least one layer, got an empty list")
        object.__setattr__(self, "layers", tuple(given))

    def flat(self) -> tuple[Layer, ...]:
        inside = tuple(part for layer in self.layers for part in layer.flat())
        return (*inside, Add(len(inside)))
