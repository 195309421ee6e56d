"""Layers of a network: frozen descriptions, which many networks may share; `KINDS` is what files and tests walk."""

from __future__ import annotations

from collections.abc import Iterable

from cnn._common.elsewhere import told
from cnn.layers.activation import ParametricActivation, PReLU
from cnn.layers.batch_norm import BatchNorm
from cnn.layers.category_embedding import CategoryEmbedding
from cnn.layers.convolution import Conv1D, Conv2D, DepthwiseConv2D
from cnn.layers.dense import Dense
from cnn.layers.dropout import Dropout
from cnn.layers.gaussian_noise import GaussianNoise
from cnn.layers.layer import Layer, Parameter, Shape
from cnn.layers.layer_norm import LayerNorm
from cnn.layers.numeric_embedding import NumericEmbedding
from cnn.layers.piecewise_embedding import PiecewiseEmbedding
from cnn.layers.pooling import (
    AvgPool1D,
    AvgPool2D,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from cnn.layers.residual import Add, Residual
from cnn.layers.scale import Scale

__all__ = [
    "KINDS", "Add", "AvgPool1D", "AvgPool2D", "BatchNorm", "CategoryEmbedding", "Conv1D", "Conv2D", "Dense",
    "DepthwiseConv2D", "Dropout", "Flatten", "GaussianNoise", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "Layer", "LayerNorm", "MaxPool1D", "MaxPool2D", "NumericEmbedding", "PReLU", "Parameter",
    "ParametricActivation", "PiecewiseEmbedding", "Residual", "Scale", "Shape", "checked",
]  # fmt: skip

KINDS: tuple[type[Layer], ...] = (
    Dense, Dropout, Scale, LayerNorm, BatchNorm, PReLU, ParametricActivation, NumericEmbedding,
    PiecewiseEmbedding, CategoryEmbedding, GaussianNoise, Add, Conv2D, DepthwiseConv2D, Conv1D, MaxPool2D, MaxPool1D,
    AvgPool2D, AvgPool1D, GlobalAvgPool2D, GlobalAvgPool1D, GlobalMaxPool2D, GlobalMaxPool1D, Flatten,
)  # fmt: skip

_NAMES = ", ".join(f"cnn.{kind.__name__}" for kind in KINDS) + " or cnn.Residual"


def checked(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a network, blocks laid flat, the last one dense."""
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a list of layers such as cnn.Dense(8), got {layers!r}")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers must be {_NAMES}, got {layer!r}")
    if not layers or not layers[-1].may_be_last:
        raise ValueError(f"the last layer must be a cnn.Dense, got {layers[-1] if layers else 'no layers'!r}")
    laid = tuple(part for layer in layers for part in layer.flat())
    for i, layer in enumerate(laid):
        if layer.reach > i:
            raise ValueError(f"layer {i}, {layer!r}, reaches back {layer.reach} layers, and there are {i} before it")
    return laid


_classes: tuple[type[Layer], ...] = (*KINDS, Residual)
for _class in _classes:
    _class.__init__ = told(_class.__init__)  # type: ignore[method-assign]
