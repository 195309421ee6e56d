"""Checkpoints read again: what a fit that is resumed must have alike, and how it becomes what it was."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cnn_core
from cnn._common import console
from cnn._common.errors import ModelFormatError
from cnn._common.images import plain
from cnn._version import __version__
from cnn.callbacks import Callback
from cnn.files import container
from cnn.files.container import Contents
from cnn.files.network import read_history, read_optimizer, revive_network
from cnn.files.strict_json import shown
from cnn.runtime.state import NetworkState
from cnn.streams.source import Source
from cnn.training.position import OLDER_SETTINGS, POSITION, FitIdentity, Position, checkpoints, stateful

_TRAINING = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass
class Saved:
    """A checkpoint that was read: the network as it was, and the rest."""

    path: Path
    net: NetworkState
    position: Position
    payload: dict[str, Any]
    states: list[dict[str, Any]]
    writer: str

    def check(self, net: NetworkState, identity: FitIdentity) -> None:
        """Raises ValueError where the fit is another one; warns where the machine is, for then the bits may differ."""
        _same_network(net, self.net, identity.n_inputs, self.path)
        for name, here in identity.settings().items():
            if here != (there := (OLDER_SETTINGS | self.payload["settings"])[name]):
                raise ValueError(f"{self.path} was made with {name}={there!r}, this fit has {here!r}")
        for what, here in identity.data().items():
            there = self.payload["data"].get(what)
            if here != there and _by_others(here, there):
                console.warn(f"{self.path} is of another number of ranks: the fit goes on, with other minibatches")
            elif here != there:
                raise ValueError(f"{self.path} was made with other {what} data: they must be the same to the last bit")
        hooks = [hook for hook, _ in stateful(identity.hooks)]
        here = [type(hook).__name__ for hook in hooks]
        if here != (there := [state["class"] for state in self.payload["callbacks"]]):
            raise ValueError(f"{self.path} was made with the callbacks {there}, this fit has {here}")
        if not self._holds_its_epoch(net.n_outputs, identity):
            raise ModelFormatError(f"{self.path} does not hold the steps of its epoch")
        for hook, state in zip(hooks, self.states, strict=True):
            try:
                hook.check_state(state, self.net)
            except ValueError as error:
                raise ModelFormatError(f"{self.path}: the state of {type(hook).__name__}: {error}") from None
        if (self.payload["isa"], self.writer) != (cnn_core.isa, __version__):
            warnings.warn(
                f"{self.path} was made with instruction set {self.payload['isa']!r} and cnn {self.writer}, here are "
                f"{cnn_core.isa!r} and {__version__}: the fit goes on, but not to the same bits", stacklevel=2,
            )  # fmt: skip
        here, there = (_products(n) for n in (self.net if net.known_inputs is None else net, self.net))
        if here != there:
            warnings.warn(
                f"{self.path} was made with the products of its layers by {there}, here they are by {here} "
                "(cnn.set_products): the fit goes on, but not to the same bits", stacklevel=2,
            )  # fmt: skip

    def _holds_its_epoch(self, n_outputs: int, identity: FitIdentity) -> bool:
        at = self.position
        whole = at.epoch >= at.first_epoch and at.first_record <= len(self.net.history)
        if isinstance(identity.train, Source):
            return whole and not at.done
        rows = len(identity.train) if identity.among is None else identity.among.total
        if not whole or (at.done - 1) * identity.batch >= rows:
            return False
        if at.report is None or at.outputs is None:
            return not at.done
        measured = any(name.removeprefix("val_") != "loss" for name in identity.names)
        return at.report.shape == (at.done, 3) and at.outputs.shape == ((rows, n_outputs) if measured else (0, 0))

    def restore(self, net: NetworkState) -> None:
        """Makes the network what it was."""
        there = self.net
        net.descriptions, net.seed = there.descriptions, there.seed
        if net.known_inputs is None:
            net.adopt(there.plan)
        net.flat[...], net.state[...], net.scalars[...] = there.flat, there.state, there.scalars
        net.counter[...] = there.counter
        net.history = there.history
        net.training_id = self.position.training
        net.rate_factor = self.payload["rate_factor"]
        net.activation_choice = self.payload["activation_choice"]

    def restore_callbacks(self, hooks: Sequence[Callback]) -> None:
        for (hook, _), state in zip(stateful(hooks), self.states, strict=True):
            hook.restore(state)


def _products(net: NetworkState) -> list[str]:
    """Who computes the products of each layer that has some."""
    dense = net.plan.layers[net.plan.layers["kind"] == cnn_core.LayerKind.DENSE]
    return ["blas" if by_blas else "own" for by_blas in dense["by_blas"]]


def _by_others(here: Any, there: Any) -> bool:
    """Whether the fingerprints are of rows that another number of ranks had, for then nobody can compare them."""
    ranks = [str(found).partition(" of ")[2] for found in (here, there)]
    return ranks[0] != ranks[1]


def _same_network(here: NetworkState, there: NetworkState, n_inputs: Any, path: Path) -> None:
    layers = there.descriptions
    if len(here.descriptions) == len(layers):  # "auto" was settled at the beginning of the fit
        layers = tuple(h if h.is_open and h.settled(t.function) == t else t
                       for h, t in zip(here.descriptions, layers, strict=True))  # fmt: skip
    pairs: dict[str, tuple[Any, Any]] = {
        "layers": (list(here.descriptions), list(layers)), "loss": (here.loss, there.loss),
        "optimizer": (here.optimizer, there.optimizer), "dtype": (here.dtype.name, there.dtype.name),
        "n_inputs": (n_inputs, plain(there.input_shape)), "dropout_factor": (here.dropout_factor, there.dropout_factor),
    }  # fmt: skip
    if here.seed_given:
        pairs["seed"] = (here.seed, there.seed)
    for name, (h, t) in pairs.items():
        if h != t:
            raise ValueError(f"{path} is of another network: {name} is {t!r} there, {h!r} here")


def read(path: Path) -> Saved:
    """A checkpoint, every tensor of it verified."""
    with container.read(path) as contents:
        return from_contents(contents)


def from_contents(contents: Contents, cls: type[NetworkState] = NetworkState) -> Saved:
    """The checkpoint of an open file, its network of that class."""
    network, position, settings, data, isa, step, factor, choice, names, callbacks = contents.fields(
        contents.payload, "network", "position", "settings", "data", "isa", "step", "rate_factor",
        "activation_choice", "history", "callbacks",
    )  # fmt: skip
    net = revive_network(contents, network, cls, "network.")
    read_optimizer(contents, net)
    net.history = read_history(contents, names)
    where = Position(*contents.fields(position, *POSITION))
    typed = isinstance(where.stopped, bool) and isinstance(isa, str) and isinstance(choice, str)
    whole = [getattr(where, name) for name in POSITION if name not in ("stopped", "training")]
    if not typed or not all(type(n) is int and 0 <= n < 2**63 for n in whole):
        raise contents.error("it does not say where the fit stood")
    if not isinstance(where.training, str) or not _TRAINING.fullmatch(where.training):
        raise contents.error(f"its training is no 16 digits: {shown(where.training)}")
    if type(step) is not int or not 0 <= step < 2**63 or not isinstance(factor, float):
        raise contents.error("it does not say at which step and rate the fit stood")
    if not 0 <= factor < math.inf:
        raise contents.error(f"its factor on the rate is {factor}")
    net.counter[0] = step
    contents.fields(settings, "batch_size", "shuffle", "names", "exchange_every", "augment", older=OLDER_SETTINGS)
    contents.fields(data, "training", "validation")
    if where.done:
        where.report = contents.read_tensor("epoch.report", np.float64)
        where.outputs = contents.read_tensor("epoch.outputs", net.dtype)
    if not isinstance(callbacks, list):
        raise contents.error("it does not list callbacks")
    states = [_callback(contents, i, entry) for i, entry in enumerate(callbacks)]
    return Saved(Path(contents.path), net, where, contents.payload, states, contents.writer)


def _callback(contents: Contents, index: int, entry: Any) -> dict[str, Any]:
    name, numbers, tensors = contents.fields(entry, "class", "state", "tensors")
    if not isinstance(name, str) or not isinstance(numbers, dict) or not isinstance(tensors, list):
        raise contents.error("it does not hold the states of callbacks")
    state: dict[str, Any] = {}
    for key, value in numbers.items():
        if isinstance(value, dict):
            (digits,) = contents.fields(value, "float")
            try:
                value = float.fromhex(digits)
            except (TypeError, ValueError, OverflowError):
                raise contents.error(f"{name} has a number that is none") from None
        elif value is not None and not isinstance(value, bool | int | str):
            raise contents.error(f"{name} has a value that is none: {shown(value)}")
        state[key] = value
    for key in tensors:
        full = f"callbacks.{index}.{key}"
        if not isinstance(key, str) or full not in contents.specs or key in state:
            raise contents.error(f"the state of {name} is not whole")
        state[key] = contents.read_tensor(full, contents.specs[full].dtype)
    return state


def find(folder: str | os.PathLike[str], folders: Sequence[Path]) -> Saved | None:
    """The newest whole checkpoint of a folder; None where this fit is the one that begins it.

    Raises:
        FileNotFoundError: there is none, and none of `folders`, to which this fit writes, is this one.
        ModelFormatError: there are some, but none is whole.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"resume must be the folder of a cnn.Checkpoint, got {folder!r}")
    found = checkpoints(folder) if os.path.isdir(folder) else []
    broken: Exception
    for _, path in reversed(found):
        try:
            return read(path)
        except (ModelFormatError, OSError) as error:
            broken = error
            warnings.warn(f"{error}; an earlier checkpoint is looked for", stacklevel=2)
    if found:
        raise broken
    here = os.path.realpath(folder)
    if any(os.path.realpath(own) == here for own in folders):
        return None
    raise FileNotFoundError(f"there is no checkpoint in {os.fspath(folder)!r} to resume from")
