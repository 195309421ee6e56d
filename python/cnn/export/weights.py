"""Weights from elsewhere: as arrays, and into a network that may not be built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.network import Network

Array = np.ndarray[Any, Any]


def takes_bytes(model: object, uint8: bool | None) -> bool:
    """Whether an export is to take images of bytes: as asked, else those that the network was trained on."""
    uint8 = checks.flag("uint8", uint8) if uint8 is not None else None
    for_images = isinstance(model, Network) and len(model.input_shape) > 1
    if uint8 and not for_images:
        raise ValueError(f"uint8 is for networks that take images or signals, got {model!r}")
    return for_images and (model.pixels == "bytes" if uint8 is None else uint8)  # type: ignore[attr-defined]


def array_of(name: str, value: Any) -> Array:
    """A tensor, wherever it is, or an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    return array


def with_weights(net: Network, weights: Mapping[str, Array]) -> Network:
    """The network with these weights, checked before a network that is not built becomes so; others stay."""
    if net.known_inputs is None:
        first = next(iter(weights.values()))
        learns = next(layer for layer in net.descriptions if layer.parameters((1,)))
        if first.ndim != len(learns.parameters((1,))[0].shape) or not first.shape[0]:
            raise ValueError(f"the weights of the first layer must be a matrix, got shape {first.shape}")
        trial = Network(net.descriptions, loss=net.loss, optimizer=net.optimizer, dtype=net.dtype, seed=net.seed)
        trial.build(first.shape[0]).set_weights(weights, partial=True)
        net.build(first.shape[0])
    net.set_weights(weights, partial=True)
    return net
