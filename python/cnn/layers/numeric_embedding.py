"""Embeddings of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn._common import checks
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape

_MOST = 2**20  # of each: widths stay whole numbers of the core


@dataclass(frozen=True)
class NumericEmbedding(Layer):
    """Makes several numbers of each number x: sums of learnt cosines, and x itself behind them.

    q_m = cos(2π w_m x + b_m), e_j = Σ_m V_jm q_m + c_j, the output of a column is [e, x], `size` numbers; all columns
    one after another, then the inputs that are no such columns. So a network need not be smooth in a column.
    (Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical features"; with b, c and x as Holzmüller,
    Grinsztajn & Steinwart 2024 have it, "Better by default", where both factors are 0.1.)

    Args:
        columns: how many of the inputs, the first ones; None: all.
        cosines: how many, M, >= 1.
        size: numbers that a column becomes, >= 2.
        sigma: of the normal numbers that w begins with; b begins within ±π, V and c within ±1/√M, all uniform. With
            inputs of deviation 1, 0.1 gives slow waves.
        learning_rate_factor: what the learning rate is multiplied by for w, b, V and c, >= 0.
        decay_factor: the same for the optimizer's weight decay, of b and c only where it has `decay_biases`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([NumericEmbedding(columns=2), cnn.Dense(8, "relu"), cnn.Dense(1)], seed=0).build(5)
    >>> net.layers[0].n_units, net.parameters["layers.0.frequencies"].shape, net.layers[0].weights.shape
    (11, (2, 16), (2, 3, 16))
    """

    columns: int | None = None
    cosines: int = 16
    size: int = 4
    sigma: float = 0.1
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        for name, low in (("columns", 1), ("cosines", 1), ("size", 2)):
            if name != "columns" or self.columns is not None:
                object.__setattr__(
                    self, name, checks.integer(f"{name} of NumericEmbedding", getattr(self, name), low, _MOST)
                )
        self.check_numbers("sigma", "learning_rate_factor", "decay_factor")

    def among(self, n_inputs: int) -> int:
        """How many of `n_inputs` inputs it embeds."""
        if self.columns is not None and self.columns > n_inputs:
            raise ValueError(f"{self!r} needs {self.columns} inputs at least, and there are {n_inputs}")
        return n_inputs if self.columns is None else self.columns

    def output_shape(self, shape: Shape) -> Shape:
        n_inputs = self.row(shape)
        return (n_inputs + self.among(n_inputs) * (self.size - 1),)

    def kept(self, shape: Shape) -> int:
        return self.among(self.row(shape)) * self.cosines  # the cosines

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        columns, outputs = self.among(self.row(shape)), self.size - 1
        factors = self.learning_rate_factor, self.decay_factor
        normal, turn = Initializer("normal", self.sigma), Initializer("uniform", math.pi)
        even = Initializer("uniform", 1 / math.sqrt(self.cosines))
        return (
            Parameter("frequencies", (columns, self.cosines), normal, "identity", *factors),
            Parameter("phases", (columns, self.cosines), turn, "identity", *factors, is_bias=True),
            Parameter("weights", (columns, outputs, self.cosines), even, "identity", *factors),
            Parameter("biases", (columns, outputs), even, "identity", *factors, is_bias=True),
        )

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["cosines"] = cnn_core.LayerKind.NUMERIC_EMBEDDING, self.cosines
        spec["columns"] = self.among(self.row(shape))
