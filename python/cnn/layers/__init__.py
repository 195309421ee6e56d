"""Descriptions of layers, one file a kind; `KINDS` is what files and tests walk."""

from __future__ import annotations

from collections.abc import Iterable

from cnn._common.elsewhere import told
from cnn.layers.dense import Dense
from cnn.layers.dropout import Dropout
from cnn.layers.layer import Layer, Parameter
from cnn.layers.scale import Scale

__all__ = ["KINDS", "Dense", "Dropout", "Layer", "Parameter", "Scale", "checked"]

KINDS: tuple[type[Layer], ...] = (Dense, Dropout, Scale)

_NAMES = " or ".join([", ".join(f"cnn.{kind.__name__}" for kind in KINDS[:-1]), f"cnn.{KINDS[-1].__name__}"])


def checked(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a network, the last one dense."""
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a list of layers such as cnn.Dense(8), got {layers!r}")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers must be {_NAMES}, got {layer!r}")
    if not layers or not layers[-1].may_be_last:
        raise ValueError(f"the last layer must be a cnn.Dense, got {layers[-1] if layers else 'no layers'!r}")
    return layers


for _class in KINDS:
    _class.__init__ = told(_class.__init__)  # type: ignore[method-assign]
