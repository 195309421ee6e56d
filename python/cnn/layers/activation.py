"""Activations with a parameter for each unit, of images for each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn import activations, initializers
from cnn._common.types import InitializerName
from cnn.activations import Activation, ActivationName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape


@dataclass(frozen=True)
class PReLU(Layer):
    """a = max(x, 0) + p min(x, 0), with a slope p (inputs,), of images (channels,), that is learnt.

    (He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers".)

    It stands behind a `Dense` without an activation.

    Args:
        slope: what all p begin with, PyTorch's default; Keras's is 0.
        learning_rate_factor: what the learning rate is multiplied by for p, >= 0.
        decay_factor: the same for the optimizer's weight decay; 0, as the paper has it, for decay would make it a relu.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([PReLU(), cnn.Dense(1)], seed=0).build(2)
    >>> net.layer_outputs([[-4.0, 3.0]])[0].tolist()
    [[-1.0, 3.0]]
    """

    slope: float = 0.25
    learning_rate_factor: float = 1.0
    decay_factor: float = 0.0

    def __post_init__(self) -> None:
        self.check_numbers("slope", low=-math.inf)
        self.check_numbers("learning_rate_factor", "decay_factor")

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        begin, factors = Initializer("constant", self.slope), (self.learning_rate_factor, self.decay_factor)
        return (Parameter("weights", shape[-1:], begin, "identity", *factors),)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.PRELU


@dataclass(frozen=True)
class ParametricActivation(Layer):
    """a = x + w (f(x) - x), with a share w (inputs,), of images (channels,), that is learnt: 1 is f, 0 is none.

    It stands behind a `Dense` without an activation. (Holzmüller, Grinsztajn & Steinwart 2024, "Better by default",
    where both factors are 0.1.) For f = relu it is a `PReLU` of the slope 1 - w.

    Args:
        activation: f: a name or a `cnn.Activation`.
        initializer: of w: ones, constant, uniform, normal or zeros.
        learning_rate_factor: what the learning rate is multiplied by for w, >= 0.
        decay_factor: the same for the optimizer's weight decay, which draws w to 0.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([ParametricActivation("relu"), cnn.Dense(1)], seed=0).build(2)
    >>> net.layers[0].weights[...] = 0.75
    >>> net.layer_outputs([[-4.0, 3.0]])[0].tolist()
    [[-1.0, 3.0]]
    """

    activation: ActivationName | Activation
    initializer: InitializerName | Initializer = "ones"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        activation = activations.get(self.activation)
        object.__setattr__(self, "activation", activation.name if activation.alpha is None else activation)
        initializer = initializers.plain("initializer of ParametricActivation", self.initializer)
        object.__setattr__(self, "initializer", initializer.name if initializer.scale is None else initializer)
        self.check_numbers("learning_rate_factor", "decay_factor")

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    def kept(self, shape: Shape) -> int:
        return math.prod(shape)  # f(x) - x

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        how = initializers.get(self.initializer)
        factors = self.learning_rate_factor, self.decay_factor
        return (Parameter("weights", shape[-1:], how, "identity", *factors),)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.PARAMETRIC
        spec["activation"], spec["alpha"] = self.function.kind, self.function.value
