"""Embeddings of numbers by pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

import cnn_core
from cnn import activations
from cnn._common import checks
from cnn.activations import Activation, ActivationName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape

_MOST = 2**20  # of bins and numbers: widths stay whole numbers of the core


@dataclass(frozen=True)
class PiecewiseEmbedding(Layer):
    """Makes several numbers of each number x: piecewise linear functions of it, bent at edges that are given.

    A column has bins between ascending edges e_0 < ... < e_K: z_m = clip((x - e_m) / (e_m+1 - e_m), 0, 1), of the
    first bin down to -1, of the last up to 2. Its output is f(V z + c), `size` numbers; all columns one after another,
    then the inputs that are no such columns. (Piecewise linear encoding with a linear layer and relu: Gorishniy,
    Rubachev & Babenko 2022, "On embeddings for numerical features".)

    Args:
        edges: of the first inputs, a list for each: 2 ascending numbers at least. `PiecewiseEmbedding.of(X)` takes
            quantiles.
        size: numbers that a column becomes, >= 1.
        activation: f: a name or a `cnn.Activation`.
        learning_rate_factor: what the learning rate is multiplied by for V and c, >= 0.
        decay_factor: the same for the optimizer's weight decay, of c only where it has `decay_biases`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range, edges that do not ascend.

    >>> import cnn
    >>> layer = PiecewiseEmbedding([[0.0, 1.0, 3.0], [-1.0, 1.0]], size=4)
    >>> net = cnn.Network([layer, cnn.Dense(1)], seed=0).build(3)
    >>> net.layers[0].n_units, net.layers[0].weights.shape
    (9, (2, 4, 2))
    """

    edges: Sequence[Sequence[float]]
    size: int = 8
    activation: ActivationName | Activation = "relu"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.edges, (str, bytes)) or not isinstance(self.edges, Sequence | np.ndarray):
            raise TypeError(f"edges of PiecewiseEmbedding must be lists of numbers, one a column, got {self.edges!r}")
        if not len(self.edges):
            raise ValueError("edges of PiecewiseEmbedding must be given for one column at least, got an empty list")
        object.__setattr__(self, "edges", tuple(_checked(i, edges) for i, edges in enumerate(self.edges)))
        object.__setattr__(self, "size", checks.integer("size of PiecewiseEmbedding", self.size, 1, _MOST))
        activation = activations.get(self.activation)
        object.__setattr__(self, "activation", activation.name if activation.alpha is None else activation)
        self.check_numbers("learning_rate_factor", "decay_factor")

    @classmethod
    def of(cls, X: Any, bins: int = 48, **fields: Any) -> Self:
        """With edges at quantiles of the columns of X (n, columns), as many bins as differ, `bins` at most.

        Args:
            X: numbers, no column of which has one value alone.
            bins: >= 1.
            fields: `size`, `activation` and so on.

        >>> PiecewiseEmbedding.of([[0.0], [1.0], [2.0]], bins=2).edges
        ((0.0, 1.0, 2.0),)
        """
        bins = checks.integer("bins of PiecewiseEmbedding", bins, 1, _MOST)
        X = checks.numeric("X", X, np.dtype(np.float64))
        if X.ndim != 2 or not X.size:
            raise ValueError(f"X must have rows and columns, got shape {X.shape}")
        checks.finite("X", X)
        shares = np.linspace(0, 1, bins + 1)
        return cls([np.unique(np.quantile(column, shares)).tolist() for column in X.T], **fields)

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    @property
    def bins(self) -> int:
        """How many the column with the most edges has."""
        return max(map(len, self.edges)) - 1

    def output_shape(self, shape: Shape) -> Shape:
        n_inputs = self.row(shape)
        if len(self.edges) > n_inputs:
            raise ValueError(f"PiecewiseEmbedding has edges for {len(self.edges)} inputs, and there are {n_inputs}")
        return (n_inputs + len(self.edges) * (self.size - 1),)

    def kept(self, shape: Shape) -> int:
        keeps = cnn_core.engine.activation_keeps_input(self.function.kind)
        return len(self.edges) * self.size if keeps else 0

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        columns, bins, none = len(self.edges), self.bins, Initializer("zeros")
        lower, inverse = np.zeros((2, columns, bins))
        for c, edges in enumerate(self.edges):
            lower[c, : len(edges) - 1], inverse[c, : len(edges) - 1] = edges[:-1], 1 / np.diff(edges)
        factors = self.learning_rate_factor, self.decay_factor
        even = Initializer("uniform", 1 / math.sqrt(bins))
        return (
            Parameter("edges", (columns, bins), none, values=lower),
            Parameter("inverses", (columns, bins), none, values=inverse),
            Parameter("weights", (columns, self.size, bins), even, "identity", *factors),
            Parameter("biases", (columns, self.size), even, "identity", *factors, is_bias=True),
        )

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["columns"], spec["bins"] = (
            cnn_core.LayerKind.PIECEWISE_EMBEDDING, len(self.edges), self.bins
        )  # fmt: skip
        spec["activation"], spec["alpha"] = self.function.kind, self.function.value


def _checked(column: int, edges: Any) -> tuple[float, ...]:
    """The edges of a column: ascending, and bins not too narrow for float32."""
    name = f"edges of PiecewiseEmbedding, column {column},"
    if isinstance(edges, (str, bytes)) or not isinstance(edges, Sequence | np.ndarray):
        raise TypeError(f"{name} must be a list of numbers, got {edges!r}")
    found = tuple(checks.number(name, edge) for edge in edges)
    if not 2 <= len(found) <= _MOST:
        raise ValueError(f"{name} must be 2 numbers at least, got {list(found)}")
    with np.errstate(over="ignore"):
        single = np.array(found, np.float32).astype(float)
    if not np.isfinite(single).all():
        raise ValueError(f"{name} must be finite in float32, got {list(found)[:9]}")
    if (np.diff(single) <= 0).any() or not np.isfinite(1 / np.diff(single).astype(np.float32)).all():
        raise ValueError(f"{name} must ascend, also in float32, got {list(found)[:9]}")
    return found
