"""Networks as files: tensors in a safetensors container, the architecture as JSON in its metadata. Nothing is run."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn import activations, initializers, layers, losses, optimizers, schedules

if TYPE_CHECKING:
    from cnn.network import Network

_FORMAT = 1
_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        layers.Dense,
        layers.Dropout,
        activations.Activation,
        initializers.Initializer,
        losses.Loss,
        losses.Huber,
        losses.Quantile,
        losses.CrossEntropy,
        losses.BinaryCrossEntropy,
        *optimizers.BY_NAME.values(),
        *schedules.BY_NAME.values(),
    )
}


class ModelFormatError(ValueError):
    """The file is not a whole model of a format that this version reads."""


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes the file or leaves what was there: to a temporary neighbour, flushed, then renamed over."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def describe(thing: Any) -> Any:
    """A description (frozen dataclass) as plain JSON values: its class and its fields."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {f.name: describe(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.init}
        return {"class": type(thing).__name__, **fields}
    return thing


def revive(value: Any) -> Any:
    """The description of such values; their constructors check every field."""
    if not isinstance(value, dict):
        return value
    fields = {name: revive(v) for name, v in value.items() if name != "class"}
    cls = _CLASSES.get(value.get("class", ""))
    if cls is None:
        raise ModelFormatError(f"the file names {value.get('class')!r}, which this version of cnn does not know")
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"the file describes a {cls.__name__} that can't be: {error}") from error


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Architecture and weights to one file, written whole or not at all."""
    from safetensors.numpy import save as to_bytes

    tensors = {name: np.ascontiguousarray(value) for name, value in net.parameters.items()}
    architecture = {
        "layers": [describe(layer) for layer in net.descriptions],
        "loss": describe(net.loss),
        "optimizer": describe(net.optimizer),
        "dtype": net.dtype.name,
        "seed": net.seed,
        "n_inputs": net.n_inputs,
        "one_dimensional": net.one_dimensional,
    }
    metadata = {"format": f"cnn-{_FORMAT}", "architecture": json.dumps(architecture)}
    write_whole(path, to_bytes(tensors, metadata=metadata))


def load(path: str | os.PathLike[str]) -> Network:
    """The network that `Network.save` wrote, ready to predict or to train on (with a fresh optimizer).

    Raises:
        ModelFormatError: the file is not such a model, is cut short, or is of a later format.

    >>> import tempfile, cnn
    >>> net = cnn.Network([cnn.Dense(2)], seed=0).build(3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(f"{folder}/m.cnn")
    ...     again = cnn.load(f"{folder}/m.cnn")
    >>> bool((again.layers[0].weights == net.layers[0].weights).all())
    True
    """
    from safetensors import SafetensorError, safe_open

    from cnn.network import Network

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ModelFormatError(f"{path} is not a whole model file: {error}") from error
    version = metadata.get("format", "")
    if version != f"cnn-{_FORMAT}":
        raise ModelFormatError(f"{path} is of format {version or 'unknown'!r}; this version reads cnn-{_FORMAT}")
    try:
        a = json.loads(metadata["architecture"])
        net = Network(
            [revive(layer) for layer in a["layers"]],
            loss=revive(a["loss"]),
            optimizer=revive(a["optimizer"]),
            dtype=a["dtype"],
            seed=a["seed"],
        ).build(a["n_inputs"])
        net.one_dimensional = bool(a["one_dimensional"])
        net.set_weights(tensors)
    except ModelFormatError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{path} does not describe a network: {error}") from error
    return net
