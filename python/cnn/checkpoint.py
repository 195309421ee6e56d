"""Checkpoints: the whole state of a fit in a file, from which it goes on to the same bits."""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cnn_core
from cnn import _check, atomic, container, files
from cnn._check import ModelFormatError
from cnn.callbacks import Callback, Logs, Run
from cnn.container import Contents
from cnn.data import Array, Data
from cnn.sparse import SparseRows

if TYPE_CHECKING:
    from cnn.network import Network

_FILE = re.compile(r"step-(\d{12})\.cnn", re.ASCII)
_UNITS = ("epochs", "steps", "seconds")
_POSITION = ("first_epoch", "first_step", "first_record", "epoch", "done", "stopped")


class Checkpoint(Callback):
    """Keeps the whole state of the fit in a folder, so that `net.fit(..., resume=folder)` goes on to the same bits.

    A file holds weights, optimizer, position in the epoch, history, best weights and what else callbacks know, and is
    written whole or not at all: at the end of an epoch, or when a call into the core returns (every 50 ms or so) and so
    many steps or seconds have passed; in any case at the end of the fit.

    Args:
        folder: made when it is not there; files are named after the optimizer step.
        every: so many units lie between two checkpoints, at least.
        unit: "epochs", "steps" or "seconds".
        keep: the newest ones that stay; None keeps all.

    Raises:
        ValueError: the folder holds later checkpoints of another fit.

    >>> Checkpoint("run", every=30, unit="seconds").keep
    3
    """

    def __init__(
        self, folder: str | os.PathLike[str], every: float = 1, unit: str = "epochs", keep: int | None = 3
    ) -> None:
        if unit not in _UNITS:
            raise ValueError(f"unit of Checkpoint must be one of {', '.join(_UNITS)}, got {unit!r}")
        self.folder = Path(folder)
        self.unit = unit
        if unit == "seconds":
            self.every = _check.number("every", every, 0, open_low=True)
        else:
            self.every = _check.integer("every", every, 1)
        self.keep = None if keep is None else _check.integer("keep", keep, 1)
        self._run: Run | None = None
        self._saved_step = 0
        self._saved_time = 0.0

    def check(self, run: Run) -> None:
        if run.job is None:
            raise ValueError("Checkpoint keeps what Network.fit does; an estimator's fit can't be resumed")
        if not self.folder.is_dir():
            if self.folder.exists() or not self.folder.absolute().parent.is_dir():
                raise ValueError(f"Checkpoint can't write to {self.folder}: it is no folder, or is in none")
            return
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ValueError(f"Checkpoint can't write to {self.folder}: permission denied")
        later = [path for step, path in checkpoints(self.folder) if step > run.step]
        if later and (run.resumed is None or not self.folder.samefile(run.resumed)):
            raise ValueError(
                f"{self.folder} holds {later[-1].name} of another fit; go on from it with "
                f"resume={os.fspath(self.folder)!r}, or give an empty folder"
            )

    def on_fit_begin(self, network: Network, run: Run) -> None:
        self.folder.mkdir(exist_ok=True)
        atomic.sweep(self.folder, r"\.step-\d{12}\.cnn\.")
        self._prune(network.step)  # a fit that was killed may not have come to it
        self._run, self._saved_step, self._saved_time = run, network.step, time.monotonic()

    def on_progress(self, network: Network, epoch: int, rows: int) -> None:
        if self.unit != "epochs" and self._due(network):
            self._save(network)

    def on_epoch_end(self, network: Network, epoch: int, logs: Logs) -> None:
        assert self._run is not None
        last = network.stop_training or epoch + 1 >= self._run.epochs
        if last or ((epoch + 1) % self.every == 0 if self.unit == "epochs" else self._due(network)):
            self._save(network)

    def on_fit_end(self, network: Network) -> None:
        self._run = None

    def _due(self, network: Network) -> bool:
        if self.unit == "steps":
            return network.step - self._saved_step >= self.every
        return time.monotonic() - self._saved_time >= self.every

    def _save(self, network: Network) -> None:
        assert self._run is not None
        self._run.job.position.stopped = network.stop_training
        write(self.folder / f"step-{network.step:012d}.cnn", network, self._run.job)
        self._saved_step, self._saved_time = network.step, time.monotonic()
        self._prune(network.step)

    def _prune(self, step: int) -> None:
        """Removes what is older than the newest ones that stay."""
        if self.keep is not None:
            for _, path in [found for found in checkpoints(self.folder) if found[0] <= step][: -self.keep]:
                path.unlink(missing_ok=True)


def checkpoints(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in a folder, the newest last."""
    found = [(int(match[1]), path) for path in Path(folder).iterdir() if (match := _FILE.fullmatch(path.name))]
    return sorted(found)


# What a fit is, and where it stands -----------------------------------------------------------------------------------


@dataclass
class Position:
    """Where a fit stands: `done` steps of `epoch` are made.

    It began with `first_epoch`, at optimizer step `first_step`, with `first_record` epochs in the history.
    """

    first_epoch: int
    first_step: int
    first_record: int
    epoch: int
    done: int = 0
    stopped: bool = False
    report: Array | None = None  # of the steps of this epoch
    outputs: Array | None = None  # of the rows of this epoch

    def restore(self, report: Array, outputs: Array) -> None:
        """What the steps of this epoch have left so far, into a new loop's arrays."""
        assert self.report is not None
        assert self.outputs is not None
        if self.report.shape != report[: self.done].shape or self.outputs.shape != outputs.shape:
            raise ModelFormatError("the checkpoint does not hold the steps of its epoch")
        report[: self.done], outputs[...] = self.report, self.outputs


@dataclass
class Job:
    """A fit as checkpoints see it: what must be the same to go on, and what changes."""

    batch: int
    shuffle: bool
    names: tuple[str, ...]
    train: Data
    validation: Data | None
    hooks: Sequence[Callback]
    position: Position
    fingerprints: dict[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """The data's fingerprints, taken once."""
        if self.fingerprints is None:
            self.fingerprints = {
                "training": fingerprint(self.train),
                "validation": None if self.validation is None else fingerprint(self.validation),
            }
        return self.fingerprints

    def settings(self) -> dict[str, Any]:
        return {"batch_size": self.batch, "shuffle": self.shuffle, "names": list(self.names)}


def fingerprint(rows: Data) -> str:
    """SHA-256 of rows: types, shapes and every byte. (`y` is what the targets or the classes are.)"""
    digest = hashlib.sha256(str(rows.y.shape).encode())
    X: tuple[Array, ...]
    if isinstance(rows.X, SparseRows):
        digest.update(f"sparse{rows.X.shape}".encode())
        X = rows.X.parts()
    else:
        X = (rows.X,)
    for array in (*X, rows.targets, rows.classes, rows.weights):
        digest.update(b"none" if array is None else f"{array.dtype.str}{array.shape}".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _stateful(hooks: Sequence[Callback]) -> list[tuple[Callback, dict[str, Any]]]:
    return [(hook, state) for hook in hooks if (state := hook.state())]


# The file -------------------------------------------------------------------------------------------------------------


def write(path: Path, net: Network, job: Job) -> None:
    """The state of this fit as a file."""
    position = job.position
    tensors = files.network_tensors(net, "network.")
    tensors |= files.optimizer_tensors(net) | files.history_tensors(net.history)
    if position.done:
        assert position.report is not None
        assert position.outputs is not None
        tensors["epoch.report"] = position.report[: position.done]
        tensors["epoch.outputs"] = position.outputs
    states = []
    for i, (hook, state) in enumerate(_stateful(job.hooks)):
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"callbacks.{i}.{name}": value for name, value in arrays.items()}
        numbers = {name: _plain(value) for name, value in state.items() if name not in arrays}
        states.append({"class": type(hook).__name__, "state": numbers, "tensors": list(arrays)})
    payload = {
        "network": files.describe_network(net),
        "position": {name: getattr(position, name) for name in _POSITION},
        "settings": job.settings(),
        "data": job.data(),
        "isa": cnn_core.isa,
        "step": net.step,
        "rate_factor": float(net.rate_factor),
        "activation_choice": net.activation_choice,
        "history": net.history.names,
        "callbacks": states,
    }
    container.write(path, "checkpoint", payload, tensors)


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"the state of a callback must be numbers, texts, None or arrays, got {type(value).__name__}")


def load_network(contents: Contents) -> Network:
    """The network alone, as it was at that moment."""
    description = contents.fields(
        contents.payload, "network", "position", "settings", "data", "isa", "step", "rate_factor", "activation_choice",
        "history", "callbacks",
    )[0]  # fmt: skip
    net = files.revive_network(contents, description, "network.")
    for name in contents.specs:
        if not name.startswith("network."):
            contents.skip(name)
    return net


@dataclass
class Saved:
    """A checkpoint that was read: the network as it was, and the rest."""

    path: Path
    net: Network
    position: Position
    payload: dict[str, Any]
    states: list[dict[str, Any]]
    writer: str

    def check(self, net: Network, job: Job) -> None:
        """Raises ValueError where the fit is another one; warns where the machine is, for then the bits may differ."""
        _same_network(net, self.net, job.train.X.shape[1], self.path)
        for name, here in job.settings().items():
            if here != (there := self.payload["settings"][name]):
                raise ValueError(f"{self.path} was made with {name}={there!r}, this fit has {here!r}")
        for what, here in job.data().items():
            if here != self.payload["data"].get(what):
                raise ValueError(f"{self.path} was made with other {what} data: they must be the same to the last bit")
        here = [type(hook).__name__ for hook, _ in _stateful(job.hooks)]
        if here != (there := [state["class"] for state in self.payload["callbacks"]]):
            raise ValueError(f"{self.path} was made with the callbacks {there}, this fit has {here}")
        from cnn import __version__

        if (self.payload["isa"], self.writer) != (cnn_core.isa, __version__):
            warnings.warn(
                f"{self.path} was made with instruction set {self.payload['isa']!r} and cnn {self.writer}, here are "
                f"{cnn_core.isa!r} and {__version__}: the fit goes on, but not to the same bits", stacklevel=2,
            )  # fmt: skip

    def restore(self, net: Network) -> None:
        """Makes the network what it was."""
        there = self.net
        net.descriptions, net.seed = there.descriptions, there.seed
        if net.known_inputs is None:
            net.adopt(there.plan)
        net.flat[...], net.state[...], net.scalars[...] = there.flat, there.state, there.scalars
        net.counter[...] = there.counter
        net.history = there.history
        net.rate_factor = self.payload["rate_factor"]
        net.activation_choice = self.payload["activation_choice"]

    def restore_callbacks(self, hooks: Sequence[Callback]) -> None:
        for (hook, _), state in zip(_stateful(hooks), self.states, strict=True):
            hook.restore(state)


def _same_network(here: Network, there: Network, n_inputs: int, path: Path) -> None:
    layers = there.descriptions
    if len(here.descriptions) == len(layers):  # "auto" was settled at the beginning of the fit
        auto = [getattr(layer, "activation", None) == "auto" for layer in here.descriptions]
        layers = tuple(h if a and _but_activation(h, t) else t
                       for h, t, a in zip(here.descriptions, layers, auto, strict=True))  # fmt: skip
    pairs: dict[str, tuple[Any, Any]] = {
        "layers": (list(here.descriptions), list(layers)), "loss": (here.loss, there.loss),
        "optimizer": (here.optimizer, there.optimizer), "dtype": (here.dtype.name, there.dtype.name),
        "n_inputs": (n_inputs, there.n_inputs),
    }  # fmt: skip
    if here.seed_given:
        pairs["seed"] = (here.seed, there.seed)
    for name, (h, t) in pairs.items():
        if h != t:
            raise ValueError(f"{path} is of another network: {name} is {t!r} there, {h!r} here")


def _but_activation(here: Any, there: Any) -> bool:
    return hasattr(there, "activation") and bool(replace(there, activation="auto") == here)


def read(path: Path) -> Saved:
    """A checkpoint, every tensor of it verified."""
    with container.read(path) as contents:
        network, position, settings, data, isa, step, factor, choice, names, callbacks = contents.fields(
            contents.payload, "network", "position", "settings", "data", "isa", "step", "rate_factor",
            "activation_choice", "history", "callbacks",
        )  # fmt: skip
        net = files.revive_network(contents, network, "network.")
        files.take_optimizer(contents, net)
        net.history = files.take_history(contents, names)
        where = Position(*contents.fields(position, *_POSITION))
        typed = isinstance(where.stopped, bool) and isinstance(isa, str) and isinstance(choice, str)
        if not typed or not all(type(getattr(where, n)) is int and getattr(where, n) >= 0 for n in _POSITION[:-1]):
            raise contents.error("it does not say where the fit stood")
        if type(step) is not int or not 0 <= step < 2**63 or not isinstance(factor, float):
            raise contents.error("it does not say at which step and rate the fit stood")
        net.counter[0] = step
        contents.fields(settings, "batch_size", "shuffle", "names")
        contents.fields(data, "training", "validation")
        if where.done:
            where.report = contents.take("epoch.report", np.float64)
            where.outputs = contents.take("epoch.outputs", net.dtype)
        if not isinstance(callbacks, list):
            raise contents.error("it does not list callbacks")
        states = [_callback(contents, i, entry) for i, entry in enumerate(callbacks)]
        return Saved(path, net, where, contents.payload, states, contents.writer)


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
        state[key] = value
    for key in tensors:
        full = f"callbacks.{index}.{key}"
        if full not in contents.specs:
            raise contents.error(f"the state of {name} is not whole")
        state[str(key)] = contents.take(full, contents.specs[full].dtype)
    return state


def find(folder: str | os.PathLike[str], hooks: Sequence[Callback]) -> Saved | None:
    """The newest whole checkpoint of a folder; None where this fit is the one that begins it.

    Raises:
        FileNotFoundError: there is none, and no `Checkpoint` of this fit would write one there.
        ModelFormatError: there are some, but none is whole.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"resume must be the folder of a cnn.Checkpoint, got {folder!r}")
    found = checkpoints(folder) if os.path.isdir(folder) else []
    for _, path in reversed(found):
        try:
            return read(path)
        except ModelFormatError as error:
            broken = error
            warnings.warn(f"{error}; an earlier checkpoint is looked for", stacklevel=2)
    if found:
        raise broken
    here = os.path.realpath(folder)
    if any(isinstance(hook, Checkpoint) and os.path.realpath(hook.folder) == here for hook in hooks):
        return None
    raise FileNotFoundError(f"there is no checkpoint in {os.fspath(folder)!r} to resume from")
