"""What a network and its history write into the container, and how they are made again. Nothing is run."""

from __future__ import annotations

import math
import os
from typing import Any, TypeVar

import numpy as np

from cnn import layers, losses, optimizers, schedules
from cnn._common import checks
from cnn._common.errors import ModelFormatError
from cnn._common.images import PIXELS
from cnn.files import container
from cnn.files.container import Contents
from cnn.files.descriptions import describe, revive
from cnn.files.strict_json import shown
from cnn.runtime import arena, plan
from cnn.runtime.history import History
from cnn.runtime.state import NetworkState

N = TypeVar("N", bound=NetworkState)


def describe_network(net: NetworkState) -> dict[str, Any]:
    """Everything about a network but its weights, as plain JSON values."""
    return {
        "layers": [describe(layer) for layer in net.descriptions],
        "loss": describe(net.loss),
        "optimizer": describe(net.optimizer),
        "dtype": net.dtype.name,
        "seed": net.seed,
        "n_inputs": net.n_inputs,
        "input_shape": list(net.input_shape) if len(net.input_shape) > 1 else None,
        "pixels": net.pixels,
        "one_dimensional": bool(net.one_dimensional),
        "dropout_factor": describe(net.dropout_factor),
        "by_blas": np.flatnonzero(net.plan.layers["by_blas"]).tolist(),
    }


def network_tensors(net: NetworkState, prefix: str = "") -> dict[str, Any]:
    """The weights by their names in a file."""
    return {prefix + name: value for name, value in net.parameters.items()}


def revive_network(contents: Contents, description: Any, cls: type[N], prefix: str = "") -> N:
    """The network of such a description, one of that class, with the weights that the file has for it."""
    stack, loss, optimizer, dtype, seed, n_inputs, one_dimensional, factor, by_blas, shape, pixels = contents.fields(
        description, "layers", "loss", "optimizer", "dtype", "seed", "n_inputs", "one_dimensional", "dropout_factor",
        "by_blas", "input_shape", "pixels",
        older={"dropout_factor": None, "by_blas": None, "input_shape": None, "pixels": None},
    )  # fmt: skip
    if not isinstance(stack, list) or not isinstance(one_dimensional, bool) or type(seed) is not int:
        raise contents.error("it does not describe a network: layers, seed or one_dimensional is of the wrong type")
    if type(n_inputs) is not int or not 1 <= n_inputs < 2**31 or dtype not in ("float32", "float64"):
        raise contents.error(f"it describes a network of {shown(n_inputs)} inputs in {shown(dtype)}")
    if pixels not in PIXELS:
        raise contents.error(f"its pixels must be bytes, beyond or null, got {shown(pixels)}")
    if shape is None:
        shape = [n_inputs]
    if not isinstance(shape, list) or any(type(n) is not int for n in shape) or math.prod(shape) != n_inputs:
        raise contents.error(f"its input_shape must be integers with the product {n_inputs}, got {shown(shape)}")
    try:
        net = cls(
            [revive(contents, layer, layers.Layer) for layer in stack],
            loss=revive(contents, loss, losses.Loss),
            optimizer=revive(contents, optimizer, optimizers.Optimizer),
            dtype=dtype,
            seed=seed,
            dropout_factor=None if factor is None else revive(contents, factor, schedules.Schedule),
        )
        chosen = _by_blas(contents, by_blas, net)
        made = plan.build(net.descriptions, checks.shape("input_shape", shape), net.loss, net.optimizer, chosen)
    except ModelFormatError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise contents.error(f"it describes a network that can't be: {error}") from None
    if one_dimensional and net.n_outputs != 1:
        raise contents.error(f"it describes one-dimensional predictions of {net.n_outputs} outputs")
    for name, (_, shape) in made.names.items():  # before memory is taken for them
        contents.spec(prefix + name, net.dtype, shape)
    net.adopt(made)
    net.one_dimensional, net.pixels = one_dimensional, pixels
    for name, view in net.parameters.items():
        contents.read_into(prefix + name, view)
    return net


def _by_blas(contents: Contents, numbers: Any, net: NetworkState) -> list[int] | None:
    """For each layer whether BLAS computes its products, of the numbers of those; None where the file does not say."""
    if numbers is None:
        return None
    dense = {i for i, layer in enumerate(net.descriptions) if isinstance(layer, layers.Dense)}
    if not isinstance(numbers, list) or not all(type(i) is int and i in dense for i in numbers):
        raise contents.error(f"by_blas must hold numbers of dense layers, got {shown(numbers)}")
    return [int(i in numbers) for i in range(len(net.descriptions))]


def optimizer_tensors(net: NetworkState) -> dict[str, Any]:
    """The numbers that the optimizer keeps, slot by slot, by parameter; and its scalars."""
    tensors = {f"optimizer.{i}.{name}": view for i, slot in enumerate(_slots(net)) for name, view in slot.items()}
    return tensors | {"optimizer.scalars": net.scalars}


def read_optimizer(contents: Contents, net: NetworkState) -> None:
    """Reads the numbers that the optimizer keeps, as `optimizer_tensors` writes them, into a network."""
    for i, slot in enumerate(_slots(net)):
        for name, view in slot.items():
            contents.read_into(f"optimizer.{i}.{name}", view)
    contents.read_into("optimizer.scalars", net.scalars)


def _slots(net: NetworkState) -> list[dict[str, Any]]:
    rows = net.state.reshape(net.plan.slots, net.plan.size)
    return [arena.views(row, net.plan.names) for row in rows]


def history_tensors(history: History) -> dict[str, Any]:
    """The numbers of all epochs; their names, which the payload must hold, have numbers instead."""
    columns = {f"history.{i}": np.array(history[name], float) for i, name in enumerate(history.names)}
    return {"history.epoch": np.array(history.epoch, np.int64), **columns}


def read_history(contents: Contents, names: Any) -> History:
    """The history with those names."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise contents.error("the names of its history are not texts")
    if len(set(names)) < len(names):
        raise contents.error("two columns of its history have the same name")
    epochs = contents.read_tensor("history.epoch", np.int64)
    if epochs.ndim != 1:
        raise contents.error(f"tensor history.epoch must have one dimension, got {epochs.shape}")
    columns = [contents.read_tensor(f"history.{i}", np.float64, epochs.shape) for i in range(len(names))]
    return History.of(epochs.tolist(), {name: c.tolist() for name, c in zip(names, columns, strict=True)})


def save_network(net: NetworkState, path: str | os.PathLike[str]) -> None:
    """Architecture and weights to one file, written whole or not at all."""
    container.write(path, "network", describe_network(net), network_tensors(net))
