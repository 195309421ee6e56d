"""Layer normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape

_LEAST = 1e-12  # of epsilon: its root must not become 0 in float32


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Gives each row the mean 0 and the variance 1 over its units: a = g (x - mean) / sqrt(variance + epsilon) + b.

    Of images and signals it is each pixel, over its channels, as Keras has it by default. The variance has the divisor
    n, as PyTorch's and Keras's; g (inputs,) or (channels,) begins as ones, b as zeros. In training and in prediction it
    does the same (Ba, Kiros & Hinton 2016, "Layer normalization").

    Args:
        epsilon: >= 1e-12, PyTorch's default; Keras's is 1e-3.
        learning_rate_factor: what the learning rate is multiplied by for g and b, >= 0.
        decay_factor: the same for the optimizer's weight decay, of b only where it has `decay_biases`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([LayerNorm(), cnn.Dense(1)], seed=0, dtype="float64").build(2)
    >>> net.layer_outputs([[1.0, 3.0]])[0].round(4).tolist()
    [[-1.0, 1.0]]
    """

    epsilon: float = 1e-5
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        self.check_numbers("epsilon", low=_LEAST)
        self.check_numbers("learning_rate_factor", "decay_factor")

    def kept(self, shape: Shape) -> int:
        return math.prod(shape) + math.prod(shape[:-1])  # normalised units, and the divisor of each row or pixel

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        factors = self.learning_rate_factor, self.decay_factor
        return (
            Parameter("weights", shape[-1:], Initializer("ones"), "identity", *factors),
            Parameter("biases", shape[-1:], Initializer("zeros"), "identity", *factors, is_bias=True),
        )

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["alpha"] = cnn_core.LayerKind.LAYER_NORM, self.epsilon
