"""A factor for each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn import initializers
from cnn._common.types import InitializerName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape


@dataclass(frozen=True)
class Scale(Layer):
    """A factor for each input, of images for each channel, a = s x with s (inputs,) or (channels,).

    Below the first dense layer it weighs the columns of X. With a learning rate of its own it chooses among columns
    within some steps (Holzmüller, Grinsztajn & Steinwart 2024, "Better by default", where its factor is 6). X must be
    dense there.

    Args:
        initializer: of s: ones, constant, uniform, normal or zeros.
        learning_rate_factor: what the learning rate is multiplied by for s, >= 0.
        decay_factor: the same for the optimizer's weight decay.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([Scale(learning_rate_factor=6), cnn.Dense(1)], seed=0).build(3)
    >>> net.layers[0].weights.tolist()
    [1.0, 1.0, 1.0]
    """

    initializer: InitializerName | Initializer = "ones"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        initializer = initializers.plain("initializer of Scale", self.initializer)
        object.__setattr__(self, "initializer", initializer.name if initializer.scale is None else initializer)
        self.check_numbers("learning_rate_factor", "decay_factor")

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        how = initializers.get(self.initializer)
        factors = self.learning_rate_factor, self.decay_factor
        return (Parameter("weights", shape[-1:], how, "identity", *factors),)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.SCALE
