"""Learnt numbers for a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cnn_core
from cnn import initializers
from cnn._common import checks
from cnn._common.types import InitializerName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape

_MOST = 1 << 24  # whole numbers up to here are float32


@dataclass(frozen=True)
class CategoryEmbedding(Layer):
    """Learnt numbers for the category that the last input names: [W's row of the category, the other inputs].

    Categories are 0 .. categories - 1 (a fraction is cut off); any other number, such as -1 for a category that is
    missing or new, becomes zeros. W is (categories, units). For several columns of categories, as the last ones of X,
    as many of these layers stand one after another, that of the last column first (Guo & Berkhahn 2016, "Entity
    embeddings of categorical variables"). X must be dense there.

    Args:
        categories: how many there are, 1 to 2²⁴.
        units: numbers that each becomes, >= 1.
        initializer: of W: uniform, normal, constant, ones or zeros.
        learning_rate_factor: what the learning rate is multiplied by for W, >= 0.
        decay_factor: the same for the optimizer's weight decay.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn
    >>> net = cnn.Network([CategoryEmbedding(3, 2), cnn.Dense(1)], seed=0, dtype="float64").build(2)
    >>> net.layers[0].weights[...] = [[1, 2], [3, 4], [5, 6]]
    >>> net.layer_outputs([[0.5, 2], [0.7, -1]])[0].tolist()
    [[5.0, 6.0, 0.5], [0.0, 0.0, 0.7]]
    """

    categories: int
    units: int
    initializer: InitializerName | Initializer = "uniform"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", checks.integer("categories", self.categories, 1, _MOST))
        object.__setattr__(self, "units", checks.integer("units", self.units, 1))
        initializer = initializers.plain("initializer of CategoryEmbedding", self.initializer)
        object.__setattr__(self, "initializer", initializer.name if initializer.scale is None else initializer)
        for name in ("learning_rate_factor", "decay_factor"):
            object.__setattr__(self, name, checks.number(f"{name} of CategoryEmbedding", getattr(self, name), 0))

    def output_shape(self, shape: Shape) -> Shape:
        return (self.row(shape) - 1 + self.units,)

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        how, factors = initializers.get(self.initializer), (self.learning_rate_factor, self.decay_factor)
        return (Parameter("weights", (self.categories, self.units), how, "identity", *factors),)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"], spec["categories"] = cnn_core.LayerKind.CATEGORY_EMBEDDING, self.categories
