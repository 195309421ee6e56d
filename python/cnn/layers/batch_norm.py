"""Batch normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnn_core
from cnn import activations
from cnn.activations import Activation, ActivationName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape

_LEAST = 1e-12  # of epsilon: its root must not become 0 in float32
_ROW = 16  # numbers of a row of buffers hold at least so many others


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Gives each unit the mean 0 and the variance 1 over the rows: a = f(g (x - mean) / sqrt(variance + epsilon) + b).

    Of images and signals it is each channel, over the rows and all pixels, as in Keras and PyTorch (`BatchNorm2d`).
    In a fit mean and variance are those of the minibatch, the variance with the divisor n. `predict` and all that does
    not train have running ones, which a step moves: running <- (1 - momentum) running + momentum of the minibatch, the
    variance with the divisor n - 1, as PyTorch. g begins as ones, b as zeros, the running mean as zeros and the running
    variance as ones, (inputs,) or (channels,) each. (Ioffe & Szegedy 2015, "Batch normalization".)

    Weights of rows count in the loss alone, so that a row of weight 0 is part of mean and variance. A minibatch of one
    row of numbers has no variance: it is normalised by the running averages, which stay as they are; so is each
    minibatch where `learning_rate_factor` is 0. Ranks of MPI take mean and variance of their own rows each.

    Args:
        epsilon: >= 1e-12, PyTorch's default; Keras's is 1e-3.
        momentum: how far a step moves the running averages, in (0, 1); Keras has the rest, 0.99.
        activation: f: a name or a `cnn.Activation`; with a `Dense(units)` below, without one, f(BN(x W)) of the paper.
        learning_rate_factor: what the learning rate is multiplied by for g and b, >= 0; with 0 all of the layer stays
            as it is, the running averages too, and training has them as prediction has.
        decay_factor: the same for the optimizer's weight decay, of b only where it has `decay_biases`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn, numpy as np
    >>> X = np.random.default_rng(0).normal(5, 2, (1000, 3))
    >>> net = cnn.Network([BatchNorm(), cnn.Dense(8), BatchNorm(activation="relu"), cnn.Dense(1)], seed=0)
    >>> history = net.fit(X, X[:, 0], epochs=10, verbose=0)
    >>> bool((abs(net.parameters["layers.0.running_mean"] - X.mean(axis=0)) < 0.1).all())
    True
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    activation: ActivationName | Activation = "identity"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        self.check_numbers("epsilon", low=_LEAST)
        self.check_numbers("momentum", high=1, open_low=True, open_high=True)
        activation = activations.get(self.activation)
        object.__setattr__(self, "activation", activation.name if activation.alpha is None else activation)
        self.check_numbers("learning_rate_factor", "decay_factor")

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    def kept(self, shape: Shape) -> int:
        z = math.prod(shape) if cnn_core.engine.activation_keeps_input(self.function.kind) else 0
        return z + -(-2 * shape[-1] // _ROW)  # mean and variance of each channel in the first slab

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        factors, none = (self.learning_rate_factor, self.decay_factor), Initializer("zeros")
        zeros, ones = np.zeros(shape[-1]), np.ones(shape[-1])
        return (
            Parameter("weights", shape[-1:], Initializer("ones"), "identity", *factors),
            Parameter("biases", shape[-1:], none, "identity", *factors, is_bias=True),
            Parameter("running_mean", shape[-1:], none, values=zeros, running=True),
            Parameter("running_variance", shape[-1:], none, values=ones, running=True),
        )

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["epsilon"] = cnn_core.LayerKind.BATCH_NORM, self.epsilon
        spec["momentum"] = self.momentum if self.learning_rate_factor else 0.0
        spec["activation"], spec["alpha"] = self.function.kind, self.function.value
