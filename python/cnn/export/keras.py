"""`cnn.from_keras`: weights of a Keras model, from its file or its layers, into a network. Nothing imports keras."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn.export.weights import Array, array_of
from cnn.layers import (
    BatchNorm,
    CategoryEmbedding,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Layer,
    LayerNorm,
    PReLU,
)
from cnn.network import Network

# What Keras calls a layer's parameters, in its order, by our names; and its class, in the spelling of its files.
_KINDS: dict[type[Layer], tuple[str, dict[str, str]]] = {
    Dense: ("dense", {"kernel": "weights", "bias": "biases"}),
    Conv1D: ("conv1d", {"kernel": "weights", "bias": "biases"}),
    Conv2D: ("conv2d", {"kernel": "weights", "bias": "biases"}),
    DepthwiseConv2D: ("depthwise_conv2d", {"kernel": "weights", "bias": "biases"}),
    BatchNorm: ("batch_normalization", {
        "gamma": "weights", "beta": "biases", "moving_mean": "running_mean", "moving_variance": "running_variance"}),
    LayerNorm: ("layer_normalization", {"gamma": "weights", "beta": "biases"}),
    PReLU: ("p_re_lu", {"alpha": "weights"}),
    CategoryEmbedding: ("embedding", {"embeddings": "weights"}),
}  # fmt: skip
_VARIABLES = {"depthwise_kernel": "kernel"}  # what older versions call them


@dataclass(frozen=True)
class _Theirs:
    """A layer of Keras with weights: its name, where it stands in a file, its class if known, arrays by their names.

    Files of Keras 3 number the arrays: "0", "1", ...; `.weights.h5` says what is in order within a `group` alone.
    """

    name: str
    path: str
    kind: str
    arrays: Mapping[str, Any]
    group: str = ""


def from_keras(net: Network, model: Any, layers: Mapping[int, str] | None = None) -> Network:
    """Sets the weights of a network to those of a Keras model with such layers; returns it.

    `Dense`, `Conv1D`, `Conv2D`, `DepthwiseConv2D`, `BatchNormalization`, `LayerNormalization`, `PReLU` and `Embedding`
    (`CategoryEmbedding`); a `SeparableConv2D` is a `DepthwiseConv2D` without biases and a `Conv2D` of 1 x 1 behind it.
    Kernels have the same axes in both, and Flatten the same order; that of a depthwise convolution, (height, width,
    channels, multiplier), becomes (height, width, 1, channels · multiplier). Layers of each kind go one to one.

    Args:
        net: built, for images by their shape: net.build((height, width, channels)).
        model: the path of a `.weights.h5`, `.keras` or older `.h5` file (extra `keras`: h5py); a Keras model; or a
            mapping of layers' names to their arrays, {"conv": [kernel, bias]}, {"conv": {"kernel": ...}} or
            {"conv/kernel": ...}, in the order of the network's layers.
        layers: places in `net.layers` and the names of Keras's layers; then only these are set, and others stay.

    Raises:
        ImportError: h5py is not installed.
        NotBuiltError: the network has no weights yet.
        TypeError, ValueError: what is no model, other layers or shapes; nothing is changed then.

    >>> import numpy as np, cnn
    >>> net = cnn.Network([cnn.Dense(2, "relu"), cnn.Dense(1)], seed=0).build(3)
    >>> weights = {"hidden": [np.ones((3, 2)), np.zeros(2)], "output": [np.ones((2, 1)), np.ones(1)]}
    >>> cnn.from_keras(net, weights).predict(np.ones((1, 3))).item()
    7.0
    """
    parameters = net.parameters
    theirs = [part for found in _read(model) for part in _parts(found)]
    ours = {i: layer for i, layer in enumerate(net.descriptions) if type(layer) in _KINDS}
    pairs = _by_name(net, theirs, layers) if layers is not None else _by_kind(ours, theirs)
    weights: dict[str, Array] = {}
    for i, found in pairs:
        wanted = {name.rpartition(".")[2]: view for name, view in parameters.items() if name.startswith(f"layers.{i}.")}
        for name, array in _arrays(net.descriptions[i], found, list(wanted)).items():
            if isinstance(net.descriptions[i], DepthwiseConv2D | PReLU) and array.size == wanted[name].size:
                array = array.reshape(wanted[name].shape)
            if array.shape != wanted[name].shape:
                raise ValueError(
                    f"{name} of layer {i}, {net.descriptions[i]!r}, have shape {wanted[name].shape}, and those of "
                    f"Keras's layer {found.name!r} have {array.shape}"
                )
            weights[f"layers.{i}.{name}"] = array
    net.set_weights(weights, partial=True)
    return net


def _arrays(layer: Layer, found: _Theirs, names: Sequence[str]) -> dict[str, Array]:
    """Their arrays by our names; ValueError where they are not those that the layer has."""
    called = {theirs: ours for theirs, ours in _KINDS[type(layer)][1].items() if ours in names}
    given = dict(found.arrays)
    if all(name.isdigit() for name in given):
        given = dict(zip(called, given.values(), strict=True)) if len(given) == len(called) else given
    given = {_VARIABLES.get(name, name): value for name, value in given.items()}
    if set(given) != set(called):
        raise ValueError(
            f"{layer!r} has {', '.join(called)}, and Keras's layer {found.name!r} has {', '.join(given)}"
        )
    return {ours: array_of(f"{theirs} of {found.name}", given[theirs]) for theirs, ours in called.items()}


def _by_name(net: Network, theirs: Sequence[_Theirs], layers: Mapping[int, str]) -> list[tuple[int, _Theirs]]:
    pairs = []
    for i, name in layers.items():
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(net.descriptions):
            most = len(net.descriptions) - 1
            raise ValueError(f"layers must have places of the network's layers, 0 to {most}, got {i!r}")
        if type(net.descriptions[i]) not in _KINDS:
            raise ValueError(f"layer {i}, {net.descriptions[i]!r}, has no weights that Keras has")
        found = [each for each in theirs if name in (each.name, each.path)]
        if len(found) != 1:
            many, there = "more than one" if found else "no", ", ".join(repr(each.name) for each in theirs)
            raise ValueError(f"{many} layer of Keras's with weights is called {name!r}: there are {there}")
        pairs.append((i, found[0]))
    return pairs


def _by_kind(ours: Mapping[int, Layer], theirs: Sequence[_Theirs]) -> list[tuple[int, _Theirs]]:
    """The first of each kind to the first, and so on; where kinds are not known, one after another."""
    known = all(each.kind for each in theirs)
    queues: dict[str, list[_Theirs]] = {}
    for each in theirs:
        queues.setdefault(each.kind if known else "", []).append(each)
    for queue in queues.values():
        if len({each.group for each in queue}) > 1:
            names = ", ".join(repr(each.name) for each in queue)
            raise ValueError(
                f"the order of {names} is not in the file: save the model as .keras, or say by layers={{place: name}} "
                "which is which"
            )
    kinds = {i: _KINDS[type(layer)][0] if known else "" for i, layer in ours.items()}
    if Counter(kinds.values()) != Counter({kind: len(queue) for kind, queue in queues.items()}):
        have = ", ".join(f"{each.name!r}" + f" ({each.kind})" * bool(each.kind) for each in theirs)
        raise ValueError(
            f"the network's layers with weights are {', '.join(type(layer).__name__ for layer in ours.values())}, and "
            f"Keras's are {have or 'none'}: say by layers={{place: name}} which is which"
        )
    return [(i, queues[kind].pop(0)) for i, kind in kinds.items()]


def _parts(found: _Theirs) -> list[_Theirs]:
    """A separable convolution as the two that it is."""
    if found.kind != "separable_conv2d" and "pointwise_kernel" not in found.arrays:
        return [found]
    depthwise, pointwise, *bias = found.arrays.values()
    both = {"depthwise": {"kernel": depthwise}, "pointwise": {"kernel": pointwise}}
    if bias:
        both["pointwise"]["bias"] = bias[0]
    kinds = ("depthwise_conv2d", "conv2d") if found.kind else ("", "")
    return [
        _Theirs(f"{found.name}/{part}", f"{found.path}/{part}", kind, arrays, found.group and found.path)
        for (part, arrays), kind in zip(both.items(), kinds, strict=True)
    ]


# Where weights are read from ------------------------------------------------------------------------------------------


def _read(model: Any) -> list[_Theirs]:
    """Layers with weights, in their order, of one kind at least."""
    if isinstance(model, str | os.PathLike):
        return _file(Path(model))
    if isinstance(model, Mapping):
        return list(_mapping(model))
    if hasattr(model, "layers") and callable(getattr(model, "get_weights", None)):
        return list(_model(model))
    name = type(model).__name__
    raise TypeError(f"from_keras takes a path, a mapping of names to arrays or a Keras model, got {name}")


def _mapping(given: Mapping[Any, Any]) -> Iterator[_Theirs]:
    named: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(name, str):
            raise TypeError(f"names of Keras's layers must be text, got {name!r}")
        if isinstance(value, Mapping | list | tuple):
            named[name] = value
        else:  # "layer/kernel", of which a path may stand before
            layer, _, what = name.removesuffix(":0").rpartition("/")
            named.setdefault(layer, {})[what] = value
    for name, value in named.items():
        arrays = value if isinstance(value, Mapping) else {str(i): array for i, array in enumerate(value)}
        if arrays:
            yield _Theirs(name, name, "", {what.removesuffix(":0"): array for what, array in arrays.items()})


def _model(model: Any) -> Iterator[_Theirs]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _model(layer)
            continue
        names = [weight.name.removesuffix(":0").rpartition("/")[2] for weight in layer.weights]
        if names:
            arrays = dict(zip(names, layer.get_weights(), strict=True))
            yield _Theirs(layer.name, layer.name, _snake(type(layer).__name__), arrays)


def _snake(name: str) -> str:
    """The spelling of Keras's files: PReLU is p_re_lu."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _file(path: Path) -> list[_Theirs]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("from_keras of a file needs h5py (extra 'keras'): pip install h5py") from error
    path.stat()  # a file that is not there says so
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not {"model.weights.h5", "config.json"} <= set(archive.namelist()):
                raise ValueError(f"{path} is no file of Keras's: it holds no model.weights.h5 and config.json")
            weights, config = io.BytesIO(archive.read("model.weights.h5")), json.loads(archive.read("config.json"))
        with h5py.File(weights, "r") as file:
            found = {each.path: each for each in _groups(file)}
        return [replace(found[at], group="") for at in _in_order(config["config"]) if at in found]
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is no file of Keras's: neither HDF5 nor a zip archive")
    with h5py.File(path, "r") as file:
        older = file.get("model_weights", file if "layer_names" in file.attrs else None)
        return list(_groups(file) if older is None else _older(older))


def _in_order(config: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Where the layers of a model stand in its file, one after another."""
    seen: Counter[str] = Counter()
    for layer in config["layers"]:
        kind = _snake(layer["class_name"])
        place = before + kind + (f"_{seen[kind]}" if seen[kind] else "")
        seen[kind] += 1
        if "layers" in layer["config"]:
            yield from _in_order(layer["config"], f"{place}/")
        else:
            yield place


def _groups(group: Any, before: str = "") -> Iterator[_Theirs]:
    """Of Keras 3: a layer is a group that has "vars"; a model in a model has "layers"."""
    for key in sorted(group.get("layers", ()), key=_numbered):
        inside = group["layers"][key]
        if "layers" in inside:
            yield from _groups(inside, f"{before}{key}/")
            continue
        arrays = {number: inside["vars"][number][()] for number in sorted(inside.get("vars", ()), key=int)}
        if arrays:
            name = inside["vars"].attrs.get("name", key)
            yield _Theirs(str(name), before + key, _numbered(key)[0], arrays, f"{before}layers")


def _numbered(key: str) -> tuple[str, int]:
    """ "conv2d_10" as ("conv2d", 10); the first one has no number."""
    stem, number = re.fullmatch(r"(.*?)_?(?:(?<=_)(\d+))?", key).groups()  # type: ignore[union-attr]
    return stem, int(number or 0)


def _older(group: Any) -> Iterator[_Theirs]:
    """Of Keras 2, and of model.save("m.h5"): names of layers and weights stand in attributes, in their order."""
    for name in map(_text, group.attrs["layer_names"]):
        weights = [_text(weight) for weight in group[name].attrs["weight_names"]]
        arrays = {weight.removesuffix(":0").rpartition("/")[2]: group[name][weight][()] for weight in weights}
        if arrays:
            yield _Theirs(name, name, "", arrays)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
