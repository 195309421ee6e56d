"""A layer's description bound to the parameters of one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from cnn.layers import Layer
from cnn.runtime.plan import Plan

Array = np.ndarray[Any, Any]


class _Owner(Protocol):
    """What a view needs of its network."""

    descriptions: tuple[Layer, ...]

    @property
    def plan(self) -> Plan: ...

    @property
    def parameters(self) -> Mapping[str, Array]: ...

    def set_weights(self, weights: Mapping[str, Any], *, partial: bool = False) -> None: ...


class LayerView:
    """Layer `index` of a network: its description's fields, and `weights` (inputs, units) and `biases` (units,).

    Both are views of the network's parameters: writing to them (`weights[...] = W`) changes the network.

    >>> import cnn
    >>> net = cnn.Network([cnn.Dense(2)]).build(3)
    >>> net.layers[0].weights[...] = 1.0
    >>> net.layers[0].weights.shape, net.layers[0].units
    ((3, 2), 2)
    """

    def __init__(self, network: _Owner, index: int) -> None:
        self._network = network
        self._index = index

    @property
    def description(self) -> Layer:
        """The frozen description, which other networks may share."""
        return self._network.descriptions[self._index]

    @property
    def name(self) -> str:
        """What its parameters' names begin with."""
        return f"layers.{self._index}"

    @property
    def n_inputs(self) -> int:
        return int(self._network.plan.layers["n_inputs"][self._index])

    @property
    def n_units(self) -> int:
        return int(self._network.plan.layers["n_units"][self._index])

    @property
    def weights(self) -> Array:
        return self._parameter("weights")

    @weights.setter
    def weights(self, value: Any) -> None:
        self._network.set_weights({f"{self.name}.weights": value}, partial=True)

    @property
    def biases(self) -> Array:
        return self._parameter("biases")

    @biases.setter
    def biases(self, value: Any) -> None:
        self._network.set_weights({f"{self.name}.biases": value}, partial=True)

    def _parameter(self, what: str) -> Array:
        parameters = self._network.parameters
        try:
            return parameters[f"{self.name}.{what}"]
        except KeyError:
            raise AttributeError(f"{self.description!r} has no {what}") from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if isinstance(own := getattr(type(self), name, None), property):
            return own.__get__(self)  # it raised AttributeError: let its own words be seen, not the description's
        return getattr(self.description, name)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.description!r}>"
